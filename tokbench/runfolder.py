"""A run's folder on disk: reading and writing results, records and pictures.

::

    runs/<task>/<family>__<variant>/
        result.json       the RunResult; status "started" while the run goes on
        records.jsonl     one Record a line, appended as samples finish; holds no times
        timings.jsonl     one Timing a line
        influences.npz    how much each image moves each number that is no mean; absent if there is none
        pictures/         PNGs of the kept samples and index.json
        report.html

JSON never holds NaN. Files are written under a temporary name and renamed, except the two that are appended to.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokbench.errors import ResultsError
from tokbench.results import Record, RunResult
from tokbench.schema import dump_json, record_from_json, result_from_json, result_to_json

RESULT = "result.json"
RECORDS = "records.jsonl"
TIMINGS = "timings.jsonl"
INFLUENCES = "influences.npz"
PICTURES = "pictures"
REPORT = "report.html"

_IDS = "ids"  # no value key: those of metrics are never this short word


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
        raise ResultsError(
            f"{folder} is not a run: it has no {RESULT}; pass a folder that `tokbench run` made"
        ) from err
    except (json.JSONDecodeError, UnicodeDecodeError) as err:
        raise ResultsError(f"{path} is not JSON: {err}") from err
    except OSError as err:
        raise ResultsError(f"cannot read {path}: {err.strerror or err}") from err
    return result_from_json(row, where=str(path), folder=str(path.parent))


# ---- records -----------------------------------------------------------------------------------------------------


def json_line(row: Mapping[str, Any]) -> bytes:
    """One row of a JSON-lines file; the same row gives the same bytes."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"


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
        line = json_line(row)
        start = self._file.tell()
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as err:
            try:
                self._file.truncate(start)
            except OSError as left:
                err.add_note(f"and the half-written line could not be taken back: {left}")
            raise disk_error(self.path, err) from err
        self._digest.update(line)
        self.n += 1

    def summary(self) -> dict[str, Any]:
        return {"n": self.n, "sha256": self._digest.hexdigest()}

    def close(self) -> None:
        self._file.close()


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


# ---- influences --------------------------------------------------------------------------------------------------


def write_influences(folder: Path, ids: Sequence[str], by_key: Mapping[str, np.ndarray]) -> str:
    """Write ``influences.npz`` and return its SHA-256; equal influences give equal bytes.

    Args:
        folder: the run's.
        ids: the sample of each row.
        by_key: float64 ``(n,)`` by value key (see :class:`tokbench.contracts.Summary`).
    """
    path = folder / INFLUENCES
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **{_IDS: np.array(list(ids), np.str_)}, **dict(by_key))
    try:
        path.write_bytes(file.getvalue())
    except OSError as err:
        raise disk_error(path, err) from err
    return hashlib.sha256(file.getvalue()).hexdigest()


def read_influences(folder: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """Sample ids and, by value key, float64 ``(n,)`` in their order; both empty if the run has none.

    Raises:
        ResultsError: the file cannot be read as such.
    """
    path = folder / INFLUENCES
    if not path.exists():
        return [], {}
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        ids = [str(sample) for sample in arrays.pop(_IDS)]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as err:
        raise ResultsError(f"{path} is malformed: {err!r}") from err
    for key, values in arrays.items():
        if values.shape != (len(ids),) or values.dtype != np.float64 or not np.isfinite(values).all():
            raise ResultsError(
                f"{path}: {key} is {values.dtype} {values.shape}; expected {len(ids)} finite float64 numbers"
            )
    return ids, arrays


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
