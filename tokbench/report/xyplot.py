"""Charts of lines and points on two axes, linear or logarithmic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tokbench.report.format import Style, clean, shorten, tick_style
from tokbench.report.svg import Scale, colour, element, figure, hull, line, text, ticks

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 440.0, 250.0, 58.0, 18.0, 12.0, 46.0
_APART = 34  # px: tick labels any closer would touch
_LOG_BEYOND = 4  # times from the lowest to the highest: on a linear axis the low ones would huddle
Tick = tuple[float, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point with its interval on the y axis; ``words`` is what to say of it, ``is_open`` draws it hollow."""

    x: float
    y: float
    ci95: tuple[float, float] | None = None
    words: str = ""
    is_open: bool = False


@dataclass(frozen=True, kw_only=True)
class Line:
    """Points of one colour, joined in their order or not; without dots it is a mere line (a fit, say)."""

    label: str
    points: tuple[Point, ...]
    colour: int = 0
    is_joined: bool = True
    is_dashed: bool = False
    has_dots: bool = True


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis. ``ticks`` are places and the rows of text below them, in place of round numbers."""

    title: str = ""
    unit: str = ""
    is_log: bool = False
    ticks: tuple[Tick, ...] = ()


def xy_plot(lines: Sequence[Line], *, x: Axis, y: Axis, title: str) -> Markup:
    """The lines with 95 % whiskers; ``title`` and every point's words are what those hear who do not see it.

    A logarithmic axis over numbers that are not all above 0 becomes linear.
    """
    points = [point for one in lines for point in one.points]
    across = axis_scale([point.x for point in points], _LEFT, _WIDTH - _RIGHT, is_log=x.is_log)
    up = axis_scale(
        [n for point in points for n in (point.y, *(point.ci95 or ()))], _HEIGHT - _BOTTOM, _TOP, is_log=y.is_log
    )
    rows = max([1, *(len(tick[1]) for tick in x.ticks)])
    parts = [*_y_axis(up, y.unit), *_x_axis(across, x)]
    parts.append(text(x.title, _WIDTH - _RIGHT, _HEIGHT - (3 if rows > 1 else 12), anchor="end", class_="axis-title"))
    parts += [_line(one, across, up) for one in lines]
    words = "; ".join(
        f"{shorten(one.label, 60)}: {', '.join(clean(point.words) for point in one.points)}"
        for one in lines
        if one.has_dots
    )
    return figure(_WIDTH, _HEIGHT, f"{shorten(title, 160)}. {words}", *parts)


def is_wide(numbers: Sequence[float]) -> bool:
    """Whether positive numbers want a logarithmic axis."""
    return bool(numbers) and min(numbers) > 0 and max(numbers) / min(numbers) > _LOG_BEYOND


def axis_scale(numbers: Sequence[float], start: float, end: float, *, is_log: bool) -> Scale:
    """The numbers with room on both sides; linear where a logarithm cannot be, whatever was asked for."""
    if is_log and min(numbers) > 0:
        low, high = hull([math.log(number) for number in numbers], padding=0.06)
        return Scale(math.exp(low), math.exp(high), start, end, is_log=True)
    return Scale(*hull(numbers), start, end)


def _y_axis(scale: Scale, unit: str) -> list[Markup]:
    parts = []
    for place, label in axis_marks(scale, unit, 5):
        parts.append(line(_LEFT, scale(place), _WIDTH - _RIGHT, scale(place), "grid"))
        parts.append(text(label, _LEFT - 7, scale(place) + 4, anchor="end"))
    return parts


def _x_axis(scale: Scale, axis: Axis) -> list[Markup]:
    bottom = _HEIGHT - _BOTTOM
    marks = axis.ticks or tuple((place, (label,)) for place, label in axis_marks(scale, axis.unit, 5))
    parts = [line(_LEFT, bottom, _WIDTH - _RIGHT, bottom, "axis")]
    last = -math.inf
    for place, rows in marks:
        parts.append(line(scale(place), bottom, scale(place), bottom + 4, "axis"))
        if scale(place) - last > _APART:
            parts += [
                text(row, scale(place), bottom + 15 + 12 * number, anchor="middle")
                for number, row in enumerate(rows)
                if row
            ]
            last = scale(place)
    return parts


def axis_marks(scale: Scale, unit: str, n: int) -> list[tuple[float, str]]:
    """Round numbers on a scale, as they are written."""
    if scale.is_log:
        places = _log_ticks(scale.low, scale.high)
        if len(places) > 1:
            return [(place, _plain(place)) for place in places]
    places, step = ticks(scale.low, scale.high, n)
    style: Style = tick_style(step, max(abs(scale.low), abs(scale.high)), unit)
    return [(place, style.number(place)) for place in places]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, or 1, 2 and 5 times them over a short range; every other power over a very long one."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = math.log10(high / low)
    factors = (1, 2, 5) if decades < 2.2 else (1,)
    step = max(1, math.ceil(decades / 6))
    places = [factor * 10.0**power for power in range(first, last + 1, step) for factor in factors]
    return [place for place in places if low <= place <= high]


def _plain(place: float) -> str:
    """A round number on a logarithmic axis: ``0.002``, ``50``, ``20k``, ``1e-6``."""
    if 1000 <= place < 1e6:
        return f"{place / 1000:.12g}k"
    return f"{place:.12g}" if 1e-3 <= place < 1e6 else f"{place:.0e}".replace("e-0", "e-").replace("e+0", "e")


def _line(one: Line, x: Scale, y: Scale) -> Markup:
    places = [(x(point.x), point) for point in one.points]
    parts = []
    if one.is_joined and len(places) > 1:
        path = "M" + "L".join(f"{place:.1f} {y(point.y):.1f}" for place, point in places)
        parts.append(element("path", d=path, class_="line dashed" if one.is_dashed else "line"))
    for place, point in places if one.has_dots else ():
        marks = [element("title", f"{shorten(one.label, 80)} · {clean(point.words)}")]
        if point.ci95 is not None:
            low, high = (y(end) for end in point.ci95)
            marks.append(line(place, low, place, high, "whisker"))
            marks += [line(place - 3, end, place + 3, end, "cap") for end in (low, high)]
        small = len(places) > 24
        marks.append(
            element(
                "circle", cx=place, cy=y(point.y), r=2 if small else 3.5, class_="dot open" if point.is_open else "dot"
            )
        )
        marks.append(element("circle", cx=place, cy=y(point.y), r=5 if small else 12, class_="target"))
        parts.append(element("g", *marks))
    return element("g", *parts, class_=colour(one.colour))
