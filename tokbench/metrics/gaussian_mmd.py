"""The maximum mean discrepancy of two paired sets of features under a Gaussian kernel, with its influences.

Gretton et al., "A kernel two-sample test" (JMLR 13, 2012), eq. 5: the V-statistic, which keeps every pair of a row with
itself. Everything here is numpy and float64.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tokbench.contracts import Summary
from tokbench.metrics.frechet import require_finite, require_rows, too_few

CHUNK_ROWS = 1024


def mmd_summary(reference: np.ndarray, reconstruction: np.ndarray, *, sigma: float, scale: float = 1.0) -> Summary:
    """MMD² with the kernel exp(-|a - b|² / (2 sigma²)), times ``scale``; exactly 0 for sets that are equal.

    With z a pair (x, y), the statistic is the mean of h(z, z') = k(x, x') + k(y, y') - k(x, y') - k(x', y) over all
    n² pairs of pairs; the influence of z is twice what its own mean of h has over that. Keeping h(z, z) makes the value
    too high by about the detail ``bias``, which falls as 1 / n: what it has over the mean of the n (n - 1) others.

    Args:
        reference, reconstruction: rows ``(n, d)``; row i of one is the reconstruction of row i of the other.
        sigma: the kernel's width, in the features' own unit.
        scale: what the value is multiplied by for display.

    Raises:
        MetricError: the sets differ in shape, or hold values that are not finite.
    """
    n, dimensions = require_rows(reference, reconstruction)
    if n < 2:
        return too_few(n)
    if np.array_equal(reference, reconstruction):
        return Summary(value=0.0, n=n, details={"bias": 0.0, "dimensions": dimensions}, influences=np.zeros(n))
    means, own = _means(reference, reconstruction, gamma=1 / (2 * sigma**2))
    value = require_finite(scale * float(means.mean()))
    bias = (scale * float(own.mean()) - value) / (n - 1)
    return Summary(
        # The kernel is positive definite, so only rounding can take the mean below zero.
        value=max(0.0, value),
        n=n,
        details={"bias": bias, "dimensions": dimensions},
        influences=2 * (scale * means - value),
    )


def _means(reference: np.ndarray, reconstruction: np.ndarray, *, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """For every pair z, the mean of h(z, z') over z', and h(z, z): float64 ``(n,)`` each.

    Takes O(chunk² + chunk d) memory.
    """
    n = len(reference)
    sums, own = np.zeros(n), np.zeros(n)
    for a, x, y in _chunks(reference, reconstruction):
        for b, x_other, y_other in _chunks(reference, reconstruction, start=a.start):
            h = _kernel(x, x_other, gamma) + _kernel(y, y_other, gamma)
            h -= _kernel(x, y_other, gamma) + _kernel(y, x_other, gamma)
            sums[a] += h.sum(axis=1)
            if b == a:
                own[a] = np.diagonal(h)
            else:
                sums[b] += h.sum(axis=0)  # h is symmetric
    return sums / n, own


def _kernel(a: np.ndarray, b: np.ndarray, gamma: float) -> np.ndarray:
    """exp(-gamma |a - b|²) - 1 for rows ``(m, d)`` and ``(k, d)``: the ones cancel in h, and would only round."""
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * (a @ b.T)
    return np.asarray(np.expm1(-gamma * np.maximum(squares, 0)))


def _chunks(
    reference: np.ndarray, reconstruction: np.ndarray, *, start: int = 0
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Places of rows and the rows in float64, a fixed number at a time: the sets may be memory-mapped."""
    for first in range(start, len(reference), CHUNK_ROWS):
        place = slice(first, min(first + CHUNK_ROWS, len(reference)))
        yield place, np.array(reference[place], np.float64), np.array(reconstruction[place], np.float64)
