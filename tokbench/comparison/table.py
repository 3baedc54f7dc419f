"""Comparisons as text for a terminal, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any, NamedTuple, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from tokbench.comparison.compare import Comparison
from tokbench.comparison.differences import Difference
from tokbench.comparison.escape import csv_cell, markdown, markdown_name, terminal
from tokbench.comparison.verdicts import LEVEL, Verdict
from tokbench.comparison.words import numbers, p_words, verdict_words
from tokbench.report.format import ARROWS
from tokbench.report.table import emit

_STYLES: dict[Verdict, str] = {
    "better": "green",
    "worse": "bold red",
    "differs": "yellow",
    "no evidence": "",
    "equal within": "cyan",
    "identical": "dim",
    "no interval": "dim",
    "not compared": "dim",
}
_HEAD = ("metric", "baseline", "other", "difference", "95 % interval", "p", "corrected", "verdict")
CORRECTED = "corrected: p for all comparisons made here together (Holm); a verdict needs it below 0.05"


class _Line(NamedTuple):
    """A row of the table: its cells, how it looks, and what to say below it."""

    cells: tuple[str, ...]
    style: str = ""
    below: str = ""


def comparison_text(made: Comparison, *, width: int | None = None, is_terminal: bool = False) -> str:
    """The comparison as a table.

    Args:
        width: columns to stay within, by giving reasons lines of their own; None for as wide as it takes.
        is_terminal: with colours; without, no escape codes.
    """
    lines = list(_lines(made.differences))
    widths = [max(cell_len(row.cells[column]) for row in [_Line(_HEAD), *lines]) for column in range(len(_HEAD))]
    out = StringIO()
    console = Console(
        file=out, force_terminal=is_terminal, color_system="standard" if is_terminal else None,
        width=width or 10_000, legacy_windows=False, highlight=False, markup=False, emoji=False,
    )  # fmt: skip
    console.print(Text(f"{terminal(made.candidate)} against {terminal(made.baseline)}", style="bold"))
    for note in made.notes:
        console.print(Text(f"note: {terminal(note)}", style="yellow"))
    console.print(Text(_joined(_HEAD, widths), style="dim"), soft_wrap=True)
    for line in lines:
        console.print(Text(_joined(line.cells, widths), style=line.style), soft_wrap=True)
        if line.below:
            console.print(Text(f"    {line.below}", style="dim"), soft_wrap=width is None)
    return out.getvalue()


def print_comparisons(comparisons: Sequence[Comparison], *, file: TextIO | None = None) -> None:
    """Print the tables to ``file`` (stdout), coloured on a terminal; characters its encoding lacks become plain."""
    out = file or sys.stdout
    is_terminal = out.isatty()
    width = Console(file=out).width if is_terminal else None
    texts = [comparison_text(made, width=width, is_terminal=is_terminal) for made in comparisons]
    emit("\n".join([*texts, f"{CORRECTED}\n"]), out)


def _lines(differences: Iterable[Difference]) -> Iterable[_Line]:
    for item in differences:
        name = f"{terminal(item.key)} {ARROWS[item.value.better]}".rstrip()
        cells = (name, *numbers(item, terminal(item.value.unit)), p_words(item.p_value), p_words(item.p_corrected))
        yield _Line((*cells, verdict_words(item)), _STYLES[item.verdict], terminal(item.reason))
        for group, part in item.groups.items():
            inside = (f"  {terminal(group)}", *numbers(part, terminal(item.value.unit)), p_words(part.p_value))
            yield _Line((*inside, "", ""), "dim")


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Name and verdict left, the rest right-aligned."""
    padded = []
    for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        space = " " * (width - cell_len(cell))
        padded.append(cell + space if place in (0, len(cells) - 1) else space + cell)
    return "  ".join(padded).rstrip()


def comparison_markdown(comparisons: Sequence[Comparison]) -> str:
    """The tables in GitHub's Markdown."""
    lines = []
    for made in comparisons:
        lines += [f"### {markdown_name(made.candidate)} against {markdown_name(made.baseline)}", ""]
        if made.notes:
            lines += [*(f"- note: {markdown(note)}" for note in made.notes), ""]
        lines += [f"| {' | '.join(_HEAD)} |", "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |"]
        for item in made.differences:
            cells = [f"{markdown_name(item.key)} {ARROWS[item.value.better]}".rstrip()]
            cells += [markdown(cell) for cell in numbers(item, item.value.unit)]
            cells += [markdown(p_words(p_value)) for p_value in (item.p_value, item.p_corrected)]
            reason = f": {markdown(item.reason)}" if item.reason else ""
            strong = "**" if item.verdict in ("better", "worse") else ""
            lines.append(f"| {' | '.join([*cells, f'{strong}{markdown(verdict_words(item))}{strong}{reason}'])} |")
        lines.append("")
    return "\n".join([*lines, CORRECTED, ""])


def comparison_csv(comparisons: Sequence[Comparison]) -> str:
    """One row a metric or size group, numbers unrounded, text that could be a formula marked with an apostrophe."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["baseline", "other", "key", "group", "unit", "better", "value_baseline", "value_other", "difference",
         "ci95_low", "ci95_high", "p", "p_corrected", "n", "n_unit", "n_clusters", "verdict", "reason"]
    )  # fmt: skip
    for made in comparisons:
        for row in comparison_rows(made):
            names = [csv_cell(made.baseline), csv_cell(made.candidate), csv_cell(row["key"])]
            writer.writerow(names + _csv_row(row, group=""))
            for group, part in row["groups"].items():
                facts = {name: row[name] for name in ("unit", "better", "n_unit")}
                empty = {"p_corrected": None, "verdict": "", "reason": ""}
                writer.writerow(names + _csv_row({**facts, **empty, **part}, group=group))
    return out.getvalue()


def _csv_row(row: dict[str, Any], *, group: str) -> list[Any]:
    low, high = row["ci95"] or (None, None)
    texts = [csv_cell(group), csv_cell(row["unit"]), row["better"]]
    values = [row["baseline"], row["other"], row["difference"], low, high, row["p"], row["p_corrected"], row["n"]]
    return [*texts, *values, csv_cell(row["n_unit"]), row["n_clusters"], row["verdict"], csv_cell(row["reason"])]


def comparison_json(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Ready for JSON: the level, and a row a comparison."""
    return {
        "level": LEVEL,
        "correction": "Holm, over all comparisons",
        "comparisons": [
            {
                "baseline": made.baseline,
                "other": made.candidate,
                "notes": list(made.notes),
                "differences": comparison_rows(made),
            }
            for made in comparisons
        ],
    }


def comparison_rows(made: Comparison) -> list[dict[str, Any]]:
    """One row a metric, numbers unrounded."""
    return [
        {
            "key": item.key,
            "unit": item.value.unit,
            "better": item.value.better,
            "baseline": item.first,
            "other": item.second,
            "difference": item.difference,
            "ci95": None if item.ci95 is None else list(item.ci95),
            "p": item.p_value,
            "p_corrected": item.p_corrected,
            "n": item.n,
            "n_unit": item.value.n_unit,
            "n_clusters": item.n_clusters,
            "verdict": item.verdict,
            "margin": item.margin,
            "reason": item.reason,
            "groups": {
                name: {
                    "baseline": part.first,
                    "other": part.second,
                    "difference": part.difference,
                    "ci95": None if part.ci95 is None else list(part.ci95),
                    "p": part.p_value,
                    "n": part.n,
                    "n_clusters": part.n_clusters,
                }
                for name, part in item.groups.items()
            },
        }
        for item in made.differences
    ]
