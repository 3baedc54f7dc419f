"""Packing, reading back, validating many, and checking again with the tokenizer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from tests.submissions.forge import copy_of, honest_run, packed, small_task
from tests.toys import Quantiser
from tokbench.cards import TokenizerCard
from tokbench.cli.main import cli
from tokbench.errors import ResultsError, UsageError
from tokbench.runfolder import read_records, read_result
from tokbench.runner.collect import NO_ENCODING
from tokbench.submissions.checks.names import has_path, without_paths
from tokbench.submissions.form import read_submission, submission_folders
from tokbench.submissions.known import Known
from tokbench.submissions.pack import Said, command_of, pack, public_result
from tokbench.submissions.refresh import refresh
from tokbench.submissions.spot_check import SpotCheck, draw, name_of
from tokbench.submissions.strict_json import MAX_DEPTH, StrictJsonError, parse
from tokbench.submissions.validate import lines, validate


def test_what_was_packed_reads_back(run: Path, pictured: Path) -> None:
    submitted = read_submission(pictured)
    assert submitted.submission.submitter == "The tester"
    assert submitted.submission.licence == "CC0-1.0"
    assert submitted.submission.weights.keys() == {"lbg.safetensors"}
    assert list(submitted.records()) == list(read_records(run))
    assert submitted.result.values == read_result(run).values
    assert submitted.result.run_id == read_result(run).run_id
    (shown, _) = submitted.submission.pictures
    picture = submitted.picture(shown)
    assert picture is not None
    assert picture.is_file()
    assert submitted.picture("nothing") is None
    assert submission_folders(pictured.parent.parent) == [pictured]


def test_equal_runs_give_equal_submissions(run: Path, pictured: Path, shelf: Known, tmp_path: Path) -> None:
    again = packed(run, tmp_path, shelf=shelf, n_pictures=2)
    assert again.relative_to(tmp_path) == Path("small/lbg__d1")
    for path in (path for path in pictured.rglob("*") if path.is_file()):
        assert path.read_bytes() == (again / path.relative_to(pictured)).read_bytes()


def test_nothing_of_the_machine_is_in_it(honest: Path) -> None:
    environment = read_submission(honest).result.environment
    assert "argv" not in environment
    assert environment["packages"]["torch"]
    assert len(environment["platform"].split()) <= 2
    for name in ("result.json", "submission.json"):
        assert str(Path.home()) not in (honest / name).read_text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no weights in /home/jane/.cache/net.pt", "no weights in …/net.pt"),
        ("C:\\Users\\jane\\net.pt is missing", "…/net.pt is missing"),
        ("see ~jane/data/x", "see …/x"),
        ("see https://example.org/a/b and 8/16/32 bit/px, t/s", None),
        ("and/or, 1/2, a/b/c", None),
    ],
)
def test_paths_are_cut_and_addresses_are_not(text: str, expected: str | None) -> None:
    assert without_paths(text) == (text if expected is None else expected)
    assert has_path(text) == (expected is not None)


def test_the_platform_loses_what_may_name_a_machine() -> None:
    row = {"environment": {"platform": "Linux-6.8.0-janes-laptop-x86_64-with-glibc2.39", "argv": ["x"]}, "values": {}}
    assert public_result(row)["environment"] == {"platform": "Linux x86_64"}


def test_an_earlier_submission_is_replaced_and_nothing_else(run: Path, shelf: Known, tmp_path: Path) -> None:
    place = packed(run, tmp_path, shelf=shelf, n_pictures=2)
    packed(run, tmp_path, shelf=shelf)
    assert not (place / "pictures").exists()
    (place / "submission.json").unlink()
    with pytest.raises(UsageError, match="is no submission"):
        packed(run, tmp_path, shelf=shelf)


def test_the_command_repeats_the_run(run: Path) -> None:
    result = read_result(run)
    words = command_of(replace(result, spec=replace(result.spec, branches=("length=1", "length=2"), seed=3))).split()
    assert words[:4] == ["tokbench", "run", "--tokenizer", "lbg/d1"]
    assert words[words.index("--lengths") + 1] == "1,2"
    assert words[words.index("--seed") + 1] == "3"
    assert command_of(replace(result, spec=replace(result.spec, curves={"a": ("",)}))).startswith(
        "tokbench sweep --tok"
    )


def test_the_command_of_a_scored_run_scores(run: Path) -> None:
    result = read_result(run)
    value = replace(result.values["bpp"], status="skipped", value=None, reason=NO_ENCODING)
    words = command_of(replace(result, values={**result.values, "bpp": value}))
    assert words.startswith("tokbench score --reconstructions DIR --name lbg/d1 --task small --metrics psnr,")


def edited(run: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    shutil.copytree(run, tmp_path / "run")
    row = json.loads((tmp_path / "run" / "result.json").read_text())
    change(row)
    (tmp_path / "run" / "result.json").write_text(json.dumps(row))
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row: row.update(status="partial", reason="interrupted"), "not complete: interrupted"),
        (lambda row: row["spec"].update(limit=4), "used --limit"),
        (lambda row: row["spec"]["task"].update(name="folder"), "its images are private"),
        (lambda row: row["spec"]["task"].update(name="mine"), "no such task"),
        (lambda row: row["manifest"].update(digest="sha256:" + 64 * "1"), "other data"),
        (lambda row: row["counts"].update(failed=2), "samples failed"),
    ],
)
def test_runs_that_cannot_be_submitted_are_refused_with_the_reason(
    run: Path, shelf: Known, tmp_path: Path, change: Callable[[dict[str, Any]], Any], words: str
) -> None:
    with pytest.raises(ResultsError, match=words):
        pack(edited(run, tmp_path, change), Said(submitter="x"), out=tmp_path / "out", known=shelf)
    assert not (tmp_path / "out").exists()


def test_a_run_without_records_or_pictures_says_so(run: Path, shelf: Known, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "pictures")
    with pytest.raises(ResultsError, match=r"kept no picture of .* pack without --pictures"):
        packed(tmp_path / "run", tmp_path / "out", shelf=shelf, n_pictures=1)
    (tmp_path / "run" / "records.jsonl").unlink()
    with pytest.raises(ResultsError, match=r"no records\.jsonl"):
        packed(tmp_path / "run", tmp_path / "out", shelf=shelf)


# ---- many --------------------------------------------------------------------------------------------------------


def test_a_folder_of_results_is_validated_whole(honest: Path, shelf: Known, tmp_path: Path) -> None:
    root = tmp_path / "results"
    shutil.copytree(honest, root / "small" / "lbg__d1")
    (root / "README.md").write_text("# Results\n")
    (root / ".gitattributes").write_text("* -text\n")
    assert [verdict.is_valid for verdict in validate([root], known=shelf)] == [True]
    (root / "small" / "notes.txt").write_text("stray")
    (root / ".hidden").write_text("stray")
    shutil.copytree(honest, root / "small" / "lbg__best")
    first, *others = validate([root], known=shelf)
    assert [str(item) for item in first.errors] == [
        ".hidden: belongs to no submission",
        "small/lbg__best: the folder is not named after its task and tokenizer "
        "(got small/lbg__best, expected small/lbg__d1)",
        "small/notes.txt: belongs to no submission",
    ]
    assert [item.code for item in others[1].errors] == ["submitted-twice"]


def test_the_same_records_under_two_names_are_found(honest: Path, shelf: Known, tmp_path: Path) -> None:
    forged = copy_of(honest, tmp_path)
    forged.keeps_run_id = False
    forged.edit_result(lambda row: row["spec"]["tokenizer"].update(name="mine/best"))
    forged.edit_submission(lambda row: row.update(tokenizer="mine/best"))
    assert forged.errors(shelf) == []  # alone it cannot be told
    _, verdict = validate([honest, forged.folder], known=shelf)
    (error,) = verdict.errors
    assert error.code == "same-records"
    assert "the same records under two names" in error.message


def test_paths_that_are_nothing_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        validate([tmp_path / "nothing"])
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(UsageError, match="neither a folder nor"):
        validate([tmp_path / "x.txt"])


def test_an_older_schema_still_loads(
    honest: Path, shelf: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both files one version behind: they are migrated, and every check runs on today's form."""
    import tokbench.schema as schema
    import tokbench.schemas.documents as documents
    import tokbench.submissions.form as form

    now, ours = schema.SCHEMA_VERSION, form.SUBMISSION_VERSION

    def new_name(row: dict[str, Any]) -> dict[str, Any]:
        return {("submitter" if name == "by" else name): value for name, value in row.items()}

    forged = copy_of(honest, tmp_path)
    forged.edit_submission(lambda row: row.update(by=row.pop("submitter")))
    forged.seal()
    assert [item.where for item in validate([forged.folder], known=shelf)[0].errors] == ["submitter", "by"]
    monkeypatch.setattr(schema, "SCHEMA_VERSION", now + 1)
    monkeypatch.setattr(documents, "SCHEMA_VERSION", now + 1)
    monkeypatch.setitem(schema._MIGRATIONS, now, lambda row: row)
    monkeypatch.setattr(form, "SUBMISSION_VERSION", ours + 1)
    monkeypatch.setattr(documents, "SUBMISSION_VERSION", ours + 1)
    monkeypatch.setitem(form._MIGRATIONS, ours, new_name)
    documents.schema_of.cache_clear()
    try:
        (verdict,) = validate([forged.folder], known=shelf)
        assert verdict.errors == ()
        assert verdict.n_records == 11
        assert read_submission(forged.folder).submission.submitter == "The tester"
    finally:
        documents.schema_of.cache_clear()


