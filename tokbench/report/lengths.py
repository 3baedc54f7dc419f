"""A metric against the length of the encoding, for tokenizers that can stop early."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from markupsafe import Markup

from tokbench.report.format import ARROWS, DIRECTIONS, clean, format_value, shorten, tick_style
from tokbench.report.runs import PLAIN, Section, order_values
from tokbench.report.svg import Scale, colour, element, figure, hull, line, text, ticks
from tokbench.results import RunResult, Value

_LENGTH = re.compile(r"^length=(\d+)$")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 440.0, 250.0, 58.0, 18.0, 12.0, 46.0


@dataclass(frozen=True, kw_only=True)
class Point:
    """A value at one length; ``bits_per_pixel`` is None where the encoding has no size."""

    length: int
    bits_per_pixel: float | None
    y: float
    ci95: tuple[float, float] | None
    label: str


@dataclass(frozen=True, kw_only=True)
class Series:
    """One run's line; ``run`` picks its colour."""

    run: int
    label: str
    points: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True)
class LengthChart:
    """A metric against the length of the encoding."""

    metric: Value
    arrow: str
    direction: str
    svg: Markup


def length_charts(section: Section) -> list[LengthChart]:
    """Each image metric against the length of the encoding, where a run was decoded at more than one length."""
    charts = []
    for _, metrics in order_values(section.results):
        for keys in metrics:
            metric = next(value for value in section.values(keys[0]) if value is not None)
            if metric.kind not in ("pair", "region"):
                continue
            series = [
                Series(run=run, label=section.labels[run], points=points)
                for run in range(len(section.runs))
                if len(points := _length_points(section, run, keys)) > 1
            ]
            if series:
                svg = line_chart(metric, series)
                charts.append(
                    LengthChart(
                        metric=metric, arrow=ARROWS[metric.better], direction=DIRECTIONS[metric.better], svg=svg
                    )
                )
    return charts


def line_chart(metric: Value, series: Sequence[Series]) -> Markup:
    """One line a run with 95 % whiskers, against bits per pixel where all are known, else against the length."""
    has_bits = all(point.bits_per_pixel for one in series for point in one.points)
    xs = [_x(point, has_bits) for one in series for point in one.points]
    is_log = min(xs) > 0 and max(xs) / min(xs) > 4
    span = (min(xs) / 1.2, max(xs) * 1.2) if is_log else hull(xs, padding=0.08)
    x = Scale(*span, _LEFT, _WIDTH - _RIGHT, is_log)
    y = Scale(
        *hull([n for one in series for point in one.points for n in (point.y, *(point.ci95 or ()))]),
        _HEIGHT - _BOTTOM,
        _TOP,
    )
    title = "bits per pixel" if has_bits else "length"
    if has_bits and len(series) == 1:
        title = "length (above), bits per pixel (below)"
    parts = [
        *_y_axis(metric, y),
        *_x_axis(series, x, has_bits),
        text(title, _WIDTH - _RIGHT, _HEIGHT - 3, anchor="end", class_="axis-title"),
    ]
    parts += [_series(one, x, y, has_bits) for one in series]
    words = "; ".join(
        f"{shorten(one.label, 60)}: {', '.join(clean(point.label) for point in one.points)}" for one in series
    )
    return figure(_WIDTH, _HEIGHT, f"{shorten(metric.title, 80)} by {title}. {words}", *parts)


def _x(point: Point, has_bits: bool) -> float:
    return point.bits_per_pixel if has_bits and point.bits_per_pixel else float(point.length)


def _y_axis(metric: Value, y: Scale) -> list[Markup]:
    places, step = ticks(y.low, y.high, 5)
    style = tick_style(step, max(abs(y.low), abs(y.high)), metric.unit)
    parts = []
    for place in places:
        parts.append(line(_LEFT, y(place), _WIDTH - _RIGHT, y(place), "grid"))
        parts.append(text(style.number(place), _LEFT - 7, y(place) + 4, anchor="end"))
    return parts


