"""How a metric's values spread over samples or regions: a histogram for each run with quartiles and every value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tokbench.report.format import format_count, format_value, shorten, style_of, tick_style
from tokbench.report.runs import PLAIN, ReportRun, Section
from tokbench.report.svg import Scale, colour, element, figure, hull, line, text, ticks
from tokbench.results import Value

_WIDTH, _LEFT, _RIGHT = 440.0, 10.0, 10.0
_BARS, _BOX, _RUG, _ROW = 62.0, 12.0, 12.0, 100.0  # heights: histogram, quartile box, rug, all of one run's row
_NAMED = 4  # ids shown for one place of the rug


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One number and where it comes from."""

    value: float
    id: str
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One run's values, summed up in words for the table below the plot."""

    run: int
    label: str
    n: str
    median: str
    quartiles: str
    extremes: str


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """A plot, its numbers, and what the page's script says about the places of its rug."""

    metric: Value
    svg: Markup
    spreads: tuple[Spread, ...]
    marks: dict[str, Any]


def measure(run: ReportRun, metric: Value) -> list[Measured]:
    """Every value of the metric on plain reconstructions: one an image, or one a region; lowest first."""
    found = []
    for record in run.records:
        made = record.branches.get(PLAIN)
        if made is None:
            continue
        if metric.kind == "pair":
            if metric.metric in made.values:
                found.append(Measured(value=made.values[metric.metric], id=record.id))
            continue
        for region in made.regions:
            if metric.metric in region.values:
                label = region.label or f"{region.kind} {region.index}"
                found.append(Measured(value=region.values[metric.metric], id=record.id, label=label))
    return sorted((item for item in found if math.isfinite(item.value)), key=lambda item: (item.value, item.id))


def make_distribution(section: Section, metric: Value, *, chart_id: str) -> Distribution | None:
    """The metric's distribution in all runs that have it, on one scale; None where there is not a single value."""
    runs = [(number, found) for number, run in enumerate(section.runs) if (found := measure(run, metric))]
    if not runs:
        return None
    scale = Scale(*hull([item.value for _, found in runs for item in found], padding=0.04), _LEFT, _WIDTH - _RIGHT)
    edges = _edges(scale, max((found for _, found in runs), key=len))
    counts = {number: _histogram(found, edges) for number, found in runs}
    tallest = max(count / len(found) for number, found in runs for count in counts[number])
    parts: list[Markup] = []
    rug: list[dict[str, Any]] = []
    for row, (number, found) in enumerate(runs):
        places = _rug_places(found, scale)
        top = row * _ROW
        drawn = [
            *_bars(found, counts[number], edges, scale, tallest, top, metric),
            _box(found, scale, top),
            _rug(places, top),
        ]
        parts.append(element("g", *drawn, class_=colour(number)))
        rug.append({"top": top, "bottom": top + _ROW, "places": [_place(x, items, metric) for x, items in places]})
    parts.append(_axis(scale, metric, len(runs) * _ROW))
    spreads = tuple(_spread(number, section.labels[number], found, metric) for number, found in runs)
    words = "; ".join(f"{shorten(s.label, 60)}: {s.n}, median {s.median}, middle half {s.quartiles}" for s in spreads)
    svg = figure(
        _WIDTH,
        len(runs) * _ROW + (36 if metric.unit else 22),
        f"Distribution of {shorten(metric.title, 80)}. {words}",
        *parts,
        id_=chart_id,
    )
    return Distribution(metric=metric, svg=svg, spreads=spreads, marks={"chart": chart_id, "rows": rug})


def quantile(found: Sequence[Measured], share: float) -> float:
    """A quantile of values in rising order, interpolated linearly."""
    place = share * (len(found) - 1)
    low = math.floor(place)
    high = min(low + 1, len(found) - 1)
    return found[low].value + (place - low) * (found[high].value - found[low].value)


def _edges(scale: Scale, found: Sequence[Measured]) -> list[float]:
    """Bin edges by the rule of Freedman and Diaconis, 10 to 32 bins."""
    width = 2 * (quantile(found, 0.75) - quantile(found, 0.25)) / len(found) ** (1 / 3)
    span = scale.high - scale.low
    n = min(32, max(10, math.ceil(span / width))) if width > 0 else 24
    return [scale.low + span * place / n for place in range(n + 1)]


