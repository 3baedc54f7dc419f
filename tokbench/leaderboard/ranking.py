"""Ranks with intervals: the range of places a submission can have, given which differences are beyond doubt."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Rank(NamedTuple):
    """From the best to the worst place that the evidence leaves, counted from 1."""

    low: int
    high: int

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}–{self.high}"


def ranks(beats: np.ndarray) -> list[Rank]:
    """The range of ranks of each of n submissions.

    The best place is one below those that beat it beyond doubt, the worst one above those it beats. With differences
    corrected together at 5 %, all ranges hold their true ranks at once with a chance of at least 95 %. Ranges that
    overlap are a tie.

    Args:
        beats: bool ``(n, n)``: the row is better than the column beyond doubt.

    Source: Mogstad, Romano, Shaikh and Wilhelm, "Inference for Ranks with Applications to Mobility across
    Neighbourhoods and Academic Achievement across Countries", 2024, section 3.
    """
    n = len(beats)
    lost, won = beats.sum(axis=0), beats.sum(axis=1)
    return [Rank(int(lost[place]) + 1, n - int(won[place])) for place in range(n)]
