"""The Pareto front: what no other point beats in both rate and quality."""

from __future__ import annotations

from collections.abc import Sequence

from tokbench.cards import Better


def pareto_front(rates: Sequence[float], values: Sequence[float], better: Better) -> tuple[int, ...]:
    """The points on the front, by rising rate.

    A point is on it if no other is at most as expensive and at least as good, and one of the two strictly. Equal points
    are on it together.

    Args:
        rates: lower is better.
        values: of the same length.
        better: direction of the values; with ``neither`` nothing is better than anything, so there is no front.
    """
    if better == "neither":
        return ()
    sign = 1.0 if better == "higher" else -1.0
    order = sorted(range(len(rates)), key=lambda index: (rates[index], -sign * values[index], index))
    front: list[int] = []
    for index in order:
        last = front[-1] if front else None
        is_same = last is not None and (rates[last], values[last]) == (rates[index], values[index])
        if last is None or is_same or sign * values[index] > sign * values[last]:
            front.append(index)
    return tuple(front)
