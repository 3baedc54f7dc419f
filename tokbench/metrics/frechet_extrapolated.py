"""The Fréchet distance at infinitely many images: a line through its values at several n (arXiv:1911.07023)."""

from __future__ import annotations

import json

import numpy as np

from tokbench.contracts import Summary
from tokbench.metrics.frechet import frechet_of_rows, require_rows, too_few

POINTS = 15
SEED = 0
_MIN_IMAGES = 20


def sizes(n: int) -> np.ndarray:
    """The set sizes: 15, evenly spaced from min(5000, max(n // 10, 2)) to n, as in dgm-eval."""
    return np.linspace(min(5000, max(n // 10, 2)), n, POINTS).astype(np.int64)


def frechet_infinity_summary(reference: np.ndarray, reconstruction: np.ndarray) -> Summary:
    """The intercept of the least-squares line of the distance in 1 / n, of paired rows ``(n, d)``; may be negative.

    Unlike dgm-eval, which draws subsets of one set and compares each with the whole other set, a subset here keeps its
    pairs on both sides. The errors of the two sides are correlated, so a partly paired set is further apart than
    either a paired or an unpaired one of its size, and a line through such points ends far below the truth
    (docs/decisions/0005).

    ``standard_error`` is the line's (13 degrees of freedom); ``distance_at_n`` is the distance that is extrapolated.
    Sets that are equal bit for bit are at exactly 0.
    """
    n, d = require_rows(reference, reconstruction)
    if n < 2:
        return too_few(n)
    if n < _MIN_IMAGES:
        reason = f"only {n} images were measured; a line through {POINTS} set sizes needs at least {_MIN_IMAGES}"
        return Summary(value=None, n=n, reason=reason)
    draw = np.random.default_rng(SEED)
    points = []
    for size in sizes(n):
        chosen = np.sort(draw.choice(n, size, replace=False))
        points.append((int(size), frechet_of_rows(reference[chosen], reconstruction[chosen])))
    intercept, error = _line_at_zero(
        np.array([1 / size for size, _ in points]), np.array([value for _, value in points])
    )
    details: dict[str, float | int | str] = {
        "standard_error": error,
        "distance_at_n": points[-1][1],
        "dimensions": d,
        "distance_curve": json.dumps({"points": points, "x_title": "images", "y_title": "distance", "log_x": True}),
    }
    if points[0][0] <= d:
        details["biased"] = (
            f"the smallest of the {POINTS} sets has {points[0][0]} images, fewer than the {d} dimensions, where the "
            "distance is no straight line in 1 / n; the intercept is rough"
        )
    return Summary(value=intercept, n=n, details=details)


def _line_at_zero(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The least-squares line's value at 0 and its standard error."""
    spread = x - x.mean()
    slope = float(spread @ y / (spread @ spread))
    intercept = float(y.mean() - slope * x.mean())
    residuals = y - intercept - slope * x
    variance = float(residuals @ residuals) / (len(x) - 2)
    return intercept, float(np.sqrt(variance * (1 / len(x) + x.mean() ** 2 / (spread @ spread))))
