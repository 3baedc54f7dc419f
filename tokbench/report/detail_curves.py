"""Curves that metrics leave among a value's details, under keys that end in ``_curve``: read with care, then drawn."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tokbench.report.format import format_value, shorten
from tokbench.report.runs import Section
from tokbench.report.svg import N_COLOURS
from tokbench.report.topic import Chart, Key
from tokbench.report.xyplot import Axis, Line, Point, xy_plot
from tokbench.results import Value

SUFFIX = "_curve"
MAX_POINTS = 256  # metrics keep to 64; anything much longer was not written for a plot
MAX_SERIES = 12
_TEXT = 60


@dataclass(frozen=True, kw_only=True)
class CurveStyle:
    """How a known curve is shown: a title and axis title for each column of numbers after x."""

    titles: tuple[str, ...]
    x_title: str = ""
    y_titles: tuple[str, ...] = ()
    log_x: bool = False
    log_y: bool = False
    has_fit: bool = False  # the value is the exponent of a power law


STYLES: Mapping[str, CurveStyle] = {
    "rank_frequency_curve": CurveStyle(
        titles=("Rank and frequency",), x_title="rank of the code", y_titles=("share of all tokens",), log_x=True,
        log_y=True, has_fit=True,
    ),
    "innovation_curve": CurveStyle(
        titles=("New codes in the next image",), x_title="images seen", y_titles=("share of its distinct codes",),
        log_x=True,
    ),
    "vocabulary_curve": CurveStyle(
        titles=("Distinct codes so far",), x_title="images seen", y_titles=("codes",), log_x=True, log_y=True
    ),
    "usage_entropy_curve": CurveStyle(
        titles=("Usage by level", "Entropy by level"), x_title="level (stream)",
        y_titles=("share of entries seen", "bits a token"),
    ),
    "position_entropy_curve": CurveStyle(
        titles=("Entropy by position",), x_title="position in the sequence", y_titles=("bits a token",)
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DetailCurve:
    """A curve as it was read: points by series, for each column of numbers after x."""

    columns: tuple[Mapping[str, tuple[Point, ...]], ...]
    x_title: str = ""
    y_title: str = ""
    log_x: bool = False
    log_y: bool = False


def read_curve(text: object) -> DetailCurve | None:
    """Read the JSON text of a curve; None if it is not one, whatever else it is.

    Three forms:

    - a list of ``[x, y, …]``: one curve for each number after x;
    - a list of objects with numbers ``x`` and ``y`` and, if wanted, ``low`` and ``high`` (the ends of an interval, both
      or neither), ``series`` (which of several lines of the plot it belongs to) and ``label`` (what to say of it:
      ``delta=200``);
    - an object with ``points`` in either of these forms and, if wanted, ``x_title``, ``y_title`` (texts), ``log_x`` and
      ``log_y`` (booleans).

    Numbers are finite; there are 1 to 256 points (metrics should keep to 64) in at most 12 series. Points are joined in
    the order given.
    """
    if not isinstance(text, str):
        return None
    try:
        raw = json.loads(text)
        facts: Mapping[str, Any] = raw if isinstance(raw, dict) else {"points": raw}
        points = facts["points"]
        if not isinstance(points, list) or not 1 <= len(points) <= MAX_POINTS:
            return None
        columns = _columns_of_rows(points) if isinstance(points[0], list) else (_series_of_objects(points),)
        return DetailCurve(
            columns=columns, x_title=_text(facts, "x_title"), y_title=_text(facts, "y_title"),
            log_x=_flag(facts, "log_x"), log_y=_flag(facts, "log_y"),
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError):
        return None


def curve_charts(section: Section, metrics: Sequence[Value]) -> list[Chart]:
    """A chart for each curve of these metrics, all runs together; one that cannot be read says so."""
    charts = []
    for metric in metrics:
        values = section.values(metric.key)
        names = dict.fromkeys(name for v in values if v is not None for name in v.details if name.endswith(SUFFIX))
        for name in names:
            read = {
                run: read_curve(value.details[name])
                for run, value in enumerate(values)
                if value is not None and name in value.details
            }
            charts += _charts(section, metric, name, read)
    return charts


def _charts(section: Section, metric: Value, name: str, read: Mapping[int, DetailCurve | None]) -> list[Chart]:
    good = {run: curve for run, curve in read.items() if curve is not None}
    bad = [section.labels[run] for run, curve in read.items() if curve is None]
    note = f"not readable: {name}" + (f" of {', '.join(bad)}" if len(section.runs) > 1 else "") if bad else ""
    style = STYLES.get(name, CurveStyle(titles=()))
    n_columns = max((len(curve.columns) for curve in good.values()), default=0)
    if not good:
        return [Chart(title=_title(metric, name, style, 0), key=metric.key, note=note)]
    return [_chart(section, metric, name, style, good, column, note) for column in range(n_columns)]


def _chart(
    section: Section, metric: Value, name: str, style: CurveStyle, read: Mapping[int, DetailCurve], column: int,
    note: str,
) -> Chart:  # fmt: skip
    title = _title(metric, name, style, column)
    first = next(iter(read.values()))
    y_title = style.y_titles[column] if column < len(style.y_titles) else first.y_title
    if y_title.startswith(title):  # said already
        y_title = ""
    unit = "" if name in STYLES else metric.unit
    lines: list[Line] = []
    for run, curve in read.items():
        if column < len(curve.columns):
            lines += _lines(section, run, curve.columns[column], len(read), unit)
    if style.has_fit:
        fits = [(run, fit) for run in read if (fit := _fit(section, run, metric, read[run], column))]
        lines += [fit for _, fit in fits]
        note = "; ".join(
            filter(None, ["Dashed: the fitted exponent over the ranks it was fitted to" * bool(fits), note])
        )
    x = Axis(title=style.x_title or first.x_title, is_log=style.log_x or first.log_x)
    y = Axis(unit=unit, is_log=style.log_y or first.log_y)
    keys = tuple(Key(colour=one.colour, label=one.label, is_dashed=one.is_dashed) for one in lines if one.has_dots)
    only_runs = len(keys) <= len(read)
    return Chart(
        title=title, key=metric.key, unit=y_title or unit, svg=xy_plot(lines, x=x, y=y, title=f"{title}: {y_title}"),
        keys=() if only_runs else keys, note=note,
    )  # fmt: skip


def _lines(section: Section, run: int, series: Mapping[str, tuple[Point, ...]], n_runs: int, unit: str) -> list[Line]:
    """One line a series: in the run's colour, or in colours of their own where there is one run of several series."""
    lines = []
    for number, (name, points) in enumerate(series.items()):
        label = " · ".join(filter(None, [section.labels[run] if n_runs > 1 or not name else "", name]))
        worded = tuple(replace(point, words=_words(point, unit)) for point in points)
        alone = n_runs == 1
        lines.append(
            Line(
                label=label, points=worded, colour=(number if alone else run) % N_COLOURS,
                is_dashed=number % 2 == 1 and not alone,
            )
        )  # fmt: skip
    return lines


