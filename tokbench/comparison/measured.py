"""A run as comparisons need it: its result, and its numbers per image or region as columns that can be paired."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tokbench.errors import ResultsError
from tokbench.results import Record, RunResult, Value
from tokbench.runfolder import INFLUENCES, RECORDS, read_influences, read_records, read_result

_WHOLE_IMAGE = -1


class SampleFacts(NamedTuple):
    """What must be the same of a sample in both runs, and whether it failed."""

    cluster: str
    is_ok: bool
    reference_sha256: str
    size_px: tuple[int, int] | None


class Units:
    """Images and regions by number, the same for all runs that are compared, so that columns pair by number.

    A unit's cluster and size group are those of the run that named it first; ``regrouped`` collects the samples where
    a later run disagrees about a group.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, int], int] = {}
        self._samples: list[str] = []
        self._clusters: list[int] = []
        self._groups: list[str | None] = []
        self._cluster_numbers: dict[str, int] = {}
        self.regrouped: dict[str, None] = {}

    def number(self, sample: str, region: int, *, cluster: str, group: str | None) -> int:
        """The unit's number, a new one if it is new."""
        known = self._numbers.get((sample, region))
        if known is None:
            known = self._numbers[sample, region] = len(self._samples)
            self._samples.append(sample)
            self._clusters.append(self._cluster_numbers.setdefault(cluster or sample, len(self._cluster_numbers)))
            self._groups.append(group)
        elif self._groups[known] != group:
            self.regrouped[sample] = None
        return known

    def clusters(self, units: np.ndarray) -> np.ndarray:
        """The cluster number of each of these units."""
        found: np.ndarray = np.array(self._clusters, np.int64)[units]
        return found

    def groups(self, units: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """The place of each unit's size group among ``names``, -1 for any other."""
        places = {name: place for place, name in enumerate(names)}
        numbers = [places.get(group, -1) if group is not None else -1 for group in self._groups]
        found: np.ndarray = np.array(numbers, np.int64)[units]
        return found


class Column(NamedTuple):
    """One value key: unit numbers, rising, and their values."""

    units: np.ndarray
    values: np.ndarray

    def of(self, units: np.ndarray) -> np.ndarray:
        """The values of these units, all of which must be in the column."""
        found: np.ndarray = self.values[np.searchsorted(self.units, units)]
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredRun:
    """One run, read whole.

    Attributes:
        label: how messages and tables call it.
        samples: by id, in the order of the records.
        columns: by value key, of image and region metrics.
        influence_ids: the samples that ``influences`` have a row for.
        influences: by value key, of numbers over the set.
    """

    label: str
    result: RunResult
    samples: Mapping[str, SampleFacts]
    columns: Mapping[str, Column]
    influence_ids: Sequence[str] = ()
    influences: Mapping[str, np.ndarray]

    def value(self, key: str) -> Value | None:
        """The value of that key where it has a number."""
        value = self.result.values.get(key)
        return value if value is not None and value.status == "ok" and value.value is not None else None


def read_measured(folder: Path, units: Units, *, label: str = "") -> MeasuredRun:
    """Read a run's result, records and influences.

    Raises:
        ResultsError: a file is missing or malformed, a sample comes twice, or records or influences are not the ones
            the result was made with.
    """
    result = read_result(folder)
    home = Path(result.path or folder)
    if result.status not in ("complete", "partial"):
        samples, columns = dict[str, SampleFacts](), dict[str, Column]()
    else:
        _check_digest(home / RECORDS, result.records.get("sha256"))
        samples, columns = _columns(read_records(home), units, where=home)
    ids, influences = list[str](), dict[str, np.ndarray]()
    if expected := result.records.get("influences_sha256"):
        _check_digest(home / INFLUENCES, expected)
        ids, influences = read_influences(home)
    return MeasuredRun(
        label=label or result.spec.tokenizer.name,
        result=result,
        samples=samples,
        columns=columns,
        influence_ids=ids,
        influences=influences,
    )


def _check_digest(path: Path, expected: object) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as err:
        raise ResultsError(f"cannot read {path}: {err.strerror or err}; a comparison needs it") from err
    if found != expected:
        raise ResultsError(
            f"{path} has SHA-256 {found[:16]}…, but the result was made with one of {str(expected)[:16]}…; "
            "copy the run's folder again, or repeat the run"
        )


def _columns(
    records: Iterable[Record], units: Units, *, where: Path
) -> tuple[dict[str, SampleFacts], dict[str, Column]]:
    samples: dict[str, SampleFacts] = {}
    found: dict[str, tuple[list[int], list[float]]] = {}
    for record in records:
        if record.id in samples:
            raise ResultsError(f"{where / RECORDS} has sample {record.id!r} twice")
        samples[record.id] = SampleFacts(record.cluster, record.status == "ok", record.reference_sha256, record.size_px)
        for name, branch in record.branches.items():
            suffix = f"@{name}" if name else ""
            if branch.values:
                unit = units.number(record.id, _WHOLE_IMAGE, cluster=record.cluster, group=None)
                for key, value in branch.values.items():
                    numbers, values = found.setdefault(key + suffix, ([], []))
                    numbers.append(unit)
                    values.append(value)
            for region in branch.regions:
                unit = units.number(record.id, region.index, cluster=record.cluster, group=region.group)
                for key, value in region.values.items():
                    numbers, values = found.setdefault(key + suffix, ([], []))
                    numbers.append(unit)
                    values.append(value)
    return samples, {key: _column(numbers, values, where=where) for key, (numbers, values) in found.items()}


def _column(numbers: Sequence[int], values: Sequence[float], *, where: Path) -> Column:
    units = np.array(numbers, np.int64)
    order = np.argsort(units, kind="stable")
    units = units[order]
    if (np.diff(units) == 0).any():
        raise ResultsError(f"{where / RECORDS} has a region twice in one sample")
    return Column(units, np.array(values, np.float64)[order])