def test_statistics_can_be_refreshed_and_nothing_else(honest: Path, shelf: Known, tmp_path: Path) -> None:
    """An interval by an older method is made again; a forged record stays forged."""
    forged = copy_of(honest, tmp_path)
    before = (forged.folder / "result.json").read_bytes()
    assert refresh(forged.folder, known=shelf).is_valid
    assert (forged.folder / "result.json").read_bytes() == before
    forged.edit_result(lambda row: row["values"]["psnr"].update(ci95=[0.0, 100.0]))
    forged.edit_result(lambda row: row["values"]["psnr_word"]["groups"]["small"].update(ci95=None))
    assert {item.code for item in forged.errors(shelf)} == {"recomputed", "recomputed-group"}
    assert refresh(forged.folder, known=shelf).errors == ()
    assert (forged.folder / "result.json").read_bytes() == before
    forged.edit_result(lambda row: row["values"]["psnr"].update(ci95=[0.0, 100.0], unit="%"))
    forged.seal()
    damaged = (forged.folder / "result.json").read_bytes()
    with pytest.raises(ResultsError, match="more than its statistics is wrong:\n  metric-card"):
        refresh(forged.folder, known=shelf)
    assert (forged.folder / "result.json").read_bytes() == damaged


# ---- set metrics -------------------------------------------------------------------------------------------------


