"""From records to values: how numbers per image, word or face become one number with its interval.

A run feeds records in as they are made; whoever holds a finished run's records gets the same values from them.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tokbench.cards import MetricCard
from tokbench.contracts import Summary
from tokbench.errors import MetricError
from tokbench.results import PLAIN, GroupValue, Record, Value, ValueStatus
from tokbench.stats import MeanInterval, group_means, macro_mean_interval, mean_interval
from tokbench.tasks.task import Task


def value_key(metric: str, branch: str) -> str:
    """``metric`` for the plain reconstruction, ``metric@branch`` for any other."""
    return metric if branch == PLAIN else f"{metric}@{branch}"


@dataclass(eq=False)
class Column:
    """The values of one metric on one branch: a few numbers an image or region, whatever the size of the images.

    ``samples`` and ``clusters`` number the images and clusters they come from, ``groups`` names size groups.
    """

    values: array[float] = field(default_factory=lambda: array("d"))
    samples: array[int] = field(default_factory=lambda: array("q"))
    clusters: array[int] = field(default_factory=lambda: array("q"))
    groups: list[str | None] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def names(self) -> list[str]:
        """The cluster of each value."""
        return [str(cluster) for cluster in self.clusters]


class Columns:
    """Takes records in and holds one :class:`Column` a value key."""

    def __init__(self) -> None:
        self._columns: dict[str, Column] = {}
        self._samples: dict[str, int] = {}
        self._clusters: dict[str, int] = {}
        self._cluster_of: dict[str, str] = {}
        self.n_tokens = self.n_with_tokens = 0

    def add(self, record: Record) -> None:
        """Take in one record; a failed one has nothing to take."""
        sample = self._samples.setdefault(record.id, len(self._samples))
        cluster = self._clusters.setdefault(record.cluster, len(self._clusters))
        self._cluster_of[record.id] = record.cluster
        plain = record.branches.get(PLAIN)
        if plain is not None and plain.n_tokens is not None:
            self.n_tokens += plain.n_tokens
            self.n_with_tokens += 1
        for name, branch in record.branches.items():
            for key, value in branch.values.items():
                self._append(value_key(key, name), value, sample, cluster, None)
            for region in branch.regions:
                for key, value in region.values.items():
                    self._append(value_key(key, name), value, sample, cluster, region.group)
                for key, reason in region.reasons.items():
                    self[value_key(key, name)].left_out[reason] += 1

    def __getitem__(self, key: str) -> Column:
        return self._columns.setdefault(key, Column())

    def clusters_of(self, ids: Sequence[str]) -> list[str]:
        """The cluster of each of these samples."""
        return [self._cluster_of[sample] for sample in ids]

    def influences(self, key: str, ids: Sequence[str], *, groups: Sequence[str] = ()) -> np.ndarray | None:
        """How much each of these samples moves the mean of a column, as :class:`~tokbench.contracts.Summary` has it.

        With ``groups`` it is the unweighted mean of these groups' means. None if the column holds anything of other
        samples, or a group is empty.
        """
        column = self[key]
        place = {self._samples[sample]: row for row, sample in enumerate(ids)}
        if not column.values or not set(column.samples) <= place.keys():
            return None
        values = np.frombuffer(column.values, np.float64)
        rows = np.array([place[sample] for sample in column.samples])
        members = [np.array([name == group for name in column.groups]) for group in groups]
        moves = np.zeros(len(ids))
        for member in members or [np.ones(len(values), bool)]:
            if not member.any():
                return None
            inside = values[member]
            np.add.at(moves, rows[member], (inside - inside.mean()) / (len(inside) * max(1, len(groups))))
        return moves * len(ids)

    def _append(self, key: str, value: float, sample: int, cluster: int, group: str | None) -> None:
        column = self[key]
        column.values.append(value)
        column.samples.append(sample)
        column.clusters.append(cluster)
        column.groups.append(group)


def image_summary(card: MetricCard, column: Column) -> Summary:
    """The mean over images, with its interval."""
    if not column.values:
        return Summary(value=None, n=0, reason=card.undefined or "no sample was measured")
    return _summary(_mean(card, column), "images")


def region_summary(
    card: MetricCard, kind: str, column: Column, task: Task
) -> tuple[Summary, dict[str, GroupValue], MetricCard]:
    """The mean over words or faces as the task wants it, the values of its size groups, and the card that says so."""
    left_out = {f"left out: {reason}": n for reason, n in sorted(column.left_out.items())}
    if not column.values:
        reason = f"no annotated {kind}s in these images"
        if left_out:
            reason = "; ".join(f"{n} {kind}s {name}" for name, n in left_out.items())
        return Summary(value=None, n=0, n_unit=f"{kind}s", reason=reason), {}, card
    groups = task.size_groups.get(kind)  # type: ignore[call-overload]
    pooled = _summary(
        _mean(card, column), f"{kind}s", details={"n_images": len(dict.fromkeys(column.samples)), **left_out}
    )
    if groups is None:
        return pooled, {}, card
    clusters = column.names
    means = group_means(column.values, clusters, column.groups, names=groups.names, low=card.low, high=card.high)
    by_name = {name: _group_value(mean) for name, mean in means.items()}
    outside = sum(group is None for group in column.groups)
    if outside:
        pooled = replace(pooled, details={**(pooled.details or {}), "left out of every size group": outside})
    if task.region_mean == "pooled":
        return pooled, by_name, card
    macro = macro_mean_interval(
        column.values, clusters, column.groups, names=groups.names, low=card.low, high=card.high
    )
    empty = [name for name, mean in means.items() if mean is None]
    return _macro_summary(macro, pooled, empty=empty, kind=kind), by_name, replace(card, aggregate="macro_mean")


def with_interval(card: MetricCard, summary: Summary, clusters: Sequence[str]) -> Summary:
    """A summary with influences gets the interval that follows from them; any other stays as it is.

    Raises:
        MetricError: not one influence an image.
    """
    if summary.influences is None or summary.value is None:
        return summary
    if summary.influences.shape != (len(clusters),):
        raise MetricError(
            f"{card.key} gave influences of shape {summary.influences.shape} for {len(clusters)} images; "
            "expected one an image"
        )
    interval = mean_interval((summary.value + summary.influences).tolist(), clusters, low=card.low, high=card.high)
    details = {**(summary.details or {}), "n_clusters": interval.n_clusters}
    return replace(summary, ci95=interval.ci95, details=details)


def to_value(
    card: MetricCard,
    branch: str,
    summary: Summary,
    *,
    status: ValueStatus | None = None,
    groups: Mapping[str, GroupValue] | None = None,
) -> Value:
    """A metric's facts and its summary on one branch, as results hold them."""
    return Value(
        key=value_key(card.key, branch),
        metric=card.key,
        branch=branch,
        version=card.version,
        title=card.title,
        group=card.group,
        kind=card.kind,
        unit=card.unit,
        better=card.better,
        low=card.low,
        high=card.high,
        perfect=card.perfect,
        aggregate=card.aggregate,
        value=summary.value,
        n=summary.n,
        n_unit=summary.n_unit,
        ci95=summary.ci95,
        status=status or ("ok" if summary.value is not None else "undefined"),
        reason=summary.reason,
        groups=groups or {},
        details=summary.details or {},
    )


