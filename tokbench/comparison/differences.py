"""The differences between two runs, metric by metric, paired by image and region; no verdicts yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tokbench.comparison.measured import MeasuredRun, Units
from tokbench.comparison.verdicts import Verdict
from tokbench.errors import UsageError
from tokbench.estimates import ClusterTable, Estimate, bootstrap, cluster_table, estimate
from tokbench.results import Value

_PAIRED = ("pair", "region")
_MEANS = ("mean", "macro_mean")
# Numbers in these units belong to a machine and a moment: two runs' do not make a comparison.
_MACHINE_UNITS = ("s", "images/s", "tokens/s", "B")
NOT_SIDE_BY_SIDE = (
    "measured in different runs; `tokbench check --rerun` with --baseline-tokenizer times both side by side"
)


@dataclass(frozen=True, kw_only=True)
class GroupDifference:
    """One size group's part of a difference. Fields as in :class:`Difference`."""

    first: float
    second: float
    difference: float
    n: int
    n_clusters: int
    ci95: tuple[float, float] | None
    p_value: float | None
    estimate: Estimate


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One metric in two runs.

    Attributes:
        value: the metric's facts, from the baseline's result.
        first, second: both numbers; over the common samples where only those are paired. None if it has none there.
        difference: second - first, in the metric's unit.
        ci95: 95 % interval of the difference, for this metric alone.
        p_value: two-sided, for this metric alone; None without an interval.
        p_corrected: the same, corrected for all comparisons made together (Holm).
        n, n_clusters: pairs (images, words or faces) and independent clusters.
        verdict: in words; reason: why there is no interval, or no comparison.
        margin: the equivalence margin asked for, in the metric's unit.
        estimate: the difference with its error, where it has an interval.
        groups: by size group, each with its own interval; not among the corrected comparisons.
    """

    value: Value
    first: float | None
    second: float | None
    difference: float | None = None
    ci95: tuple[float, float] | None = None
    p_value: float | None = None
    p_corrected: float | None = None
    n: int = 0
    n_clusters: int = 0
    verdict: Verdict = "not compared"
    reason: str = ""
    margin: float | None = None
    estimate: Estimate | None = None
    groups: Mapping[str, GroupDifference] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.value.key


@dataclass(frozen=True, kw_only=True)
class Interval:
    """How intervals are made: from the analytic error, or by the studentised cluster bootstrap."""

    method: str = "analytic"
    replicates: int = 10_000

    def __post_init__(self) -> None:
        if self.method not in ("analytic", "bootstrap"):
            raise UsageError(f"interval is {self.method!r}, expected analytic or bootstrap")
        if self.replicates < 100:
            raise UsageError(f"{self.replicates} replicates cannot tell a 95 % interval; ask for 100 or more")


def differences(
    first: MeasuredRun, second: MeasuredRun, units: Units, keys: Sequence[str], *, interval: Interval
) -> list[Difference]:
    """The difference of every key that at least one of the runs has a number for, without verdicts."""
    made = []
    for key in keys:
        one, two = first.value(key), second.value(key)
        known = one or two
        if known is None:
            continue
        if one is None or two is None:
            lacking = first if one is None else second
            absent = lacking.result.values.get(key)
            why = "was not asked for it" if absent is None else f"has no number: {absent.reason}"
            made.append(
                Difference(
                    value=known,
                    first=None if one is None else one.value,
                    second=None if two is None else two.value,
                    reason=f"{lacking.label} {why}",
                )
            )
        else:
            made.append(_difference(one, two, first, second, units, interval))
    return made


def _difference(
    one: Value, two: Value, first: MeasuredRun, second: MeasuredRun, units: Units, interval: Interval
) -> Difference:
    plain = Difference(value=one, first=one.value, second=two.value, n=min(one.n, two.n))
    if one.kind == "cost" and one.unit in _MACHINE_UNITS:
        return replace(plain, reason=NOT_SIDE_BY_SIDE)
    assert one.value is not None  # MeasuredRun.value gives values with a number only
    assert two.value is not None
    plain = replace(plain, difference=two.value - one.value)
    ours, theirs = first.columns.get(one.key), second.columns.get(one.key)
    if one.kind in _PAIRED and one.aggregate in _MEANS and ours is not None and theirs is not None:
        shared = np.intersect1d(ours.units, theirs.units, assume_unique=True)
        return _paired(plain, ours.of(shared), theirs.of(shared), shared, units, interval)
    if one.key in first.influences and one.key in second.influences:
        return _over_set(plain, first, second, interval)
    if one.kind == "cost":
        return replace(plain, verdict="no interval", reason="counted, not sampled")
    if one.kind in _PAIRED:
        return replace(plain, verdict="no interval", reason="the records hold no values whose mean it is")
    return replace(plain, verdict="no interval", reason="the metric gives one number for the whole set")


def _paired(
    plain: Difference, ours: np.ndarray, theirs: np.ndarray, shared: np.ndarray, units: Units, interval: Interval
) -> Difference:
    """Paired by image or region, with the mean the metric itself takes."""
    value = plain.value
    if not len(shared):
        return replace(plain, difference=None, reason="no pair of values in common")
    names = list(value.groups)
    clusters, groups = units.clusters(shared), units.groups(shared, names)
    is_macro = value.aggregate == "macro_mean"
    used = groups if is_macro else np.zeros(len(shared), np.int64)
    n_groups = len(names) if is_macro else 1
    if is_macro and set(range(n_groups)) - set(groups.tolist()):
        return replace(plain, difference=None, reason="a size group has no pair of values in common")

    def table(numbers: np.ndarray) -> ClusterTable:
        return cluster_table(numbers, clusters, used, n_groups=n_groups)

    made = table(theirs - ours)
    by_group = {}
    for place, name in enumerate(names):
        inside = groups == place
        if inside.any():
            by_group[name] = _group(ours[inside], theirs[inside], clusters[inside])
    return replace(
        _with_interval(plain, made, None, interval),
        first=table(ours).mean,
        second=table(theirs).mean,
        n=int((used >= 0).sum()),
        groups=by_group,
    )


def _group(ours: np.ndarray, theirs: np.ndarray, clusters: np.ndarray) -> GroupDifference:
    made = estimate(cluster_table(theirs - ours, clusters))
    return GroupDifference(
        first=cluster_table(ours, clusters).mean,
        second=cluster_table(theirs, clusters).mean,
        difference=made.value,
        n=len(ours),
        n_clusters=made.n_clusters,
        ci95=made.interval(),
        p_value=made.p_value(),
        estimate=made,
    )


def _over_set(plain: Difference, first: MeasuredRun, second: MeasuredRun, interval: Interval) -> Difference:
    """A number over the set: the difference's influences are the differences of the influences."""
    key = plain.key
    ours = dict(zip(first.influence_ids, first.influences[key].tolist(), strict=True))
    theirs = dict(zip(second.influence_ids, second.influences[key].tolist(), strict=True))
    if ours.keys() != theirs.keys():
        return replace(plain, difference=None, reason="a number over the set, and the runs measured other samples")
    unknown = [sample for sample in ours if sample not in first.samples]
    if unknown:
        return replace(plain, verdict="no interval", reason=f"sample {unknown[0]} has influence but no record")
    moves = np.array([theirs[sample] - ours[sample] for sample in ours])
    clusters = np.array([first.samples[sample].cluster or sample for sample in ours])
    return _with_interval(plain, cluster_table(moves, clusters), plain.difference, interval)


def _with_interval(plain: Difference, table: ClusterTable, value: float | None, interval: Interval) -> Difference:
    made = estimate(table, value=value)
    ci95, p_value = made.interval(), made.p_value()
    if interval.method == "bootstrap" and made.error:
        drawn = bootstrap(table, seed=plain.key, value=value, replicates=interval.replicates)
        if drawn is not None:
            ci95, p_value = drawn.ci95, drawn.p_value
    reason = "" if ci95 is not None else "too few independent clusters differ for an interval"
    return replace(
        plain,
        difference=made.value,
        estimate=made,
        ci95=ci95,
        p_value=p_value,
        n_clusters=made.n_clusters,
        verdict="no interval",
        reason=reason,
    )
