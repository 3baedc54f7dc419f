"""Comparing run folders: pairing, what is refused and why, verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_rel

from tests.comparison.made_runs import DIGEST, GROUPS, TASK, make_run, value_of
from tokbench.comparison.compare import compare_runs
from tokbench.comparison.differences import NOT_SIDE_BY_SIDE, Difference, Interval
from tokbench.comparison.margins import Margin, parse_margin
from tokbench.comparison.verdicts import verdict
from tokbench.errors import ResultsError, UnknownNameError, UnlikeRunsError, UsageError
from tokbench.results import Record
from tokbench.runfolder import INFLUENCES, read_influences, read_records, write_influences


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_run(tmp_path / "a")


def compared(*folders: Path, **options: object) -> dict[str, Difference]:
    """The differences of two runs by key."""
    (made,) = compare_runs(folders, **options)  # type: ignore[arg-type]
    return {item.key: item for item in made.differences}


def per_image(folder: Path, key: str) -> np.ndarray:
    return np.array([record.branches[""].values[key] for record in read_records(folder)])


def test_images_are_paired(base: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "b", name="toy/b", shift=0.2, seed=2)
    item = compared(base, other)["psnr"]
    first, second = per_image(base, "psnr"), per_image(other, "psnr")
    test = ttest_rel(second, first)
    assert item.difference == pytest.approx((second - first).mean())
    assert (item.first, item.second) == (pytest.approx(first.mean()), pytest.approx(second.mean()))
    assert item.p_value == pytest.approx(test.pvalue, rel=1e-9)
    assert item.ci95 == pytest.approx(tuple(test.confidence_interval()), rel=1e-9)
    assert (item.n, item.n_clusters) == (40, 40)


def test_the_order_of_the_records_does_not_matter(base: Path, tmp_path: Path) -> None:
    from tests.comparison.made_runs import write_run

    other = make_run(tmp_path / "b", name="toy/b", shift=0.2, seed=2)
    turned = tmp_path / "turned"
    turned.mkdir()
    write_run(turned, list(read_records(other))[::-1], name="toy/b", shift=0.2, seed=2)
    keys = ("psnr", "mae", "t_acc.toy")
    assert [compared(base, other)[key] for key in keys] == [compared(base, turned)[key] for key in keys]


def test_words_are_paired_by_image_and_place_and_averaged_over_size_groups(base: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "b", name="toy/b", shift=-1.5, seed=2)
    item = compared(base, other)["t_acc.toy"]
    moves: dict[str, list[float]] = {name: [] for name in GROUPS}
    for one, two in zip(read_records(base), read_records(other), strict=True):
        for ours, theirs in zip(one.branches[""].regions, two.branches[""].regions, strict=True):
            moves[str(ours.group)].append(theirs.values["t_acc.toy"] - ours.values["t_acc.toy"])
    means = {name: float(np.mean(numbers)) for name, numbers in moves.items()}
    assert item.difference == pytest.approx(np.mean(list(means.values())))
    assert {name: part.difference for name, part in item.groups.items()} == pytest.approx(means)
    assert item.verdict == "worse"
    assert item.n == 120
    assert item.second == pytest.approx(item.first + item.difference)


def test_clusters_make_intervals_wider(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / f"{n}{k}", seed=n, per_cluster=k) for k in (1, 8) for n in (1, 2)]
    alone, together = compared(*runs[:2])["psnr"], compared(*runs[2:])["psnr"]
    assert (alone.n_clusters, together.n_clusters) == (40, 5)
    assert alone.difference == pytest.approx(together.difference)
    assert np.ptp(together.ci95) != pytest.approx(np.ptp(alone.ci95))
    assert together.estimate.degrees == pytest.approx(4)


def test_numbers_over_the_set_are_compared_by_influences(base: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "b", name="toy/b", shift=1.5, seed=2)
    item = compared(base, other)["rfid"]
    (ids, ours), (_, theirs) = read_influences(base), read_influences(other)
    moves = theirs["rfid"] - ours["rfid"]
    assert item.difference == pytest.approx(-1.5)
    assert item.estimate.error == pytest.approx(moves.std(ddof=1) / np.sqrt(len(ids)))
    assert item.verdict == "better"


def test_numbers_without_anything_to_resample_say_so(base: Path, tmp_path: Path) -> None:
    items = compared(base, make_run(tmp_path / "b", name="toy/b", shift=0.5))
    assert (items["codebook_usage"].verdict, items["codebook_usage"].difference) == ("no interval", 0.0)
    assert "whole set" in items["codebook_usage"].reason
    assert (items["encode_s"].verdict, items["encode_s"].reason) == ("not compared", NOT_SIDE_BY_SIDE)
    assert items["encode_s"].difference is None
    assert (items["parameters"].verdict, items["parameters"].reason) == ("no interval", "counted, not sampled")


def test_a_number_that_is_no_mean_of_the_records_is_not_taken_for_one(base: Path, tmp_path: Path) -> None:
    odd = {
        "psnr": value_of("psnr", 30.0, aggregate="median"),
        "ssim": value_of("ssim", 0.9),  # a pair metric that left nothing in the records
    }
    runs = [make_run(tmp_path / f"odd{seed}", seed=seed, extra=odd) for seed in (1, 2)]
    items = compared(*runs)
    for key in odd:
        assert (items[key].verdict, items[key].ci95) == ("no interval", None)
        assert items[key].reason == "the records hold no values whose mean it is"


def test_equal_runs_are_identical(base: Path) -> None:
    items = compared(base, base)
    assert {items[key].verdict for key in ("psnr", "mae", "t_acc.toy", "rfid")} == {"identical"}
    assert items["psnr"].ci95 == (0.0, 0.0)


def test_p_values_are_corrected_over_everything_compared_together(base: Path, tmp_path: Path) -> None:
    others = [make_run(tmp_path / f"b{n}", name=f"toy/b{n}", seed=n, shift=0.1 * n) for n in (2, 3)]
    made = compare_runs([base, *others])
    tested = [item for one in made for item in one.differences if item.p_value is not None]
    assert len(tested) == 8
    smallest = min(tested, key=lambda item: item.p_value)
    assert smallest.p_corrected == pytest.approx(min(1.0, 8 * smallest.p_value))
    assert all(item.p_corrected >= item.p_value for item in tested)


def test_no_direction_no_verdict() -> None:
    assert verdict("neither", (0.1, 0.2), 0.001) == "differs"
    assert verdict("neither", (-0.1, 0.2), 0.5) == "no evidence"
    assert verdict("higher", (0.1, 0.2), 0.001) == "better"
    assert verdict("lower", (0.1, 0.2), 0.001) == "worse"
    assert verdict("lower", (0.1, 0.2), 0.051) == "no evidence"
    assert verdict("lower", (-0.01, 0.02), 0.6, margin=0.05) == "equal within"
    assert verdict("lower", None, None) == "no interval"


def test_margins(base: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "b", name="toy/b", shift=0.05, seed=1)
    item = compared(base, other, metrics=["psnr"], margins={"psnr": Margin(amount=1.0)})["psnr"]
    assert (item.verdict, item.margin) == ("equal within", 1.0)
    relative = compared(base, other, metrics=["psnr"], margins={"psnr": parse_margin("1 %", where="x")})["psnr"]
    assert relative.margin == pytest.approx(0.01 * item.first)
    with pytest.raises(UnknownNameError, match="did you mean psnr"):
        compared(base, other, margins={"psnrr": Margin(amount=1.0)})


@pytest.mark.parametrize("raw", [-1, "x", "-1%", True, None, float("inf"), "nan", [1]])
def test_bad_margins_are_refused(raw: object) -> None:
    with pytest.raises(UsageError, match=r"metric\.psnr\.tolerance"):
        parse_margin(raw, where="metric.psnr.tolerance")


def test_the_bootstrap_can_be_asked_for(base: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "b", name="toy/b", shift=0.2, seed=2, n=40)
    plain = compared(base, other)["psnr"]
    drawn = compared(base, other, interval=Interval(method="bootstrap", replicates=2000))["psnr"]
    assert drawn.ci95 != plain.ci95
    assert drawn.ci95 == pytest.approx(plain.ci95, abs=0.05)
    with pytest.raises(UsageError, match="100 or more"):
        Interval(method="bootstrap", replicates=10)
    with pytest.raises(UsageError, match="analytic or bootstrap"):
        Interval(method="magic")


# ---- what must be the same ---------------------------------------------------------------------------------------


def unlike(base: Path, tmp_path: Path, **changes: object) -> str:
    """The message for a run that differs like that."""
    other = make_run(tmp_path / "other", **{"name": "toy/b", "seed": 2, **changes})  # type: ignore[arg-type]
    with pytest.raises(UnlikeRunsError) as caught:
        compare_runs([base, other])
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spec": {"task": {**TASK, "version": 2}}}, ["task version: 1 ≠ 2"]),
        ({"spec": {"task": {**TASK, "name": "other"}}}, ["task name: toy ≠ other"]),
        (
            {"spec": {"task": {**TASK, "fit": {"mode": "crop", "size_px": 128, "filter": "bicubic"}}}},
            ["task fit.size_px: 64 ≠ 128", "task fit.filter: lanczos ≠ bicubic"],
        ),
        ({"spec": {"task": {**TASK, "fit": {**TASK["fit"], "method": "adm"}}}}, ["task fit.method: square ≠ adm"]),
        ({"spec": {"task": {**TASK, "compare_on": "source"}}}, ["task compare_on: model ≠ source"]),
        ({"spec": {"task": {**TASK, "words": "as_labelled"}}}, ["task words: refined ≠ as_labelled"]),
        ({"spec": {"manifest_digest": "sha256:cd"}}, [f"data digest: {DIGEST} ≠ sha256:cd"]),
        ({"extra": {"psnr": value_of("psnr", 28.0, version=2)}}, ["version of psnr: 1 ≠ 2"]),
        ({"rename": {"t_acc.toy": "t_acc.better"}}, ["recogniser of t_acc: toy ≠ better"]),
        ({"n": 39}, ["samples (40 and 39): image/00039 only here ≠ none", "n of psnr: 40 images ≠ 39 images"]),
        ({"failed": {"image/00003": "no memory"}}, ["failed samples: none ≠ image/00003 only here"]),
        (
            {"status": "partial", "reason": "--limit 40"},
            ["status (both must be complete): complete ≠ partial (--limit"],
        ),
        ({"status": "started"}, ["complete ≠ started"]),
        ({"status": "failed", "reason": "all 40 failed"}, ["complete ≠ failed (all 40 failed)"]),
        ({"spec": {"seed": 1}, "card": {"deterministic": False}}, ["seed: 0 ≠ 1"]),
        ({"per_cluster": 2}, ["cluster of 39 samples, image/00001 among them: c1 ≠ c0"]),
        ({"words": 2}, ["n of t_acc.toy: 120 words ≠ 80 words"]),
    ],
)
def test_every_ingredient_is_named_with_both_values(
    base: Path, tmp_path: Path, changes: dict[str, object], words: list[str]
) -> None:
    message = unlike(base, tmp_path, **changes)
    for part in words:
        assert part in message


def test_all_ingredients_are_listed_not_only_the_first(base: Path, tmp_path: Path) -> None:
    message = unlike(base, tmp_path, n=30, spec={"task": {**TASK, "version": 3}, "manifest_digest": "sha256:ef"})
    assert [line.strip().partition(":")[0] for line in message.splitlines()[1:4]] == [
        "task version", "data digest", "samples (40 and 30)",
    ]  # fmt: skip
    assert "toy/a and toy/b cannot be compared; they differ in" in message
    assert "--common" not in message


def test_other_pixels_under_the_same_names_are_found(base: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    from tests.comparison.made_runs import write_run

    records = list(read_records(base))
    records[5] = replace(records[5], reference_sha256="f" * 64, size_px=(64, 32))
    (tmp_path / "b").mkdir()
    other = write_run(tmp_path / "b", records, name="toy/b")
    with pytest.raises(UnlikeRunsError) as caught:
        compare_runs([base, other])
    assert "compared reference of 1 sample, image/00005 among them" in str(caught.value)
    assert "compared grid of 1 sample, image/00005 among them: 64×64 ≠ 64×32" in str(caught.value)


def test_words_of_a_task_and_later_fields_at_their_default_do_not_matter(base: Path, tmp_path: Path) -> None:
    task = {**TASK, "title": "Another", "rank_by": ["mae"], "region_mean": "pooled"}
    task["fit"] = {**TASK["fit"], "method": "square"}
    assert compared(base, make_run(tmp_path / "b", seed=2, spec={"task": task}))


def test_a_seed_only_matters_where_something_is_random(base: Path, tmp_path: Path) -> None:
    assert compared(base, make_run(tmp_path / "b", seed=2, spec={"seed": 5}))
    for branch, is_refused in (("length=2", False), ("noise=0.1", True)):
        extra = {f"psnr@{branch}": value_of("psnr", 20.0, key=f"psnr@{branch}", branch=branch)}
        runs = [make_run(tmp_path / f"{branch}{seed}", extra=extra, spec={"seed": seed}) for seed in (1, 2)]
        if is_refused:
            with pytest.raises(UnlikeRunsError, match="seed: 1 ≠ 2"):
                compare_runs(runs)
        else:
            assert compared(*runs)


def test_metrics_that_are_not_asked_for_do_not_stand_in_the_way(base: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "b", seed=2, extra={"mae": value_of("mae", 9.0, version=2)})
    assert list(compared(base, other, metrics=["psnr", "text"])) == ["psnr", "t_acc.toy"]
    with pytest.raises(UnlikeRunsError, match="version of mae"):
        compare_runs([base, other], metrics=["pixel"])
    with pytest.raises(UnknownNameError, match="did you mean psnr"):
        compare_runs([base, other], metrics=["pnsr"])


def test_common_pairs_what_both_have(base: Path, tmp_path: Path) -> None:
    broken = {"image/00003": "x", "image/00007": "y"}
    other = make_run(tmp_path / "b", name="toy/b", seed=2, failed=broken, status="partial", reason="stopped")
    with pytest.raises(UnlikeRunsError, match="--common pairs what both runs have"):
        compare_runs([base, other])
    items = compared(base, other, common=True)
    assert items["psnr"].n == 38
    kept = [row for row in range(40) if row not in (3, 7)]
    assert items["psnr"].first == pytest.approx(per_image(base, "psnr")[kept].mean())
    assert items["rfid"].verdict == "not compared"
    assert "other samples" in items["rfid"].reason


def test_common_does_not_excuse_other_data(base: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "b", n=30, spec={"manifest_digest": "sha256:ef"})
    with pytest.raises(UnlikeRunsError, match="data digest") as caught:
        compare_runs([base, other], common=True)
    assert "samples (" not in str(caught.value)


def test_a_metric_of_one_run_only_is_not_compared(base: Path, tmp_path: Path) -> None:
    skipped = value_of("mae", None, status="skipped", reason="not installed")
    other = make_run(tmp_path / "b", name="toy/b", seed=2, extra={"mae": skipped}, drop=("rfid",))
    items = compared(base, other)
    assert (items["mae"].verdict, items["mae"].reason) == ("not compared", "toy/b has no number: not installed")
    assert items["rfid"].reason == "toy/b was not asked for it"
    assert (items["mae"].second, items["mae"].difference) == (None, None)


def test_the_environment_is_noted_not_refused(base: Path, tmp_path: Path) -> None:
    other = make_run(
        tmp_path / "b",
        seed=2,
        spec={"dtype": "float16"},
        environment={"tokbench": "0.1.0", "packages": {"numpy": "2.1"}},
    )
    (made,) = compare_runs([base, other])
    assert made.notes == ("dtype: float32, float16", "numpy: 2.0, 2.1")


def test_equal_names_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / place / "toy", seed=seed) for seed, place in enumerate(("old", "new"))]
    (made,) = compare_runs(runs)
    assert (made.baseline, made.candidate) == ("toy/a (old/toy)", "toy/a (new/toy)")
    (same,) = compare_runs([runs[0], runs[0]])
    assert (same.baseline, same.candidate) == ("toy/a #1", "toy/a #2")


# ---- files that are not what they claim --------------------------------------------------------------------------


def test_records_that_do_not_belong_to_the_result_are_refused(base: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "b", seed=2)
    lines = (other / "records.jsonl").read_text().splitlines(keepends=True)
    (other / "records.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(ResultsError, match="but the result was made with one of"):
        compare_runs([base, other])
    (other / "records.jsonl").unlink()
    with pytest.raises(ResultsError, match="a comparison needs it"):
        compare_runs([base, other])


def test_a_sample_or_region_twice_is_refused(base: Path, tmp_path: Path) -> None:
    from tests.comparison.made_runs import write_run

    records: list[Record] = list(read_records(base))
    for place, (rows, words) in enumerate(
        [([*records, records[0]], "twice"), ([_doubled(records[0])], "region twice")]
    ):
        folder = tmp_path / f"twice{place}"
        folder.mkdir()
        write_run(folder, rows)
        with pytest.raises(ResultsError, match=words):
            compare_runs([base, folder])


def _doubled(record: Record) -> Record:
    from dataclasses import replace

    branch = record.branches[""]
    return replace(record, branches={"": replace(branch, regions=(*branch.regions, branch.regions[0]))})


def reseal(folder: Path, digest: str | None) -> None:
    """Let the result vouch for other influences, or for none."""
    row = json.loads((folder / "result.json").read_text())
    row["records"].pop("influences_sha256")
    row["records"] |= {} if digest is None else {"influences_sha256": digest}
    (folder / "result.json").write_text(json.dumps(row))


def test_influences_of_unknown_samples_make_no_interval(base: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "b", seed=2)
    for folder in (base, other):
        ids, by_key = read_influences(folder)
        reseal(folder, write_influences(folder, ["stranger", *ids[1:]], by_key))
    item = compared(base, other)["rfid"]
    assert (item.verdict, item.ci95) == ("no interval", None)
    reseal(base, None)
    assert compared(base, other)["rfid"].verdict == "no interval"


def test_influences_that_do_not_belong_to_the_result_are_refused(base: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "b", seed=2)
    (other / INFLUENCES).write_bytes((base / INFLUENCES).read_bytes())
    with pytest.raises(ResultsError, match=r"influences\.npz has SHA-256"):
        compare_runs([base, other])
    (other / INFLUENCES).unlink()
    with pytest.raises(ResultsError, match="a comparison needs it"):
        compare_runs([base, other])


def test_one_run_is_no_comparison(base: Path) -> None:
    with pytest.raises(UsageError, match="at least two"):
        compare_runs([base])


def test_a_run_that_is_none(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="not a run"):
        compare_runs([base, tmp_path / "nothing"])
    (tmp_path / "new").mkdir()
    row = json.loads((base / "result.json").read_text())
    (tmp_path / "new" / "result.json").write_text(json.dumps({**row, "schema_version": 99}))
    with pytest.raises(ResultsError, match="upgrade tokbench"):
        compare_runs([base, tmp_path / "new"])
