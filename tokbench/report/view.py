"""Results as the page shows them: rows, cells and tiles, all written out."""

from __future__ import annotations

from collections.abc import Mapping
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
from tokbench.report.missing import Missing, result_parts
from tokbench.report.plots import interval_plot, value_range
from tokbench.report.recognisers import lead
from tokbench.report.runs import PLAIN, Section
from tokbench.results import RunResult, Value

_N_DETAILS = 6
_MOST_DETAILS = 40
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
    """A metric or one of its branches; or several, by ``keys``, that are missing for the same reason."""

    metric: Value
    name: str
    arrow: str
    direction: str
    hover: str
    cells: tuple[Cell, ...]
    n: str
    plot: Markup
    details: tuple[str, ...] = ()
    note: str = ""
    keys: tuple[str, ...] = ()


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
    """The results table: rows by metric group, those without a number last."""
    return [
        (
            part.group,
            [
                *(value_row(section, key) for keys in part.metrics for key in keys),
                *(_missing_row(missing) for missing in part.missing),
            ],
        )
        for part in result_parts(section.results)
    ]


def tiles(section: Section, result: RunResult) -> list[Tile]:
    """The metrics the task ranks by, then one of each other metric group, all with a number in some run if they can.

    Of texts and faces that is words read and face similarity rather than pixels, by the first recogniser there is.
    """
    known = [value for one in section.results for value in one.values.values() if value.branch == PLAIN]
    measured = {value.key: value for value in known if value.status == "ok"}
    ranking = [str(key) for key in section.results[0].spec.task.get("rank_by", ())]
    chosen = {value.key: value for key in ranking for value in known if value.metric == key}
    covered = {value.group for key, value in chosen.items() if key in measured}
    for value in sorted(measured.values(), key=lambda value: lead(value) is None):
        if value.group not in covered:
            covered.add(value.group)
            chosen[value.key] = value
    shown = [value for key, value in chosen.items() if key in measured or value.group not in covered]
    return [
        Tile(
            title=value.title,
            key=value.key,
            cell=make_cell(result.values.get(value.key)),
            arrow=ARROWS[value.better],
            direction=DIRECTIONS[value.better],
        )
        for value in shown[:_N_TILES]
    ]


def detail_texts(details: Mapping[str, float | int | str], *, limit: int = _N_DETAILS) -> tuple[str, ...]:
    """Further numbers of a value, in words where they are known: ``58 independent sources``.

    Curves (JSON under a name that ends in ``_curve``) are drawn elsewhere. Numbers of one codebook (``usage[3]``) stay
    in result.json, and so does what is beyond the first few.
    """
    names = [name for name in details if not name.endswith("_curve")]
    texts = [_detail(name, details[name]) for name in [name for name in names if not name.endswith("]")][:limit]]
    hidden = len(names) - len(texts)
    return (*texts, f"{hidden} more in result.json") if hidden else tuple(texts)


def _detail(name: str, item: float | int | str) -> str:
    if isinstance(item, int) and not isinstance(item, bool):
        if name == "n_clusters":
            return format_count(item, "independent sources")
        if name.startswith("n_"):
            return format_count(item, name.removeprefix("n_").replace("_", " "))
        kind, colon, reason = name.partition(": ")
        if colon:
            return f"{item:,} {kind}: {reason}"
    return f"{name.replace('_', ' ')} {format_detail(item)}"


def value_row(section: Section, key: str, *, all_details: bool = False) -> ResultRow:
    """A value key's row, with the first few of its further numbers or all of them."""
    values = section.values(key)
    present = [value for value in values if value is not None]
    metric = present[0]
    cells = tuple(make_cell(value) for value in values)
    shown = [value if value is not None and value.status == "ok" else None for value in values]
    span = value_range(metric, shown, is_zoomed=len(section.runs) > 1)
    counts = list(dict.fromkeys(cell.n for cell in cells if cell.n))
    versions = sorted({value.version for value in present})
    return ResultRow(
        metric=metric,
        name=metric.branch or metric.title,
        arrow=ARROWS[metric.better],
        direction=DIRECTIONS[metric.better],
        hover=_hover(metric),
        cells=cells,
        n=" / ".join(counts),
        plot=interval_plot(metric, shown, span),
        details=detail_texts(metric.details, limit=_MOST_DETAILS if all_details else _N_DETAILS)
        if len(present) == 1
        else (),
        note=f"versions {', '.join(map(str, versions))} differ: not comparable" if len(versions) > 1 else "",
    )


def _missing_row(missing: Missing) -> ResultRow:
    metric = next(value for value in missing.values if value is not None)
    cells = tuple(make_cell(value) for value in missing.values)
    return ResultRow(
        metric=metric, name="", arrow="", direction="", hover="", cells=cells, n="", plot=Markup(""), keys=missing.keys
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
