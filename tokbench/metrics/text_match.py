"""How well a read text agrees with its label: plain Python on raw strings, code point by code point.

Nothing is normalised: no lower-casing, no accent folding, no punctuation removal, no Unicode composition, no
stripping. ``ned`` and ``is_match`` are the published T-NED and T-ACC of one word.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def is_match(label: str, read: str) -> bool:
    """Whether the raw strings are identical; two empty strings are.

    Source: TokBench (arXiv 2505.18142), T-ACC of one word.
    """
    return label == read


def edit_distance(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """Levenshtein distance: insertions, deletions and substitutions cost 1 each, a transposition costs 2.

    Strings are compared by code point, other sequences by item. All of a column is held in the bits of one Python
    integer, so a word takes one short loop over ``second`` whatever the length of ``first``.

    Source: Myers, "A fast bit-vector algorithm for approximate string matching based on dynamic programming", 1999,
    in the form of Hyyrö, "Explaining and extending the bit-parallel approximate string matching algorithm of Myers",
    2001. Equal to the dynamic programme (and to ``nltk.edit_distance`` with its defaults), without a length limit.
    """
    if first == second:
        return 0
    if not first or not second:
        return len(first) + len(second)
    positions: dict[Hashable, int] = {}
    for row, item in enumerate(first):
        positions[item] = positions.get(item, 0) | 1 << row
    mask, last = (1 << len(first)) - 1, 1 << (len(first) - 1)
    plus, minus, distance = mask, 0, len(first)  # vertical differences of the column, and its bottom cell
    for item in second:
        equal = positions.get(item, 0)
        level = (((equal & plus) + plus) ^ plus) | equal
        rising = minus | (~(level | plus) & mask)
        falling = plus & level
        distance += bool(rising & last) - bool(falling & last)
        rising, falling, either = rising << 1 | 1, falling << 1, equal | minus
        plus = (falling | ~(either | rising)) & mask
        minus = rising & either & mask
    return distance


def ned(label: str, read: str) -> float:
    """Normalised edit similarity, 1 - distance / length of the longer string: 1 for equal strings, 0 for nothing alike.

    One empty string gives 0. Two empty strings give 1, where the published formula would divide by zero (its labels
    have at least two characters).

    Source: TokBench (arXiv 2505.18142), T-NED of one word. The name says distance, the number is a similarity.
    """
    longer = max(len(label), len(read))
    return 1 - edit_distance(label, read) / longer if longer else 1.0


def cer(label: str, read: str) -> float:
    """Character error rate: edit distance over the length of the label; 0 is perfect, above 1 is possible.

    An empty label counts as one character, so reading nothing there is 0 and every character read is an error of 1;
    other implementations raise or divide by zero.
    """
    return edit_distance(label, read) / max(1, len(label))


def wer(label: str, read: str) -> float:
    """Word error rate: edit distance in words over the number of words of the label; above 1 is possible.

    Words are what white space separates (``str.split``). A label without words counts as one word, as in :func:`cer`.
    """
    words = label.split()
    return edit_distance(words, read.split()) / max(1, len(words))
