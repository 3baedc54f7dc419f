"""Intervals as small plots in a table's row, and the scale they share."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from tokbench.report.format import format_interval, format_value, tick_style
from tokbench.report.svg import Scale, colour, element, hull, line, nice_ceiling, text, ticks
from tokbench.results import GroupValue, Value

ROW_WIDTH = 200.0
_ROW_HEIGHT = 14.0
_INSET = 6.0


def value_range(metric: Value, numbers: Sequence[GroupValue | Value | None], *, is_zoomed: bool) -> tuple[float, float]:
    """What a row's plot spans: the metric's possible values, or just what was measured.

    An open end of the possible values becomes a round number that contains everything measured.
    """
    measured = [item for part in numbers if part is not None for item in (part.value, *(part.ci95 or ()))]
    found = [item for item in measured if item is not None] or [0.0, 1.0]
    if is_zoomed:
        return hull(found, padding=0.15)
    low = metric.low if metric.low is not None else min(0.0, -nice_ceiling(-min(found)) if min(found) < 0 else 0.0)
    high = metric.high if metric.high is not None else nice_ceiling(max(max(found), low + 1e-9))
    return (low, high) if low < high else hull(found)


def interval_plot(metric: Value, numbers: Sequence[GroupValue | Value | None], span: tuple[float, float]) -> Markup:
    """A dot with a whisker for each run, on the row's own scale; the dot of a run without interval stands alone."""
    height = _ROW_HEIGHT * len(numbers)
    scale = Scale(*span, _INSET, ROW_WIDTH - _INSET)
    parts = [line(_INSET, height / 2, ROW_WIDTH - _INSET, height / 2, "track")] if len(numbers) == 1 else []
    words = []
    for run, item in enumerate(numbers):
        y = _ROW_HEIGHT * (run + 0.5)
        if item is None or item.value is None:
            continue
        if len(numbers) > 1:
            parts.append(line(_INSET, y, ROW_WIDTH - _INSET, y, "track"))
        marks = []
        if item.ci95 is not None:
            low, high = (scale(end) for end in item.ci95)
            marks += [
                line(low, y, high, y, "whisker"),
                line(low, y - 3, low, y + 3, "cap"),
                line(high, y - 3, high, y + 3, "cap"),
            ]
        marks.append(element("circle", cx=scale(item.value), cy=y, r=3.2, class_="dot"))
        parts.append(element("g", *marks, class_=colour(run)))
        words.append(_in_words(item, metric.unit))
    if not words:
        return Markup("")
    ends = f"scale from {format_value(span[0], metric.unit)} to {format_value(span[1], metric.unit)}"
    label = f"{'; '.join(words)} ({ends})"
    return element(
        "svg", element("title", label), *parts, viewBox=f"0 0 {ROW_WIDTH:g} {height:g}", width=ROW_WIDTH, height=height,
        class_="row-plot", role="img", aria_label=label,
    )  # fmt: skip


def axis_plot(metric: Value, span: tuple[float, float]) -> Markup:
    """The scale below a stack of interval plots."""
    scale = Scale(*span, _INSET, ROW_WIDTH - _INSET)
    places, step = ticks(*span, 4)
    style = tick_style(step, max(map(abs, span)), metric.unit)
    parts = [line(_INSET, 1, ROW_WIDTH - _INSET, 1, "axis")]
    for place in places:
        parts += [
            line(scale(place), 1, scale(place), 5, "axis"),
            text(style.number(place), scale(place), 16, anchor="middle"),
        ]
    return element(
        "svg",
        *parts,
        viewBox=f"0 0 {ROW_WIDTH:g} 20",
        width=ROW_WIDTH,
        height=20,
        class_="row-plot",
        aria_hidden="true",
    )


def _in_words(item: GroupValue | Value, unit: str) -> str:
    interval = format_interval(item.value, unit, item.ci95)
    return format_value(item.value, unit, item.ci95) + (f", 95 % interval {interval}" if interval else "")
