"""Sweeps: points of one pass, how they compare, and what is refused before anything runs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tokbench.__main__ import main
from tokbench.aggregation import value_key
from tokbench.cards import TokenizerCard
from tokbench.curve_comparison import Resampled, compare_curves
from tokbench.curves import RATE_DISTORTION, read_rate_distortion, write_rate_distortion
from tokbench.encodings import Encoding, Tokens, TokenStream
from tokbench.errors import ResultsError, UsageError
from tokbench.evaluation import evaluate
from tokbench.runfolder import read_influences, read_records, read_result
from tokbench.schema import result_from_json, result_to_json
from tokbench.sweep import Sweep, _all_lengths, _spread, _variant_name, sweep
from tokbench.tasks.catalogue import folder_task


def tokbench(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def swept(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """lbg at its lengths against JPEG, on ten photographs."""
    return sweep(
        "lbg", folder_task(size_px=64), "psnr,psnr_pooled,codebook_usage", data=photos, lengths=(1, 2, 4, 8),
        against=("jpeg",), out=tmp_path_factory.mktemp("sweeps"), rates="bpp,bpp_adaptive1,bpp_order0",
    )  # fmt: skip


def test_every_point_is_a_branch_and_the_spec_says_of_which_curve(swept: Sweep) -> None:
    assert dict(swept.result.spec.curves) == {
        "lbg": ("length=1", "length=2", "length=4", ""),
        "jpeg": ("jpeg-q5", "jpeg-q15", "jpeg-q35", "jpeg-q60", "jpeg-q85"),
    }
    assert {"psnr", "psnr@length=2", "psnr@jpeg-q35", "bpp@jpeg-q5", "bpp_adaptive1@length=1"} <= set(
        swept.result.values
    )
    assert "codebook_usage@length=1" in swept.result.values
    assert "codebook_usage@jpeg-q5" not in swept.result.values  # a file has no codebook
    assert swept.result.path is not None
    assert swept.result.path.endswith("sweeps/folder/lbg__d8")


def test_points_are_what_runs_of_their_own_would_give(swept: Sweep, photos: Path) -> None:
    for name, branch in (("jpeg/q35", "jpeg-q35"), ("lbg/d2", "length=2")):
        alone = evaluate(name, folder_task(size_px=64), "psnr,bpp", data=photos)
        for metric in ("psnr", "bpp"):
            assert swept.result[value_key(metric, branch)] == alone[metric], (name, metric)


def test_the_data_is_read_once_and_encoded_once_for_all_lengths(photos: Path, tmp_path: Path) -> None:
    encoded: list[int] = []

    class Counting:
        card = TokenizerCard(
            name="counting", codebook_sizes=(16,) * 6, prefix_axis="streams", max_length=6, size_multiple=8
        )

        def encode(self, images: Any) -> Tokens:
            encoded.append(len(images))
            levels = (images[:, 0, ::8, ::8] * 15).round().long()
            return Tokens(
                streams=tuple(TokenStream(indices=levels, codebook_size=16, codebook=f"c{i}") for i in range(6))
            )

        def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> Any:
            assert isinstance(encoding, Tokens)
            shade = encoding.streams[0].indices[:, None].float() / 15
            full = shade.repeat_interleave(8, 2).repeat_interleave(8, 3).repeat(1, 3, 1, 1)
            return full * (0.5 + len(encoding.streams) / 12)

    made = sweep(Counting(), folder_task(size_px=64), "psnr", data=photos, out=tmp_path, against=(), batch_size=4)
    assert made.result.spec.curves == {"counting": ("length=1", "length=2", "length=4", "")}
    assert sum(encoded) == 10
    assert made.curves.comparisons == ()
    records = list(read_records(Path(made.result.path or "")))
    assert len(records) == 10
    assert all(set(record.branches) == {"", "length=1", "length=2", "length=4"} for record in records)


def test_pictures_are_kept_of_the_tokenizers_own_points_only(swept: Sweep) -> None:
    index = json.loads((Path(swept.result.path or "") / "pictures" / "index.json").read_text())
    assert set(index["samples"][0]["branches"]) == {"", "length=1", "length=2", "length=4"}


def test_deltas_have_intervals_that_hold_them(swept: Sweep) -> None:
    by_key = {(one.metric, one.rate): one for one in swept.curves.comparisons}
    found = by_key["psnr", "bpp"]
    assert found.anchor_rate == "bpp"
    assert found.bd_rate is not None
    assert swept.curves.n_clusters == 10
    assert found.bd_rate_ci95 is not None, found
    assert found.bd_rate_ci95[0] <= found.bd_rate <= found.bd_rate_ci95[1]


def test_files_count_at_their_size_under_every_rate(swept: Sweep) -> None:
    by_key = {(one.metric, one.rate): one for one in swept.curves.comparisons}
    assert by_key["psnr", "bpp_adaptive1"].anchor_rate == "bpp_adaptive1"  # which of a file is its size
    assert swept.result["bpp_adaptive1@jpeg-q35"] == swept.result["bpp@jpeg-q35"]
    entropy = by_key["psnr", "bpp_order0"]
    assert entropy.anchor_rate == "bpp"
    assert entropy.bd_rate is not None
    assert by_key["psnr", "bpp"].bd_rate is not None
    assert entropy.bd_rate < by_key["psnr", "bpp"].bd_rate
    assert entropy.interval_reason == "bpp_order0 is no mean over images, nor close to one"


def test_few_sources_give_no_interval(swept: Sweep) -> None:
    """Nine sources are too few, however many images they were cut into."""
    records = [
        dataclasses.replace(record, cluster=f"c{number % 9}")
        for number, record in enumerate(read_records(Path(swept.result.path or "")))
    ]
    found = compare_curves(swept.result, records, rates=("bpp",)).comparisons[0]
    assert found.bd_rate is not None
    assert found.bd_rate_ci95 is None
    assert found.interval_reason == "psnr rests on 9 independent sources, too few to resample"


def test_resampling_nothing_gives_the_values_back(tmp_path: Path) -> None:
    """The recomputed mean over every image is the result's own number: of images, of size groups and of influences."""
    made = sweep(
        "lbg", "quick", "psnr,psnr_word,psnr_pooled", lengths=(1, 4), against=("jpeg",), out=tmp_path, limit=6,
        rates="bpp",
    )  # fmt: skip
    folder = Path(made.result.path or "")
    drawn = Resampled(made.result, read_records(folder), read_influences(folder), 1)
    drawn._weights = np.ones((1, len(drawn.clusters)))
    influences = read_influences(folder)[1]
    for metric in ("psnr", "psnr_word", "psnr_pooled"):
        for branches in made.result.spec.curves.values():
            values = [made.result.values[value_key(metric, branch)] for branch in branches]
            if metric == "psnr_pooled" and not influences:
                assert drawn.why_none(metric, "bpp", branches).endswith("no mean over images, nor close to one")
                continue
            pair = drawn.curve(metric, "bpp", branches)
            if all(value.value is not None for value in values):
                assert pair[1][0] == pytest.approx([value.value for value in values])
            assert pair[0][0] == pytest.approx([made.result[value_key("bpp", branch)] for branch in branches])


