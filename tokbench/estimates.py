"""A number over clusters and how sure we are of it: one form for means, means of group means, and set metrics.

All that an estimate needs is two tables with a row a cluster and a column a group: how many units (images, words) a
cluster has in a group, and the sum of their values. The estimate is the unweighted mean of the groups' means; with one
group it is the mean. A number over a set comes in through its influences (the infinitesimal jackknife), as one group.

Which interval is used, and why, is docs/decisions/0007-comparisons.md; ``benchmarks/coverage.py`` measures it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tokbench.errors import MetricError

CONFIDENCE = 0.95
WORKING_CORRELATION = 0.2  # between units of one cluster, for the degrees of freedom only
_CELLS = 1 << 22  # weights drawn at a time: 32 MiB


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterTable:
    """Units and sums by cluster and group.

    Attributes:
        counts: float64 ``(clusters, groups)``: units of the cluster in the group.
        sums: float64 of the same shape: the sum of their values.
    """

    counts: np.ndarray
    sums: np.ndarray

    @property
    def n_clusters(self) -> int:
        return int(self.counts.shape[0])

    @property
    def mean(self) -> float:
        """The unweighted mean of the groups' means, whatever the order of the clusters."""
        sizes = self.counts.sum(axis=0)
        means = [math.fsum(self.sums[:, column]) / size for column, size in enumerate(sizes)]
        return math.fsum(means) / len(means)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its standard error.

    Attributes:
        value: the number.
        error: standard error; None where fewer than two clusters can tell.
        degrees: of freedom of the error, a real number of at least 1; None without an error.
        n_clusters: distinct clusters.
    """

    value: float
    error: float | None
    degrees: float | None
    n_clusters: int

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
        """The t interval; None without an error."""
        if self.error is None or self.degrees is None:
            return None
        half = t_quantile(0.5 + confidence / 2, self.degrees) * self.error
        return self.value - half, self.value + half

    def p_value(self, null: float = 0.0) -> float | None:
        """Two-sided p-value of the number being ``null``; None without an error.

        Where nothing varies it is 1 if the number is ``null`` and 0 otherwise.
        """
        if self.error is None or self.degrees is None:
            return None
        distance = abs(self.value - null)
        if self.error == 0:
            return 1.0 if distance == 0 else 0.0
        return 2 * _t_tail(distance / self.error, self.degrees)


def cluster_table(
    values: np.ndarray, clusters: np.ndarray, groups: np.ndarray | None = None, *, n_groups: int = 1
) -> ClusterTable:
    """Add values up by cluster and group, to the same bits in any order.

    Args:
        values: float64 ``(n,)``, finite.
        clusters: ``(n,)``, names or numbers.
        groups: int ``(n,)`` in [0, n_groups); values with -1 are left out. None puts all in one group.
        n_groups: how many groups there are.

    Raises:
        MetricError: lengths that differ, a value that is not finite, or a group without any value.
    """
    groups = np.zeros(len(values), np.int64) if groups is None else groups
    if not len(values) == len(clusters) == len(groups):
        raise MetricError(f"got {len(values)} values, {len(clusters)} clusters and {len(groups)} groups; need equal")
    values, clusters, groups = (column[groups >= 0] for column in (values, clusters, groups))
    if not np.isfinite(values).all():
        raise MetricError("a value is not finite; leave undefined values out")
    names, rows = np.unique(clusters, return_inverse=True)
    cells = rows * n_groups + groups
    counts = np.bincount(cells, minlength=len(names) * n_groups).reshape(len(names), n_groups)
    if not len(values) or (counts.sum(axis=0) == 0).any():
        raise MetricError("a mean of no values is undefined: every group needs one")
    order = np.lexsort((values, cells))  # sorted, so that rounding does not depend on the order of the samples
    sums = np.bincount(cells[order], values[order], minlength=len(names) * n_groups).reshape(counts.shape)
    return ClusterTable(counts=counts.astype(np.float64), sums=sums)


def estimate(table: ClusterTable, *, value: float | None = None, zeros_tell: bool = False) -> Estimate:
    """The number with its cluster-robust standard error and degrees of freedom.

    The variance is CR2: a cluster's residual sum in a group is divided by the square root of one minus its share of
    the group, which makes the variance unbiased for independent units whatever the clusters' sizes. Degrees of freedom
    are Satterthwaite's for that variance, as if units of one cluster correlated by 0.2: with few clusters of unequal
    size that is fewer than clusters - 1, which alone would promise too much. With one unit a cluster, or clusters of
    equal size, this is the textbook t interval of the clusters' means on clusters - 1 degrees of freedom.

    Where most clusters' differences are exactly zero, as where a tokenizer changes a few words of thousands, only the
    others tell how clusters vary: degrees of freedom are at most one less than their number, and with a single one
    there is no error. Where all are zero the error is zero, too.

    Args:
        table: units and sums.
        value: the number, where it is not the table's mean (a number over a set, with a table of influences).
        zeros_tell: zero is a value like any other (a word that was not read), not the absence of a difference.

    Source: Bell and McCaffrey, "Bias reduction in standard errors for linear regression with multi-stage samples",
    2002; Pustejovsky and Tipton, 2018, for the working correlation.
    """
    # In an order of their own, so that rounding does not depend on how clusters are called.
    order = np.lexsort((*table.counts.T, *table.sums.T))
    counts, sums = table.counts[order], table.sums[order]
    sizes, n_groups = counts.sum(axis=0), counts.shape[1]
    means = sums.sum(axis=0) / sizes
    number = table.mean if value is None else value
    n_moved = table.n_clusters if zeros_tell else int((sums != 0).any(axis=1).sum())
    if ((counts > 0).sum(axis=0) < 2).any() or n_moved == 1:
        return Estimate(value=number, error=None, degrees=None, n_clusters=table.n_clusters)
    weights = 1 / (n_groups * sizes * np.sqrt(1 - counts / sizes))
    residuals = sums - means * counts
    # Residuals of values that are all equal are rounding alone, and must not become evidence.
    residuals[np.abs(residuals) <= 1e-12 * (np.abs(sums) + np.abs(means) * counts)] = 0.0
    variance = float((((weights * residuals).sum(axis=1)) ** 2).sum())
    degrees = min(_satterthwaite(counts, weights), max(n_moved - 1, 1))
    return Estimate(value=number, error=math.sqrt(variance), degrees=degrees, n_clusters=table.n_clusters)


def _satterthwaite(counts: np.ndarray, weights: np.ndarray) -> float:
    """tr(C)² / tr(C²) for the working covariance C of the clusters' contributions, at most clusters - 1.

    C is a diagonal plus a matrix of rank twice the groups, so nothing of clusters × clusters is ever formed.
    """
    rho = WORKING_CORRELATION
    sizes = counts.sum(axis=0)
    reach = weights * counts  # (clusters, groups)
    shares = counts / sizes
    whole = reach.sum(axis=1)
    diagonal = (1 - rho) * (weights**2 * counts).sum(axis=1) + rho * whole**2
    factors = np.concatenate([reach, whole[:, None] * shares], axis=1)
    n_groups = counts.shape[1]
    core = np.zeros((2 * n_groups, 2 * n_groups))
    core[:n_groups, :n_groups] = rho * shares.T @ shares - (1 - rho) * np.diag(1 / sizes)
    core[:n_groups, n_groups:] = core[n_groups:, :n_groups] = -rho * np.eye(n_groups)
    inner = core @ (factors.T @ factors)
    trace = diagonal.sum() + np.trace(inner)
    squares = (diagonal**2).sum() + 2 * np.trace(core @ (factors.T @ (diagonal[:, None] * factors)))
    squares += np.trace(inner @ inner)
    return float(min(max(trace**2 / squares, 1.0), len(counts) - 1))


@dataclass(frozen=True, kw_only=True)
class Bootstrapped:
    """What resampling clusters says of a number: its 95 % interval and the two-sided p-value of its being zero."""

    ci95: tuple[float, float]
    p_value: float


def bootstrap(
    table: ClusterTable, *, seed: str, value: float | None = None, replicates: int = 10_000
) -> Bootstrapped | None:
    """Studentised cluster bootstrap: whole clusters are drawn with replacement, each replicate with its own error.

    Args:
        table: units and sums.
        seed: any text; the same text draws the same replicates.
        value: as for :func:`estimate`.
        replicates: how many; the p-value is never below 1 / (replicates + 1).

    Returns:
        None where :func:`estimate` has no error either, or where nothing varies between clusters.

    Source: Cameron, Gelbach and Miller, "Bootstrap-based improvements for inference with clustered errors", 2008.
    """
    if replicates < 1:
        raise MetricError(f"replicates must be at least 1, got {replicates}")
    whole = estimate(table, value=value)
    centre, error = _replicate(table, np.ones((1, table.n_clusters)))
    if not whole.error:
        return None
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:16], "big")))
    studentised = []
    step = max(1, _CELLS // table.n_clusters)
    for start in range(0, replicates, step):
        n = min(step, replicates - start)
        draws = rng.integers(0, table.n_clusters, size=(n, table.n_clusters))
        cells = (draws + np.arange(n)[:, None] * table.n_clusters).ravel()
        drawn = np.bincount(cells, minlength=n * table.n_clusters).reshape(n, table.n_clusters)
        means, errors = _replicate(table, drawn.astype(np.float64))
        with np.errstate(divide="ignore", invalid="ignore"):
            studentised.append((means - centre) / errors)
    ratios = np.concatenate(studentised)
    ratios = ratios[~np.isnan(ratios)]  # a replicate that misses a group, or holds one cluster alone, says nothing
    if not len(ratios):
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail], method="inverted_cdf")
    seen = whole.value / float(error[0])
    beyond = min(int((ratios >= seen).sum()), int((ratios <= seen).sum()))
    return Bootstrapped(
        ci95=(whole.value - float(high * error[0]), whole.value - float(low * error[0])),
        p_value=min(1.0, 2 * (beyond + 1) / (len(ratios) + 1)),
    )


def _replicate(table: ClusterTable, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and plain cluster-robust error of every replicate; ``drawn`` is ``(replicates, clusters)``."""
    counts, sums = table.counts, table.sums
    n_groups = counts.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        sizes = drawn @ counts  # (replicates, groups)
        means = (drawn @ sums) / sizes
        variance = np.zeros(len(drawn))
        for one in range(n_groups):
            for other in range(n_groups):
                products = drawn @ np.stack(
                    [
                        sums[:, one] * sums[:, other],
                        sums[:, one] * counts[:, other],
                        counts[:, one] * sums[:, other],
                        counts[:, one] * counts[:, other],
                    ],
                    axis=1,
                )
                m, k = means[:, one], means[:, other]
                part = products[:, 0] - k * products[:, 1] - m * products[:, 2] + m * k * products[:, 3]
                variance += part / (sizes[:, one] * sizes[:, other])
        return means.mean(axis=1), np.sqrt(np.maximum(variance, 0.0)) / n_groups


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected so that the chance of any false finding among them stays at the level tested at.

    Needs no independence. Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def t_quantile(probability: float, degrees: float) -> float:
    """Quantile of Student's t; degrees of freedom need not be whole."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def _t_tail(distance: float, degrees: float) -> float:
    """P(T > distance) of Student's t."""
    from scipy.special import stdtr

    return float(stdtr(degrees, -distance))
