"""Tables for papers and pages: LaTeX with booktabs, and Markdown. Intervals as ±, the best in bold."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from tokbench.exports.rows import Column, Comparison, Row, comparisons
from tokbench.report.format import ARROWS, MISSING, clean, style_of
from tokbench.results import RunResult

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "^": r"\textasciicircum{}",
    "_": r"\_", "~": r"\textasciitilde{}", "%": r"\%", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "×": r"$\times$", "÷": r"$\div$", "±": r"$\pm$", "≤": r"$\leq$",
    "≥": r"$\geq$", "→": r"$\rightarrow$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "−": "--", "–": "--", "—": "---",
    "…": r"\ldots{}", "°": r"$^\circ$", "µ": r"$\mu$", "∞": r"$\infty$", "’": "'", "‘": "`", "“": "``", "”": "''",
}  # fmt: skip
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~&])")  # what means something inside a line or a cell


def latex_text(text: str) -> str:
    """Text that LaTeX prints as it is; characters that pdfLaTeX has no glyph for become their nearest letters, or ?."""
    return "".join(_LATEX.get(char) or _glyph(char) for char in clean(text).replace("\n", " ").replace("\t", " "))


def markdown_text(text: str) -> str:
    """Text that Markdown prints as it is, on one line and in one cell."""
    return _MARKDOWN.sub(r"\\\1", " ".join(clean(text).split()))


def to_latex(results: Sequence[RunResult], *, keys: Sequence[str] = ()) -> str:
    """A ``table`` a task; needs the packages booktabs and textcomp."""
    return "\n".join(_latex(table) for table in comparisons(results, keys=keys))


def to_markdown(results: Sequence[RunResult], *, keys: Sequence[str] = ()) -> str:
    """A pipe table a task, with its title above."""
    return "\n".join(_markdown(table) for table in comparisons(results, keys=keys))


def _latex(table: Comparison) -> str:
    head = [_heading(column, latex_text) for column in table.columns]
    lines = [
        "% needs \\usepackage{booktabs,textcomp}",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{latex_text(table.title)}, {table.n_samples} images; value $\\pm$ half of the 95\\,\\% interval."
        f"{latex_text(_footnote(table))}}}",
        f"  \\begin{{tabular}}{{l{'r' * len(head)}}}",
        "    \\toprule",
        f"    Tokenizer & {' & '.join(head)} \\\\",
        "    \\midrule",
    ]
    for index, name in enumerate(table.tokenizers):
        cells = [
            _cell(column, index, pm=" $\\pm$ ", bold=lambda text: f"\\textbf{{{text}}}", text=latex_text)
            for column in table.columns
        ]
        lines.append(f"    {latex_text(name + _mark(table, index))} & {' & '.join(cells)} \\\\")
    return "\n".join([*lines, "    \\bottomrule", "  \\end{tabular}", "\\end{table}", ""])


def _markdown(table: Comparison) -> str:
    head = [_heading(column, markdown_text) for column in table.columns]
    lines = [
        f"**{markdown_text(table.title)}**, {table.n_samples} images; value ± half of the 95 % interval."
        f"{markdown_text(_footnote(table))}",
        "",
        f"| tokenizer | {' | '.join(head)} |",
        f"| --- |{' ---: |' * len(head)}",
    ]
    for index, name in enumerate(table.tokenizers):
        cells = [
            _cell(column, index, pm=" ± ", bold=lambda text: f"**{text}**", text=markdown_text)
            for column in table.columns
        ]
        lines.append(f"| {markdown_text(name + _mark(table, index))} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _heading(column: Column, text: Callable[[str], str]) -> str:
    unit = f" ({column.unit})" if column.unit else ""
    return text(f"{column.title}{unit} {ARROWS[column.better]}".strip())


def _cell(column: Column, index: int, *, pm: str, bold: Callable[[str], str], text: Callable[[str], str]) -> str:
    row = column.cells[index]
    if row is None or row.value is None:
        return text(MISSING)
    value, half = _numbers(row)
    shown = bold(text(value)) if index in column.best() else text(value)
    return f"{shown}{pm}{text(half)}" if half else shown


def _numbers(row: Row) -> tuple[str, str]:
    """The value and the larger half of its interval, in the same decimals."""
    if row.value is None:
        return MISSING, ""
    interval = None if row.ci_low is None or row.ci_high is None else (row.ci_low, row.ci_high)
    # Seconds stay seconds, as the column's heading says, where style_of would change to ms.
    style = style_of(row.value, "seconds" if row.unit == "s" else row.unit, interval)
    half = "" if interval is None else style.number(max(interval[1] - row.value, row.value - interval[0]))
    return style.number(row.value), half


def _mark(table: Comparison, index: int) -> str:
    return "" if table.is_complete[index] else "*"


def _footnote(table: Comparison) -> str:
    return "" if all(table.is_complete) else " * not a complete run."


def _glyph(char: str) -> str:
    if ord(char) < 0x180:
        return char
    plain = unicodedata.normalize("NFKD", char).encode("ascii", "ignore").decode()
    return "".join(_LATEX.get(part, part) for part in plain) or "?"
