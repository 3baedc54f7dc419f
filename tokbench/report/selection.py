"""Which samples a report shows: the worst, the median and the best of each metric. Pure, so that it can be checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from tokbench.cards import Better
from tokbench.report.runs import PLAIN
from tokbench.results import Record, Value

Place = Literal["worst", "median", "best"]


@dataclass(frozen=True, kw_only=True)
class Pick:
    """A sample to show for a metric. ``rank`` counts from 1, the best, over all ``n`` measured samples."""

    id: str
    place: Place
    rank: int
    n: int


def sample_values(records: Mapping[str, Record], metric: Value, *, branch: str = PLAIN) -> dict[str, float]:
    """Each sample's value of a metric: of the image, or the mean over its measured regions."""
    found = {}
    for sample_id, record in records.items():
        made = record.branches.get(branch)
        if made is None:
            continue
        if metric.kind == "pair":
            numbers = [made.values[metric.metric]] if metric.metric in made.values else []
        else:
            numbers = [region.values[metric.metric] for region in made.regions if metric.metric in region.values]
        if numbers:
            found[sample_id] = fmean(numbers)
    return found


def pick_samples(
    values: Mapping[str, float],
    *,
    better: Better,
    available: Collection[str],
    n_extreme: int = 3,
    n_median: int = 2,
) -> list[Pick]:
    """The worst, median and best samples among those ``available``, no sample twice.

    Ties go by sample id. With fewer samples than would fill all places, worst and best share them evenly. Where a
    metric has no better direction, high values count as best.
    """
    sign = 1 if better == "lower" else -1
    order = sorted(values, key=lambda sample_id: (sign * values[sample_id], sample_id))
    ranks = {sample_id: rank for rank, sample_id in enumerate(order, start=1)}
    shown = [sample_id for sample_id in order if sample_id in available]
    n_side = min(n_extreme, len(shown) // 2)
    best, rest = shown[:n_side], shown[n_side : len(shown) - n_side]
    worst = shown[len(shown) - n_side :][::-1]
    middle = (len(order) + 1) / 2
    median = sorted(
        sorted(rest, key=lambda sample_id: abs(ranks[sample_id] - middle))[:n_median], key=ranks.__getitem__
    )
    placed: list[tuple[Place, list[str]]] = [("worst", worst), ("median", median), ("best", best)]
    return [
        Pick(id=sample_id, place=place, rank=ranks[sample_id], n=len(order))
        for place, ids in placed
        for sample_id in ids
    ]


def by_priority(lists: Collection[Collection[Pick]]) -> list[Pick]:
    """All picks of several lists, so ordered that any beginning serves every list: the extremes first."""
    numbered: list[tuple[int, int, int, Pick]] = []
    for number, picks in enumerate(lists):
        seen: dict[Place, int] = {}
        for pick in picks:
            depth = seen.get(pick.place, 0)
            seen[pick.place] = depth + 1
            numbered.append((depth, ("worst", "best", "median").index(pick.place), number, pick))
    return [pick for *_, pick in sorted(numbered, key=lambda item: item[:3])]
