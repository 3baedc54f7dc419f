"""``tokbench check`` on the command line, from stored results and by running a checkpoint."""

from __future__ import annotations

import json
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.comparison.made_runs import make_run
from tokbench.__main__ import main
from tokbench.runfolder import read_result
from tokbench.runner import reconstruct

TOKENIZERS = """
import time
import torch

class Fine:
    codebook_size = 256
    top = 255
    seconds = 0.001
    def encode(self, images):
        time.sleep(0.001)
        return (images * self.top).round().long()
    def decode(self, codes):
        time.sleep(self.seconds)
        return codes.float() / self.top

class Coarse(Fine):
    top = 15

class Slow(Fine):
    seconds = 0.0012

class Broken(Fine):
    def decode(self, codes):
        raise RuntimeError("out of memory")
"""


def tokbench(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def _quiet_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_run(tmp_path / "base")


@pytest.fixture
def worse(tmp_path: Path) -> Path:
    return make_run(tmp_path / "worse", name="toy/b", shift=-1.0, seed=2)


def test_exit_0_for_the_same_and_1_for_a_loss(base: Path, worse: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tokbench("check", base, "--baseline", base) == 0
    assert "passed: " in capsys.readouterr().out
    assert tokbench("check", worse, "--baseline", base) == 1
    out, err = capsys.readouterr()
    assert "fail          psnr: " in out
    assert err == ""


def test_the_reports(
    base: Path, worse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    files = ["--junit", tmp_path / "out" / "j.xml", "--markdown", tmp_path / "m.md", "--step-summary"]
    assert tokbench("check", worse, "--baseline", base, *files) == 1
    assert "::error title=tokbench check%3A psnr::" in capsys.readouterr().out
    assert ElementTree.parse(tmp_path / "out" / "j.xml").getroot().tag == "testsuites"
    page = (tmp_path / "m.md").read_text()
    assert page.startswith("### tokbench check: failed")
    assert summary.read_text() == f"before\n{page}\n"
    assert tokbench("check", worse, "--baseline", base, "--no-annotations", "--json") == 1
    out = capsys.readouterr().out
    assert json.loads(out)["passed"] is False


def test_annotations_leave_json_alone(base: Path, worse: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tokbench("check", worse, "--baseline", base, "--annotations", "--json") == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["items"]
    assert "::error" in err


def test_without_a_summary_file_it_says_so(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tokbench("check", base, "--baseline", base, "--step-summary") == 0
    assert "$GITHUB_STEP_SUMMARY is not set" in capsys.readouterr().err


def test_a_configuration_in_the_folder_is_taken(
    base: Path, worse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("tokbench-check.toml").write_text('tolerance = "50%"\n')
    assert tokbench("check", worse, "--baseline", base) == 0
    assert "tolerances: tokbench-check.toml" in capsys.readouterr().err
    (tmp_path / "strict.toml").write_text("tolerance = 0\n")
    assert tokbench("check", worse, "--baseline", base, "--config", tmp_path / "strict.toml") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--baseline", "{base}"], "either the folder of a RUN, or --rerun"),
        (["{base}", "--baseline", "{base}", "--rerun", "lbg"], "either the folder of a RUN"),
        (["{base}", "--baseline", "{base}", "--baseline-tokenizer", "lbg"], "--baseline-tokenizer is for --rerun"),
        (["{base}"], "Missing option '--baseline'"),
        (["{base}", "--baseline", "{other}"], "data digest"),
        (["{base}", "--baseline", "{nothing}"], "is not a run"),
        (["{base}", "--baseline", "{base}", "--config", "{nothing}"], "cannot read"),
    ],
)
def test_no_verdict_exits_2(
    base: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_run(tmp_path / "other", spec={"manifest_digest": "sha256:ef"})
    filled = [text.format(base=base, other=other, nothing=tmp_path / "nothing") for text in arguments]
    assert tokbench("check", *filled) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""


# ---- --rerun -----------------------------------------------------------------------------------------------------


@pytest.fixture
def measured(photos: Path, tmp_path: Path) -> tuple[str, Path]:
    """The tokenizers' file, and a stored run of the fine one."""
    (tmp_path / "toys.py").write_text(TOKENIZERS)
    prefix = f"{tmp_path / 'toys.py'}:"
    arguments = ["--task", "folder", "--data", photos, "--size", "64", "--metrics", "psnr,ssim,bpp", "--no-report"]
    assert tokbench("run", "--tokenizer", prefix + "Fine", *arguments, "--out", tmp_path / "runs", "--seed", "7") == 0
    return prefix, tmp_path / "runs" / "folder" / "fine"


def test_a_checkpoint_is_measured_as_the_baseline_was(
    measured: tuple[str, Path], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix, base = measured
    capsys.readouterr()
    options = ["--baseline", base, "--data", photos]
    assert tokbench("check", "--rerun", prefix + "Coarse", *options, "--out", tmp_path / "kept") == 1
    out = capsys.readouterr().out
    assert "fail          psnr: 100.00 dB → " in out
    assert out.startswith(f"{prefix}Coarse (measured now) against fine on folder v1\n")
    kept = read_result(tmp_path / "kept" / "folder" / "coarse")
    stored = read_result(base)
    assert kept.spec.task == stored.spec.task
    assert (kept.spec.metrics, kept.spec.seed) == (stored.spec.metrics, 7)
    assert tokbench("check", "--rerun", prefix + "Fine", *options) == 0


def test_the_baseline_is_never_overwritten(
    measured: tuple[str, Path], photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix, base = measured
    before = (base / "result.json").read_bytes()
    out = base.parent.parent
    assert tokbench("check", "--rerun", prefix + "Fine", "--baseline", base, "--data", photos, "--out", out) == 2
    assert "would replace its baseline" in capsys.readouterr().err
    assert (base / "result.json").read_bytes() == before


def test_other_images_are_refused_before_anything_runs(
    measured: tuple[str, Path], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix, base = measured
    few = tmp_path / "few"
    few.mkdir()
    (few / "one.png").write_bytes(sorted(photos.iterdir())[0].read_bytes())
    capsys.readouterr()
    assert tokbench("check", "--rerun", prefix + "Fine", "--baseline", base, "--data", few) == 2
    err = capsys.readouterr().err
    assert "the data are not the baseline's" in err
    assert "images/s" not in err
    assert tokbench("check", "--rerun", prefix + "Fine", "--baseline", base) == 2
    assert "pass it again with --data" in capsys.readouterr().err


def test_a_checkpoint_that_cannot_decode_exits_1(
    measured: tuple[str, Path], photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix, base = measured
    assert tokbench("check", "--rerun", prefix + "Broken", "--baseline", base, "--data", photos) == 1
    out, err = capsys.readouterr()
    assert "out of memory" in out + err


class Clock:
    """Stands still but for what tokenizers sleep."""

    now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def perf_counter(self) -> float:
        return self.now


def test_speed_is_gated_side_by_side(
    measured: tuple[str, Path],
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "sleep", clock.sleep)
    monkeypatch.setattr(reconstruct, "time", clock)
    prefix, base = measured
    (tmp_path / "c.toml").write_text("[speed]\nrounds = 12\n")
    options = ["--baseline", base, "--data", photos, "--config", tmp_path / "c.toml"]
    beside = ["--baseline-tokenizer", prefix + "Fine"]
    capsys.readouterr()
    assert tokbench("check", "--rerun", prefix + "Slow", *options, *beside) == 1
    out = capsys.readouterr().out
    assert "fail          decode_s, side by side: 125 µs → 150 µs; " in out
    assert "pass          encode_s, side by side: 125 µs → 125 µs; " in out
    assert not list(Path.cwd().iterdir())  # nothing is left behind
    broken = ["--baseline-tokenizer", prefix + "Broken"]
    assert tokbench("check", "--rerun", prefix + "Fine", *options, *broken) == 1
    assert "could not be timed" in capsys.readouterr().err
