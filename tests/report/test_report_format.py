from __future__ import annotations

import pytest

from tokbench.report.format import (
    clean,
    format_count,
    format_duration,
    format_interval,
    format_time,
    format_value,
    shorten,
    tick_style,
)


@pytest.mark.parametrize(
    ("value", "unit", "ci95", "written"),
    [
        (34.3461, "dB", (34.33, 34.36), "34.35 dB"),
        (34.3461, "dB", (34.3459, 34.3463), "34.3461 dB"),  # more decimals where the ends would look equal
        (0.81234, "", (0.80, 0.82), "0.8123"),
        (1.0, "", None, "1.0000"),
        (0.0, "", None, "0.0000"),
        (0.0000123, "", None, "1.23e-05"),
        (0.00123, "", None, "0.0012"),
        (12.3456, "", (11.0, 13.7), "12.3"),
        (1234.56, "", None, "1,235"),
        (0.25, "bpp", None, "0.250 bpp"),
        (0.00421, "s", None, "4.21 ms"),
        (0.0000421, "s", None, "42.1 µs"),
        (2.5, "s", (2.4, 2.6), "2.50 s"),
        (4096.0, "tokens", None, "4,096 tokens"),
        (4096.0, "tokens", (4096.0, 4096.0), "4,096 tokens"),
        (4096.5, "tokens", None, "4,096.5 tokens"),
        (-0.00000001, "dB", None, "-1.00e-08 dB"),
        (float("inf"), "dB", None, "∞ dB"),
        (None, "dB", None, "–"),
    ],
)
def test_format_value(value: float | None, unit: str, ci95: tuple[float, float] | None, written: str) -> None:
    assert format_value(value, unit, ci95) == written


def test_interval_shares_the_values_unit_and_decimals() -> None:
    assert format_interval(0.0042, "s", (0.004, 0.0044)) == "4.00 – 4.40"
    assert format_interval(0.9, "", None) == ""
    assert format_interval(None, "", (0.0, 1.0)) == ""


def test_counts_know_one_from_many() -> None:
    assert [format_count(n, unit) for n, unit in ((1, "words"), (2048, "images"), (1, "batches"), (0, "faces"))] == [
        "1 word", "2,048 images", "1 batch", "0 faces",
    ]  # fmt: skip


def test_times() -> None:
    assert format_time("2026-01-02T03:04:05Z") == "2 January 2026, 03:04 UTC"
    assert format_time("yesterday\u202e") == "yesterday\\u202e"
    assert format_duration("2026-01-02T03:04:05Z", "2026-01-02T04:05:06Z") == "1 h 1 min"
    assert format_duration("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z") == "under a second"
    assert format_duration("2026-01-02T03:04:05Z", "") == ""


def test_foreign_text_is_made_visible_and_short() -> None:
    assert clean("a\u202eb\u2028c\x1b[31m\ud800") == "a\\u202eb\\u2028c\\u001b[31m\\ud800"
    assert clean("Straße متجر 店\n") == "Straße متجر 店\n"
    assert len(shorten("x" * 5000, 40)) == 40
    assert shorten("abcdefghij", 5) == "ab…ij"


def test_ticks_have_the_decimals_of_their_step() -> None:
    assert [tick_style(step, 1.0, "").number(0.5) for step in (0.5, 0.05)] == ["0.5", "0.50"]
    assert tick_style(20, 100, "dB").number(40) == "40"