def _group_value(mean: MeanInterval | None) -> GroupValue:
    return GroupValue(value=None, n=0) if mean is None else GroupValue(value=mean.mean, n=mean.n, ci95=mean.ci95)


def _macro_summary(macro: MeanInterval | None, pooled: Summary, *, empty: Sequence[str], kind: str) -> Summary:
    """The unweighted mean of the groups, with the pooled mean among the details."""
    details = {**(pooled.details or {}), "pooled_mean": pooled.value}
    if macro is None:
        reason = f"no {kind} in size group {', '.join(empty)}"
        return Summary(value=None, n=pooled.n, n_unit=pooled.n_unit, reason=reason, details=details)
    details["n_clusters"] = macro.n_clusters
    return Summary(value=macro.mean, n=macro.n, n_unit=pooled.n_unit, ci95=macro.ci95, details=details)


def _mean(card: MetricCard, column: Column) -> MeanInterval:
    return mean_interval(column.values, column.names, low=card.low, high=card.high)


def _summary(mean: MeanInterval, unit: str, details: Mapping[str, int] | None = None) -> Summary:
    return Summary(
        value=mean.mean,
        n=mean.n,
        n_unit=unit,
        ci95=mean.ci95,
        details={**(details or {}), "n_clusters": mean.n_clusters},
    )
