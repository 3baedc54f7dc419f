"""A metric against the length of the encoding, for tokenizers that can stop early."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from markupsafe import Markup

from tokbench.report.format import ARROWS, DIRECTIONS, format_value, shorten
from tokbench.report.runs import PLAIN, Section, order_values
from tokbench.report.xyplot import Axis, Line, Point, Tick, is_wide, xy_plot
from tokbench.results import RunResult, Value

_LENGTH = re.compile(r"^length=(\d+)$")


@dataclass(frozen=True, kw_only=True)
class LengthPoint:
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
    points: tuple[LengthPoint, ...]


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
    lines = [
        Line(
            label=one.label,
            colour=one.run,
            points=tuple(Point(x=_x(p, has_bits), y=p.y, ci95=p.ci95, words=p.label) for p in one.points),
        )
        for one in series
    ]
    title = "bits per pixel" if has_bits else "length"
    if has_bits and len(series) == 1:
        title = "length (above), bits per pixel (below)"
    axis = Axis(
        title=title,
        is_log=is_wide([point.x for one in lines for point in one.points]),
        ticks=_ticks(series[0].points, has_bits) if len(series) == 1 else (),
    )
    return xy_plot(lines, x=axis, y=Axis(unit=metric.unit), title=f"{shorten(metric.title, 80)} by {title}")


def _x(point: LengthPoint, has_bits: bool) -> float:
    return point.bits_per_pixel if has_bits and point.bits_per_pixel else float(point.length)


def _ticks(points: Sequence[LengthPoint], has_bits: bool) -> tuple[Tick, ...]:
    """A single run's own lengths, and bits where they are known."""
    return tuple(
        (
            _x(point, has_bits),
            (f"{point.length:,}", format_value(point.bits_per_pixel, "bpp").removesuffix(" bpp") if has_bits else ""),
        )
        for point in points
    )


def _length_points(section: Section, run: int, keys: Sequence[str]) -> tuple[LengthPoint, ...]:
    """The run's values by length; the plain reconstruction counts as the longest."""
    result = section.results[run]
    points: dict[int, LengthPoint] = {}
    for length, value in _lengths(result, keys):
        if value.value is not None:
            bpp = bits_per_pixel(section, run, value.branch)
            words = f"length {length:,}" + (f", {format_value(bpp, 'bpp')}" if bpp else "")
            written = f"{words}: {format_value(value.value, value.unit, value.ci95)}"
            points.setdefault(
                length, LengthPoint(length=length, bits_per_pixel=bpp, y=value.value, ci95=value.ci95, label=written)
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


def bits_per_pixel(section: Section, run: int, branch: str) -> float | None:
    """Mean bits per pixel of the run's encodings in a branch."""
    found = []
    for record in section.runs[run].records:
        made = record.branches.get(branch)
        if made is not None and made.encoding_bits is not None and record.size_px is not None:
            found.append(made.encoding_bits / (record.size_px[0] * record.size_px[1]))
    return fmean(found) if found else None
