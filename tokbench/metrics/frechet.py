"""The Fréchet distance between two sets of features, and how much each image counts for in it.

|m_a - m_b|² + tr(A + B - 2 (A B)^½): Dowson and Landau 1982 between two Gaussians; Heusel et al. 2017
(arXiv:1706.08500) on the features of a network. Numpy and float64 only.

With A = S S^T and B = R R^T the trace of the root is the sum of the singular values of C = S^T R, that is half the sum
of the absolute eigenvalues of the symmetric [[0, C], [C^T, 0]]. No ``sqrtm``: no imaginary parts to drop, nothing added
to the diagonal of singular covariances; and nothing is squared, so two nearly equal sets keep their digits.
With centred rows X, Y of n <= d
pairs it is the sum of the singular values of X Y^T / (n - 1).

The influences come from the second form. Give image i the weight p_i on both sides: the root's trace is the sum of
the singular values of D^½ X Y^T D^½, D = diag(p), up to a factor, and its derivative is
½ sum_k s_k (U_ik² + W_ik²) / p_i with singular vectors U and W of X Y^T. That holds for singular covariances too: new
weights leave the span of the rows, so the rank, as it is. For n > d the same numbers are the quadratic forms of the
two optimal transport maps between the Gaussians.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tokbench.contracts import Summary
from tokbench.errors import MetricError
from tokbench.metrics.moments import CHUNK_ROWS, Moments

# TTUR, which introduced the distance, asks for 10,000 images of 2,048 dimensions; the same ratio for other features.
ENOUGH_PER_DIMENSION = 10_000 / 2048


@dataclass(frozen=True, kw_only=True)
class _Coupling:
    """What the covariance term is made of.

    Attributes:
        trace_a, trace_b: of the covariances.
        root_trace: tr (A B)^½.
        project_a, project_b: ``(d, r)``; a centred row's share in the root's trace is the squared length of its
            projection.
    """

    trace_a: float
    trace_b: float
    root_trace: float
    project_a: np.ndarray
    project_b: np.ndarray

    @property
    def term(self) -> float:
        return self.trace_a + self.trace_b - 2 * self.root_trace


def frechet_distance(mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray) -> float:
    """The distance between two Gaussians, at least 0 (rounding can leave about -1e-15 of the traces, which is cut).

    Args:
        mean_a, mean_b: ``(d,)``.
        cov_a, cov_b: symmetric, positive semidefinite ``(d, d)``.
    """
    _require_moments(mean_a, cov_a, mean_b, cov_b)
    if np.array_equal(mean_a, mean_b) and np.array_equal(cov_a, cov_b):
        return 0.0
    root_a, root_b = _root(np.asarray(cov_a, np.float64)), _root(np.asarray(cov_b, np.float64))
    shift = np.asarray(mean_a, np.float64) - mean_b
    term = np.trace(cov_a) + np.trace(cov_b) - 2 * np.linalg.svd(root_a.T @ root_b, compute_uv=False).sum()
    return max(0.0, float(shift @ shift + term))


def frechet_of_rows(reference: np.ndarray, reconstruction: np.ndarray, chosen: np.ndarray | None = None) -> float:
    """The distance between the sample moments of paired rows ``(n, d)``, or of the m >= 2 chosen ones."""
    _, d = require_rows(reference, reconstruction)
    rows = np.arange(len(reference)) if chosen is None else chosen
    a, b = Moments(d), Moments(d)
    for start in range(0, len(rows), CHUNK_ROWS):
        a.add(reference[rows[start : start + CHUNK_ROWS]])
        b.add(reconstruction[rows[start : start + CHUNK_ROWS]])
    if len(rows) > d:
        return frechet_distance(a.mean, a.covariance, b.mean, b.covariance)
    x, y = reference[rows] - a.mean, reconstruction[rows] - b.mean
    roots = np.linalg.svd(x @ y.T, compute_uv=False)
    shift = a.mean - b.mean
    return max(0.0, float(shift @ shift + ((x**2).sum() + (y**2).sum() - 2 * roots.sum()) / (a.n - 1)))


def frechet_summary(reference: np.ndarray, reconstruction: np.ndarray) -> Summary:
    """The distance between paired sets of features, and what it is worth.

    Args:
        reference, reconstruction: rows ``(n, d)`` of one feature; row i of the second is of the reconstruction of
            what row i of the first is of.

    Returns:
        A value with ``influences`` of the pairs (an image enters both sets at once). Sets equal bit for bit are at
        exactly 0. ``details`` hold the two terms, and say under ``biased`` when the set is small.
    """
    n, d = require_rows(reference, reconstruction)
    if n < 2:
        return too_few(n)
    if all(np.array_equal(x, y) for x, y in _chunks(reference, reconstruction)):
        return Summary(value=0.0, n=n, details=_details(0.0, 0.0, n=n, d=d), influences=np.zeros(n))
    a, b = Moments.of(reference), Moments.of(reconstruction)
    if n <= d:
        term, influences = _of_few(reference - a.mean, reconstruction - b.mean)
    else:
        coupling = _couple(a.covariance, b.covariance)
        term = coupling.term
        influences = np.concatenate(
            [_influences(coupling, x - a.mean, y - b.mean, n=n) for x, y in _chunks(reference, reconstruction)]
        )
    shift = a.mean - b.mean
    linear = [2 * ((x - a.mean) - (y - b.mean)) @ shift for x, y in _chunks(reference, reconstruction)]
    mean_term = float(shift @ shift)
    return Summary(
        value=max(0.0, mean_term + term),
        n=n,
        details=_details(mean_term, term, n=n, d=d),
        influences=_centred(influences + np.concatenate(linear)),
    )


def frechet_to_published(mean: np.ndarray, covariance: np.ndarray, reconstruction: np.ndarray) -> Summary:
    """The distance from published moments to rows ``(n, d)``; only the rows are uncertain."""
    n, d = require_rows(reconstruction, reconstruction)
    if n < 2:
        return too_few(n)
    b = Moments.of(reconstruction)
    _require_moments(mean, covariance, b.mean, b.covariance)
    coupling = _couple(np.asarray(covariance, np.float64), b.covariance)
    shift = b.mean - mean
    influences = []
    for rows, _ in _chunks(reconstruction, reconstruction):
        y = rows - b.mean
        scaled = n / (n - 1)
        share = scaled * ((y @ coupling.project_b) ** 2).sum(axis=1)
        influences.append(2 * y @ shift + scaled * (y**2).sum(axis=1) - share)
    mean_term = float(shift @ shift)
    return Summary(
        value=max(0.0, mean_term + coupling.term),
        n=n,
        details=_details(mean_term, coupling.term, n=n, d=d),
        influences=_centred(np.concatenate(influences)),
    )


def require_rows(reference: np.ndarray, reconstruction: np.ndarray) -> tuple[int, int]:
    """Their n and d; MetricError unless both are ``(n, d)`` of one shape."""
    if reference.ndim != 2 or reference.shape != reconstruction.shape:
        raise MetricError(
            f"paired features are two arrays of one shape (n, d), got {reference.shape} and {reconstruction.shape}"
        )
    return reference.shape[0], reference.shape[1]


def too_few(n: int) -> Summary:
    """The answer to fewer than two images."""
    got = "no image was measured" if n == 0 else "only 1 image was measured"
    return Summary(value=None, n=n, reason=f"{got}; a distance between sets needs at least 2")


def require_finite(value: float) -> float:
    """The value; MetricError if features that are not finite made it so too."""
    if not np.isfinite(value):
        raise MetricError("features hold values that are not finite, so sets of them have no distance")
    return value


def small_set(n: int, dimensions: int) -> str:
    """What to know about a set this small; "" if it is large enough."""
    if n >= ENOUGH_PER_DIMENSION * dimensions:
        return ""
    said = f"n = {n} is small for {dimensions} dimensions: the value is too high by an amount that falls with n, so "
    said += "compare it, and its interval, with values at the same n only"
    return said


def _details(mean_term: float, covariance_term: float, *, n: int, d: int) -> dict[str, float | int | str]:
    details: dict[str, float | int | str] = {
        "mean_term": mean_term,
        "covariance_term": covariance_term,
        "dimensions": d,
        "images_per_dimension": n / d,
    }
    if said := small_set(n, d):
        details["biased"] = said
    return details


def _couple(cov_a: np.ndarray, cov_b: np.ndarray) -> _Coupling:
    """The covariance term and the projections that give each row's share in it."""
    root_a, root_b = _root(cov_a), _root(cov_b)
    left, values, right = np.linalg.svd(root_a.T @ root_b, full_matrices=False)
    return _Coupling(
        trace_a=float(np.trace(cov_a)),
        trace_b=float(np.trace(cov_b)),
        root_trace=float(values.sum()),
        project_a=(_inverse(root_a) @ left) * np.sqrt(values),
        project_b=(_inverse(root_b) @ right.T) * np.sqrt(values),
    )


