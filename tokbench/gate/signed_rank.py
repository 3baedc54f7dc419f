"""The middle of a symmetric distribution by signed ranks: an interval that outliers cannot move."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tokbench.errors import MetricError

MIN_VALUES = 6  # the fewest that support a 95 % interval


@dataclass(frozen=True, kw_only=True)
class SignedRank:
    """Hodges and Lehmann's estimate, with Wilcoxon's exact test and the interval that belongs to it.

    Attributes:
        averages: the means of all pairs of values, each value with itself included, rising.
        n: how many values.

    Source: Hollander, Wolfe and Chicken, "Nonparametric Statistical Methods", 2014, sections 3.1 to 3.3.
    """

    averages: np.ndarray
    n: int

    @property
    def value(self) -> float:
        return float(np.median(self.averages))

    def interval(self) -> tuple[float, float]:
        """The 95 % interval."""
        below = np.cumsum(_chances(self.n))
        cut = int(np.searchsorted(below, 0.025, side="right")) - 1
        return float(self.averages[cut]), float(self.averages[-1 - cut])

    def p_value(self, null: float = 0.0) -> float:
        """Two-sided, of the middle being ``null``; averages equal to it speak for it."""
        chances = _chances(self.n)
        above, from_null = int((self.averages > null).sum()), int((self.averages >= null).sum())
        tails = float(chances[above:].sum()), float(chances[: from_null + 1].sum())
        return min(1.0, 2 * min(tails))


def signed_rank(values: np.ndarray) -> SignedRank:
    """The estimate of at least six values."""
    if len(values) < MIN_VALUES:
        raise MetricError(f"got {len(values)} values; a 95 % interval by signed ranks needs {MIN_VALUES}")
    rows, columns = np.triu_indices(len(values))
    return SignedRank(averages=np.sort((values[rows] + values[columns]) / 2), n=len(values))


@lru_cache(maxsize=8)
def _chances(n: int) -> np.ndarray:
    """P(W = w) of the sum of the ranks 1 to n, each taken with probability one half."""
    chances = np.ones(1)
    for rank in range(1, n + 1):
        taken = np.concatenate([np.zeros(rank), chances])
        chances = (taken + np.concatenate([chances, np.zeros(rank)])) / 2
    chances.setflags(write=False)
    return chances
