"""How a difference is written for people: signed, in the metric's unit, rounded to what its interval supports."""

from __future__ import annotations

from tokbench.comparison.differences import Difference, GroupDifference
from tokbench.comparison.verdicts import WORDS
from tokbench.report.format import MISSING, format_value, style_of

_MINUS = "−"


def signed(value: float | None, unit: str, ci95: tuple[float, float] | None = None) -> str:
    """``+0.57 dB``, ``−0.0031``, ``±0`` for no difference at all; a dash where there is none."""
    if value is None:
        return MISSING
    if value == 0 and (ci95 is None or ci95 == (0.0, 0.0)):
        return "±0"
    style = style_of(value, unit, ci95)
    return f"{_signed(style.number(abs(value)), value)} {style.unit}".rstrip()


def interval_words(value: float | None, unit: str, ci95: tuple[float, float] | None) -> str:
    """``+0.43 to +0.70``; "" without an interval."""
    if value is None or ci95 is None:
        return ""
    style = style_of(value, unit, ci95)
    return " to ".join(_signed(style.number(abs(end)), end) for end in ci95)


def _signed(number: str, value: float) -> str:
    """The number with its sign; none where it rounds to zero."""
    if not any(char in "123456789" for char in number.partition("e")[0]):
        return number
    return f"{_MINUS if value < 0 else '+'}{number}"


def p_words(p_value: float | None) -> str:
    """``0.34``, ``0.004``, ``< 0.0001``."""
    if p_value is None:
        return ""
    if p_value < 1e-4:
        return "< 0.0001"
    return f"{p_value:.2f}" if p_value >= 0.095 else f"{p_value:.1g}" if p_value < 0.001 else f"{p_value:.3f}"


def verdict_words(item: Difference) -> str:
    """The verdict, with the margin it names."""
    if item.verdict == "equal within":
        return f"equal within {format_value(item.margin, item.value.unit)}"
    return WORDS[item.verdict]


def numbers(item: Difference | GroupDifference, unit: str) -> tuple[str, str, str, str]:
    """Both values, the difference and its interval."""
    return (
        format_value(item.first, unit),
        format_value(item.second, unit),
        signed(item.difference, unit, item.ci95),
        interval_words(item.difference, unit, item.ci95),
    )