def _influences(coupling: _Coupling, x: np.ndarray, y: np.ndarray, *, n: int) -> np.ndarray:
    """The covariance term's influences, up to a constant, of centred rows ``(m, d)`` of a set of n > d pairs."""
    shares = ((x @ coupling.project_a) ** 2).sum(axis=1) + ((y @ coupling.project_b) ** 2).sum(axis=1)
    influences: np.ndarray = ((x**2).sum(axis=1) + (y**2).sum(axis=1) - shares) * (n / (n - 1))
    return influences


def _of_few(x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """The covariance term of centred rows ``(n, d)``, n <= d, and its influences up to a constant."""
    n = len(x)
    left, roots, right = np.linalg.svd(x @ y.T)
    shares = (left**2) @ roots + roots @ (right**2)
    squares = (x**2).sum(axis=1) + (y**2).sum(axis=1)
    return float(squares.sum() - 2 * roots.sum()) / (n - 1), (squares - shares) * (n / (n - 1))


def _root(covariance: np.ndarray) -> np.ndarray:
    """S ``(d, r)`` with S S^T the covariance: Cholesky's, or of fewer columns where that finds it singular."""
    try:
        root: np.ndarray = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        is_noise = values <= values.size * np.finfo(np.float64).eps * max(0.0, float(values.max(initial=0.0)))
        root = vectors[:, ~is_noise] * np.sqrt(values[~is_noise])
    return root


def _inverse(root: np.ndarray) -> np.ndarray:
    """P ``(d, r)`` with P^T S the identity and its columns in the span of S's."""
    square = root.shape[0] == root.shape[1]
    # The columns of a root that is not square are orthogonal: they are scaled eigenvectors.
    inverse: np.ndarray = np.linalg.inv(root).T if square else root / (root**2).sum(axis=0)
    return inverse


def _centred(influences: np.ndarray) -> np.ndarray:
    centred: np.ndarray = influences - influences.mean()
    return centred


def _chunks(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Paired rows in float64, a fixed number at a time: a memory-mapped set is never whole in memory."""
    for start in range(0, len(a), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        yield np.asarray(a[part], np.float64), np.asarray(b[part], np.float64)


def _require_moments(mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray) -> None:
    d = mean_a.size
    if mean_a.shape != (d,) or mean_b.shape != (d,) or cov_a.shape != (d, d) or cov_b.shape != (d, d):
        raise MetricError(
            "expected two means (d,) and two covariances (d, d) of one d, got "
            f"{mean_a.shape}, {cov_a.shape}, {mean_b.shape}, {cov_b.shape}"
        )
