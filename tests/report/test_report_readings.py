from __future__ import annotations

import itertools

import pytest

from tests.report.synthetic import HOSTILE
from tokbench.metrics.text_match import edit_distance
from tokbench.report.readings import MAX_SHOWN, mark_reading


@pytest.mark.parametrize(
    ("label", "read", "parts"),
    [
        ("Sharp", "Sharp", [("same", "Sharp")]),
        ("Sharp", "Starp", [("same", "S"), ("wrong", "t"), ("same", "arp")]),
        ("Rope", "Rop", [("same", "Rop"), ("missing", "e")]),
        ("bride", "briddge", [("same", "bri"), ("wrong", "d"), ("same", "d"), ("wrong", "g"), ("same", "e")]),
        ("Z4", "", [("missing", "Z"), ("missing", "4")]),
        ("", "Z4", [("wrong", "Z4")]),
        ("", "", []),
        ("متجر", "متحر", [("same", "مت"), ("wrong", "ح"), ("same", "ر")]),
        ("a\u202eb", "ab", [("same", "a"), ("missing", "\\u202e"), ("same", "b")]),
    ],
)
def test_marks(label: str, read: str, parts: list[tuple[str, str]]) -> None:
    assert list(mark_reading(label, read)) == parts


def test_marks_are_whole_and_as_few_as_can_be() -> None:
    texts = ["".join(text) for n in range(5) for text in itertools.product("ab", repeat=n)]
    for label, read in itertools.product(texts, texts):
        parts = mark_reading(label, read)
        assert "".join(text for kind, text in parts if kind != "missing") == read
        assert sum(len(text) for kind, text in parts if kind != "same") == edit_distance(label, read)


@pytest.mark.parametrize("read", HOSTILE)
def test_hostile_readings_are_short_and_cannot_reorder(read: str) -> None:
    text = "".join(text for _, text in mark_reading("label", read))
    assert len(text) <= 6 * MAX_SHOWN
    assert not set(text) & set("\u2028\u2029\u202e\u2066\x1b\x07")


def test_long_texts_are_marked_as_a_whole() -> None:
    assert [kind for kind, _ in mark_reading("x" * 5000, "x" * 5000)] == ["same"]
    ((kind, text),) = mark_reading("label", "y" * 5000)
    assert (kind, len(text)) == ("wrong", MAX_SHOWN)
