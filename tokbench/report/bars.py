"""Numbers of one unit beside each other as horizontal bars from zero, in groups of a bar for each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tokbench.report.format import clean, format_interval, format_value, shorten, tick_style
from tokbench.report.svg import Scale, colour, element, figure, line, nice_ceiling, text, ticks

_WIDTH, _LEFT, _RIGHT, _AXIS = 440.0, 10.0, 64.0, 26.0
_TITLE, _BAR, _GAP = 17.0, 13.0, 9.0


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One number; ``run`` picks its colour."""

    run: int
    value: float
    ci95: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class BarGroup:
    """Bars under one heading."""

    label: str
    bars: tuple[Bar, ...]


def bar_chart(groups: Sequence[BarGroup], *, unit: str, title: str, run_labels: Sequence[str]) -> Markup:
    """The groups from top to bottom on one scale, each number written at the end of its bar."""
    bars = [bar for group in groups for bar in group.bars]
    numbers = [end for bar in bars for end in (bar.value, *(bar.ci95 or ()))]
    low = min(0.0, *numbers) if min(numbers) < 0 else 0.0
    high = nice_ceiling(max(numbers)) if max(numbers) > 0 else 0.0
    scale = Scale(low, high if high > low else low + 1, _LEFT, _WIDTH - _RIGHT)
    parts, words, y = [], [], 0.0
    for group in groups:
        parts.append(text(shorten(group.label, 60), _LEFT, y + 12, class_="bar-title"))
        y += _TITLE
        for bar in group.bars:
            parts.append(_bar(bar, scale, y, unit))
            name = f"{run_labels[bar.run]} " if len(run_labels) > 1 else ""
            words.append(f"{shorten(group.label, 60)} {name}{_number(bar, unit)}")
            y += _BAR
        y += _GAP
    parts += _axis(scale, y - _GAP / 2, unit)
    return figure(_WIDTH, y + _AXIS - _GAP / 2, f"{shorten(title, 80)}: {clean('; '.join(words))}", *parts)


def _bar(bar: Bar, scale: Scale, y: float, unit: str) -> Markup:
    start, end = sorted((scale(0.0), scale(bar.value)))
    marks = [
        element("title", _number(bar, unit)),
        element("rect", x=start, y=y + 1, width=max(end - start, 0.8), height=_BAR - 3, class_="bar"),
    ]
    edge = end
    if bar.ci95 is not None:
        low, high = (scale(place) for place in bar.ci95)
        middle = y + _BAR / 2 - 0.5
        marks += [line(low, middle, high, middle, "bar-whisker")]
        marks += [line(place, middle - 3, place, middle + 3, "bar-whisker") for place in (low, high)]
        edge = max(edge, high)
    written = format_value(bar.value, unit, bar.ci95)
    marks.append(text(written if unit == "s" else written.partition(" ")[0], edge + 5, y + _BAR - 3))  # s, ms or µs
    return element("g", *marks, class_=colour(bar.run))


def _number(bar: Bar, unit: str) -> str:
    interval = format_interval(bar.value, unit, bar.ci95)
    return format_value(bar.value, unit, bar.ci95) + (f", 95 % interval {interval}" if interval else "")


def _axis(scale: Scale, y: float, unit: str) -> list[Markup]:
    places, step = ticks(scale.low, scale.high, 4)
    style = tick_style(step, max(abs(scale.low), abs(scale.high)), unit)
    parts = [line(_LEFT, y, _WIDTH - _RIGHT, y, "axis")]
    for place in places:
        parts += [
            line(scale(place), y, scale(place), y + 4, "axis"),
            text(style.number(place), scale(place), y + 16, anchor="middle"),
        ]
    return [*parts, text(style.unit, _WIDTH - 4, y + 16, anchor="end", class_="axis-title")]
