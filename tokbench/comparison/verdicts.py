"""What a difference means, in plain words."""

from __future__ import annotations

from typing import Literal

from tokbench.cards import Better

LEVEL = 0.05  # chance of any false finding among all comparisons made together

Verdict = Literal[
    "better", "worse", "differs", "no evidence", "equal within", "identical", "no interval", "not compared"
]
WORDS: dict[Verdict, str] = {
    "better": "better",
    "worse": "worse",
    "differs": "differs",
    "no evidence": "no evidence of a difference",
    "equal within": "equal within",
    "identical": "identical",
    "no interval": "no interval",
    "not compared": "not compared",
}


def verdict(
    better: Better, ci95: tuple[float, float] | None, p_corrected: float | None, *, margin: float | None = None
) -> Verdict:
    """The verdict on second - first.

    ``identical`` where no cluster differs; ``equal within`` where the whole interval is inside the margin; ``better``
    or ``worse`` where the corrected p-value is below 0.05, or ``differs`` where no direction is better.
    """
    if ci95 is None or p_corrected is None:
        return "no interval"
    low, high = ci95
    if low == high == 0:
        return "identical"
    if margin is not None and -margin <= low and high <= margin:
        return "equal within"
    if p_corrected >= LEVEL:
        return "no evidence"
    if better == "neither":
        return "differs"
    return "better" if ((low + high) / 2 > 0) == (better == "higher") else "worse"