def test_influences_give_the_interval_back(run: Path, shelf: Known) -> None:
    """A number over the set is not recomputed, but its interval must follow from what each image moves it by."""
    import numpy as np

    from tokbench.submissions.checks.values import _check_influences, from_influences
    from tokbench.submissions.findings import Findings
    from tokbench.submissions.opening import Opened

    result, records = read_result(run), list(read_records(run))
    moves = np.linspace(-1, 1, 11)
    opened = Opened(folder=run, result=result, records=records, influence_ids=[record.id for record in records])

    def codes(ci95: tuple[float, float] | None, influences: Any) -> list[str]:
        opened.influences = {"psnr_pooled": influences}
        findings = Findings()
        again = from_influences(opened, shelf)["psnr_pooled"]
        claimed = replace(result.values["psnr_pooled"], ci95=ci95 or again.ci95)
        _check_influences(claimed, again, findings)
        return [item.code for item in findings.errors]

    assert codes(None, moves) == []
    assert codes((0.0, 99.0), moves) == ["influences-interval"]
    assert codes(None, moves + 0.1) == ["influences-sum"]


# ---- spot check --------------------------------------------------------------------------------------------------


def test_the_draw_depends_on_seed_and_ids_alone() -> None:
    ids = [f"s{index}" for index in range(50)]
    assert draw(ids, n=8, seed=1) == draw(ids[::-1], n=8, seed=1)
    assert draw(ids, n=8, seed=1) != draw(ids, n=8, seed=2)
    assert draw(ids, n=99, seed=1) == sorted(ids)


def test_a_spot_check_of_the_honest_one_agrees_to_the_bit(honest: Path, shelf: Known) -> None:
    (verdict,) = validate([honest], known=shelf, further=SpotCheck(n=4, device="cpu", known=shelf))
    assert verdict.errors == ()
    (note,) = [item for item in verdict.findings if item.code == "spot-checked"]
    assert "4 of 11 samples ran again, compared to the last bit" in note.message


class Wrong(Quantiser):
    """The same card, another tokenizer."""

    def decode(self, encoding: Any, *, seeds: Any) -> torch.Tensor:
        return (super().decode(encoding, seeds=seeds) + 0.1).clamp(0, 1)


@pytest.mark.parametrize("is_same_machine", [True, False])
def test_a_spot_check_finds_another_tokenizer(shelf: Known, tmp_path: Path, is_same_machine: bool) -> None:
    """On the same machine by the bit, on another by more than rounding."""
    run = honest_run(tmp_path / "runs", tokenizer=Quantiser(4))
    place = packed(run, tmp_path / "results", shelf=shelf)
    forged = copy_of(place, tmp_path / "elsewhere")
    if not is_same_machine:
        forged.edit_result(lambda row: row["environment"].update(cpu="Another CPU"))
        forged.seal()

    def check(tokenizer: Any) -> Any:
        further = SpotCheck(n=3, device="cpu", tokenizer=tokenizer, known=shelf)
        return validate([forged.folder], known=shelf, further=further)[0]

    assert check(Quantiser(4)).errors == ()
    differing = {item.message.split(" ")[0] for item in check(Wrong(4)).errors}
    assert {"psnr", "mae", "ssim", "words"} <= differing
    assert ("reconstruction_sha256" in differing) == is_same_machine
    assert any("another tokenizer" in item.message for item in check(Quantiser(5)).errors)


