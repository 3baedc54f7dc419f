"""What the comparing page is given of a board: numbers written out, pairs worked out, paths of pictures."""

from __future__ import annotations

import math
from typing import Any

from tokbench.comparison.verdicts import LEVEL
from tokbench.leaderboard.board import Board, Metric, Ranking, all_metrics, why_missing
from tokbench.leaderboard.collect import Entry
from tokbench.leaderboard.pictures import Pictures
from tokbench.report.format import ARROWS, DIRECTIONS, format_interval, format_value, shorten, style_of

_MAX_TEXT = 160


def board_data(board: Board, pictures: Pictures) -> dict[str, Any]:
    """JSON of one board.

    ``pairs`` holds for each compared metric, by its place among ``metrics``: the entries' places, half-widths of the
    differences' intervals above the diagonal, row by row (0 for none), and for each of these pairs a letter: of the
    later entry, ``b`` better, ``w`` worse, ``n`` no evidence; ``?`` if nothing can be told. Capitals are not paired.
    """
    metrics = all_metrics(board.entries)
    return {
        "title": shorten(board.title, _MAX_TEXT),
        "metrics": [
            {
                "key": metric.key, "title": shorten(metric.title, _MAX_TEXT), "group": shorten(metric.group, 40),
                "arrow": ARROWS[metric.better],
                "direction": DIRECTIONS[metric.better], "better": metric.better, "is_cost": metric.is_cost,
            }
            for metric in metrics
        ],
        "entries": [
            {
                "name": entry.name, "title": shorten(entry.result.spec.tokenizer.title, _MAX_TEXT), "stem": entry.stem,
                "values": [_value(entry, metric) for metric in metrics],
                "pictures": pictures.of.get((entry.place, entry.name), {}),
            }
            for entry in board.entries
        ],
        "references": pictures.references.get(board.entries[0].place, {}) if board.entries else {},
        "pairs": {
            str(number): _pairs(board.compared[metric.key])
            for number, metric in enumerate(metrics)
            if metric.key in board.compared
        },
    }  # fmt: skip


def _value(entry: Entry, metric: Metric) -> list[Any]:
    """``[reason]``, or number, text, interval as text, low, high, factor, decimals and unit."""
    value = entry.value(metric.key, metric.version)
    if value is None or value.value is None:
        return [shorten(why_missing(entry, metric), _MAX_TEXT)]
    style = style_of(value.value, value.unit, value.ci95)
    low, high = value.ci95 or (None, None)
    return [
        value.value, format_value(value.value, value.unit, value.ci95),
        format_interval(value.value, value.unit, value.ci95), low, high, style.factor, style.decimals, style.unit,
    ]  # fmt: skip


def _pairs(ranking: Ranking) -> dict[str, Any]:
    pairs, better = ranking.pairs, ranking.metric.better
    beats = pairs.beats(better)
    letters, halves = [], []
    n = len(ranking.places)
    for row in range(n):
        for other in range(row + 1, n):
            p, half = pairs.p_corrected[row, other], float(pairs.halves[row, other])
            letter = "?" if math.isnan(p) else "b" if beats[other, row] else "w" if beats[row, other] else "n"
            if letter == "n" and better == "neither" and p < LEVEL:
                letter = "d"
            letters.append(letter if pairs.is_paired[row, other] else letter.upper())
            halves.append(0 if math.isnan(half) else float(f"{half:.3g}"))
    return {"places": list(ranking.places), "halves": halves, "verdicts": "".join(letters)}
