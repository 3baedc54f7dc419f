"""``tokbench compare`` on the command line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.comparison.made_runs import make_run
from tokbench.__main__ import main


def tokbench(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [
        make_run(tmp_path / "a"),
        make_run(tmp_path / "b", name="toy/b", shift=0.5, seed=2),
        make_run(tmp_path / "c", name="toy/c", shift=-0.5, seed=3),
    ]


def test_a_table_for_every_run_after_the_first(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert tokbench("compare", *runs) == 0
    out, err = capsys.readouterr()
    assert "toy/b against toy/a" in out
    assert "toy/c against toy/a" in out
    assert "better" in out
    assert "worse" in out
    assert "(Holm)" in out
    assert err == ""


def test_json_csv_and_markdown(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert tokbench("compare", *runs[:2], "--metrics", "psnr,text", "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert [item["key"] for item in row["comparisons"][0]["differences"]] == ["psnr", "t_acc.toy"]
    assert tokbench("compare", *runs[:2], "--format", "csv", "--metrics", "psnr") == 0
    (line,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert line["verdict"] == "better"
    assert tokbench("compare", *runs[:2], "--format", "markdown") == 0
    assert "| `psnr` ↑ |" in capsys.readouterr().out


def test_margins_and_the_bootstrap(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--metrics", "psnr", "--equal-within", "psnr=5", "--interval", "bootstrap", "--replicates", "500"]
    assert tokbench("compare", *runs[:2], *arguments) == 0
    assert "equal within 5.00 dB" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "at least two runs"),
        (["{b}", "--metrics", "pnsr"], "did you mean psnr"),
        (["{b}", "--equal-within", "psnr"], "is not KEY=MARGIN"),
        (["{b}", "--equal-within", "psnr=-1"], "at least 0"),
        (["{b}", "--interval", "bootstrap", "--replicates", "5"], "100 or more"),
        (["{short}"], "differ in\n  data digest"),
    ],
)
def test_usage_and_unlike_runs_exit_2(
    runs: list[Path], tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    short = make_run(tmp_path / "short", spec={"manifest_digest": "sha256:cd"}, n=39)
    filled = [argument.format(b=runs[1], short=short) for argument in arguments]
    assert tokbench("compare", runs[0], *filled) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""


def test_a_damaged_run_exits_1(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    (runs[1] / "result.json").write_text("{")
    assert tokbench("compare", *runs[:2]) == 1
    assert "is not JSON" in capsys.readouterr().err
