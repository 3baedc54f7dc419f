"""The gate's configuration file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tokbench.comparison.margins import Margin
from tokbench.errors import UsageError
from tokbench.gate import config as module
from tokbench.gate.config import GateConfig, Rule, parse_config, read_config


def test_the_documented_file_is_read() -> None:
    import tomllib

    (text,) = re.findall(r"::\n\n(.*)", module.__doc__ or "", re.DOTALL)
    made = parse_config(tomllib.loads(text), where="doc")
    assert made.tolerance == Margin(amount=0.001, is_relative=True)
    assert made.metrics == ("pixel", "t_acc.rapidocr")
    assert made.rules["psnr"] == Rule(tolerance=Margin(amount=0.1), required=True)
    assert made.rules["t_acc.rapidocr"].groups == ("small",)
    assert made.rules["zipf_exponent"].direction == "either"
    assert (made.speed_tolerance, made.rounds) == (Margin(amount=0.05, is_relative=True), 16)


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("")
    assert read_config(path) == GateConfig()


def test_everything_wrong_is_listed() -> None:
    row = {
        "tolerence": 1,
        "tolerance": "1 dB",
        "inconclusive": "maybe",
        "metrics": "psnr",
        "metric": {"psnr": {"tolerance": -1, "direction": "up", "required": 1, "groups": [1], "x": 2}, "ssim": 3},
        "speed": {"tolerance": 0.1, "rounds": 1, "cores": 2},
    }
    with pytest.raises(UsageError) as caught:
        parse_config(row, where="c.toml")
    message = str(caught.value)
    assert message.startswith("c.toml:")
    for words in (
        "tolerence is not an option; options: tolerance, inconclusive", "tolerance is '1 dB'",
        "inconclusive is 'maybe'",
        "metrics is 'psnr', expected a list", "metric.psnr.tolerance is -1", "metric.psnr.direction is 'up'",
        "metric.psnr.required is 1, expected true or false", "metric.psnr.groups is [1]", "metric.psnr.x is not",
        "metric.ssim is 3, expected a table", 'so expected "10%"', "speed.rounds is 1", "speed.cores is not",
    ):  # fmt: skip
        assert words in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("tolerance = ")
    with pytest.raises(UsageError, match="is not TOML"):
        read_config(tmp_path / "bad.toml")
