"""Ranks and numbers as the pages show them."""

from __future__ import annotations

from dataclasses import dataclass

from tokbench.leaderboard.board import Board, Metric, why_missing
from tokbench.leaderboard.collect import Entry
from tokbench.report.format import ARROWS, DIRECTIONS, format_interval, format_value, shorten

_MAX_REASON = 200


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell; without ``text`` there is nothing to show, and ``title`` says why. ``order`` is what it sorts by."""

    text: str = ""
    interval: str = ""
    title: str = ""
    order: str = ""
    of: int = 0
    is_rank: bool = False
    is_lead: bool = False


@dataclass(frozen=True, kw_only=True)
class Head:
    """A column's heading; ``name`` is what addresses call it."""

    name: str
    title: str
    css: str = "number"
    unit: str = ""
    arrow: str = ""
    direction: str = ""
    hover: str = ""


def heads(board: Board) -> list[Head]:
    """The headings of a board's table."""
    made = [Head(name="tokenizer", title="Tokenizer", css="text")]
    n_ranked = sum(metric.is_ranked for metric in board.metrics)
    for metric in board.metrics:
        if metric.is_ranked:
            hover = f"Rank by {metric.title}: every place that the evidence leaves"
            made.append(
                Head(
                    name=f"rank:{metric.key}", title="Rank" if n_ranked == 1 else f"Rank by {metric.title}", hover=hover
                )
            )
        made.append(metric_head(metric))
    return [
        *made, Head(name="latent", title="Latent", css="text"), Head(name="licence", title="Licence", css="text"),
        Head(name="submitter", title="Submitted by", css="text"),
    ]  # fmt: skip


def metric_head(metric: Metric) -> Head:
    """The heading of a metric's column."""
    return Head(
        name=metric.key, title=metric.title, unit=metric.unit, arrow=ARROWS[metric.better],
        direction=DIRECTIONS[metric.better], hover=f"{metric.key}, version {metric.version}",
    )  # fmt: skip


def row_cells(board: Board, place: int) -> list[Cell]:
    """An entry's cells, in the order of the headings."""
    made = []
    for metric in board.metrics:
        if metric.is_ranked:
            made.append(rank_cell(board, place, metric))
        made.append(number_cell(board.entries[place], metric))
    return made


def rank_cell(board: Board, place: int, metric: Metric) -> Cell:
    """A rank, or why there is none."""
    entry = board.entries[place]
    rank = board.rank(place, metric.key)
    if rank is None:
        why = "not ranked: passes images through" if entry.is_reference else f"no rank: {_why(entry, metric)}"
        return Cell(title=why, is_rank=True)
    n = len(board.rankings[metric.key].ranks)
    if rank.low == rank.high:
        words = f"place {rank.low} of {n} beyond doubt"
    else:
        words = f"between place {rank.low} and {rank.high} of {n}: not separated from its neighbours"
    return Cell(
        text=str(rank), title=words, order=f"{rank.low + rank.high / 1e6:.6f}", of=n, is_rank=True,
        is_lead=rank.low == 1 and n > 1,
    )  # fmt: skip


def number_cell(entry: Entry, metric: Metric) -> Cell:
    """A number with its interval, without the unit that stands in the heading; or why there is none."""
    value = entry.value(metric.key, metric.version)
    if value is None or value.value is None:
        return Cell(title=_why(entry, metric))
    text = format_value(value.value, value.unit, value.ci95)
    is_exact = value.ci95 is not None and value.ci95[0] == value.ci95[1]
    return Cell(
        text=text.removesuffix(f" {metric.unit}"), order=repr(value.value),
        interval="" if is_exact else format_interval(value.value, value.unit, value.ci95),
    )  # fmt: skip


def _why(entry: Entry, metric: Metric) -> str:
    return shorten(why_missing(entry, metric), _MAX_REASON)
