"""Mean and covariance of feature rows, streamed in float64 so that memory is O(d²) whatever the set."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tokbench.errors import MetricError

CHUNK_ROWS = 1024


class Moments:
    """Count, mean and scatter of feature rows, streamed: O(d²) memory whatever the set.

    Rows are taken in chunks of a fixed size, each about its own mean, and joined by the pairwise formula of Chan,
    Golub and LeVeque 1979, so that large means cost no digits. The same rows give the same bits however they are cut
    into calls; merging gives what one pass gives, to rounding (1e-12 relative).
    """

    def __init__(self, dimensions: int) -> None:
        self._n = 0
        self._mean = np.zeros(dimensions)
        self._scatter = np.zeros((dimensions, dimensions))
        self._pending: list[np.ndarray] = []
        self._n_pending = 0

    @property
    def dimensions(self) -> int:
        return int(self._mean.size)

    @property
    def n(self) -> int:
        return self._n + self._n_pending

    @property
    def mean(self) -> np.ndarray:
        """Float64 ``(d,)``; zeros before the first row."""
        self._flush()
        return self._mean

    @property
    def covariance(self) -> np.ndarray:
        """Float64 ``(d, d)``, divided by n - 1 as in ADM's, torch-fidelity's and clean-fid's code; needs n >= 2."""
        self._flush()
        if self._n < 2:
            raise MetricError(f"a covariance needs at least 2 rows, got {self._n}")
        return self._scatter / (self._n - 1)

    def add(self, rows: np.ndarray) -> None:
        """Take in rows: any real dtype, ``(m, d)``, finite."""
        if rows.ndim != 2 or rows.shape[1] != self.dimensions:
            raise MetricError(f"moments of {self.dimensions} dimensions take rows (m, d), got {rows.shape}")
        while len(rows):
            taken = rows[: CHUNK_ROWS - self._n_pending]
            self._pending.append(np.array(taken, np.float64))
            self._n_pending += len(taken)
            rows = rows[len(taken) :]
            if self._n_pending == CHUNK_ROWS:
                self._flush()

    def merge(self, other: Moments) -> None:
        """Take over another set's moments."""
        if other.dimensions != self.dimensions:
            raise MetricError(f"moments of {self.dimensions} and {other.dimensions} dimensions cannot be merged")
        self._flush()
        other._flush()
        self._join(other._n, other._mean, other._scatter)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Plain arrays ``n``, ``mean``, ``scatter`` for ``numpy.savez``."""
        self._flush()
        return {"n": np.array(self._n), "mean": self._mean.copy(), "scatter": self._scatter.copy()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Moments:
        """Inverse of :meth:`to_arrays`; also takes what ``numpy.load`` returns."""
        moments = cls(int(arrays["mean"].size))
        moments._n = int(arrays["n"])
        moments._mean, moments._scatter = np.array(arrays["mean"]), np.array(arrays["scatter"])
        return moments

    @classmethod
    def of(cls, rows: np.ndarray) -> Moments:
        """Moments of rows ``(n, d)``, which may be memory-mapped."""
        moments = cls(rows.shape[1])
        moments.add(rows)
        return moments

    def _flush(self) -> None:
        if not self._pending:
            return
        rows = np.concatenate(self._pending)
        self._pending, self._n_pending = [], 0
        mean = rows.mean(axis=0)
        if not np.isfinite(mean).all():
            raise MetricError("features hold values that are not finite, so they have no moments")
        rows -= mean
        self._join(len(rows), mean, rows.T @ rows)

    def _join(self, n: int, mean: np.ndarray, scatter: np.ndarray) -> None:
        if not n:
            return
        total = self._n + n
        shift = mean - self._mean
        self._scatter = self._scatter + scatter + np.outer(shift, shift * (self._n * n / total))
        self._mean = self._mean + shift * (n / total)
        self._n = total
