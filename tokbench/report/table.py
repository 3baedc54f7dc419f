"""The results table for terminals: aligned, in colour on a terminal, plain and stable anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from io import StringIO
from typing import Literal, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from tokbench.report.format import ARROWS, format_count, format_interval, format_value, shorten
from tokbench.report.missing import Missing, result_parts
from tokbench.results import RunResult, Value

Kind = Literal["metric", "branch", "group"]

_GAP = 2
_MIN_NAME = 18
_MOST_BRANCHES = 8  # of a metric; more are a curve, which a list does not show
_MAX_TEXT = 600  # longer foreign texts are cut in the middle
_STYLES = {"ok": "", "undefined": "yellow", "skipped": "dim", "failed": "bold red"}
_PLAIN = str.maketrans(
    {"↑": "^", "↓": "v", "–": "-", "…": "~", "·": "-", "µ": "u", "×": "x", "∞": "inf", "−": "-", "±": "+-", "≠": "!="}
)


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One line of the table; ``reason`` goes on lines of its own below it."""

    kind: Kind
    name: str
    value: str
    interval: str = ""
    n: str = ""
    reason: str = ""
    status: str = "ok"


def results_table(result: RunResult, *, width: int | None = None, is_terminal: bool = False) -> str:
    """The run's values as text: value, unit, direction, 95 % interval and n, or why there is none.

    Args:
        width: columns to stay within (names and reasons wrap); None for as wide as it takes, so that one metric is
            always one line.
        is_terminal: with colours and bold; without, no escape codes.
    """
    parts = result_parts([result])
    rows = {
        part.group: [row for keys in part.metrics for row in _rows([result.values[key] for key in keys])]
        for part in parts
    }
    widths = _column_widths([row for part in rows.values() for row in part], width)
    lines = [*_heading(result, width), _line(("metric", "value", "95 % interval", "n"), widths, style="dim")]
    for part in parts:
        lines.append(Text(part.group, style="bold cyan"))
        for row in rows[part.group]:
            lines.extend(_row_lines(row, widths, width))
        for missing in part.missing:
            lines.extend(_missing_lines(missing, width))
    if not rows:
        lines.append(Text("no metric was asked for"))
    out = StringIO()
    console = Console(
        file=out, force_terminal=is_terminal, color_system="standard" if is_terminal else None,
        width=width or 10_000, legacy_windows=False, highlight=False, markup=False, emoji=False, soft_wrap=True,
    )  # fmt: skip
    for line in lines:
        line.rstrip()
        console.print(line, soft_wrap=True)
    return out.getvalue()


def print_results(result: RunResult, *, file: TextIO | None = None, width: int | None = None) -> None:
    """Print the table to ``file`` (stdout): coloured and as wide as the terminal on one, plain and unwrapped otherwise.

    Characters that the file's encoding lacks are replaced by plain ones.
    """
    out = file or sys.stdout
    is_terminal = out.isatty()
    if width is None and is_terminal:
        width = Console(file=out).width
    emit(results_table(result, width=width, is_terminal=is_terminal), out)


def emit(text: str, out: TextIO) -> None:
    """Write text to ``out``, with plain characters for those that its encoding lacks."""
    encoding = getattr(out, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_PLAIN).encode(encoding, "replace").decode(encoding)
    out.write(text)


def _rows(same: list[Value]) -> Iterable[_Row]:
    """One metric: its value, its size groups, its branches."""
    folded = len(same) - 1 if len(same) > _MOST_BRANCHES + 1 else 0
    for index, value in enumerate(same[:1] if folded else same):
        is_branch = bool(value.branch) and index > 0
        name = _flat(value.branch if is_branch else value.key)
        is_ok = value.status == "ok"
        yield _Row(
            kind="branch" if is_branch else "metric",
            name=name if is_branch else f"{name} {ARROWS[value.better]}".rstrip(),
            value=format_value(value.value, value.unit, value.ci95) if is_ok else value.status,
            interval=format_interval(value.value, value.unit, value.ci95) if is_ok else "",
            n=format_count(value.n, _flat(value.n_unit)) if is_ok else "",
            reason="" if is_ok else _flat(value.reason),
            status=value.status,
        )
        for group_name, group in value.groups.items():
            yield _Row(
                kind="group",
                name=_flat(group_name),
                value=format_value(group.value, value.unit, group.ci95),
                interval=format_interval(group.value, value.unit, group.ci95),
                n=format_count(group.n, _flat(value.n_unit)),
            )
    if folded:
        yield _Row(kind="branch", name=f"{folded} branches", value="", reason="in result.json and the report")


