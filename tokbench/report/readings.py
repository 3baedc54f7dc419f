"""A reading beside its label: which characters agree, which are wrong and which are missing."""

from __future__ import annotations

from typing import Literal

from tokbench.report.format import clean, shorten

Part = tuple[Literal["same", "wrong", "missing"], str]
MAX_SHOWN = 64  # longer texts are cut in the middle and marked as a whole


def mark_reading(label: str, read: str) -> tuple[Part, ...]:
    """The reading in pieces: ``same``, ``wrong`` (other or additional characters), ``missing`` (only in the label).

    Follows a shortest sequence of insertions, deletions and substitutions, so the pieces that are wrong or missing
    are as few characters as can be.
    """
    if max(len(label), len(read)) > MAX_SHOWN:
        return (("same" if label == read else "wrong", shorten(read, MAX_SHOWN)),)
    costs = _costs(label, read)
    row, column = len(label), len(read)
    backwards: list[Part] = []
    while row or column:
        is_same = bool(row and column) and label[row - 1] == read[column - 1]
        if row and column and costs[row][column] == costs[row - 1][column - 1] + (not is_same):
            row, column = row - 1, column - 1
            backwards.append(("same" if is_same else "wrong", read[column]))
        elif column and costs[row][column] == costs[row][column - 1] + 1:
            column -= 1
            backwards.append(("wrong", read[column]))
        else:
            row -= 1
            backwards.append(("missing", label[row]))
    return _joined(backwards[::-1])


def _costs(label: str, read: str) -> list[list[int]]:
    """Edit distances between all beginnings of both."""
    rows = [list(range(len(read) + 1))]
    for number, wanted in enumerate(label, start=1):
        above, row = rows[-1], [number]
        for column, found in enumerate(read, start=1):
            row.append(min(above[column - 1] + (wanted != found), above[column] + 1, row[-1] + 1))
        rows.append(row)
    return rows


def _joined(parts: list[Part]) -> tuple[Part, ...]:
    """Neighbours of one kind as one piece, but each missing character on its own; safe to show."""
    joined: list[Part] = []
    for kind, text in parts:
        if kind != "missing" and joined and joined[-1][0] == kind:
            text = joined.pop()[1] + text
        joined.append((kind, text))
    return tuple((kind, clean(text)) for kind, text in joined)
