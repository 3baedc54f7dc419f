"""Where a run's records go as they are made: a folder, or nowhere but their digest."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tokbench.contracts import Timing
from tokbench.results import Record, RunResult
from tokbench.runfolder import (
    INFLUENCES,
    PICTURES,
    RECORDS,
    REPORT,
    RESULT,
    TIMINGS,
    LineWriter,
    json_line,
    write_influences,
    write_result,
)
from tokbench.runner.pictures import PictureKeeper
from tokbench.schema import record_to_json


class Sink(Protocol):
    """Takes everything a run leaves behind."""

    path: str | None

    def begin(self, result: RunResult) -> None: ...

    def record(self, record: Record) -> None: ...

    def pictures(self, record: Record, reference: np.ndarray, reconstructions: Mapping[str, np.ndarray]) -> None: ...

    def timing(self, timing: Timing) -> None: ...

    def influences(self, ids: Sequence[str], by_key: Mapping[str, np.ndarray]) -> None:
        """See :class:`tokbench.runner.collect.Influences`; at most once, before the end."""
        ...

    def summary(self) -> dict[str, Any]:
        """Count and SHA-256 of the records so far, and the SHA-256 of the influences if there are any."""
        ...

    def end(self, result: RunResult) -> None: ...


class FolderSink:
    """Writes a run's folder; an earlier run in it is replaced when this one begins."""

    def __init__(self, folder: Path, *, n_samples: int) -> None:
        self.path: str | None = str(folder)
        self._folder = folder
        self._n_samples = n_samples

    def begin(self, result: RunResult) -> None:
        for name in (RESULT, RECORDS, TIMINGS, INFLUENCES, REPORT):
            (self._folder / name).unlink(missing_ok=True)
        for old in (self._folder / PICTURES).glob("*"):
            old.unlink()
        write_result(self._folder, result)
        self._records = LineWriter(self._folder / RECORDS)
        self._timings = LineWriter(self._folder / TIMINGS)
        self._pictures = PictureKeeper(self._folder, n_samples=self._n_samples)
        self._influences: dict[str, str] = {}

    def record(self, record: Record) -> None:
        self._records.write(record_to_json(record))

    def pictures(self, record: Record, reference: np.ndarray, reconstructions: Mapping[str, np.ndarray]) -> None:
        self._pictures.offer(record, reference, reconstructions)

    def timing(self, timing: Timing) -> None:
        self._timings.write(dataclasses.asdict(timing))

    def influences(self, ids: Sequence[str], by_key: Mapping[str, np.ndarray]) -> None:
        self._influences = {"influences_sha256": write_influences(self._folder, ids, by_key)}

    def summary(self) -> dict[str, Any]:
        return {**self._records.summary(), **self._influences}

    def end(self, result: RunResult) -> None:
        self._records.close()
        self._timings.close()
        self._pictures.write_index()
        write_result(self._folder, result)


class DigestSink:
    """Keeps nothing but the count and digest of the records."""

    path: str | None = None

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._n = 0

    def begin(self, result: RunResult) -> None: ...

    def record(self, record: Record) -> None:
        self._digest.update(json_line(record_to_json(record)))
        self._n += 1

    def pictures(self, record: Record, reference: np.ndarray, reconstructions: Mapping[str, np.ndarray]) -> None: ...

    def timing(self, timing: Timing) -> None: ...

    def influences(self, ids: Sequence[str], by_key: Mapping[str, np.ndarray]) -> None: ...

    def summary(self) -> dict[str, Any]:
        return {"n": self._n, "sha256": self._digest.hexdigest()}

    def end(self, result: RunResult) -> None: ...
