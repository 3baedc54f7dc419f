"""A run's curves against each other: deltas, and their intervals from resampled images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version

import numpy as np

from tokbench.aggregation import value_key
from tokbench.curves import (
    Comparison,
    CurvePoint,
    RateDistortion,
    as_curve,
    curve_points,
    distortion_metrics,
    rate_of,
)
from tokbench.errors import MetricError
from tokbench.rate_distortion import METHOD, deltas, interval, replicated_deltas, resampled_means
from tokbench.results import BranchRecord, Record, RunResult, Value

REPLICATES = 500
MIN_CLUSTERS = 10  # that have a part in the numbers compared; fewer make the percentile interval far too short
MIN_GROUP_CLUSTERS = 5  # in each size group that a mean of groups is made of
COVERS = (
    "95 % percentile interval over resampled independent sources, the same ones for both curves: it covers the choice "
    "of images, not that of the points or of the curve between them"
)


def compare_curves(
    result: RunResult,
    records: Iterable[Record],
    *,
    rates: Sequence[str],
    influences: tuple[Sequence[str], Mapping[str, np.ndarray]] = ((), {}),
    replicates: int = REPLICATES,
) -> RateDistortion:
    """All curves of a run, and the first (the tokenizer's) against each other one.

    Args:
        result: with ``spec.curves``.
        records: its records, for the intervals of the deltas.
        rates: rate keys; each gives the tokenizer a curve of its own, unless it equals an earlier one.
        influences: as :func:`tokbench.runfolder.read_influences` gives them, for numbers that are no mean.
        replicates: resampled sets of images.
    """
    curves = result.spec.curves
    test, *anchors = curves
    resampled = Resampled(result, records, influences, replicates)
    points: dict[str, dict[str, dict[str, tuple[CurvePoint, ...]]]] = {}
    comparisons = []
    rates = _distinct_rates(result, curves[test], rates)
    for metric in distortion_metrics([result]):
        by_rate = points.setdefault(metric.metric, {})
        for rate in rates:
            used = {name: rate if name == test else rate_of(result, curves[name], rate) for name in curves}
            found = by_rate[rate] = {
                name: curve_points(result, curve=name, branches=curves[name], metric=metric.metric, rate=used[name])
                for name in curves
            }
            missing = {name: _why_empty(result, curves[name], metric, used[name]) for name in curves if not found[name]}
            for anchor in anchors:
                bare = Comparison(
                    metric=metric.metric, rate=rate, test=test, anchor=anchor, anchor_rate=used[anchor]
                )  # fmt: skip
                reason = missing.get(test) or missing.get(anchor) or ""
                comparisons.append(
                    replace(bare, reason=reason) if reason else _compare(bare, metric, found, resampled)
                )  # fmt: skip
    return RateDistortion(
        run_id=result.run_id, method=METHOD, library=f"bjontegaard {version('bjontegaard')}", replicates=replicates,
        seed=result.spec.seed, n_clusters=len(resampled.clusters), covers=COVERS, rates=tuple(rates),
        points=points, comparisons=tuple(comparisons),
    )  # fmt: skip


def _why_empty(result: RunResult, branches: Sequence[str], metric: Value, rate: str) -> str:
    """Why a curve has no point at all, as its first branch tells it."""
    for key in (metric.metric, rate):
        value = result.values.get(value_key(key, branches[0]))
        if value is None or value.value is None:
            return f"no {key}: {'not measured' if value is None else value.reason or value.status}"
    return ""


def _compare(
    bare: Comparison, metric: Value, found: Mapping[str, Sequence[CurvePoint]], resampled: Resampled
) -> Comparison:
    test, anchor = bare.test, bare.anchor
    try:
        made = deltas(
            anchor=as_curve(anchor, found[anchor]), test=as_curve(test, found[test]), better=metric.better
        )  # fmt: skip
    except MetricError as err:
        return replace(bare, reason=str(err))
    bare = replace(bare, bd_rate=made.bd_rate, bd_metric=made.bd_metric, overlap=made.overlap)
    for name, rate in ((anchor, bare.anchor_rate), (test, bare.rate)):
        if reason := resampled.why_none(metric.metric, rate, [point.branch for point in found[name]]):
            return replace(bare, interval_reason=reason)
    drawn = [
        resampled.curve(metric.metric, rate, [point.branch for point in found[name]])
        for name, rate in ((anchor, bare.anchor_rate), (test, bare.rate))
    ]
    of_rate, of_metric = replicated_deltas(anchor=drawn[0], test=drawn[1], better=metric.better)
    rate_ci95, metric_ci95 = interval(of_rate), interval(of_metric)
    lost = float(np.isnan(of_rate).mean())
    reason = "" if rate_ci95 else f"{100 * lost:.0f} % of resampled curves are not monotone or do not overlap"
    return replace(bare, bd_rate_ci95=rate_ci95, bd_metric_ci95=metric_ci95, interval_reason=reason)


def _distinct_rates(result: RunResult, branches: Sequence[str], rates: Sequence[str]) -> list[str]:
    """The rates of the tokenizer's own curves, without those that are the same numbers again."""
    kept: dict[tuple[float | None, ...], str] = {}
    for rate in dict.fromkeys(rate_of(result, branches, rate) for rate in rates):
        values = [result.values.get(value_key(rate, branch)) for branch in branches]
        kept.setdefault(tuple(None if value is None else value.value for value in values), rate)
    return list(kept.values())


@dataclass(eq=False)
class _Sums:
    """Sum and number of a value's parts by cluster, in one of the groups it averages."""

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, cluster: str, number: float) -> None:
        self.sums[cluster] = self.sums.get(cluster, 0.0) + number
        self.counts[cluster] = self.counts.get(cluster, 0) + 1


