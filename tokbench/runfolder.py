"""A run's folder on disk: reading and writing results, records and pictures.

::

    runs/<task>/<family>__<variant>/
        result.json       the RunResult; status "started" while the run goes on
        records.jsonl     one Record a line, appended as samples finish; holds no times
        timings.jsonl     one Timing a line
        pictures/         PNGs of the kept samples and index.json
        report.html

JSON never holds NaN. Files are written under a temporary name and renamed, except the two that are appended to.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokbench.cards import TokenizerCard
from tokbench.errors import ResultsError, SchemaTooNewError
from tokbench.results import (
    SCHEMA_VERSION,
    BranchRecord,
    GroupValue,
    Record,
    RegionRecord,
    RunResult,
    RunSpec,
    Value,
)

RESULT = "result.json"
RECORDS = "records.jsonl"
TIMINGS = "timings.jsonl"
PICTURES = "pictures"
REPORT = "report.html"


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The kept pictures of one sample: PNG files on the compared grid, reconstructions by branch name."""

    id: str
    reference: Path
    branches: Mapping[str, Path]


def folder_name(tokenizer: str) -> str:
    """``family/variant`` as a file name: ``family__variant``."""
    return tokenizer.replace("/", "__")


def write_text(path: Path, text: str) -> None:
    """Write a whole file or nothing: a temporary name, then a rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as err:
        try:
            temporary.unlink(missing_ok=True)
        finally:
            raise disk_error(path, err) from err


def disk_error(path: Path, err: OSError) -> ResultsError:
    """An OSError while writing, as a message that says what to do."""
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResultsError(
            f"no space left to write {path}: what was written so far is kept; free some space or pass --out DIR"
        )
    return ResultsError(f"cannot write {path}: {err.strerror or err}")


# ---- results -----------------------------------------------------------------------------------------------------


def write_result(folder: Path, result: RunResult) -> None:
    """Write ``result.json``."""
    write_text(folder / RESULT, dump_json(result_to_json(result)))


def read_result(folder: Path) -> RunResult:
    """Read ``result.json`` of a run's folder (or the file itself); older schemas are migrated, newer ones refused."""
    path = folder if folder.name.endswith(".json") else folder / RESULT
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise ResultsError(f"{folder} is not a run: it has no {RESULT}; pass a folder that `tokbench run` made") from err
    except (json.JSONDecodeError, UnicodeDecodeError) as err:
        raise ResultsError(f"{path} is not JSON: {err}") from err
    except OSError as err:
        raise ResultsError(f"cannot read {path}: {err.strerror or err}") from err
    return result_from_json(row, where=str(path), folder=str(path.parent))


def dump_json(row: Mapping[str, Any]) -> str:
    """Keys in field order, two-space indent, trailing newline, no NaN."""
    return json.dumps(row, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def result_to_json(result: RunResult) -> dict[str, Any]:
    """``schema_version`` first, then the fields in order; the local path is left out."""
    row: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
    for spec in dataclasses.fields(result):
        if spec.name == "path":
            continue
        value = getattr(result, spec.name)
        if spec.name == "values":
            row["values"] = {key: _value_to_json(item) for key, item in value.items()}
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            row[spec.name] = dataclasses.asdict(value)
        else:
            row[spec.name] = value
    return row


_MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}  # from version n to n + 1