def _histogram(found: Sequence[Measured], edges: Sequence[float]) -> list[int]:
    counts = [0] * (len(edges) - 1)
    step = edges[1] - edges[0]
    for item in found:
        counts[min(int((item.value - edges[0]) / step), len(counts) - 1)] += 1
    return counts


def _bars(
    found: Sequence[Measured],
    counts: Sequence[int],
    edges: Sequence[float],
    scale: Scale,
    tallest: float,
    top: float,
    metric: Value,
) -> list[Markup]:
    bars = []
    for count, low, high in zip(counts, edges, edges[1:], strict=False):
        if count:
            height = _BARS * count / len(found) / tallest
            style = style_of(high, metric.unit, (low, high))
            share = f"{count:,} of {format_count(len(found), metric.n_unit)}"
            words = f"{share}: {style.number(low)} to {style.number(high)} {style.unit}"
            x = scale(low)
            rectangle = {
                "x": x + 0.5,
                "y": top + _BARS + 4 - height,
                "width": max(scale(high) - x - 1, 0.5),
                "height": height,
            }
            bars.append(element("rect", element("title", words.strip()), class_="bin", **rectangle))
    return bars


def _box(found: Sequence[Measured], scale: Scale, top: float) -> Markup:
    """Quartiles as a box with the median across it."""
    y = top + _BARS + 6
    low, middle, high = (scale(quantile(found, share)) for share in (0.25, 0.5, 0.75))
    box = element("rect", x=low, y=y + 2, width=max(high - low, 1), height=_BOX - 5, class_="quartiles")
    return element("g", box, line(middle, y - 1, middle, y + _BOX - 1, "median"))


def _rug_places(found: Sequence[Measured], scale: Scale) -> list[tuple[float, list[Measured]]]:
    """Values by position on the page, to half a pixel."""
    places: dict[float, list[Measured]] = {}
    for item in found:
        places.setdefault(round(scale(item.value) * 2) / 2, []).append(item)
    return list(places.items())


def _rug(places: Sequence[tuple[float, list[Measured]]], top: float) -> Markup:
    y = top + _BARS + _BOX + 7
    return element("path", d="".join(f"M{x:g} {y:g}v{_RUG:g}" for x, _ in places), class_="rug")


def _place(x: float, items: Sequence[Measured], metric: Value) -> list[Any]:
    """What to say at a place of the rug: x, the number, who has it."""
    names = [shorten(f"{item.id} · {item.label}" if item.label else item.id, 60) for item in items[:_NAMED]]
    more = f"and {len(items) - _NAMED:,} more" if len(items) > _NAMED else ""
    return [x, format_value(items[0].value, metric.unit), [*names, more] if more else names]


def _axis(scale: Scale, metric: Value, y: float) -> Markup:
    places, step = ticks(scale.low, scale.high, 5)
    style = tick_style(step, max(abs(scale.low), abs(scale.high)), metric.unit)
    parts = [line(_LEFT, y, _WIDTH - _RIGHT, y, "axis")]
    for place in places:
        parts += [
            line(scale(place), y, scale(place), y + 4, "axis"),
            text(style.number(place), scale(place), y + 17, anchor="middle"),
        ]
    return element("g", *parts, text(style.unit, _WIDTH - _RIGHT, y + 31, anchor="end", class_="axis-title"))


def _spread(run: int, label: str, found: Sequence[Measured], metric: Value) -> Spread:
    low, middle, high = (quantile(found, share) for share in (0.25, 0.5, 0.75))
    # One style for all five numbers: as many decimals as the spread of the middle half supports.
    style = style_of(middle, metric.unit, (low, high) if low < high else None)

    def together(first: float, last: float) -> str:
        return f"{style.number(first)} – {style.number(last)}"

    return Spread(
        run=run,
        label=label,
        n=format_count(len(found), metric.n_unit),
        median=f"{style.number(middle)} {style.unit}".strip(),
        quartiles=together(low, high),
        extremes=together(found[0].value, found[-1].value),
    )
