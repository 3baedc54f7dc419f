"""The command line: exit codes, what goes to stdout and what to stderr."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tokbench.__main__ import main
from tokbench.runfolder import read_records, read_result

TOY = """
import time
import torch

class Toy:
    codebook_size = 256
    def encode(self, images):
        return (images * 255).round().long()
    def decode(self, codes):
        return codes.float() / 255

class Signed(Toy):
    def decode(self, codes):
        return codes.float() / 127.5 - 1

class Slow(Toy):
    def encode(self, images):
        time.sleep(0.3)
        return super().encode(images)
"""


@pytest.fixture
def toy(tmp_path: Path) -> str:
    (tmp_path / "toy.py").write_text(TOY)
    return f"{tmp_path / 'toy.py'}:"


def tokbench(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


def folder_run(toy: str, photos: Path, out: Path, *more: str) -> list[str | Path]:
    return ["run", "--tokenizer", toy, "--task", "folder", "--data", photos, "--size", "64", "--out", out, *more]


def test_a_run_prints_the_table_and_writes_the_folder(
    toy: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tokbench(*folder_run(toy + "Toy", photos, tmp_path / "runs")) == 0
    out, err = capsys.readouterr()
    assert "psnr" in out
    assert "100.00 dB" in out
    assert "\x1b" not in out
    assert "no annotated words" in out
    assert "10/10 images" in err
    folder = tmp_path / "runs" / "folder" / "toy"
    assert {path.name for path in folder.iterdir()} == {
        "result.json", "records.jsonl", "timings.jsonl", "influences.npz", "pictures", "report.html",
    }  # fmt: skip


def test_json_is_the_result_and_nothing_else(
    toy: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tokbench(*folder_run(toy + "Toy", photos, tmp_path, "--json", "--no-report", "--metrics", "psnr,bpp")) == 0
    row = json.loads(capsys.readouterr().out)
    assert list(row["values"]) == ["psnr", "bpp"]
    assert row["values"]["psnr"]["value"] == 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "Missing option '--tokenizer'"),
        (["run", "--tokenizer", "lgb"], "did you mean lbg"),
        (["run", "--tokenizer", "identity", "--metrics", "pnsr"], "did you mean psnr"),
        (["run", "--tokenizer", "identity", "--task", "quik"], "did you mean quick"),
        (["run", "--tokenizer", "identity", "--task", "folder"], "needs --data"),
        (["run", "--tokenizer", "identity", "--data", "x"], "brings its own data"),
        (["run", "--tokenizer", "identity", "--limit", "0"], "at least 1"),
        (["run", "--tokenizer", "identity", "--batch-size", "0"], "at least 1"),
        (["run", "--tokenizer", "identity", "--device", "toaster"], "unknown device"),
        (["run", "--tokenizer", "identity", "--lengths", "1,x"], "whole numbers"),
        (["run", "--tokenizer", "identity", "--lengths", "2"], "no variable length"),
        (["list", "cats"], "'cats' is not one of"),
        (["show", "pnsr"], "did you mean psnr"),
        (["nonsense"], "No such command"),
    ],
)
def test_usage_errors_exit_2_and_say_what_to_do(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    more = ["--out", str(tmp_path)] if arguments[0] == "run" else []
    assert tokbench(*arguments, *more) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""
    assert not any(tmp_path.iterdir())


def test_a_tokenizer_in_the_wrong_range_exits_1(
    toy: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tokbench(*folder_run(toy + "Signed", photos, tmp_path)) == 1
    out, err = capsys.readouterr()
    assert "looks like [-1, 1]" in out + err


def test_failed_samples_exit_3(toy: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    (mixed / "good.png").write_bytes(sorted(photos.iterdir())[0].read_bytes())
    (mixed / "bad.png").write_bytes(b"nope")
    assert tokbench(*folder_run(toy + "Toy", mixed, tmp_path)) == 3
    out, err = capsys.readouterr()
    assert "failed: bad (load)" in err
    assert "1 failed" in out


def test_strict_turns_a_missing_metric_into_a_failure(
    toy: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = folder_run(toy + "Toy", photos, tmp_path, "--metrics", "psnr,psnr_word", "--no-report")
    assert tokbench(*arguments) == 0
    assert tokbench(*arguments, "--strict") == 1
    assert "not measured: psnr_word" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_exits_130_and_keeps_what_is_done(
    toy: str, photos: Path, tmp_path: Path, number: signal.Signals
) -> None:
    arguments = folder_run(toy + "Slow", photos, tmp_path / "runs", "--batch-size", "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "tokbench", *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    records = tmp_path / "runs" / "folder" / "slow" / "records.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (records.exists() and records.read_bytes().count(b"\n") >= 2):
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err.decode()
    result = read_result(records.parent)
    assert result.status == "partial"
    assert result.reason.startswith("interrupted after")
    assert 2 <= len(list(read_records(records.parent))) == result.counts["ok"] < 10
    assert b"psnr" in out


def test_score_and_export_are_inverse(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = ["--task", "folder", "--data", str(photos), "--size", "64"]
    assert tokbench("data", "export", tmp_path / "made", *task) == 0
    assert tokbench("data", "export", tmp_path / "made", *task) == 2
    assert tokbench("score", "--reconstructions", tmp_path / "made", *task, "--out", tmp_path / "runs") == 0
    result = read_result(tmp_path / "runs" / "folder" / "reconstructions")
    assert result["psnr"] == 100
    assert result.values["bpp"].status == "skipped"
    assert "only reconstructions were given" in capsys.readouterr().out


def test_data_verify(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tokbench("data", "verify") == 0
    assert "samples are as the manifest says" in capsys.readouterr().out
    (tmp_path / "broken.png").write_bytes(b"x")
    assert tokbench("data", "verify", "--task", "folder", "--data", tmp_path) == 3


@pytest.mark.parametrize("what", ["tokenizers", "metrics", "tasks", "data"])
def test_lists_have_names(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert tokbench("list", what, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    names = [row["name"] for row in rows]
    assert len(names) == len(set(names)) >= 1
    assert tokbench("list", what) == 0
    text = capsys.readouterr().out
    assert names[0].partition("/")[0] in text
    for name in names[:3]:
        assert tokbench("show", name) == 0
        assert name in capsys.readouterr().out
        assert tokbench("show", name, "--json") == 0
        assert json.loads(capsys.readouterr().out)["name"] == name


def test_reports_from_runs(toy: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokbench(*folder_run(toy + "Toy", photos, tmp_path / "a", "--no-report"))
    tokbench(*folder_run(toy + "Slow", photos, tmp_path / "b", "--no-report", "--limit", "2"))
    runs = [tmp_path / "a" / "folder" / "toy", tmp_path / "b" / "folder" / "slow"]
    capsys.readouterr()
    assert tokbench("report", *runs, "--out", tmp_path / "both.html") == 0
    assert "toy" in capsys.readouterr().out
    assert "<html" in (tmp_path / "both.html").read_text()
    assert tokbench("report", *runs, "--json", "--out", tmp_path / "both.html") == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
    assert tokbench("report", tmp_path) == 1
    assert "is not a run" in capsys.readouterr().err


def test_doctor_finds_nothing_broken_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert tokbench("doctor") == 0
    text = capsys.readouterr().out
    assert "broken" not in text
    assert tokbench("doctor", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"python", "torch", "device cpu", "cache", "data quick"} <= {row["name"] for row in rows}
    assert all(row["fix"] or row["status"] != "broken" for row in rows)


def test_help_does_not_import_the_heavy_packages() -> None:
    code = (
        "import sys; from tokbench.__main__ import main; code = main(['--help']); "
        "heavy = {'torch', 'numpy', 'pandas', 'PIL', 'rich', 'jinja2', 'matplotlib'} & set(sys.modules); "
        "print(heavy, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.strip() == "set()"
    assert "tokbench run --tokenizer" in done.stdout


def test_the_module_and_the_script_are_the_same(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("tokbench")
    for command in ([sys.executable, "-m", "tokbench"], [str(script)]):
        if command[0] == str(script) and not script.exists():
            continue
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, cwd=tmp_path)
        assert (done.returncode, done.stdout.split()[0]) == (0, "tokbench,")


@pytest.mark.skipif(os.name == "nt", reason="a POSIX pipe")
def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"'{sys.executable}' -m tokbench list tokenizers --json | head -1", shell=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "["
    assert done.stderr == ""
