"""Which words and faces a report shows: by recogniser and size group, worst first. Pure, so that it can be checked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tokbench.report.runs import PLAIN, Section, index_records
from tokbench.results import RegionRecord, Value

Kind = Literal["word", "face"]
LEADING = ("t_acc", "f_sim")  # what a text and a face metric are mainly about; the part of a key before its first dot

# By kind: the metric that orders regions, and the one that says right (1) or wrong (0).
_METRICS: dict[Kind, tuple[str, str]] = {"word": ("t_ned", "t_acc"), "face": ("f_sim", "f_ver")}
_MOST: dict[Kind, int] = {"word": 12, "face": 8}  # shown of a size group
_MOST_RIGHT = 3  # words shown of a group that every run has right: what they look like, no more


@dataclass(frozen=True, kw_only=True)
class Recogniser:
    """An engine that judges words or faces. ``key`` is the end of its metrics' keys, "" where they have none.

    ``score`` orders regions and ``verdict`` says whether one is right; a run may have been asked for one alone.
    """

    kind: Kind
    key: str
    title: str
    score: Value | None
    verdict: Value | None

    @property
    def metrics(self) -> tuple[Value, ...]:
        return tuple(value for value in (self.verdict, self.score) if value is not None)


class Place(NamedTuple):
    """A region of a sample, the same in every run."""

    sample: str
    number: int


Found = Mapping[Place, Sequence[RegionRecord | None]]  # a region's record in each run


def lead(metric: Value) -> int | None:
    """The place of words read and face similarity, by whatever recogniser; None for other metrics."""
    name = metric.metric.partition(".")[0]
    return LEADING.index(name) if name in LEADING else None


def recognisers(section: Section, kind: Kind) -> list[Recogniser]:
    """The engines that looked at regions of this kind, whether or not they could judge any."""
    score, verdict = _METRICS[kind]
    known: dict[str, dict[str, Value]] = {}
    for result in section.results:
        for value in result.values.values():
            name, _, key = value.metric.partition(".")
            if name in (score, verdict) and value.kind == "region" and value.branch == PLAIN:
                known.setdefault(key, {}).setdefault(name, value)
    looked_at = {
        metric
        for run in section.runs
        for record in run.records
        for region in (record.branches[PLAIN].regions if PLAIN in record.branches else ())
        for metric in (*region.values, *region.reasons)
    }
    return [
        Recogniser(
            kind=kind, key=key, title=_title(key, found), score=found.get(score), verdict=found.get(verdict)
        )
        for key, found in known.items()
        if any(value.metric in looked_at for value in found.values())
    ]  # fmt: skip


def find_regions(section: Section, kind: Kind) -> Found:
    """Every region of this kind that some run has a plain reconstruction of."""
    found: dict[Place, list[RegionRecord | None]] = {}
    for number, run in enumerate(section.runs):
        for sample_id, record in index_records(run).items():
            made = record.branches.get(PLAIN)
            for region in made.regions if made is not None else ():
                if region.kind == kind:
                    place = Place(sample_id, region.index)
                    found.setdefault(place, [None] * len(section.runs))[number] = region
    return found


def number_of(metric: Value | None, region: RegionRecord | None) -> float | None:
    """The region's finite value of a metric."""
    value = region.values.get(metric.metric) if region is not None and metric is not None else None
    return value if value is not None and math.isfinite(value) else None


def is_right(recogniser: Recogniser, region: RegionRecord | None) -> bool | None:
    """Whether the word was read, or the person recognised; None where nothing says so."""
    verdict = number_of(recogniser.verdict, region)
    if verdict is not None:
        return verdict >= 1
    score = number_of(recogniser.score, region) if recogniser.kind == "word" else None
    return None if score is None else score >= 1


def reason_of(recogniser: Recogniser, region: RegionRecord) -> str:
    """Why the recogniser left the region out; "" if it did not."""
    if any(number_of(metric, region) is not None for metric in recogniser.metrics):
        return ""
    return next((region.reasons[m.metric] for m in recogniser.metrics if m.metric in region.reasons), "")


def left_out(recogniser: Recogniser, found: Found, *, run: int) -> Counter[str]:
    """How many regions a run leaves out, by reason."""
    seen = [region for regions in found.values() if (region := regions[run]) is not None]
    return Counter(reason for region in seen if (reason := reason_of(recogniser, region)))


def by_group(recogniser: Recogniser, found: Found, names: Sequence[str]) -> dict[str, list[Place]]:
    """The judged regions of each size group, worst in the first run first; all of ``names`` are there, then others,
    "" for regions outside all groups.

    The first run that the recogniser judged counts. Regions that are equally bad in it go by the other runs, then by
    the number of characters, then by place.
    """
    judged = {place: [_order(recogniser, region) for region in regions] for place, regions in found.items()}
    firsts = [number for scores in judged.values() for number, score in enumerate(scores) if score is not None]
    lead = min(firsts, default=0)
    groups: dict[str, list[tuple[tuple[float, float, int, Place], Place]]] = {name: [] for name in names}
    for place, scores in judged.items():
        first = scores[lead]
        region = found[place][lead]
        if first is None or region is None:
            continue
        others = [score for number, score in enumerate(scores) if number != lead and score is not None]
        key = (first, sum(others) / len(others) if others else 0.0, -len(region.label), place)
        groups.setdefault(region.group or "", []).append((key, place))
    return {name: [place for _, place in sorted(items)] for name, items in groups.items()}


def choose(recogniser: Recogniser, places: Sequence[Place], found: Found, *, available: Collection[str]) -> list[Place]:
    """The first of a group, as many as a page has room for; of samples whose pictures were kept, if there are any."""
    candidates = [place for place in places if place.sample in available] or list(places)
    chosen: list[Place] = []
    n_right = 0
    for place in candidates:
        if recogniser.kind == "word" and all(is_right(recogniser, region) is not False for region in found[place]):
            n_right += 1
            if n_right > _MOST_RIGHT:
                continue
        chosen.append(place)
        if len(chosen) == _MOST[recogniser.kind]:
            break
    return chosen


def _order(recogniser: Recogniser, region: RegionRecord | None) -> float | None:
    score = number_of(recogniser.score, region)
    return score if score is not None else number_of(recogniser.verdict, region)


def _title(key: str, found: Mapping[str, Value]) -> str:
    """What the metrics' titles have in brackets: the engine's own title."""
    title = next(iter(found.values())).title
    _, bracket, rest = title.partition(" (")
    return rest.removesuffix(")") if bracket else key or title
