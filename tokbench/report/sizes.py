"""Words and faces by size: a table for each region metric, those that matter most first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tokbench.report.format import ARROWS, DIRECTIONS, format_count, format_interval, format_value
from tokbench.report.plots import axis_plot, interval_plot, value_range
from tokbench.report.recognisers import lead
from tokbench.report.runs import PLAIN, Section, order_values
from tokbench.report.view import Cell
from tokbench.results import GroupValue, Value


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
class SizeTables:
    """``first``: words read and face similarity, or everything where there is neither; ``more``: the other metrics."""

    first: tuple[GroupTable, ...]
    more: tuple[GroupTable, ...]


def size_tables(section: Section) -> SizeTables:
    """Region metrics of plain reconstructions by size group, on the scale of the metric's possible values.

    Metrics without a number in any group of any run have no table: the results say why.
    """
    tables = []
    for _, metrics in order_values(section.results):
        for keys in metrics:
            values = section.values(keys[0])
            metric = next((value for value in values if value is not None and value.groups), None)
            if metric is None or metric.branch != PLAIN:
                continue
            if any(group.value is not None for value in values if value is not None for group in value.groups.values()):
                tables.append(_group_table(section, metric, values))
    first = tuple(
        sorted((table for table in tables if lead(table.metric) is not None), key=lambda t: lead(t.metric) or 0)
    )
    more = tuple(table for table in tables if lead(table.metric) is None)
    return SizeTables(first=first, more=more) if first else SizeTables(first=more, more=())


def group_names(section: Section, kind: str) -> list[str]:
    """The task's size groups of words or faces."""
    rule = _rule(section, kind)
    return [str(name) for name in rule.get("names", ("small", "medium", "large"))] if rule is not None else []


def extent(section: Section, kind: str, name: str) -> str:
    """What the task calls small: ``8 to 12 px high``; "" where it does not say."""
    rule = _rule(section, kind)
    names, edges = group_names(section, kind), rule.get("edges", ()) if rule is not None else ()
    if rule is None or name not in names or len(edges) != len(names) + 1:
        return ""
    low, high = (
        f"{edge:g}" if isinstance(edge, (int, float)) else str(edge) for edge in edges[names.index(name) :][:2]
    )
    return {
        "height_px": f"{low} to {high} px high",
        "width_px": f"{low} to {high} px wide",
        "ratio": f"relative size {low} to {high}",
    }.get(str(rule.get("by")), f"{low} to {high}")


def _rule(section: Section, kind: str) -> Mapping[str, Any] | None:
    groups = section.results[0].spec.task.get("size_groups")
    rule = groups.get(kind) if isinstance(groups, dict) else None
    return rule if isinstance(rule, dict) else None


def _group_table(section: Section, metric: Value, values: Sequence[Value | None]) -> GroupTable:
    names = list(dict.fromkeys(name for value in values if value is not None for name in value.groups))
    found = {name: [value.groups.get(name) if value is not None else None for value in values] for name in names}
    is_open = metric.low is None or metric.high is None
    span = value_range(metric, [item for items in found.values() for item in items], is_zoomed=is_open)
    rows = tuple(
        GroupRow(
            name=name,
            extent=extent(section, metric.n_unit.removesuffix("s"), name),
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