def _words(point: Point, unit: str) -> str:
    text = f"{format_value(point.x, '')}: {format_value(point.y, unit, point.ci95)}"
    return f"{point.words}, {text}" if point.words else text


def _fit(section: Section, run: int, metric: Value, curve: DetailCurve, column: int) -> Line | None:
    """The power law of the value's exponent, at the height of the points it was fitted to."""
    value = section.values(metric.key)[run]
    if value is None or value.value is None or column >= len(curve.columns):
        return None
    ranks, books = value.details.get("ranks"), max(1, len(section.results[run].spec.tokenizer.codebook_sizes))
    if not isinstance(ranks, int) or isinstance(ranks, bool):
        return None
    points = [p for one in curve.columns[column].values() for p in one if 0 < p.x <= ranks * books and p.y > 0]
    if len(points) < 2:
        return None
    height = math.fsum(math.log(p.y) + value.value * math.log(p.x) for p in points) / len(points)
    ends = [Point(x=p.x, y=math.exp(height - value.value * math.log(p.x))) for p in (points[0], points[-1])]
    return Line(label="fit", points=tuple(ends), colour=run, is_dashed=True, has_dots=False)


def _title(metric: Value, name: str, style: CurveStyle, column: int) -> str:
    if column < len(style.titles):
        return style.titles[column]
    stem = name.removesuffix(SUFFIX)
    return metric.title if stem in metric.metric else f"{metric.title}: {stem.replace('_', ' ')}"


def _columns_of_rows(rows: Sequence[Any]) -> tuple[dict[str, tuple[Point, ...]], ...]:
    width = len(rows[0])
    if width < 2 or any(not isinstance(row, list) or len(row) != width for row in rows):
        raise ValueError("rows are not of one length")
    numbers = [[_number(item) for item in row] for row in rows]
    return tuple({"": tuple(Point(x=row[0], y=row[column]) for row in numbers)} for column in range(1, width))


def _series_of_objects(rows: Sequence[Any]) -> dict[str, tuple[Point, ...]]:
    series: dict[str, list[Point]] = {}
    for row in rows:
        if not isinstance(row, dict):
            raise TypeError("a point is an object")
        ends = [_number(row[end]) for end in ("low", "high") if row.get(end) is not None]
        if len(ends) == 1 or (ends and ends[0] > ends[1]):
            raise ValueError("an interval has two ends in order")
        point = Point(
            x=_number(row["x"]),
            y=_number(row["y"]),
            ci95=(ends[0], ends[1]) if ends else None,
            words=_text(row, "label"),
        )
        series.setdefault(_text(row, "series"), []).append(point)
    if len(series) > MAX_SERIES:
        raise ValueError("too many series")
    return {name: tuple(points) for name, points in series.items()}


def _number(item: Any) -> float:
    if isinstance(item, bool) or not isinstance(item, int | float) or not math.isfinite(item) or abs(item) > 1e300:
        raise ValueError("not a finite number")
    return float(item)


def _text(row: Mapping[str, Any], name: str) -> str:
    item = row.get(name) or ""
    if not isinstance(item, str):
        raise TypeError(f"{name} is not text")
    return shorten(item, _TEXT)


def _flag(row: Mapping[str, Any], name: str) -> bool:
    item = row.get(name, False)
    if not isinstance(item, bool):
        raise TypeError(f"{name} is not true or false")
    return item
