"""Boards as pandas tables, and the files made of them: CSV, Parquet and Markdown."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from tokbench.exports.tables import markdown_text
from tokbench.exports.tabular import neutralise
from tokbench.leaderboard.board import Board, Metric
from tokbench.leaderboard.collect import RATE, Entry
from tokbench.report.format import ARROWS, MISSING, clean, format_interval, format_value

if TYPE_CHECKING:
    import pandas as pd


def board_frame(board: Board) -> pd.DataFrame:
    """One row a submission, best first, then the published rows.

    Columns: ``row`` (``ranked``, ``reference`` or ``published``), ``tokenizer``, ``title``, ``family``, ``latent``,
    ``licence``, ``weights_licence``, ``submitter``, ``submitted``, ``source``; then for each metric its key and
    ``key.ci_low``, ``key.ci_high`` (float, NaN where there is none) and, where it is ranked, ``key.rank_best`` and
    ``key.rank_worst`` (Int64, missing where there is none). Published numbers are in our units, without intervals.
    """
    import pandas as pd

    rows = [_measured(board, place, entry) for place, entry in enumerate(board.entries)]
    rows += [_published(table.url, table.columns, row) for table, rows_ in board.published for row in rows_]
    frame = pd.DataFrame(rows, columns=_columns(board))
    for name in frame.columns:
        if name.endswith((".rank_best", ".rank_worst")):
            frame[name] = frame[name].astype("Int64")
        elif name not in _TEXTS:
            frame[name] = frame[name].astype("float64")
    return frame


_TEXTS = (
    "row", "tokenizer", "title", "family", "latent", "licence", "weights_licence", "submitter", "submitted", "source",
)  # fmt: skip


def to_csv(board: Board) -> str:
    """The frame with unrounded numbers; text cells that a spreadsheet would take for a formula get a quote mark."""
    frame = board_frame(board)
    for name in _TEXTS:
        frame[name] = frame[name].map(lambda text: neutralise(clean(text)))
    frame.columns = [neutralise(clean(name)) for name in frame.columns]
    text: str = frame.to_csv(index=False, lineterminator="\r\n")
    return text


def to_parquet(board: Board) -> bytes:
    """The frame with its types."""
    target = io.BytesIO()
    board_frame(board).to_parquet(target, index=False)
    return target.getvalue()


def to_markdown(board: Board) -> str:
    """The board's table for people: ranks as ranges, intervals in brackets, missing as a dash; published rows apart."""
    title = markdown_text(f"{board.title} (task {board.name}, version {board.version})")
    lines = [f"**{title}**, data `{markdown_text(board.digest)}`", ""] if board.digest else [f"**{title}**", ""]
    if board.entries:
        lead = [f"rank by {metric.title}" for metric in board.metrics if metric.is_ranked]
        heads = [f"{m.title}{f' ({m.unit})' if m.unit else ''} {ARROWS[m.better]}".strip() for m in board.metrics]
        lines += _pipe(["tokenizer", "latent", *lead, *heads])
        for place, entry in enumerate(board.entries):
            found = [board.rank(place, metric.key) for metric in board.metrics if metric.is_ranked]
            shown = [str(rank) if rank else "reference" if entry.is_reference else MISSING for rank in found]
            cells = [_cell(entry, metric) for metric in board.metrics]
            lines.append(_line([entry.name, entry.result.spec.tokenizer.latent, *shown, *cells]))
    else:
        lines.append("No submission yet.")
    for table, rows in board.published:
        lines += ["", f"Published, not measured again: {markdown_text(table.citation)}, <{table.url}>", ""]
        lines += _pipe(
            ["method", "latent", *(f"{c.title} ({c.unit})" if c.unit else c.title for c in table.columns.values())]
        )
        for row in rows:
            lines.append(_line([row.method, row.latent, *(f"{row.values[name].mean:g}" for name in table.columns)]))
    return "\n".join([*lines, ""])


def _columns(board: Board) -> list[str]:
    names = list(_TEXTS)
    for metric in board.metrics:
        names += [metric.key, f"{metric.key}.ci_low", f"{metric.key}.ci_high"]
        if metric.is_ranked:
            names += [f"{metric.key}.rank_best", f"{metric.key}.rank_worst"]
    keys = (column.metric for table, _ in board.published for column in table.columns.values() if column.metric)
    return list(dict.fromkeys([*names, *keys]))


def _measured(board: Board, place: int, entry: Entry) -> dict[str, Any]:
    card, submission = entry.result.spec.tokenizer, entry.submission
    row: dict[str, Any] = {
        "row": "reference" if entry.is_reference else "ranked",
        "tokenizer": card.name,
        "title": card.title,
        "family": card.family,
        "latent": card.latent,
        "licence": card.licence,
        "weights_licence": card.weights_licence,
        "submitter": submission.submitter,
        "submitted": submission.submitted,
        "source": submission.code or card.repository,
    }
    for metric in board.metrics:
        value = entry.value(metric.key, metric.version)
        if value is None:
            continue
        row[metric.key] = value.value
        row[f"{metric.key}.ci_low"], row[f"{metric.key}.ci_high"] = value.ci95 or (None, None)
        if (rank := board.rank(place, metric.key)) is not None:
            row[f"{metric.key}.rank_best"], row[f"{metric.key}.rank_worst"] = rank
    return row


def _published(url: str, columns: Any, row: Any) -> dict[str, Any]:
    texts = dict.fromkeys(_TEXTS, "")
    numbers = {c.metric: row.values[name].mean * c.factor for name, c in columns.items() if c.metric}
    return {**texts, "row": "published", "tokenizer": row.method, "latent": row.latent, "source": url, **numbers}


def _cell(entry: Entry, metric: Metric) -> str:
    value = entry.value(metric.key, metric.version)
    if value is None:
        return MISSING
    interval = format_interval(value.value, value.unit, value.ci95) if metric.key != RATE else ""
    return f"{format_value(value.value, value.unit, value.ci95)}{f' [{interval}]' if interval else ''}"


def _pipe(cells: list[str]) -> list[str]:
    return [_line(cells), "|" + " --- |" * len(cells)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(markdown_text(cell) for cell in cells)} |"
