"""JSON from strangers: one reading only, or an error that says why not."""

from __future__ import annotations

import codecs
import json
from typing import Any, NoReturn

MAX_DEPTH = 24
MAX_DIGITS = 40
MAX_NUMBER = 1e150  # squares of it are still numbers


class StrictJsonError(ValueError):
    """Not JSON, or JSON that two readers could understand differently; the message says what."""


def parse(content: bytes) -> Any:
    """The document, or StrictJsonError.

    Refused besides what is no JSON: a byte order mark, bytes that are no UTF-8, a key given twice, NaN and Infinity
    (also as a number too large for a float), numbers beyond 1e150 or of over 40 digits, unpaired surrogates, nesting
    deeper than 24.
    """
    if content.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise StrictJsonError("starts with a byte order mark; save it as plain UTF-8")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as err:
        raise StrictJsonError(f"is not UTF-8 ({err})") from err
    try:
        document = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite, parse_int=_short
        )
    except RecursionError as err:
        raise StrictJsonError(f"is nested too deeply, over {MAX_DEPTH} levels") from err
    except json.JSONDecodeError as err:
        raise StrictJsonError(f"is not JSON ({err})") from err
    _check_tree(document)
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise StrictJsonError(f"has a duplicate key: {twice[:80]!r} is given twice in one object")
    return row


def _no_constant(name: str) -> NoReturn:
    raise StrictJsonError(f"holds {name}, which is not a number; leave an undefined value out or write null")


def _finite(text: str) -> float:
    value = float(text)
    if not abs(value) <= MAX_NUMBER:
        raise StrictJsonError(f"holds {text[:MAX_DIGITS]}, infinity or beyond any measurement")
    return value


def _short(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise StrictJsonError(f"holds a whole number of {len(text)} digits, more than the {MAX_DIGITS} allowed")
    return int(text)


def _check_tree(document: Any) -> None:
    """Depth and text, without recursion: this must not fall over what it guards against."""
    level = [document]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += [*item.values(), *item]
            elif isinstance(item, list):
                inner += item
            elif isinstance(item, str) and not item.isascii() and any("\ud800" <= char <= "\udfff" for char in item):
                raise StrictJsonError("holds half of a surrogate pair, which is no character")
        if not inner:
            return
        level = inner
    raise StrictJsonError(f"is nested too deeply, over {MAX_DEPTH} levels")
