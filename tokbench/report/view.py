"""Results as the page shows them: rows, cells, tiles and size groups, all written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tokbench.report.format import (
    ARROWS,
    DIRECTIONS,
    clean,
    format_count,
    format_detail,
    format_interval,
    format_value,
)
from tokbench.report.plots import axis_plot, interval_plot, value_range
from tokbench.report.runs import PLAIN, Section, order_values
from tokbench.results import GroupValue, RunResult, Value

_N_TILES = 6


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run's number in a row, or why there is none."""

    text: str
    interval: str = ""
    n: str = ""
    status: str = "ok"
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """A metric or one of its branches."""

    metric: Value
    name: str
    arrow: str
    direction: str
    hover: str
    cells: tuple[Cell, ...]
    n: str
    plot: Markup
    details: tuple[tuple[str, str], ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class GroupRow:
    """A size group of a region metric."""

    name: str
    extent: str
    cells: tuple[Cell, ...]
    plot: Markup


@dataclass(frozen=True, kw_only=True)
class GroupTable:
    """A region metric by size group."""

    metric: Value
    arrow: str
    direction: str
    rows: tuple[GroupRow, ...]
    axis: Markup


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A headline number."""

    title: str
    key: str
    cell: Cell
    arrow: str
    direction: str


def make_cell(value: Value | None) -> Cell:
    """A run's value as a cell."""
    if value is None:
        return Cell(text="not measured", status="absent")
    if value.status != "ok":
        return Cell(text=value.status, status=value.status, reason=value.reason or "no reason was recorded")
    interval = format_interval(value.value, value.unit, value.ci95)
    return Cell(
        text=format_value(value.value, value.unit, value.ci95), interval=interval, n=format_count(value.n, value.n_unit)
    )


def result_rows(section: Section) -> list[tuple[str, list[ResultRow]]]:
    """The results table: rows by metric group."""
    return [
        (group, [_result_row(section, key) for keys in metrics for key in keys])
        for group, metrics in order_values(section.results)
    ]


def tiles(section: Section, result: RunResult) -> list[Tile]:
    """The metrics the task ranks by, then the first of each other metric group that has a number in any run."""
    known = [value for one in section.results for value in one.values.values() if value.branch == PLAIN]
    ranking = [str(key) for key in section.results[0].spec.task.get("rank_by", ())]
    chosen = {value.key: value for key in ranking for value in known if value.metric == key}
    for value in known:
        if value.status == "ok" and value.group not in {one.group for one in chosen.values()}:
            chosen[value.key] = value
    return [
        Tile(
            title=value.title,
            key=value.key,
            cell=make_cell(result.values.get(value.key)),
            arrow=ARROWS[value.better],
            direction=DIRECTIONS[value.better],
        )
        for value in list(chosen.values())[:_N_TILES]
    ]


def group_tables(section: Section) -> list[GroupTable]:
    """Region metrics of plain reconstructions by size group, on the scale of the metric's possible values."""
    tables = []
    for _, metrics in order_values(section.results):
        for keys in metrics:
            values = section.values(keys[0])
            metric = next(value for value in values if value is not None)
            if metric.branch != PLAIN or not any(value.groups for value in values if value is not None):
                continue
            tables.append(_group_table(section, metric, values))
    return tables


def _result_row(section: Section, key: str) -> ResultRow:
    values = section.values(key)
    present = [value for value in values if value is not None]
    metric = present[0]
    cells = tuple(make_cell(value) for value in values)
    shown = [value if value is not None and value.status == "ok" else None for value in values]
    span = value_range(metric, shown, is_zoomed=len(section.runs) > 1)
    counts = list(dict.fromkeys(cell.n for cell in cells if cell.n))
    versions = sorted({value.version for value in present})
    details = (
        tuple((name.replace("_", " "), format_detail(item)) for name, item in metric.details.items())
        if len(present) == 1
        else ()
    )
    return ResultRow(
        metric=metric,
        name=metric.branch or metric.title,
        arrow=ARROWS[metric.better],
        direction=DIRECTIONS[metric.better],
        hover=_hover(metric),
        cells=cells,
        n=" / ".join(counts),
        plot=interval_plot(metric, shown, span),
        details=details,
        note=f"versions {', '.join(map(str, versions))} differ: not comparable" if len(versions) > 1 else "",
    )


def _hover(metric: Value) -> str:
    low, high = (
        format_value(end, metric.unit) if end is not None else "unbounded" for end in (metric.low, metric.high)
    )
    parts = [
        f"{metric.key}, version {metric.version}",
        DIRECTIONS[metric.better],
        f"{metric.aggregate.replace('_', ' ')} over {metric.n_unit}",
    ]
    if metric.low is not None or metric.high is not None:
        parts.append(f"possible values {low} to {high}")
    if metric.perfect is not None:
        parts.append(f"perfect is {format_value(metric.perfect, metric.unit)}")
    return clean(" · ".join(parts))


def _group_table(section: Section, metric: Value, values: Sequence[Value | None]) -> GroupTable:
    names = list(dict.fromkeys(name for value in values if value is not None for name in value.groups))
    found = {name: [value.groups.get(name) if value is not None else None for value in values] for name in names}
    is_open = metric.low is None or metric.high is None
    span = value_range(metric, [item for items in found.values() for item in items], is_zoomed=is_open)
    rows = tuple(
        GroupRow(
            name=name,
            extent=_extent(section, metric, name),
            plot=interval_plot(metric, items, span),
            cells=tuple(_group_cell(metric, *pair) for pair in zip(values, items, strict=True)),
        )
        for name, items in found.items()
    )
    return GroupTable(
        metric=metric,
        arrow=ARROWS[metric.better],
        direction=DIRECTIONS[metric.better],
        rows=rows,
        axis=axis_plot(metric, span),
    )


def _group_cell(metric: Value, value: Value | None, group: GroupValue | None) -> Cell:
    if group is None:
        status = value.status if value is not None else "absent"
        return Cell(text="not measured" if status in ("ok", "absent") else status, status="absent")
    if group.value is None:
        return Cell(text="empty", status="empty", n=format_count(group.n, metric.n_unit))
    interval = format_interval(group.value, metric.unit, group.ci95)
    return Cell(
        text=format_value(group.value, metric.unit, group.ci95),
        interval=interval,
        n=format_count(group.n, metric.n_unit),
    )


def _extent(section: Section, metric: Value, name: str) -> str:
    """What the task calls small: ``8 to 12 px high``; "" where it does not say."""
    groups = section.results[0].spec.task.get("size_groups")
    rule = groups.get(metric.n_unit.removesuffix("s")) if isinstance(groups, dict) else None
    if not isinstance(rule, dict):
        return ""
    names = list(rule.get("names", ("small", "medium", "large")))
    edges = rule.get("edges", ())
    if name not in names or len(edges) != len(names) + 1:
        return ""
    low, high = (
        f"{edge:g}" if isinstance(edge, (int, float)) else str(edge) for edge in edges[names.index(name) :][:2]
    )
    return {
        "height_px": f"{low} to {high} px high",
        "width_px": f"{low} to {high} px wide",
        "ratio": f"relative size {low} to {high}",
    }.get(str(rule.get("by")), f"{low} to {high}")
