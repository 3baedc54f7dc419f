from __future__ import annotations

import io
from pathlib import Path

import pytest

from tokbench.report.table import print_results, results_table
from tokbench.runfolder import read_result


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_everything_is_in_it(runs: dict[str, Path]) -> None:
    text = results_table(read_result(runs["other"]))
    assert "toy/quantise_3bit on quick v1" in text
    assert "samples: 12 ok, 2 failed" in text
    for part in ("psnr ↑", "lpips ↓", "0 words", "undefined  needs 2,048 images", "failed  division by zero", " dB "):
        assert part in text, part
    lines = text.splitlines()
    groups = [line for line in lines if line and line == line.strip() and " " not in line]
    assert groups == ["pixel", "text", "face", "distribution", "codebook", "rate", "efficiency"]


def test_columns_are_stable_and_plain(runs: dict[str, Path]) -> None:
    lines = results_table(read_result(runs["plain"])).splitlines()
    psnr, ssim = (next(line for line in lines if line.startswith(f"  {key} ")) for key in ("psnr", "ssim"))
    assert psnr.index("12 images") == ssim.index("12 images")
    assert not any("\x1b" in line or line != line.rstrip() for line in lines)


def test_branches_and_groups_are_indented_under_their_metric(runs: dict[str, Path]) -> None:
    lines = results_table(read_result(runs["lengths"])).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("  t_acc.parseq"))
    names = [line[:18].rstrip() for line in lines[start + 1 : start + 6]]
    assert names == ["      small", "      medium", "      large", "    length=4", "      small"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_fits_the_width(runs: dict[str, Path], hostile_run: Path, width: int) -> None:
    result = read_result(runs["other"])
    assert max(map(len, results_table(result, width=width).splitlines())) <= width
    assert "\x1b" not in results_table(read_result(hostile_run), width=width)


def test_hostile_texts_cannot_steer_the_terminal(hostile_run: Path) -> None:
    out = Terminal()
    print_results(read_result(hostile_run), file=out)
    text = out.getvalue()
    assert "\x1b[1m" in text  # its own bold
    assert not any(char in text for char in ("\x1b[31m", "\x07", "\u202e", "\u2028"))


def test_an_ascii_stdout_gets_ascii(runs: dict[str, Path]) -> None:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii") as out:
        print_results(read_result(runs["plain"]), file=out)
        out.flush()
        assert b"psnr ^" in raw.getvalue()
