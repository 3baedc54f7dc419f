"""The kernel Inception distance between two paired sets of features. Numpy and float64 only.

MMD² is the mean kernel value within the first set plus that within the second, less twice that across (Gretton et al.
2012). Its influences are linear in the rows' mean kernel values, so an interval costs one pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tokbench.contracts import Summary
from tokbench.metrics.frechet import require_finite, require_rows, too_few

# torch-fidelity's: 100 subsets of 1,000 images of each side, drawn by numpy's old generator from this seed.
SUBSETS = 100
SUBSET_SIZE = 1000
SUBSET_SEED = 2020
# Up to this many images the three matrices of kernel values are kept (3 x 32 MiB) and subsets looked up in them.
MAX_WHOLE = 2048
_BLOCK_ROWS = 512


def cubic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(x^T y / d + 1)³ of rows ``(n, d)`` and ``(m, d)`` → ``(n, m)``: KID's (Bińkowski et al., arXiv:1801.01401)."""
    values: np.ndarray = x @ y.T
    values /= x.shape[1]
    values += 1
    return values**3


def unbiased_mmd2(within_a: np.ndarray, within_b: np.ndarray, across: np.ndarray) -> float:
    """From three matrices of kernel values ``(m, m)``, m >= 2: the estimator of KID.

    A row's value with itself is left out within a set, and nothing is left out across, which is unbiased for
    independent sets.
    """
    m = len(across)
    within = (within_a.sum() - np.trace(within_a) + within_b.sum() - np.trace(within_b)) / (m * (m - 1))
    return float(within - 2 * across.sum() / m**2)


def kid_summary(reference: np.ndarray, reconstruction: np.ndarray) -> Summary:
    """Kernel Inception distance of paired rows ``(n, d)``: the mean of the unbiased MMD² over subsets.

    As in torch-fidelity: 100 subsets of 1,000 images, drawn independently on both sides with its seed. With at most
    1,000 images torch-fidelity refuses, and every subset would be the whole set. Then an image meets its own
    reconstruction across the sets, which the estimator does not expect and which can outweigh all else, so those
    meetings are left out: unbiased for pairs, and exactly 0 for equal sets. clean-fid leaves them in (its value is
    ``own_pairs_kept``). With more images few meet themselves; ``own_pairs_left_out`` is the whole set's value without
    (up to 2,048 images).

    ``standard_error`` is the infinitesimal jackknife's, of the pairs. ``subset_deviation`` is the deviation over
    subsets, which torch-fidelity reports; subsets overlap, so it is no standard error.
    """
    n, d = require_rows(reference, reconstruction)
    if n < 2:
        return too_few(n)
    means = row_means(reference, reconstruction, limit=MAX_WHOLE)
    influences = means.influences()
    details: dict[str, float | int | str] = {"standard_error": standard_error(influences), "dimensions": d}
    if n <= SUBSET_SIZE:
        value = means.mmd2()
        x, y = np.asarray(reference, np.float64), np.asarray(reconstruction, np.float64)
        kept = unbiased_mmd2(cubic(x, x), cubic(y, y), cubic(x, y))
        details |= {"subsets": 1, "subset_size": n, "own_pairs_kept": kept}
    else:
        values = _over_subsets(reference, reconstruction)
        value = float(values.mean())
        details |= {"subsets": SUBSETS, "subset_size": SUBSET_SIZE, "subset_deviation": float(values.std())}
        if n <= MAX_WHOLE:
            details["own_pairs_left_out"] = means.mmd2()
    return Summary(value=require_finite(value), n=n, details=details, influences=influences)


def standard_error(influences: np.ndarray) -> float:
    """The infinitesimal jackknife's standard error of the value the influences ``(n,)`` belong to."""
    return float(np.sqrt((influences**2).sum()) / influences.size)


@dataclass(frozen=True, kw_only=True)
class RowMeans:
    """Mean kernel values of each of n pairs with the others: within either set, and across (the mean of both ways)."""

    within_a: np.ndarray
    within_b: np.ndarray
    across: np.ndarray

    def mmd2(self) -> float:
        return float((self.within_a + self.within_b - 2 * self.across).mean())

    def influences(self) -> np.ndarray:
        """Float64 ``(n,)``, see :class:`~tokbench.contracts.Summary`."""
        slopes = 2 * (self.within_a + self.within_b - 2 * self.across)
        centred: np.ndarray = slopes - slopes.mean()
        return centred


def row_means(a: np.ndarray, b: np.ndarray, *, limit: int) -> RowMeans:
    """Each pair's mean kernel values with the other pairs, of paired rows ``(n, d)``, in blocks.

    With more than ``limit`` rows the means are over that many evenly spaced ones, which is enough for influences.
    """
    n, _ = require_rows(a, b)
    others = np.arange(n) if n <= limit else np.linspace(0, n - 1, limit).round().astype(np.int64)
    other_a, other_b = np.asarray(a[others], np.float64), np.asarray(b[others], np.float64)
    parts: list[list[np.ndarray]] = [[], [], []]
    for start in range(0, n, _BLOCK_ROWS):
        x = np.asarray(a[start : start + _BLOCK_ROWS], np.float64)
        y = np.asarray(b[start : start + _BLOCK_ROWS], np.float64)
        counts = (np.arange(start, start + len(x))[:, None] != others).astype(np.float64)
        totals = counts.sum(axis=1)
        parts[0].append((cubic(x, other_a) * counts).sum(axis=1) / totals)
        parts[1].append((cubic(y, other_b) * counts).sum(axis=1) / totals)
        parts[2].append(((cubic(x, other_b) + cubic(y, other_a)) * counts).sum(axis=1) / (2 * totals))
    within_a, within_b, across = (np.concatenate(part) for part in parts)
    return RowMeans(within_a=within_a, within_b=within_b, across=across)


def _over_subsets(reference: np.ndarray, reconstruction: np.ndarray) -> np.ndarray:
    """The unbiased MMD² of each of torch-fidelity's subsets."""
    n = len(reference)
    draw = np.random.RandomState(SUBSET_SEED)  # torch-fidelity's generator, so that subsets are equal
    whole: tuple[np.ndarray, ...] = ()
    if n <= MAX_WHOLE:
        x, y = np.asarray(reference, np.float64), np.asarray(reconstruction, np.float64)
        whole = (cubic(x, x), cubic(y, y), cubic(x, y))
    values = np.empty(SUBSETS)
    for subset in range(SUBSETS):
        i, j = (draw.choice(n, SUBSET_SIZE, replace=False) for _ in range(2))
        if whole:
            values[subset] = unbiased_mmd2(whole[0][np.ix_(i, i)], whole[1][np.ix_(j, j)], whole[2][np.ix_(i, j)])
        else:
            x, y = np.asarray(reference[i], np.float64), np.asarray(reconstruction[j], np.float64)
            values[subset] = unbiased_mmd2(cubic(x, x), cubic(y, y), cubic(x, y))
    return values
