"""The memory of a metric over a whole set: named fields, each with a declared reduction, that merge and save.

A run can then be split over processes, or stopped and resumed, without the metric knowing. Integers are exact, so
for integer fields (sums, extremes, histograms) two merged halves equal one pass bit for bit; float sums are float64
and equal up to rounding.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from tokbench.errors import MetricError
from tokbench.metrics.rows import Rows

Reduction = Literal["sum", "max", "min", "cat", "histogram"]

MAX_KEYS = 1 << 24
_HEADER = "state"
_BUFFERED_KEYS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Field:
    """What a field holds and how two of them become one.

    Attributes:
        reduction: ``sum``, ``max``, ``min`` (scalars, or arrays of ``shape`` elementwise); ``cat`` (rows of ``shape``,
            in the order seen: grows with the set, in memory and then in a temporary file, see
            :class:`~tokbench.metrics.rows.Rows`); ``histogram`` (see :class:`Histogram`).
        dtype: ``int64`` or ``float64`` (any numpy type for ``cat``). An integer scalar is a Python int without limit;
            an integer array wraps at 2^63.
        shape: of the value; of one row for ``cat``.
        max_keys: for ``histogram``.
    """

    reduction: Reduction
    dtype: str = "int64"
    shape: tuple[int, ...] = ()
    max_keys: int = MAX_KEYS


class Histogram:
    """Counts of 64-bit keys, storing only those that occur: 16 bytes each, so 2^64 possible keys cost nothing.

    Above ``max_keys`` distinct keys the counts are dropped for good and only ``total`` goes on, so that memory stays
    bounded. Whether that happens depends on the set alone, not on order or splits.
    """

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self.max_keys = max_keys
        self.total = 0
        self._keys = np.empty(0, np.uint64)
        self._counts = np.empty(0, np.int64)
        self._pending: list[tuple[np.ndarray, np.ndarray]] = []
        self._n_pending = 0
        self._is_overfull = False

    @property
    def is_overfull(self) -> bool:
        """More distinct keys than ``max_keys`` were seen, and the counts are gone."""
        self._compact()
        return self._is_overfull

    @property
    def keys(self) -> np.ndarray:
        """Distinct keys, rising: uint64 ``(k,)``."""
        self._compact()
        return self._keys

    @property
    def counts(self) -> np.ndarray:
        """Count of each key: int64 ``(k,)``."""
        self._compact()
        return self._counts

    def add(self, keys: np.ndarray, counts: np.ndarray | None = None) -> None:
        """Count keys: integers ``(m,)`` of at least 0, repeats allowed, once each or ``counts`` times."""
        if keys.ndim != 1 or keys.dtype.kind not in "ui" or (keys.dtype.kind == "i" and keys.size and keys.min() < 0):
            raise MetricError(
                f"histogram keys must be integers of at least 0, shape (m,); got {keys.dtype} {keys.shape}"
            )
        weights = np.ones(keys.shape, np.int64) if counts is None else counts.astype(np.int64)
        if weights.shape != keys.shape or (weights.size and weights.min() < 0):
            raise MetricError(f"histogram counts must be at least 0 and as many as the {keys.size} keys")
        self.total += int(weights.sum())
        if self._is_overfull:
            return
        present = weights > 0
        self._pending.append((keys[present].astype(np.uint64), weights[present]))
        self._n_pending += keys.size
        if self._n_pending > max(_BUFFERED_KEYS, self._keys.size):
            self._compact()

    def merge(self, other: Histogram) -> None:
        """Take over another histogram's counts."""
        total = self.total + other.total
        if other.is_overfull:
            self._overflow()
        else:
            self.add(other.keys, other.counts)
        self.total = total

    def _compact(self) -> None:
        if not self._pending:
            return
        keys = np.concatenate([self._keys, *(keys for keys, _ in self._pending)])
        counts = np.concatenate([self._counts, *(counts for _, counts in self._pending)])
        self._pending, self._n_pending = [], 0
        order = np.argsort(keys, kind="stable")
        keys, counts = keys[order], counts[order]
        starts = np.flatnonzero(np.concatenate([np.ones(min(1, keys.size), bool), keys[1:] != keys[:-1]]))
        self._keys = keys[starts]
        self._counts = np.add.reduceat(counts, starts) if starts.size else counts
        if self._keys.size > self.max_keys:
            self._overflow()

    def _overflow(self) -> None:
        self._is_overfull = True
        self._keys, self._counts = np.empty(0, np.uint64), np.empty(0, np.int64)
        self._pending, self._n_pending = [], 0


