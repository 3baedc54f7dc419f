"""Results and records as files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.toys import Quantiser
from tokbench.errors import ResultsError, SchemaTooNewError
from tokbench.evaluation import evaluate
from tokbench.results import SCHEMA_VERSION
from tokbench.runfolder import LineWriter, read_lines, read_pictures, read_records, read_result, write_text
from tokbench.schema import dump_json, record_from_json, record_to_json, result_to_json
from tokbench.tasks.catalogue import folder_task


@pytest.fixture
def folder(photos: Path, tmp_path: Path) -> Path:
    result = evaluate(Quantiser(4), folder_task(size_px=64), "pixel", data=photos, out=tmp_path)
    return Path(result.path or "")


def edit(folder: Path, **changes: object) -> None:
    path = folder / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_the_schema_version_comes_first(folder: Path) -> None:
    row = json.loads((folder / "result.json").read_text())
    assert next(iter(row)) == "schema_version"
    assert row["schema_version"] == SCHEMA_VERSION
    assert "path" not in row
    value = row["values"]["psnr"]
    assert {"value", "unit", "better", "n", "ci95", "status", "reason"} <= set(value)


def test_a_result_may_be_read_by_folder_or_file(folder: Path) -> None:
    assert read_result(folder) == read_result(folder / "result.json")


def test_newer_schemas_are_refused(folder: Path) -> None:
    edit(folder, schema_version=SCHEMA_VERSION + 1)
    with pytest.raises(SchemaTooNewError, match="upgrade tokbench"):
        read_result(folder)


@pytest.mark.parametrize("version", [None, "1", 0, -3, 1.5])
def test_nonsense_versions_are_refused(folder: Path, version: object) -> None:
    edit(folder, schema_version=version)
    with pytest.raises(ResultsError, match="schema_version"):
        read_result(folder)


def test_damaged_results_say_so(folder: Path, tmp_path: Path) -> None:
    edit(folder, values={"psnr": {"key": "psnr"}})
    with pytest.raises(ResultsError, match="malformed"):
        read_result(folder)
    (folder / "result.json").write_text("{")
    with pytest.raises(ResultsError, match="not JSON"):
        read_result(folder)
    with pytest.raises(ResultsError, match="is not a run"):
        read_result(tmp_path / "elsewhere")


def test_records_round_trip(folder: Path) -> None:
    for record in read_records(folder):
        assert record_from_json(json.loads(json.dumps(record_to_json(record)))) == record
    with (folder / "records.jsonl").open("a") as file:
        file.write("{half a li")
    with pytest.raises(ResultsError, match="line 11: not JSON"):
        list(read_lines(folder / "records.jsonl"))


def test_nan_is_never_written(folder: Path, tmp_path: Path) -> None:
    result = read_result(folder)
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump_json({**result_to_json(result), "reason": float("nan")})
    writer = LineWriter(tmp_path / "lines.jsonl")
    with pytest.raises(ValueError, match="not JSON compliant"):
        writer.write({"value": float("inf")})
    writer.close()
    assert (tmp_path / "lines.jsonl").read_bytes() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_says_so(tmp_path: Path) -> None:
    full = tmp_path / "lines.jsonl"
    full.symlink_to("/dev/full")
    writer = LineWriter(full)
    with pytest.raises(ResultsError, match=r"no space left to write .*--out"):
        writer.write({"id": "x"})
    writer.close()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="cannot write"):
        write_text(tmp_path / "file" / "below" / "result.json", "{}")
    with pytest.raises(ResultsError, match="cannot write"):
        LineWriter(tmp_path / "file" / "records.jsonl")


def test_a_second_run_replaces_the_first(folder: Path, photos: Path, tmp_path: Path) -> None:
    (folder / "report.html").write_text("old")
    evaluate(Quantiser(4), folder_task(size_px=64), "psnr", data=photos, out=tmp_path, limit=3)
    assert not (folder / "report.html").exists()
    assert len(list(read_records(folder))) == 3
    assert len(read_pictures(folder)) == 3
    assert len(list((folder / "pictures").glob("*.png"))) == 6