def test_a_spot_check_opens_wrappers_of_registered_tokenizers(shelf: Known, tmp_path: Path) -> None:
    run = honest_run(tmp_path / "runs", tokenizer="quantised:pca/k4?bits=5", metrics="psnr,bpp")
    assert "--tokenizer 'quantised:pca/k4?bits=5' --task" in command_of(read_result(run))
    place = packed(run, tmp_path / "results", shelf=shelf)
    (verdict,) = validate([place], known=shelf, further=SpotCheck(n=2, device="cpu", known=shelf))
    assert verdict.errors == ()
    assert any(item.code == "spot-checked" for item in verdict.findings)


@pytest.mark.parametrize(
    "opened_as",
    ["external:pca", "diffusers:pca", "quantised:os:getcwd?bits=4", "quantised:{external:pca}?bits=4", "os:getcwd"],
)
def test_a_spot_check_opens_nothing_else_on_a_submissions_word(opened_as: str) -> None:
    """Each would import, run or download what the submitter chose."""
    with pytest.raises(UsageError, match=r"is not opened on its word alone; .*pass --tokenizer"):
        name_of(TokenizerCard(name="quantised/pca", opened_as=opened_as))


def test_names_that_a_spot_check_takes() -> None:
    assert name_of(TokenizerCard(name="pca/k4")) == "pca/k4"
    for opened_as in ("quantised:pca?bits=4", "quantised:{quantised:{pca}?bits=8}?bits=4"):
        assert name_of(TokenizerCard(name="quantised/pca", opened_as=opened_as)) == opened_as


# ---- strict JSON -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("{}".encode("utf-16"), "byte order mark"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": 1, "a": 2}', "duplicate key: 'a'"),
        (b'[{"b": {"a": 1, "a": 2}}]', "duplicate key"),
        (b'{"a": NaN}', "holds NaN"),
        (b'{"a": -Infinity}', "holds -Infinity"),
        (b'{"a": 1e400}', "infinity or beyond"),
        (b'{"a": ' + 5000 * b"9" + b"}", "5000 digits"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\ud800": 1}', "surrogate"),
        (100 * b"[" + 100 * b"]", "nested too deeply"),
        (100_000 * b"[" + 100_000 * b"]", "nested too deeply"),
        (100_000 * b'{"a":' + b"1" + 100_000 * b"}", "nested too deeply"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1} x', "not JSON"),
        (b"", "not JSON"),
    ],
)
def test_json_with_two_readings_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(StrictJsonError, match=words):
        parse(content)


def test_json_with_one_reading_is_read() -> None:
    document = {"a": [1, 2.5, None, True, "ü", {"b": "\U0001f600"}], "c": {}}
    assert parse(json.dumps(document).encode()) == document
    deep: Any = 0
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    assert parse(json.dumps(deep).encode()) == deep


# ---- command line ------------------------------------------------------------------------------------------------


def test_findings_of_one_kind_are_summed_up_for_people(honest: Path, shelf: Known, tmp_path: Path) -> None:
    forged = copy_of(honest, tmp_path)
    forged.edit_records(lambda rows: [row.update(cluster="x") for row in rows])
    text = lines(forged.errors(shelf))
    assert sum(line.startswith("cluster: records.jsonl.gz") for line in text) == 5
    assert "cluster: … and 6 more of this kind (--json has all)" in text


def test_validate_tells_people_and_machines(honest: Path, tmp_path: Path) -> None:
    """The small task is not registered, so this is rejected with that reason."""
    ours = CliRunner().invoke(cli, ["submit", "validate", str(honest)], standalone_mode=False)
    assert ours.return_value == 1
    assert "NOT VALID" in ours.output
    assert "unknown-task" in ours.output
    found = CliRunner().invoke(cli, ["submit", "validate", "--json", str(honest)], standalone_mode=False)
    (row,) = json.loads(found.output)
    assert row["valid"] is False
    assert {"code", "level", "file", "where", "message", "got", "expected"} == set(row["findings"][0])


def test_pack_refuses_by_the_command_line_too(run: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli, ["submit", "pack", str(run), "--submitter", "x", "--out", str(tmp_path / "s.zip")], standalone_mode=False
    )
    assert isinstance(done.exception, ResultsError)
    assert "no such task" in str(done.exception)
    alone = CliRunner().invoke(cli, ["submit", "validate", str(run), "--tokenizer", "lbg"], standalone_mode=False)
    assert isinstance(alone.exception, UsageError)


def test_the_small_task_is_part_of_quick() -> None:
    task, manifest = small_task()
    assert (task.name, len(manifest.samples)) == ("small", 11)
    kinds = {region.kind for sample in manifest.samples for region in sample.regions}
    assert kinds == {"word", "face"}