def test_curves_survive_the_file_and_older_files_have_none(swept: Sweep) -> None:
    row = json.loads(json.dumps(result_to_json(swept.result)))
    assert result_from_json(row, where="x").spec == swept.result.spec
    del row["spec"]["curves"]
    assert result_from_json(row, where="x").spec.curves == {}


def test_the_same_sweep_gives_the_same_numbers(swept: Sweep) -> None:
    folder = Path(swept.result.path or "")
    again = compare_curves(swept.result, read_records(folder), rates=("bpp", "bpp_adaptive1"))
    assert again.comparisons[0] == swept.curves.comparisons[0]
    kept = read_rate_distortion(folder, run_id=swept.result.run_id)
    assert kept.comparisons == swept.curves.comparisons
    assert kept.rates == ("bpp", "bpp_adaptive1", "bpp_order0")


def test_a_file_of_another_run_is_left_alone_and_a_broken_one_is_named(swept: Sweep, tmp_path: Path) -> None:
    write_rate_distortion(tmp_path, swept.curves)
    assert read_rate_distortion(tmp_path, run_id="another").comparisons == ()
    file = tmp_path / RATE_DISTORTION
    row = json.loads(file.read_text())
    for change in ({"comparisons": 3}, {"schema_version": 99}, {"comparisons": [{"metric": "psnr"}]}):
        file.write_text(json.dumps({**row, **change}))
        with pytest.raises(ResultsError, match="rate_distortion"):
            read_rate_distortion(tmp_path, run_id=swept.result.run_id)
    file.write_text("{")
    with pytest.raises(ResultsError, match="malformed"):
        read_rate_distortion(tmp_path, run_id=swept.result.run_id)