def _missing_lines(missing: Missing, width: int | None) -> list[Text]:
    """All metrics without a number for the same reason: on one line, or as keys and reason where lines are short."""
    value = next(value for value in missing.values if value is not None)
    keys, style = ", ".join(map(_flat, missing.keys)), _STYLES[value.status]
    reason = f"{value.status}, {_flat(value.reason)}" if value.reason else value.status
    if width is None:
        return _wrapped(f"{keys}: {reason}", width, 2, style=style)
    return [*_wrapped(f"{keys}:", width, 2, style=style), *_wrapped(reason, width, 4, style=style)]


def _heading(result: RunResult, width: int | None) -> list[Text]:
    task = result.spec.task
    counts = ", ".join(f"{result.counts.get(name, 0):,} {name}" for name in ("ok", "failed"))
    title = (
        f"{result.spec.tokenizer.name} on {_flat(str(task.get('name', '?')))} v{_flat(str(task.get('version', '?')))}"
    )
    status = f"{result.status}: {_flat(result.reason)}" if result.reason else result.status
    lines = [*_wrapped(title, width, 0, style="bold"), *_wrapped(f"{status} · samples: {counts}", width, 0)]
    return [*lines, Text("")]


def _column_widths(rows: list[_Row], width: int | None) -> tuple[int, int, int, int]:
    """Widths of name, value, interval and n; the name gives way where ``width`` is too small."""
    value, interval, n = (
        max([cell_len(head), *(cell_len(getattr(row, name)) for row in rows)])
        for name, head in (("value", "value"), ("interval", "95 % interval"), ("n", "n"))
    )
    name = max([_MIN_NAME, *(_indent(row) + cell_len(row.name) for row in rows)])
    if width is not None:
        name = max(_MIN_NAME, min(name, width - value - interval - n - 3 * _GAP))
    return name, value, interval, n


def _row_lines(row: _Row, widths: tuple[int, int, int, int], width: int | None) -> Iterable[Text]:
    indent = _indent(row)
    style = "dim" if row.kind == "group" else ""
    names = _chunks(row.name, widths[0] - indent)
    cells = (" " * indent + names[0], row.value, row.interval, row.n)
    if width is None and row.reason:
        line = _line(cells, widths, style=_STYLES[row.status])
        line.rstrip()
        yield line.append(f"  {row.reason}")
        return
    yield _line(cells, widths, style=style or _STYLES[row.status])
    for rest in names[1:]:
        yield Text(" " * (indent + 2) + rest, style=style)
    yield from _wrapped(row.reason, width, indent + 2, style="dim")


def _line(cells: tuple[str, str, str, str], widths: tuple[int, int, int, int], *, style: str) -> Text:
    """Name left, numbers right-aligned."""
    pads = [widths[index] - cell_len(cell) for index, cell in enumerate(cells)]
    gap = " " * _GAP
    name, value, interval, n = cells
    return Text(
        f"{name}{' ' * pads[0]}{gap}{' ' * pads[1]}{value}{gap}{' ' * pads[2]}{interval}{gap}{' ' * pads[3]}{n}", style
    )


def _indent(row: _Row) -> int:
    return {"metric": 2, "branch": 4, "group": 6}[row.kind]


def _wrapped(text: str, width: int | None, indent: int, *, style: str = "") -> list[Text]:
    """The text in lines of at most ``width``, all indented; none for an empty text."""
    if not text:
        return []
    if width is None:
        return [Text(" " * indent + text, style=style)]
    lines = Text(text).wrap(Console(file=StringIO(), width=width), max(20, width - indent))
    return [Text(" " * indent + line.plain.rstrip(), style=style) for line in lines]


def _chunks(text: str, size: int) -> list[str]:
    """A name cut where the column ends."""
    parts = [""]
    for char in text:
        if cell_len(parts[-1] + char) > max(size, 4):
            parts.append("")
        parts[-1] += char
    return parts


def _flat(text: str) -> str:
    """Foreign text as one line."""
    return " ".join(shorten(text, _MAX_TEXT).split())
