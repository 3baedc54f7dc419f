"""Collecting: measured batches, in order, → the numbers of the run."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tokbench.branches import PLAIN, Branch
from tokbench.cards import MetricCard
from tokbench.contracts import CostMetric, RegionMetric, StatefulMetric, Summary, Timing
from tokbench.metrics.cost import Footprint
from tokbench.requirements import why_unavailable
from tokbench.results import GroupValue, Record, Value, ValueStatus
from tokbench.runner.measure import Measured, Measurer, feeds
from tokbench.stats import MeanInterval, group_means, macro_mean_interval, mean_interval
from tokbench.tasks.task import Task

NO_ENCODING = "only reconstructions were given, not a tokenizer"


def value_key(metric: str, branch: str) -> str:
    """``metric`` for the plain reconstruction, ``metric@branch`` for any other."""
    return metric if branch == PLAIN else f"{metric}@{branch}"


@dataclass(eq=False)
class _Column:
    """The values of one metric on one branch; a few numbers a sample or region, whatever the size of the images."""

    values: array[float] = field(default_factory=lambda: array("d"))
    clusters: array[int] = field(default_factory=lambda: array("q"))
    groups: list[str | None] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    n_samples: int = 0


class Collector:
    """Gathers values and metric states; ``add`` must be called from one thread, in batch order."""

    def __init__(
        self, metrics: Sequence[Any], branches: Sequence[Branch], *, task: Task, measurer: Measurer, has_tokenizer: bool
    ) -> None:
        self._task = task
        self._measurer = measurer
        self._has_tokenizer = has_tokenizer
        self._plan = _plan(metrics, branches)
        self._skipped = {metric.card.key: reason for metric in metrics if (reason := why_unavailable(metric))}
        self._columns = {value_key(metric.card.key, name): _Column() for name, metric in self._plan}
        self._states = {
            value_key(metric.card.key, name): metric.new_state()
            for name, metric in self._plan
            if isinstance(metric, StatefulMetric) and metric.card.key not in self._skipped
        }
        self._cluster_index: dict[str, int] = {}
        self.timings: Sequence[Timing] = ()
        self.footprint: Footprint | None = None
        self._tokens = self._token_images = 0

    def add(self, measured: Measured) -> None:
        """Take in one batch."""
        for record in measured.records:
            self._add_record(record)
        for name, metric in self._plan:
            state = self._states.get(value_key(metric.card.key, name))
            if state is not None and metric.card.key not in self._measurer.broken:
                try:
                    for comparison in measured.comparisons.get(name, ()):
                        metric.update(state, comparison)
                except Exception as err:  # as in Measurer: a broken metric is reported, the others go on
                    self._measurer.report_broken(metric.card.key, name, err)

    def values(self) -> dict[str, Value]:
        """Every metric's value on every branch it is fed by, in the order asked for."""
        return {value_key(metric.card.key, name): self._value(metric, name) for name, metric in self._plan}

    def _add_record(self, record: Record) -> None:
        cluster = self._cluster_index.setdefault(record.cluster, len(self._cluster_index))
        plain = record.branches.get(PLAIN)
        if plain is not None and plain.n_tokens is not None:
            self._tokens += plain.n_tokens
            self._token_images += 1
        for name, branch in record.branches.items():
            for key, value in branch.values.items():
                column = self._columns[value_key(key, name)]
                column.values.append(value)
                column.clusters.append(cluster)
            seen: set[str] = set()
            for region in branch.regions:
                for key, value in region.values.items():
                    column = self._columns[value_key(key, name)]
                    column.values.append(value)
                    column.clusters.append(cluster)
                    column.groups.append(region.group)
                    column.n_samples += key not in seen
                    seen.add(key)
                for key, reason in region.reasons.items():
                    self._columns[value_key(key, name)].left_out[reason] += 1

    def _value(self, metric: Any, branch: str) -> Value:
        try:
            return self._measured_value(metric, branch)
        except Exception as err:  # as in Measurer: a broken metric is reported, the others keep their values
            self._measurer.report_broken(metric.card.key, branch, err)
            reason = self._measurer.broken[metric.card.key]
            return _to_value(metric.card, branch, Summary(value=None, n=0, reason=reason), status="failed")

    def _measured_value(self, metric: Any, branch: str) -> Value:
        card: MetricCard = metric.card
        key = value_key(card.key, branch)
        if card.key in self._skipped:
            return _to_value(card, branch, Summary(value=None, n=0, reason=self._skipped[card.key]), status="skipped")
        if card.key in self._measurer.broken:
            reason = self._measurer.broken[card.key]
            return _to_value(card, branch, Summary(value=None, n=0, reason=reason), status="failed")
        if isinstance(metric, CostMetric):
            if not self.timings:
                why = NO_ENCODING if not self._has_tokenizer else "no sample was reconstructed"
                return _to_value(card, branch, Summary(value=None, n=0, reason=why), status="skipped")
            return _to_value(card, branch, metric.summarise(self.timings, footprint=self._footprint()))
        if not self._has_tokenizer and (card.kind == "code" or card.group == "rate"):
            return _to_value(card, branch, Summary(value=None, n=0, reason=NO_ENCODING), status="skipped")
        if isinstance(metric, StatefulMetric):
            return _to_value(card, branch, metric.compute(self._states[key]))
        column = self._columns[key]
        if isinstance(metric, RegionMetric):
            return self._region_value(card, branch, metric.region_kind, column)
        if not column.values:
            reason = card.undefined or "no sample was measured"
            return _to_value(card, branch, Summary(value=None, n=0, reason=reason))
        return _to_value(card, branch, _summary(_mean(card, column), "images"))

    def _footprint(self) -> Footprint | None:
        """The footprint with what only the run knows: how many tokens an image takes."""
        if self.footprint is None:
            return None
        if not self._token_images:
            reasons = {**self.footprint.reasons, "tokens_per_image": "latents and coded files have no tokens"}
            return replace(self.footprint, reasons=reasons)
        return replace(self.footprint, tokens_per_image=self._tokens / self._token_images)

    def _region_value(self, card: MetricCard, branch: str, kind: str, column: _Column) -> Value:
        left_out = {f"left out: {reason}": n for reason, n in sorted(column.left_out.items())}
        if not column.values:
            reason = f"no annotated {kind}s in these images"
            if left_out:
                reason = "; ".join(f"{n} {kind}s {name}" for name, n in left_out.items())
            return _to_value(card, branch, Summary(value=None, n=0, n_unit=f"{kind}s", reason=reason))
        groups = self._task.size_groups.get(kind)  # type: ignore[call-overload]
        pooled = _summary(_mean(card, column), f"{kind}s", details={"n_images": column.n_samples, **left_out})
        if groups is None:
            return _to_value(card, branch, pooled)
        clusters = [str(cluster) for cluster in column.clusters]
        means = group_means(column.values, clusters, column.groups, names=groups.names, low=card.low, high=card.high)
        by_name = {name: _group_value(mean) for name, mean in means.items()}
        outside = sum(group is None for group in column.groups)
        if outside:
            pooled = replace(pooled, details={**(pooled.details or {}), "left out of every size group": outside})
        if self._task.region_mean == "pooled":
            return _to_value(card, branch, pooled, groups=by_name)
        macro = macro_mean_interval(
            column.values, clusters, column.groups, names=groups.names, low=card.low, high=card.high
        )
        summary = _macro_summary(macro, pooled, empty=[name for name, mean in means.items() if mean is None], kind=kind)
        return _to_value(replace(card, aggregate="macro_mean"), branch, summary, groups=by_name)


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


def _plan(metrics: Sequence[Any], branches: Sequence[Branch]) -> list[tuple[str, Any]]:
    """(branch name, metric) of every value, plain ones first; costs are measured on the plain branch only."""
    plan = [(PLAIN, metric) for metric in metrics]
    for branch in branches:
        plan += [
            (branch.name, metric)
            for metric in metrics
            if feeds(branch, metric.card.key) and not isinstance(metric, CostMetric)
        ]
    return plan


def _mean(card: MetricCard, column: _Column) -> MeanInterval:
    clusters = [str(cluster) for cluster in column.clusters]
    return mean_interval(column.values, clusters, low=card.low, high=card.high)


def _summary(mean: MeanInterval, unit: str, details: Mapping[str, int] | None = None) -> Summary:
    return Summary(
        value=mean.mean,
        n=mean.n,
        n_unit=unit,
        ci95=mean.ci95,
        details={**(details or {}), "n_clusters": mean.n_clusters},
    )


def _to_value(
    card: MetricCard,
    branch: str,
    summary: Summary,
    *,
    status: ValueStatus | None = None,
    groups: Mapping[str, GroupValue] | None = None,
) -> Value:
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
