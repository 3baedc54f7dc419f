"""What every export starts from: one row a value of a run, and which runs may stand in one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tokbench.cards import Better
from tokbench.errors import UnknownNameError, UsageError
from tokbench.registry import did_you_mean
from tokbench.results import RunResult


class Row(NamedTuple):
    """A value with everything needed to compare it or not to; None where there is none."""

    tokenizer: str
    task: str
    task_version: int
    manifest_digest: str
    key: str
    title: str
    metric_version: int
    value: float | None
    ci_low: float | None
    ci_high: float | None
    unit: str
    better: Better
    n: int
    n_unit: str
    status: str
    reason: str
    run_status: str
    run_id: str
    started: str


def rows_of(results: Sequence[RunResult], *, keys: Sequence[str] = ()) -> list[Row]:
    """A row a run and value, in order; ``keys`` chooses values and their order, none means all."""
    rows = []
    for result in results:
        for key in keys or result.values:
            value = result.values.get(key)
            if value is None:
                continue
            low, high = value.ci95 or (None, None)
            rows.append(
                Row(
                    tokenizer=result.spec.tokenizer.name,
                    task=str(result.spec.task["name"]),
                    task_version=int(result.spec.task["version"]),
                    manifest_digest=result.spec.manifest_digest,
                    key=key,
                    title=value.title,
                    metric_version=value.version,
                    value=value.value,
                    ci_low=low,
                    ci_high=high,
                    unit=value.unit,
                    better=value.better,
                    n=value.n,
                    n_unit=value.n_unit,
                    status=value.status,
                    reason=value.reason,
                    run_status=result.status,
                    run_id=result.run_id,
                    started=result.started,
                )
            )
    return rows


@dataclass(frozen=True, kw_only=True)
class Column:
    """One metric of a comparison: its title, and the row of each run that has it."""

    key: str
    title: str
    unit: str
    better: Better
    cells: tuple[Row | None, ...]

    def best(self) -> frozenset[int]:
        """The runs with the best value; none where there is no direction or nothing to compare."""
        values = [
            (row.value, index) for index, row in enumerate(self.cells) if row is not None and row.value is not None
        ]
        if self.better == "neither" or len(values) < 2:
            return frozenset()
        target = (max if self.better == "higher" else min)(value for value, _ in values)
        return frozenset(index for value, index in values if value == target)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs of one task, version and data, side by side."""

    task: str
    title: str
    n_samples: int
    tokenizers: tuple[str, ...]
    is_complete: tuple[bool, ...]
    columns: tuple[Column, ...]


def comparisons(results: Sequence[RunResult], *, keys: Sequence[str] = ()) -> list[Comparison]:
    """A table a task, version and data digest, in order of appearance; by default its measured plain values.

    Raises:
        UnknownNameError: a key that no run has.
        UsageError: one metric in different versions, which are not comparable, or nothing to show.
    """
    there = list(dict.fromkeys(key for result in results for key in result.values))
    for key in keys:
        if key not in there:
            raise UnknownNameError(f"no run has a value {key!r}{did_you_mean(key, there)}; values: {', '.join(there)}")
    groups: dict[tuple[str, int, str], list[RunResult]] = {}
    for result in results:
        task = result.spec.task
        groups.setdefault((str(task["name"]), int(task["version"]), result.spec.manifest_digest), []).append(result)
    tables = [_comparison(group, keys=keys) for group in groups.values()]
    if not any(table.columns for table in tables):
        raise UsageError("these runs have no measured value to export")
    return tables


def _comparison(results: Sequence[RunResult], *, keys: Sequence[str]) -> Comparison:
    task = results[0].spec.task
    measured = dict.fromkeys(
        key
        for result in results
        for key, value in result.values.items()
        if value.status == "ok" and not value.branch and value.kind != "cost"
    )
    cells = [{row.key: row for row in rows_of([result])} for result in results]
    columns = []
    for key in keys or measured:
        column = tuple(row.get(key) for row in cells)
        found = [row for row in column if row is not None]
        if not found:
            continue
        versions = {row.metric_version for row in found}
        if len(versions) > 1:
            raise UsageError(
                f"{key} is of the versions {', '.join(map(str, sorted(versions)))} in these runs, which are not "
                "comparable; measure again, or leave it out with --metrics"
            )
        first = found[0]
        columns.append(Column(key=key, title=first.title, unit=first.unit, better=first.better, cells=column))
    return Comparison(
        task=str(task["name"]),
        title=f"{task['title']} (task {task['name']}, version {task['version']})",
        n_samples=int(results[0].manifest["n_samples"]),
        tokenizers=tuple(result.spec.tokenizer.name for result in results),
        is_complete=tuple(result.status == "complete" and not result.counts.get("failed") for result in results),
        columns=tuple(columns),
    )
