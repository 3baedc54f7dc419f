"""Every submission against every other on one metric: differences paired by image, corrected together.

A difference's error is the one of :func:`tokbench.estimates.estimate`. What each cluster contributes to it is
linear in the values, so all pairs come from one matrix with a row a submission: the variance of a difference is the
squared distance of two rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tokbench.cards import Better
from tokbench.comparison.verdicts import LEVEL
from tokbench.estimates import ClusterTable, estimate, holm
from tokbench.leaderboard.records import Column
from tokbench.results import Value

Method = Literal["paired", "unpaired", "none"]
_Z95 = 1.959963984540054


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """All pairs of n submissions on one metric.

    Attributes:
        differences: float64 ``(n, n)``: column's value - row's, in the metric's unit.
        halves: half of the 95 % interval of the difference, for that pair alone; NaN without one.
        p_corrected: two-sided, corrected for all pairs of the metric (Holm); NaN where nothing can be told.
        is_paired: bool ``(n, n)``: both have the same units, so that the difference is paired by them.
    """

    differences: np.ndarray
    halves: np.ndarray
    p_corrected: np.ndarray
    is_paired: np.ndarray

    def beats(self, better: Better) -> np.ndarray:
        """bool ``(n, n)``: the row is better than the column beyond doubt; never where there is no direction."""
        if better == "neither":
            return np.zeros(self.differences.shape, bool)
        with np.errstate(invalid="ignore"):
            is_sure = self.p_corrected < LEVEL
        sign = 1.0 if better == "higher" else -1.0
        found: np.ndarray = is_sure & (sign * self.differences < 0)
        return found


def all_pairs(values: Sequence[Value], columns: Sequence[Column | None]) -> Pairs:
    """Compare every submission with every other.

    Two submissions whose columns are of the same units are paired by cluster. Where that cannot be, the two intervals
    stand for the errors, as if they were independent normal: on the same images that asks for more than pairing would.
    Where one of them has no interval either, nothing is told.

    Args:
        values: one metric's values, each with a number.
        columns: of the same submissions; None where the records give none.
    """
    numbers = np.array([value.value for value in values], np.float64)
    n = len(values)
    differences = numbers[None, :] - numbers[:, None]
    halves, p_values = _unpaired(values)
    is_paired = np.zeros((n, n), bool)
    for rows in _same_units(columns):
        part = np.ix_(rows, rows)
        halves[part], p_values[part] = _paired([columns[row] for row in rows], numbers[rows])  # type: ignore[misc]
        is_paired[part] = True
    return Pairs(
        differences=differences, halves=halves, p_corrected=_corrected(p_values), is_paired=is_paired
    )  # fmt: skip


def _same_units(columns: Sequence[Column | None]) -> list[list[int]]:
    groups: dict[tuple[str, bool], list[int]] = {}
    for row, column in enumerate(columns):
        if column is not None:
            groups.setdefault((column.units, column.is_influence), []).append(row)
    return [rows for rows in groups.values() if len(rows) > 1]


def _unpaired(values: Sequence[Value]) -> tuple[np.ndarray, np.ndarray]:
    """Half-widths and p-values from the submissions' own intervals; the wider side, where one is cut at a bound."""
    from scipy.special import ndtr

    numbers = np.array([value.value for value in values], np.float64)
    reach = np.array(
        [
            max(value.value - value.ci95[0], value.ci95[1] - value.value)
            if value.ci95 is not None and value.value is not None
            else np.nan
            for value in values
        ]
    )
    halves = np.sqrt(reach[:, None] ** 2 + reach[None, :] ** 2)
    distances = np.abs(numbers[None, :] - numbers[:, None])
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(halves > 0, distances / halves * _Z95, np.where(distances > 0, np.inf, 0.0))
    p_values = 2 * ndtr(-z)
    return halves, np.where(np.isnan(halves), np.nan, p_values)


def _paired(columns: Sequence[Column], numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half-widths and p-values of all pairs whose columns have equal counts.

    Source of the variance, degrees of freedom and the treatment of clusters that do not differ:
    :func:`tokbench.estimates.estimate`, which this equals for every pair.
    """
    from scipy.special import stdtr, stdtrit

    counts = columns[0].table.counts
    n, shape = len(columns), (len(columns), len(columns))
    if ((counts > 0).sum(axis=0) < 2).any():
        return np.full(shape, np.nan), np.full(shape, np.nan)
    sizes, n_groups = counts.sum(axis=0), counts.shape[1]
    weights = 1 / (n_groups * sizes * np.sqrt(1 - counts / sizes))
    sums = np.stack([column.table.sums for column in columns])  # (submissions, clusters, groups)
    means = sums.sum(axis=1) / sizes
    contributions = ((sums - means[:, None, :] * counts) * weights).sum(axis=2)
    most = estimate(ClusterTable(counts=counts, sums=np.ones_like(counts))).degrees or 1.0
    halves, p_values = np.zeros(shape), np.ones(shape)
    for row in range(n - 1):
        rest = slice(row + 1, n)
        errors = np.sqrt(((contributions[rest] - contributions[row]) ** 2).sum(axis=1))
        # Differences that are all equal leave only rounding, which must not become an error.
        scale = np.abs(contributions[rest]).sum(axis=1) + np.abs(contributions[row]).sum()
        errors[errors <= 1e-12 * scale] = 0.0
        moved = (sums[rest] != sums[row]).any(axis=2).sum(axis=1)
        degrees = np.minimum(most, np.maximum(moved - 1, 1))
        distances = np.abs(numbers[rest] - numbers[row])
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(errors > 0, distances / errors, np.where(distances > 0, np.inf, 0.0))
        p = np.where(moved == 1, np.nan, 2 * stdtr(degrees, -t))
        half = np.where(moved == 1, np.nan, stdtrit(degrees, 0.975) * errors)
        halves[row, rest] = halves[rest, row] = half
        p_values[row, rest] = p_values[rest, row] = p
    return halves, p_values


def _corrected(p_values: np.ndarray) -> np.ndarray:
    """Holm over the pairs above the diagonal that have a p-value."""
    above = np.triu(np.ones(p_values.shape, bool), 1) & ~np.isnan(p_values)
    corrected = np.full(p_values.shape, np.nan)
    corrected[above] = holm(p_values[above].tolist())
    return np.where(above, corrected, corrected.T)