def test_the_command_prints_points_and_deltas(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ["--task", "folder", "--data", photos, "--size", "64", "--metrics", "psnr", "--out", tmp_path]
    asked = ["--tokenizer", "jpeg", "--variants", "q10,q30,q50,q80", "--against", "webp", *folder]
    assert tokbench("sweep", *asked) == 0
    out, err = capsys.readouterr()
    assert "\x1b" not in out
    for part in ("curve", "q30", "webp", "q85", "BD-rate", "test minus anchor"):
        assert part in out, part
    assert "report.html" in err
    run = tmp_path / "sweeps" / "folder" / "jpeg__q80"
    assert read_result(run).spec.curves["jpeg"] == ("jpeg-q10", "jpeg-q30", "jpeg-q50", "")
    page = (run / "report.html").read_text()
    assert "Rate–distortion</h3>" in page
    assert "against <bdi>webp</bdi>" in page

    assert tokbench("sweep", *asked, "--json", "--no-report") == 0
    row = json.loads(capsys.readouterr().out)
    assert row["comparisons"][0]["anchor"] == "webp"
    assert len(row["points"]["psnr"]["bpp"]["jpeg"]) == 4  # a file's size is its rate under any name: one curve


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lbg", "--lengths", "1,9"], "lengths 1 to 8, got 9"),
        (["lbg", "--lengths", "1,2", "--variants", "d1,d2"], "not by both"),
        (["lbg", "--rate", "bits"], "a rate is one of bpp"),
        (["lbg", "--against", "lbg"], "lbg against itself"),
        (["lbg", "--against", "jpg"], "no tokenizer named 'jpg'"),
        (["lbg", "--against", "identity"], "identity has no size in bits"),
        (["jpeg", "--variants", "q10"], "at least two variants"),
        (["jpeg", "--variants", "q10,q999"], "q999"),
        (["jpeg", "--lengths", "1,2"], "no variable length"),
        (["pca"], "no size in bits"),
        (["resize"], "no size in bits"),
        (["lbg", "--lengths", "one"], "not a list of whole numbers"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    assert tokbench("sweep", "--tokenizer", *arguments, "--out", tmp_path) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_default_points() -> None:
    from tokbench.registry import find_tokenizer

    assert _all_lengths(find_tokenizer("lbg").card) == [1, 2, 4, 8]
    assert _spread("webp") == ["q5", "q15", "q35", "q60", "q85"]
    assert _spread("rvq") == [f"d{n}" for n in range(1, 9)]
    assert _spread("identity") == []


def test_tokenizers_that_take_other_sizes_cannot_share_a_pass(photos: Path, tmp_path: Path) -> None:
    class Odd:
        card = TokenizerCard(name="odd/b", codebook_sizes=(4,), size_multiple=24)

        def encode(self, images: Any) -> Any: ...

        def decode(self, encoding: Any) -> Any: ...

    with pytest.raises(UsageError, match=r"odd/b does not take the image sizes of lbg/d8"):
        sweep("lbg/d8", folder_task(size_px=64), "psnr", data=photos, variants=["d2", Odd()], out=tmp_path)


def test_a_metric_that_is_not_installed_says_so_in_its_place(swept: Sweep) -> None:
    values = {
        key: dataclasses.replace(value, value=None, status="skipped", reason="needs a package")
        if value.metric == "psnr"
        else value
        for key, value in swept.result.values.items()
    }
    found = compare_curves(dataclasses.replace(swept.result, values=values), (), rates=("bpp",)).comparisons
    assert found[0].reason == "no psnr: needs a package"
    assert found[1].metric == "psnr_pooled"
    assert found[1].interval_reason == "psnr_pooled is no mean over images, nor close to one"


@pytest.mark.parametrize(
    ("family", "variant", "name"),
    [
        ("jpeg", "q10", "jpeg/q10"),
        ("jpeg", "lbg/d2", "lbg/d2"),
        ("jpeg", "webp", "webp"),
        ("", "webp", "webp"),
        ("", "quantised:pca?bits=2", "quantised:pca?bits=2"),
        ("jpeg", "q999", "jpeg/q999"),
    ],
)
def test_a_variant_is_one_of_the_family_or_another_tokenizer(family: str, variant: str, name: str) -> None:
    assert _variant_name(family, variant) == name


def test_a_variant_of_no_family_says_what_it_needs() -> None:
    with pytest.raises(UsageError, match="needs a family of built-in tokenizers"):
        _variant_name("", "q10")
