"""Means with honest intervals: no answer depends on the order of the samples.

Samples cut from one source (crops of a photograph, words of a page) are not independent, so every function takes a
cluster a value. The interval for a mean is cluster-robust (CR1) with Student's t on G - 1 degrees of freedom, G being
the number of clusters; with one value a cluster it is the textbook t interval. Cluster counts matter, not sample
counts: 10 000 words from 3 pages support an interval on 2 degrees of freedom. Differences between runs have an
interval of their own: :mod:`tokbench.comparison.estimate`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

from tokbench.errors import MetricError

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class MeanInterval:
    """A mean and how sure we are of it.

    Attributes:
        mean: arithmetic mean of the values, each value counting once.
        n, n_clusters: values and distinct clusters.
        ci95: 95 % interval for the mean; None with fewer than two clusters.
    """

    mean: float
    n: int
    n_clusters: int
    ci95: tuple[float, float] | None


def mean_interval(
    values: Sequence[float], clusters: Sequence[str], *, low: float | None = None, high: float | None = None
) -> MeanInterval:
    """Mean of the values with a cluster-robust 95 % t interval.

    The variance is CR1, G / (G - 1) * sum_g (sum of g's residuals)^2 / n^2, which for an intercept alone is the usual
    small-sample correction. All sums are correctly rounded (``math.fsum``), so the result is the same to the last bit
    in any order. Coverage is nominal for clusters of equal size and normal cluster means, and somewhat below nominal
    for few clusters of very unequal size or heavy tails (tests/unit/test_stats.py simulates it).

    Args:
        values: finite numbers, at least one.
        clusters: the cluster of each value.
        low, high: closed range the quantity can take; the interval is cut to it.

    Raises:
        MetricError: no values, a value that is not finite, or lengths that differ.

    Source: Cameron and Miller, "A Practitioner's Guide to Cluster-Robust Inference", 2015, sections II.B and VI.B.
    """
    members = _by_cluster(values, clusters)
    n, groups = len(values), len(members)
    mean = _clip(math.fsum(values) / n, min(values), max(values))
    if groups < 2:
        return MeanInterval(mean=mean, n=n, n_clusters=groups, ci95=None)
    residuals = [math.fsum(value - mean for value in part) for part in members.values()]
    error = math.sqrt(groups / (groups - 1) * math.fsum(residual**2 for residual in residuals)) / n
    half = t_quantile(0.5 + CONFIDENCE / 2, groups - 1) * error
    return MeanInterval(
        mean=mean, n=n, n_clusters=groups, ci95=(_clip(mean - half, low, high), _clip(mean + half, low, high))
    )


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

    A value's influence on it is (value - mean of its group) / (number of groups * size of its group). Influences are
    added up within each cluster, over all the groups it reaches, so that words of one page count together; the
    variance is the sum of the squares, each group's part enlarged by its own G / (G - 1), G being the clusters it has.
    Degrees of freedom are Satterthwaite's over the groups, at most clusters - 1: a group seen in four clusters must
    not borrow the certainty of one seen in hundreds. With one group this is :func:`mean_interval`. Coverage is
    nominal for groups of many clusters and a few points below for a group of under five (tests/protocol simulates it).

    Args:
        values: finite numbers.
        clusters, groups: of each value. Values whose group is None or not among ``names`` are left out.
        names: the groups that are averaged.
        low, high: closed range the quantity can take; the interval is cut to it.

    Returns:
        None if a named group is empty: a mean of other groups is another quantity. Its ``n`` and ``n_clusters`` are of
        the values that count; its interval is None where a group has fewer than two clusters.

    Source: as :func:`mean_interval`, linearised; Satterthwaite, "An approximate distribution of estimates of variance
    components", 1946.
    """
    means = group_means(values, clusters, groups, names=names)
    parts = [part for part in means.values() if part is not None]
    if len(parts) < len(means) or not parts:
        return None
    mean = _clip(
        math.fsum(part.mean for part in parts) / len(parts), min(p.mean for p in parts), max(p.mean for p in parts)
    )
    influences = [_influences(values, clusters, groups, name=name, n_groups=len(means)) for name in means]
    total: dict[str, list[float]] = {}
    for influence in influences:
        for cluster, value in influence.items():
            total.setdefault(cluster, []).append(value)
    n = sum(part.n for part in parts)
    if min(part.n_clusters for part in parts) < 2:
        return MeanInterval(mean=mean, n=n, n_clusters=len(total), ci95=None)
    error = math.sqrt(math.fsum(math.fsum(part) ** 2 for _, part in sorted(total.items())))
    half = error * t_quantile(0.5 + CONFIDENCE / 2, min(len(total) - 1, _degrees(influences)))
    return MeanInterval(
        mean=mean, n=n, n_clusters=len(total), ci95=(_clip(mean - half, low, high), _clip(mean + half, low, high))
    )


def _influences(
    values: Sequence[float], clusters: Sequence[str], groups: Sequence[str | None], *, name: str, n_groups: int
) -> dict[str, float]:
    """What each cluster adds to the macro mean through one group, enlarged for the group's few clusters."""
    rows = [row for row, group in enumerate(groups) if group == name]
    members = _by_cluster([values[row] for row in rows], [clusters[row] for row in rows])
    mean = math.fsum(values[row] for row in rows) / len(rows)
    scale = math.sqrt(len(members) / max(1, len(members) - 1)) / (n_groups * len(rows))
    return {cluster: scale * math.fsum(value - mean for value in part) for cluster, part in members.items()}


def _degrees(influences: Sequence[Mapping[str, float]]) -> int:
    """Satterthwaite's degrees of freedom of a sum of groups' variances, rounded down, at least 1."""
    variances = [math.fsum(value**2 for value in influence.values()) for influence in influences]
    spread = math.fsum(v**2 / (len(influence) - 1) for v, influence in zip(variances, influences, strict=True))
    if spread == 0.0:  # no variance at all, or too little for a float: the interval is a point whatever the quantile
        return 1
    return max(1, math.floor(math.fsum(variances) ** 2 / spread + 1e-9))


@lru_cache(maxsize=1024)
def t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t with a whole number of degrees of freedom, to about ten digits.

    Up to 200 degrees it inverts the exact finite series by bisection; above, it expands around the normal quantile.

    Args:
        probability: in [0.5, 1).
        degrees: degrees of freedom, at least 1.

    Source: Abramowitz and Stegun, 26.7.3 to 26.7.5. Checked against scipy.special.stdtrit.
    """
    if not 0.5 <= probability < 1 or degrees < 1:
        raise MetricError(f"t quantile needs 0.5 <= p < 1 and degrees >= 1, got {probability} and {degrees}")
    if degrees > 200:
        z = NormalDist().inv_cdf(probability)
        g1 = (z**3 + z) / 4
        g2 = (5 * z**5 + 16 * z**3 + 3 * z) / 96
        g3 = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
        g4 = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
        return z + g1 / degrees + g2 / degrees**2 + g3 / degrees**3 + g4 / degrees**4
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        if _t_two_sided(middle, degrees) < 2 * probability - 1:
            low = middle
        else:
            high = middle
    return math.tan((low + high) / 2) * math.sqrt(degrees)


def _t_two_sided(angle: float, degrees: int) -> float:
    """P(|T| < sqrt(degrees) * tan(angle)), by the finite series for whole degrees of freedom."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    total, term = 0.0, cosine if odd else 1.0
    for index in range((degrees - 1) // 2 if odd else degrees // 2):
        total += term
        ratio = (2 * index + 2) / (2 * index + 3) if odd else (2 * index + 1) / (2 * index + 2)
        term *= ratio * cosine * cosine
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def _by_cluster(values: Sequence[float], clusters: Sequence[str]) -> dict[str, list[float]]:
    """The values of each cluster, clusters in order of name."""
    if len(values) != len(clusters):
        raise MetricError(f"got {len(values)} values but {len(clusters)} clusters; every value needs one")
    if len(values) == 0:
        raise MetricError("the mean of no values is undefined; check for an empty selection first")
    members: dict[str, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        if not math.isfinite(value):
            raise MetricError(f"got the value {value} in cluster {cluster!r}; leave undefined values out")
        members.setdefault(cluster, []).append(float(value))
    return dict(sorted(members.items()))


def _clip(value: float, low: float | None, high: float | None) -> float:
    if low is not None and value < low:
        return low
    if high is not None and value > high:
        return high
    return value