def _x_axis(series: Sequence[Series], x: Scale, has_bits: bool) -> list[Markup]:
    """Ticks at the points of a single run, at round numbers for several."""
    bottom = _HEIGHT - _BOTTOM
    labels: list[tuple[float, tuple[str, ...]]] = []
    if len(series) == 1:
        for point in series[0].points:
            bits = format_value(point.bits_per_pixel, "bpp").removesuffix(" bpp") if has_bits else ""
            labels.append((_x(point, has_bits), (f"{point.length:,}", bits)))
    else:
        powers = (
            [2.0**power for power in range(math.ceil(math.log2(x.low)), math.floor(math.log2(x.high)) + 1)]
            if x.is_log
            else []
        )
        places = powers if len(powers) > 1 else ticks(x.low, x.high, 4)[0]
        labels = [(place, (f"{place:.3g}",)) for place in places]
    parts = [line(_LEFT, bottom, _WIDTH - _RIGHT, bottom, "axis")]
    last = -math.inf
    for place, rows in labels:
        parts.append(line(x(place), bottom, x(place), bottom + 4, "axis"))
        if x(place) - last > 34:  # labels any closer would touch
            parts += [
                text(row, x(place), bottom + 15 + 12 * number, anchor="middle")
                for number, row in enumerate(rows)
                if row
            ]
            last = x(place)
    return parts


def _series(one: Series, x: Scale, y: Scale, has_bits: bool) -> Markup:
    places = [(x(_x(point, has_bits)), point) for point in one.points]
    parts = [
        element("path", d="M" + "L".join(f"{place:.1f} {y(point.y):.1f}" for place, point in places), class_="line")
    ]
    for place, point in places:
        marks = [element("title", f"{shorten(one.label, 80)} · {clean(point.label)}")]
        if point.ci95 is not None:
            low, high = (y(end) for end in point.ci95)
            marks.append(line(place, low, place, high, "whisker"))
            marks += [line(place - 3, end, place + 3, end, "cap") for end in (low, high)]
        marks.append(element("circle", cx=place, cy=y(point.y), r=3.5, class_="dot"))
        marks.append(element("circle", cx=place, cy=y(point.y), r=12, class_="target"))
        parts.append(element("g", *marks))
    return element("g", *parts, class_=colour(one.run))


def _length_points(section: Section, run: int, keys: Sequence[str]) -> tuple[Point, ...]:
    """The run's values by length; the plain reconstruction counts as the longest."""
    result = section.results[run]
    points: dict[int, Point] = {}
    for length, value in _lengths(result, keys):
        if value.value is not None:
            bpp = _bits_per_pixel(section, run, value.branch)
            words = f"length {length:,}" + (f", {format_value(bpp, 'bpp')}" if bpp else "")
            written = f"{words}: {format_value(value.value, value.unit, value.ci95)}"
            points.setdefault(
                length, Point(length=length, bits_per_pixel=bpp, y=value.value, ci95=value.ci95, label=written)
            )
    return tuple(points[length] for length in sorted(points))


def _lengths(result: RunResult, keys: Sequence[str]) -> Iterator[tuple[int, Value]]:
    found = [result.values[key] for key in keys if key in result.values]
    has_lengths = any(_LENGTH.match(value.branch) for value in found)
    for value in found:
        if match := _LENGTH.match(value.branch):
            yield int(match[1]), value
        elif value.branch == PLAIN and has_lengths and result.spec.tokenizer.max_length:
            yield result.spec.tokenizer.max_length, value


def _bits_per_pixel(section: Section, run: int, branch: str) -> float | None:
    """Mean bits per pixel of the run's encodings in a branch."""
    found = []
    for record in section.runs[run].records:
        made = record.branches.get(branch)
        if made is not None and made.encoding_bits is not None and record.size_px is not None:
            found.append(made.encoding_bits / (record.size_px[0] * record.size_px[1]))
    return fmean(found) if found else None