class Resampled:
    """Curves over resampled clusters of images; the same draws for all of them, so that deltas are paired."""

    def __init__(
        self,
        result: RunResult,
        records: Iterable[Record],
        influences: tuple[Sequence[str], Mapping[str, np.ndarray]],
        replicates: int,
    ) -> None:
        ids, by_key = influences
        place = {sample: row for row, sample in enumerate(ids)}
        branches = {branch for points in result.spec.curves.values() for branch in points}
        self._parts: dict[str, dict[str | None, _Sums]] = {
            value.key: {name: _Sums() for name in (value.groups if value.aggregate == "macro_mean" else (None,))}
            for value in result.values.values()
            if value.branch in branches and value.value is not None
        }
        clusters = set()
        for record in records:  # once, and none is kept: there may be a great many
            if record.status != "ok":
                continue
            clusters.add(record.cluster)
            for key, groups in self._parts.items():
                value = result.values[key]
                known = by_key.get(key)
                moves = None if known is None or record.id not in place else float(known[place[record.id]])
                for group, number in _numbers(record, value, moves):
                    if (sums := groups.get(group if value.aggregate == "macro_mean" else None)) is not None:
                        sums.add(record.cluster, number)
        self.clusters = sorted(clusters)
        n = len(self.clusters)
        rng = np.random.default_rng(result.spec.seed)
        self._known: dict[tuple[str, tuple[str, ...]], np.ndarray] = {}
        self._weights = rng.multinomial(n, np.full(n, 1 / n), size=replicates) if n else np.zeros((replicates, 0))

    def why_none(self, metric: str, rate: str, branches: Sequence[str]) -> str:
        """Why these points cannot be resampled; "" if they can."""
        for key in (metric, rate):
            for branch in branches:
                groups = list(self._parts.get(value_key(key, branch), {}).values())
                if not groups or not any(group.counts for group in groups):
                    return f"{key} is no mean over images, nor close to one"
                n = len({cluster for group in groups for cluster in group.counts})
                if n < MIN_CLUSTERS:
                    return f"{key} rests on {n} independent sources, too few to resample"
                least = min(len(group.counts) for group in groups)
                if least < MIN_GROUP_CLUSTERS:
                    return f"a size group of {key} rests on {least} independent sources, too few to resample"
        return ""

    def curve(self, metric: str, rate: str, branches: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Rates and values, float64 ``(replicates, points)`` each, of points that can be resampled."""
        return self._means(rate, tuple(branches)), self._means(metric, tuple(branches))

    def _means(self, metric: str, branches: tuple[str, ...]) -> np.ndarray:
        """Computed once for all the curves that are compared with this one."""
        if (metric, branches) not in self._known:
            self._known[metric, branches] = self._resample(metric, branches)
        return self._known[metric, branches]

    def _resample(self, metric: str, branches: tuple[str, ...]) -> np.ndarray:
        points = [list(self._parts[value_key(metric, branch)].values()) for branch in branches]
        sums, counts = (
            [
                np.array([[getattr(groups[i], part).get(cluster, 0) for groups in points] for cluster in self.clusters])
                for i in range(len(points[0]))
            ]
            for part in ("sums", "counts")
        )
        return resampled_means(sums, counts, self._weights)


def _numbers(record: Record, value: Value, influence: float | None) -> list[tuple[str | None, float]]:
    """What one image adds to the mean that is this value: size group and number."""
    made: BranchRecord | None = record.branches.get(value.branch)
    if made is None or value.value is None:
        return []
    if value.kind == "pair":
        return [(None, made.values[value.metric])] if value.metric in made.values else []
    if value.kind == "region":
        return [(r.group, r.values[value.metric]) for r in made.regions if value.metric in r.values]
    return [] if influence is None else [(None, value.value + influence)]