def result_from_json(row: Mapping[str, Any], *, where: str, folder: str | None = None) -> RunResult:
    """Inverse of :func:`result_to_json`; raises ResultsError naming ``where`` and what is wrong."""
    data = dict(row)
    version = data.pop("schema_version", None)
    if not isinstance(version, int) or version < 1:
        raise ResultsError(f"{where} has no valid schema_version: it is not a tokbench result")
    if version > SCHEMA_VERSION:
        raise SchemaTooNewError(
            f"{where} has schema version {version}, this tokbench reads up to {SCHEMA_VERSION}; upgrade tokbench"
        )
    while version < SCHEMA_VERSION:
        data = _MIGRATIONS[version](data)
        version += 1
    try:
        spec = dict(data.pop("spec"))
        card = {key: _tuples(value) for key, value in spec.pop("tokenizer").items()}
        values = {key: _value_from_json(item) for key, item in data.pop("values").items()}
        return RunResult(
            spec=RunSpec(
                tokenizer=TokenizerCard(**card), **{k: _tuples(v) if k == "branches" else v for k, v in spec.items()}
            ),
            values=values,
            path=folder,
            **data,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise ResultsError(f"{where} is malformed: {err!r}") from err


def _value_to_json(value: Value) -> dict[str, Any]:
    row = dataclasses.asdict(value)
    row["ci95"] = None if value.ci95 is None else list(value.ci95)
    return row


def _value_from_json(row: Mapping[str, Any]) -> Value:
    data = dict(row)
    groups = {
        name: GroupValue(value=group["value"], n=group["n"], ci95=_pair(group["ci95"]))
        for name, group in data.pop("groups").items()
    }
    return Value(groups=groups, ci95=_pair(data.pop("ci95")), **data)


def _pair(value: list[float] | None) -> tuple[float, float] | None:
    return None if value is None else (value[0], value[1])


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


# ---- records -----------------------------------------------------------------------------------------------------


class LineWriter:
    """Appends JSON lines to a new file and keeps their count and digest; every line is whole on disk or absent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.n = 0
        self._digest = hashlib.sha256()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb", buffering=0)
        except OSError as err:
            raise disk_error(path, err) from err

    def write(self, row: Mapping[str, Any]) -> None:
        line = json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        start = self._file.tell()
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as err:
            self._file.truncate(start)
            raise disk_error(self.path, err) from err
        self._digest.update(line)
        self.n += 1

    def summary(self) -> dict[str, Any]:
        return {"n": self.n, "sha256": self._digest.hexdigest()}

    def close(self) -> None:
        self._file.close()


def record_to_json(record: Record) -> dict[str, Any]:
    """The record as one line; empty fields are left out."""
    row: dict[str, Any] = {"id": record.id, "cluster": record.cluster, "status": record.status}
    if record.status == "failed":
        row |= {"stage": record.stage, "error": record.error}
    if record.reference_sha256:
        row["reference_sha256"] = record.reference_sha256
    if record.size_px is not None:
        row["size_px"] = list(record.size_px)
    if record.branches:
        row["branches"] = {name: _branch_to_json(branch) for name, branch in record.branches.items()}
    return row


def record_from_json(row: Mapping[str, Any]) -> Record:
    """Inverse of :func:`record_to_json`."""
    size = row.get("size_px")
    return Record(
        id=row["id"],
        cluster=row["cluster"],
        status=row["status"],
        stage=row.get("stage", ""),
        error=row.get("error", ""),
        reference_sha256=row.get("reference_sha256", ""),
        size_px=None if size is None else (size[0], size[1]),
        branches={name: _branch_from_json(branch) for name, branch in row.get("branches", {}).items()},
    )


def read_records(folder: Path) -> Iterator[Record]:
    """The records of a run, in the order they were written."""
    yield from (record_from_json(row) for row in read_lines(folder / RECORDS))


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSON-lines file; an unreadable line is a ResultsError with its number."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as err:
                    raise ResultsError(f"{path}, line {number}: not JSON ({err})") from err
    except OSError as err:
        raise ResultsError(f"cannot read {path}: {err.strerror or err}") from err


def _branch_to_json(branch: BranchRecord) -> dict[str, Any]:
    row = {
        "reconstruction_sha256": branch.reconstruction_sha256,
        "encoding_bits": branch.encoding_bits,
        "n_tokens": branch.n_tokens,
        "clamped": branch.clamped,
        "values": dict(branch.values),
    }
    if branch.regions:
        row["regions"] = [dataclasses.asdict(region) for region in branch.regions]
    return row


def _branch_from_json(row: Mapping[str, Any]) -> BranchRecord:
    regions = tuple(
        RegionRecord(
            kind=region["kind"],
            index=region["index"],
            label=region["label"],
            box=(region["box"][0], region["box"][1], region["box"][2], region["box"][3]),
            group=region["group"],
            values=region["values"],
        )
        for region in row.get("regions", ())
    )
    return BranchRecord(
        reconstruction_sha256=row["reconstruction_sha256"],
        encoding_bits=row["encoding_bits"],
        n_tokens=row["n_tokens"],
        clamped=row["clamped"],
        values=row["values"],
        regions=regions,
    )


# ---- pictures ----------------------------------------------------------------------------------------------------


def read_pictures(folder: Path) -> list[Pictures]:
    """The kept pictures of a run; empty when it kept none."""
    index = folder / PICTURES / "index.json"
    if not index.exists():
        return []
    try:
        rows = json.loads(index.read_text(encoding="utf-8"))["samples"]
        return [
            Pictures(
                id=row["id"],
                reference=folder / PICTURES / Path(row["reference"]).name,
                branches={name: folder / PICTURES / Path(file).name for name, file in row["branches"].items()},
            )
            for row in rows
        ]
    except (json.JSONDecodeError, KeyError, TypeError) as err:
        raise ResultsError(f"{index} is malformed: {err!r}") from err
