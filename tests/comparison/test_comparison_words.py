"""What comparisons look like, and that hostile names stay names."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.comparison.made_runs import TASK, make_run, value_of
from tokbench.comparison.compare import Comparison, compare_runs
from tokbench.comparison.escape import csv_cell, flat, markdown, markdown_name, terminal, workflow
from tokbench.comparison.table import (
    comparison_csv,
    comparison_json,
    comparison_markdown,
    comparison_text,
    print_comparisons,
)
from tokbench.comparison.words import interval_words, p_words, signed
from tokbench.errors import UnknownNameError, UnlikeRunsError

HOSTILE = (
    "<script>alert(1)</script>",
    "::error file=a.py::pwned",
    "  ::set-output name=x::y",
    "##[error]pwned",
    "line\n::error::second",
    "cell | cell | `code` **bold** _x_ ~y~",
    "[link](javascript:alert(1)) ![i](http://x/y.png)",
    "www.example.org https://example.org @someone #12",
    '"><img src=x onerror=alert(2)>',
    "\x1b[31mred\x07\x9b2J",
    "=cmd|' /C calc'!A0",
    "@SUM(1)",
    "+1",
    "-1",
    "\u202eevil\u2066",
    "\ud800 \ufffe \x00",
    "]]> &amp; <!--",
    "</details>\n\n# heading",
    "100%25 50%",
)


@pytest.fixture
def made(tmp_path: Path) -> list[Comparison]:
    base = make_run(tmp_path / "a")
    return compare_runs([base, make_run(tmp_path / "b", name="toy/b", shift=0.4, seed=2)])


def test_numbers_are_signed_and_rounded_to_what_they_support() -> None:
    assert signed(0.5652, "dB", (0.43, 0.70)) == "+0.57 dB"
    assert signed(-0.00312, "", (-0.0121, 0.0059)) == "−0.0031"
    assert signed(0.0, "dB", (0.0, 0.0)) == "±0"
    assert signed(0.0, "dB", (-0.1, 0.1)) == "0.00 dB"
    assert signed(None, "dB") == "–"
    assert signed(-0.0042, "s", (-0.005, -0.003)) == "−4.2 ms"
    assert interval_words(0.57, "dB", (0.43, 0.70)) == "+0.43 to +0.70"
    assert interval_words(0.0, "dB", None) == ""
    assert [p_words(p) for p in (None, 0.5, 0.034, 0.0004, 1e-9, 0.0)] == [
        "", "0.50", "0.034", "0.0004", "< 0.0001", "< 0.0001",
    ]  # fmt: skip


def test_the_table(made: list[Comparison]) -> None:
    text = comparison_text(made[0])
    lines = text.splitlines()
    assert lines[0] == "toy/b against toy/a"
    assert re.search(r"^psnr ↑ .*2\d\.\d\d dB .*\+0\.\d\d dB .*\+0\.\d\d to \+0\.\d\d .* better$", text, re.MULTILINE)
    assert re.search(r"^  small .*\+0\.\d+", text, re.MULTILINE)
    assert "no interval\n    the metric gives one number for the whole set" in text
    assert "\x1b" not in text
    assert "\x1b[32m" in comparison_text(made[0], is_terminal=True)


def test_a_stream_of_another_encoding_gets_plain_characters(made: list[Comparison]) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    print_comparisons(made, file=stream)
    stream.flush()
    assert b"psnr ^" in raw.getvalue()


def test_markdown_has_as_many_cells_in_every_row(made: list[Comparison]) -> None:
    rows = [line for line in comparison_markdown(made).splitlines() if line.startswith("|")]
    assert len(rows) > 6
    assert {row.count("|") for row in rows} == {9}
    assert any("**better**" in row for row in rows)


def test_csv_has_numbers_unrounded_and_a_row_a_group(made: list[Comparison]) -> None:
    rows = list(csv.DictReader(io.StringIO(comparison_csv(made))))
    psnr = next(row for row in rows if row["key"] == "psnr")
    item = next(item for item in made[0].differences if item.key == "psnr")
    assert float(psnr["difference"]) == item.difference
    assert float(psnr["ci95_low"]) == item.ci95[0]
    assert (psnr["verdict"], psnr["unit"], psnr["n"], psnr["group"]) == ("better", "dB", "40", "")
    groups = [row for row in rows if row["key"] == "t_acc.toy"]
    assert [row["group"] for row in groups] == ["", "small", "large"]
    assert all(row["difference"] for row in groups)


def test_json_is_json(made: list[Comparison]) -> None:
    row = json.loads(json.dumps(comparison_json(made), allow_nan=False))
    first = row["comparisons"][0]["differences"][0]
    assert (first["key"], first["verdict"], first["n_unit"]) == ("psnr", "better", "images")
    assert row["level"] == 0.05


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_text(text: str) -> None:
    assert "\n" not in flat(text)
    assert all(char.isprintable() for char in terminal(text))
    assert "::" not in terminal(text)
    assert "##[" not in terminal(text)
    shown = markdown(text)
    assert not set(shown) & set("<>|`*_[]!~:@\n\\\"'")
    assert re.sub(r"&#\d+;", "", shown).count("&") == re.sub(r"&#\d+;", "", shown).count("#") == 0
    assert "www" not in shown
    command = workflow(text)
    assert "::" not in command
    assert "\n" not in command
    assert not set(workflow(text, is_property=True)) & set(":,\n")
    assert csv_cell(text)[:1] not in ("=", "+", "-", "@")
    element = ElementTree.Element("a", {"b": flat(text)})
    element.text = flat(text)
    again = ElementTree.fromstring(ElementTree.tostring(element, encoding="unicode"))
    assert again.text == again.get("b") == flat(text)
    assert list(again) == []


def test_ordinary_names_stay_readable() -> None:
    assert markdown_name("t_acc.rapidocr@length=1") == "`t_acc.rapidocr@length=1`"
    assert markdown_name("lbg/d8") == "`lbg/d8`"
    assert markdown_name("a`b") == "a&#96;b"
    assert csv_cell("psnr") == "psnr"
    assert csv_cell("=1+1") == "'=1+1"
    assert workflow("95 %, a:b") == "95 %25, a:b"
    assert workflow("95 %, a:b", is_property=True) == "95 %25%2C a%3Ab"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_metric_names_in_result_files(text: str, tmp_path: Path) -> None:
    name = text.replace("\ud800", "x")  # cannot be written to a file
    value = value_of("psnr", 28.0, key=name, metric=name, unit=name, n_unit=name, kind="code", group=name)
    base = make_run(tmp_path / "a", extra={name: value}, environment={"packages": {name: "1"}})
    other = make_run(tmp_path / "b", name="toy/b", seed=2, extra={name: value})
    made = compare_runs([base, other])
    table = comparison_text(made[0])
    assert "\x1b" not in table
    assert not any(line.lstrip().startswith(("::", "##[")) for line in table.splitlines())
    rows = [line for line in comparison_markdown(made).splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {9}
    assert "<" not in "".join(rows)
    cells = [cell for row in csv.reader(io.StringIO(comparison_csv(made))) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@")) or re.match(r"-[^0-9]", cell)]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_in_refusals(text: str, tmp_path: Path) -> None:
    name = text.replace("\ud800", "x")
    base = make_run(tmp_path / "a")
    other = make_run(
        tmp_path / "b",
        spec={"task": {**TASK, "name": name, name: name}, "manifest_digest": name},
        extra={f"psnr{name}": value_of("psnr", 1.0, key=f"psnr{name}")},
    )
    with pytest.raises(UnlikeRunsError) as caught:
        compare_runs([base, other])
    assert all(char.isprintable() for char in str(caught.value).replace("\n", ""))
    assert not any(line.lstrip().startswith("::") or "##[" in line for line in str(caught.value).splitlines())
    with pytest.raises(UnknownNameError) as unknown:
        compare_runs([base, other], metrics=["psnr?"])
    assert str(unknown.value).isprintable()