class State:
    """Named fields that can be added to, merged, saved and compared.

    A field may be declared late (one a codebook, say); the merge of two states has the fields of both.
    """

    def __init__(self, fields: Mapping[str, Field] | None = None) -> None:
        self._fields: dict[str, Field] = {}
        self._values: dict[str, Any] = {}
        for name, field in (fields or {}).items():
            self.declare(name, field)

    @property
    def fields(self) -> dict[str, Field]:
        """The declarations, by name."""
        return dict(self._fields)

    def declare(self, name: str, field: Field) -> None:
        """Add an empty field; a second, equal declaration changes nothing.

        Raises:
            MetricError: the name is already declared differently.
        """
        if name in self._fields:
            if self._fields[name] != field:
                raise MetricError(f"state field {name!r} is already {self._fields[name]}, cannot be {field}")
            return
        self._fields[name] = field
        self._values[name] = _empty(field)

    def add(self, name: str, value: Any) -> None:
        """Reduce a value into a ``sum``, ``max`` or ``min`` field; append rows ``(m, *shape)`` to a ``cat`` field."""
        field = self._field(name)
        if field.reduction == "histogram":
            raise MetricError(f"state field {name!r} is a histogram; use count()")
        if field.reduction == "cat":
            self._values[name].append(_checked(name, value, field, rows=True))
        else:
            self._values[name] = _reduce(field, self._values[name], _checked(name, value, field, rows=False))

    def count(self, name: str, keys: np.ndarray, counts: np.ndarray | None = None) -> None:
        """Count keys in a ``histogram`` field (see :meth:`Histogram.add`)."""
        self[name].add(keys, counts)

    def __getitem__(self, name: str) -> Any:
        """The value: int, float or array; None for an extreme of nothing; rows for ``cat``; a :class:`Histogram`."""
        field = self._field(name)
        return self._values[name].array() if field.reduction == "cat" else self._values[name]

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def merge(self, other: State) -> None:
        """Take over what another state has seen; ``cat`` rows come after ours."""
        for name, field in other._fields.items():
            self.declare(name, field)
            if field.reduction == "histogram":
                self._values[name].merge(other._values[name])
            elif field.reduction == "cat":
                self._values[name].extend(other._values[name])
            else:
                self._values[name] = _reduce(field, self._values[name], other._values[name])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, State) or self._fields != other._fields:
            return False
        ours, theirs = self.to_arrays(), other.to_arrays()
        return ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Plain arrays for ``numpy.savez``, without pickles; scalars sit in a JSON header, exactly."""
        header: list[dict[str, Any]] = []
        arrays: dict[str, np.ndarray] = {}
        for index, name in enumerate(sorted(self._fields)):
            row: dict[str, Any] = {"name": name, "field": asdict(self._fields[name])}
            value = self[name]
            if isinstance(value, Histogram):
                arrays[f"{index}.keys"], arrays[f"{index}.counts"] = value.keys, value.counts
                row["total"], row["is_overfull"] = value.total, value.is_overfull
            elif isinstance(value, np.ndarray):
                arrays[f"{index}"] = value
            else:
                row["value"] = value
            header.append(row)
        arrays[_HEADER] = np.array(json.dumps(header))
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> State:
        """Inverse of :meth:`to_arrays`; also takes what ``numpy.load`` returns."""
        state = cls()
        for index, row in enumerate(json.loads(str(arrays[_HEADER]))):
            name = row["name"]
            field = Field(**{**row["field"], "shape": tuple(row["field"]["shape"])})
            state.declare(name, field)
            if field.reduction == "histogram":
                histogram: Histogram = state[name]
                histogram.add(arrays[f"{index}.keys"], arrays[f"{index}.counts"])
                if row["is_overfull"]:
                    histogram._overflow()
                histogram.total = row["total"]
            elif "value" in row:
                state._values[name] = row["value"]
            else:
                array = np.array(arrays[f"{index}"])
                if field.reduction == "cat":
                    state._values[name].append(array)
                else:
                    state._values[name] = array
        return state

    def _field(self, name: str) -> Field:
        if name not in self._fields:
            raise MetricError(f"state has no field {name!r}; declared are {sorted(self._fields)}")
        return self._fields[name]


def _empty(field: Field) -> Any:
    if field.reduction == "histogram":
        return Histogram(field.max_keys)
    if field.reduction == "cat":
        return Rows(field.dtype, field.shape)
    if field.dtype not in ("int64", "float64"):
        raise MetricError(f"a {field.reduction} field is int64 or float64, not {field.dtype}")
    if field.reduction != "sum":
        return None
    if field.shape:
        return np.zeros(field.shape, field.dtype)
    return 0 if field.dtype == "int64" else 0.0


def _checked(name: str, value: Any, field: Field, *, rows: bool) -> Any:
    """The value as a Python number or an array of the declared type; MetricError if it does not fit."""
    shape: Sequence[int] = np.shape(value)[1:] if rows else np.shape(value)
    if tuple(shape) != field.shape or (rows and np.ndim(value) != len(field.shape) + 1):
        raise MetricError(f"state field {name!r} takes shape {field.shape}, got {np.shape(value)}")
    if field.dtype == "int64" and not rows and not field.shape:
        if int(value) != value:
            raise MetricError(f"state field {name!r} holds whole numbers, got {value!r}")
        return int(value)
    if field.dtype == "float64" and not rows and not field.shape:
        return float(value)
    if field.dtype.startswith("int") and np.asarray(value).dtype.kind not in "iu":
        raise MetricError(f"state field {name!r} holds whole numbers, got {np.asarray(value).dtype}")
    return np.array(value, dtype=field.dtype)  # a copy: the caller may reuse its buffer


def _reduce(field: Field, ours: Any, theirs: Any) -> Any:
    if ours is None or theirs is None:
        return theirs if ours is None else ours
    if field.reduction == "sum":
        return ours + theirs
    if field.shape:
        return (np.maximum if field.reduction == "max" else np.minimum)(ours, theirs)
    return (max if field.reduction == "max" else min)(ours, theirs)
