"""What a part of the page about one side of a tokenizer holds: charts, and a table if it wants one."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from tokbench.report.view import ResultRow


@dataclass(frozen=True, kw_only=True)
class Key:
    """An entry of a chart's own legend, where its lines are not simply the runs."""

    colour: int
    label: str
    is_dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A picture on a card; without ``svg`` there is only the note."""

    title: str
    key: str = ""
    unit: str = ""
    arrow: str = ""
    direction: str = ""
    svg: Markup | None = None
    keys: tuple[Key, ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A part of the page. ``anchor`` is the end of its id; ``rows`` are values listed with all that belongs to them."""

    anchor: str
    title: str
    lede: str
    charts: tuple[Chart, ...] = ()
    rows: tuple[ResultRow, ...] = ()
