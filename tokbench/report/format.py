"""How numbers and foreign text are written for people. Nothing else in tokbench rounds."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import NamedTuple

from tokbench.cards import Better

MISSING = "–"
ARROWS: dict[Better, str] = {"higher": "↑", "lower": "↓", "neither": ""}
DIRECTIONS: dict[Better, str] = {"higher": "higher is better", "lower": "lower is better", "neither": "no direction"}

_COUNTS = {"count", "tokens", "codes", "bits", "bytes", "images", "words", "faces", "px"}
_FIXED_DECIMALS = {"bpp": 3, "bit/px": 3, "dB": 2, "": 4}
_SECONDS = ((1.0, 1.0, "s"), (1e-3, 1e3, "ms"), (0.0, 1e6, "µs"))  # from this value on, factor, unit
_MAX_DECIMALS = 7
_SINGULAR = {"batches": "batch"}

# Control and bidirectional-override characters, line separators and lone surrogates: never printed as they are,
# since they can move a terminal's cursor, reorder a line, or fail to encode.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ufeff\ud800-\udfff]"
)


class Style(NamedTuple):
    """How one quantity is written: multiply by ``factor``, round to ``decimals``, append ``unit``."""

    factor: float
    decimals: int
    unit: str

    def number(self, value: float) -> str:
        """The number alone, with thousands separated."""
        if not math.isfinite(value):
            return "∞" if value > 0 else "−∞" if value < 0 else MISSING
        scaled = value * self.factor
        if scaled != 0 and self.decimals >= _MAX_DECIMALS:
            return f"{scaled:.2e}"
        text = f"{scaled:,.{self.decimals}f}"
        return text.lstrip("-") if float(text.replace(",", "")) == 0 else text


def style_of(value: float, unit: str, ci95: tuple[float, float] | None = None) -> Style:
    """The style for a value and its interval, which share unit and decimals.

    bpp has three decimals, dB two, plain numbers up to one four; other quantities have two significant digits of the
    interval's half-width, or four of their own without one. Seconds become ms or µs when small. Decimals are added
    where the interval's ends would otherwise look equal.
    """
    factor, shown_unit = _scale(value, unit)
    if unit in _COUNTS and all(float(number).is_integer() for number in (value, *(ci95 or ()))):
        return Style(factor, 0, shown_unit)
    width = (ci95[1] - ci95[0]) * factor if ci95 is not None else 0.0
    width = width if math.isfinite(width) else 0.0
    size = abs(value * factor)
    fixed = _FIXED_DECIMALS.get(unit)
    if fixed is not None and (unit or size <= 1):
        decimals = fixed if size == 0 or size >= 0.5 * 10**-fixed else _significant(size, 3)
    elif width > 0:
        decimals = _significant(width / 2, 2)
    else:
        decimals = _significant(size, 3 if unit == "s" else 4) if unit not in _COUNTS else max(1, _significant(size, 3))
    if width > 0:
        decimals = max(decimals, _significant(width, 1))
    return Style(factor, min(max(decimals, 0), _MAX_DECIMALS), shown_unit)


def format_value(value: float | None, unit: str, ci95: tuple[float, float] | None = None) -> str:
    """A value with its unit, rounded to what its interval supports: ``34.35 dB``, ``4.20 ms``, ``0.8123``."""
    if value is None:
        return MISSING
    style = style_of(value, unit, ci95)
    return f"{style.number(value)} {style.unit}".rstrip()


def format_interval(value: float | None, unit: str, ci95: tuple[float, float] | None) -> str:
    """The interval in the value's own unit and decimals, the unit left out: ``34.33 – 34.36``; "" without one."""
    if value is None or ci95 is None:
        return ""
    style = style_of(value, unit, ci95)
    return f"{style.number(ci95[0])} – {style.number(ci95[1])}"


def format_change(value: float, unit: str, ci95: tuple[float, float] | None = None) -> str:
    """A difference with its sign: ``+0.45 dB``, ``-12.3 %``."""
    text = format_value(value, unit, ci95)
    return f"+{text}" if value > 0 else text


def format_count(n: int, unit: str = "") -> str:
    """``1,204 words``, ``1 word``."""
    noun = (_SINGULAR.get(unit) or unit.removesuffix("s")) if n == 1 else unit
    return f"{n:,} {noun}".rstrip()


def format_detail(value: float | int | str) -> str:
    """A number that belongs to a value, or a word: integers whole, the rest to four significant digits."""
    if isinstance(value, str):
        return clean(value)
    return f"{value:,}" if isinstance(value, int) else format_value(value, "")


def clean(text: str) -> str:
    r"""The text with control, bidirectional and unpaired characters made visible as ``\u202e``."""
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def shorten(text: str, limit: int) -> str:
    """The text cleaned, with its middle left out where it is longer than ``limit`` characters."""
    text = clean(text)
    if len(text) <= limit:
        return text
    head = (limit - 1) * 2 // 3
    return f"{text[:head]}…{text[head + 1 - limit :]}"


def _scale(value: float, unit: str) -> tuple[float, str]:
    if unit != "s":
        return 1.0, unit
    size = abs(value) or 1.0
    return next((factor, shown) for start, factor, shown in _SECONDS if size >= start)


def _significant(size: float, digits: int) -> int:
    """Decimals that show ``size`` with so many significant digits."""
    return digits - 1 - math.floor(math.log10(size)) if 0 < size < math.inf else digits - 1


def tick_style(step: float, largest: float, unit: str) -> Style:
    """The style of an axis whose ticks are ``step`` apart and reach up to ``largest``."""
    factor, shown_unit = _scale(largest, unit)
    decimals = max(0, -math.floor(math.log10(step * factor) + 1e-9)) if step > 0 else 0
    return Style(factor, min(decimals, _MAX_DECIMALS - 1), shown_unit)


def format_time(iso: str) -> str:
    """``2026-01-02T03:04:05Z`` as ``2 January 2026, 03:04 UTC``; anything else as it is."""
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return clean(iso)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def format_duration(started: str, finished: str) -> str:
    """The time between two ISO 8601 moments: ``1 min 42 s``; "" where it cannot be told."""
    try:
        seconds = round((datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds())
    except (ValueError, TypeError):
        return ""
    hours, minutes, rest = seconds // 3600, seconds % 3600 // 60, seconds % 60
    parts = [f"{n} {unit}" for n, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if n]
    return " ".join(parts[:2]) or "under a second"
