"""Metrics that have no number in any run, put together where the reason is the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokbench.report.runs import order_values
from tokbench.results import RunResult, Value

Reasons = tuple[tuple[str, str] | None, ...]  # status and reason in each run; None where it was not asked for


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Metrics without a number for one and the same reason: their keys, and the first one's value in each run."""

    keys: tuple[str, ...]
    values: tuple[Value | None, ...]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A metric group of the results: value keys by metric, plain branch first, and what is missing."""

    group: str
    metrics: tuple[tuple[str, ...], ...]
    missing: tuple[Missing, ...]


def result_parts(results: Sequence[RunResult]) -> list[Part]:
    """All runs' value keys by metric group, each key once: with its metric, or among those missing for one reason.

    What is missing stands in the first group it concerns; a group without anything left is left out. A branch that is
    missing like its plain reconstruction goes without saying.
    """
    order = order_values(results)
    same: dict[Reasons, list[str]] = {}
    for _, metrics in order:
        for key in (key for keys in metrics for key in keys):
            reasons = _reasons([result.values.get(key) for result in results])
            if reasons is not None:
                same.setdefault(reasons, []).append(key)
    shared = {key: keys for keys in same.values() if len(keys) > 1 for key in keys}
    parts = []
    for group, metrics in order:
        kept = tuple(left for keys in metrics if (left := tuple(key for key in keys if key not in shared)))
        starts = [shared[key] for keys in metrics for key in keys if key in shared and shared[key][0] == key]
        if kept or starts:
            missing = tuple(Missing(keys=_names(keys), values=_values(results, keys[0])) for keys in starts)
            parts.append(Part(group=group, metrics=kept, missing=missing))
    return parts


def _reasons(values: Sequence[Value | None]) -> Reasons | None:
    if any(value is not None and value.status == "ok" for value in values):
        return None
    return tuple(None if value is None else (value.status, value.reason) for value in values)


def _names(keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(key for key in keys if key.partition("@")[0] not in keys or "@" not in key)


def _values(results: Sequence[RunResult], key: str) -> tuple[Value | None, ...]:
    return tuple(result.values.get(key) for result in results)
