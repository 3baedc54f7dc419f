"""Means with honest intervals: numpy and float64 only, and no answer depends on the order of the samples.

Samples cut from one source (crops of a photograph, words of a page) are not independent, so every function takes a
cluster a value. Errors and degrees of freedom are those of :func:`tokbench.estimates.estimate`. Cluster counts matter,
not sample counts: 10 000 words from 3 pages support an interval on 2 degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tokbench.errors import MetricError
from tokbench.estimates import cluster_table, estimate


@dataclass(frozen=True, kw_only=True)
class MeanInterval:
    """A mean and how sure we are of it.

    Attributes:
        mean: arithmetic mean of the values, each value counting once; or the mean of groups' means.
        n, n_clusters: values and distinct clusters.
        ci95: 95 % interval for the mean; None with fewer than two clusters (in every group).
    """

    mean: float
    n: int
    n_clusters: int
    ci95: tuple[float, float] | None


def mean_interval(
    values: Sequence[float], clusters: Sequence[str], *, low: float | None = None, high: float | None = None
) -> MeanInterval:
    """Mean of the values with a cluster-robust 95 % t interval.

    With one value a cluster, or clusters of equal size, it is the textbook t interval of the clusters' means. The
    mean is correctly rounded (``math.fsum``), and nothing depends on the order of the values.

    Args:
        values: finite numbers, at least one.
        clusters: the cluster of each value.
        low, high: closed range the quantity can take; the interval is cut to it.

    Raises:
        MetricError: no values, a value that is not finite, or lengths that differ.
    """
    _check(values, clusters)
    mean = _clip(math.fsum(values) / len(values), min(values), max(values))
    return _interval(mean, values, clusters, np.zeros(len(values), np.int64), n_groups=1, low=low, high=high)


def group_means(
    values: Sequence[float],
    clusters: Sequence[str],
    groups: Sequence[str | None],
    *,
    names: Sequence[str],
    low: float | None = None,
    high: float | None = None,
) -> dict[str, MeanInterval | None]:
    """:func:`mean_interval` of each named group; None for an empty one.

    Values whose group is None or not among ``names`` are left out.
    """
    if not len(values) == len(clusters) == len(groups):
        raise MetricError(f"got {len(values)} values, {len(clusters)} clusters and {len(groups)} groups; need equal")
    means: dict[str, MeanInterval | None] = {}
    for name in names:
        rows = [row for row, group in enumerate(groups) if group == name]
        means[name] = (
            mean_interval([values[row] for row in rows], [clusters[row] for row in rows], low=low, high=high)
            if rows
            else None
        )
    return means


def macro_mean_interval(
    values: Sequence[float],
    clusters: Sequence[str],
    groups: Sequence[str | None],
    *,
    names: Sequence[str],
    low: float | None = None,
    high: float | None = None,
) -> MeanInterval | None:
    """Unweighted mean of the named groups' means, with a cluster-robust 95 % t interval.

    What a cluster adds is added up over all the groups it reaches, so that words of one page count together. With one
    group this is :func:`mean_interval`.

    Args:
        values: finite numbers.
        clusters, groups: of each value. Values whose group is None or not among ``names`` are left out.
        names: the groups that are averaged.
        low, high: closed range the quantity can take; the interval is cut to it.

    Returns:
        None if a named group is empty: a mean of other groups is another quantity. Its ``n`` and ``n_clusters`` are of
        the values that count; its interval is None where a group has fewer than two clusters.
    """
    means = group_means(values, clusters, groups, names=names)
    parts = [part for part in means.values() if part is not None]
    if len(parts) < len(means) or not parts:
        return None
    mean = _clip(
        math.fsum(part.mean for part in parts) / len(parts), min(p.mean for p in parts), max(p.mean for p in parts)
    )
    numbers = {name: number for number, name in enumerate(means)}
    counted = np.array([numbers.get(group, -1) for group in groups], np.int64)  # type: ignore[arg-type]
    return _interval(mean, values, clusters, counted, n_groups=len(means), low=low, high=high)


def _interval(
    mean: float,
    values: Sequence[float],
    clusters: Sequence[str],
    groups: np.ndarray,
    *,
    n_groups: int,
    low: float | None,
    high: float | None,
) -> MeanInterval:
    """The interval around a mean of the groups' means; values of group -1 are left out."""
    table = cluster_table(np.asarray(values, np.float64), np.asarray(clusters), groups, n_groups=n_groups)
    ci95 = estimate(table, value=mean, zeros_tell=True).interval()
    return MeanInterval(
        mean=mean,
        n=int((groups >= 0).sum()),
        n_clusters=table.n_clusters,
        ci95=None if ci95 is None else (_clip(ci95[0], low, high), _clip(ci95[1], low, high)),
    )


def _check(values: Sequence[float], clusters: Sequence[str]) -> None:
    if len(values) != len(clusters):
        raise MetricError(f"got {len(values)} values but {len(clusters)} clusters; every value needs one")
    if len(values) == 0:
        raise MetricError("the mean of no values is undefined; check for an empty selection first")
    for value, cluster in zip(values, clusters, strict=True):
        if not math.isfinite(value):
            raise MetricError(f"got the value {value} in cluster {cluster!r}; leave undefined values out")


def _clip(value: float, low: float | None, high: float | None) -> float:
    if low is not None and value < low:
        return low
    if high is not None and value > high:
        return high
    return value
