"""Aligned columns: on a terminal the last one wraps to fit; elsewhere a row is one line, so that it can be searched."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from typing import TextIO

_GAP = 2
_NARROWEST = 30
"""Characters that the last column keeps; a terminal too narrow for them breaks lines itself."""

Row = Sequence[str] | str


def print_columns(header: Sequence[str] | None, rows: Sequence[Row], *, file: TextIO | None = None) -> None:
    """Print a table to ``file`` (stdout), within the width of the terminal if it is one.

    Args:
        header: the columns' names, or None for no such line.
        rows: a cell a column; or a text, which is a heading.
        file: where to.
    """
    from rich.console import Console

    from tokbench.report.table import emit

    out = file or sys.stdout
    width = Console(file=out).width if out.isatty() else None
    lines = column_lines(header, rows, width=width, is_terminal=out.isatty())
    emit("".join(f"{line}\n" for line in lines), out)


def column_lines(
    header: Sequence[str] | None, rows: Sequence[Row], *, width: int | None = None, is_terminal: bool = False
) -> list[str]:
    """The lines of a table; ``width`` None is as wide as it takes, and only terminals get escape codes."""
    import click
    from rich.cells import cell_len

    cells = [*([] if header is None else [header]), *(row for row in rows if not isinstance(row, str))]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    before = sum(widths[:-1]) + _GAP * (len(widths) - 1)
    room = None if width is None or width - before < _NARROWEST else width - before

    def lines_of(row: Sequence[str]) -> list[str]:
        last = (
            [row[-1]]
            if room is None
            else textwrap.wrap(row[-1], room, break_long_words=False, break_on_hyphens=False) or [""]
        )
        first = "".join(
            cell + " " * (column + _GAP - cell_len(cell)) for cell, column in zip(row[:-1], widths[:-1], strict=True)
        )
        return [f"{first}{last[0]}".rstrip(), *(" " * before + line for line in last[1:])]

    made = [click.style(line, dim=True) if is_terminal else line for line in (lines_of(header) if header else ())]
    for row in rows:
        if isinstance(row, str):
            made += ["", click.style(row, bold=True) if is_terminal else row]
        else:
            made += lines_of(row)
    return made
