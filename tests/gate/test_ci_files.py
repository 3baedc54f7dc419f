"""The composite action and the examples in docs/ci.md: valid, safe to hand anything to, and true to the command."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.comparison.made_runs import make_run
from tests.conftest import REPOSITORY
from tokbench.cli.check import check
from tokbench.gate.config import parse_config

ACTION = REPOSITORY / ".github" / "actions" / "check" / "action.yml"
PAGE = REPOSITORY / "docs" / "ci.md"


def load_yaml(text: str) -> Any:
    yaml = pytest.importorskip("yaml", reason="reads YAML; pip install pyyaml")
    return yaml.safe_load(text)


@pytest.fixture(scope="module")
def action() -> dict[str, Any]:
    made: dict[str, Any] = load_yaml(ACTION.read_text())
    return made


def options() -> set[str]:
    return {name for parameter in check.params for name in (*parameter.opts, *parameter.secondary_opts)}


def script(action: dict[str, Any]) -> dict[str, Any]:
    (step,) = [step for step in action["runs"]["steps"] if step["name"] == "Check"]
    return dict(step)


def test_every_input_is_described_and_used(action: dict[str, Any]) -> None:
    text = ACTION.read_text()
    assert action["runs"]["using"] == "composite"
    for name, given in action["inputs"].items():
        assert given["description"]
        assert f"inputs.{name}" in text
    assert action["inputs"]["baseline"]["required"] is True


def test_no_input_is_pasted_into_a_script(action: dict[str, Any]) -> None:
    for step in action["runs"]["steps"]:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"]


def test_the_scripts_options_exist(action: dict[str, Any]) -> None:
    used = set(re.findall(r"--[a-z][a-z-]+", script(action)["run"]))
    assert used
    assert used <= options()


def run_script(action: dict[str, Any], folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """The action's script as a runner runs it, with this interpreter as ``python``."""
    step = script(action)
    defaults = {name: given.get("default", "") for name, given in action["inputs"].items()}
    names = {name: re.fullmatch(r"\$\{\{ inputs\.([a-z-]+) \}\}", text) for name, text in step["env"].items()}
    (folder / "bin").mkdir(exist_ok=True)
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    env = {
        **{name: {**defaults, **inputs}[match[1]] for name, match in names.items() if match is not None},
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "GITHUB_ACTIONS": "true",
        "HOME": str(folder),
    }
    assert all(names.values())
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_the_script_reports_the_verdict(action: dict[str, Any], tmp_path: Path) -> None:
    base = make_run(tmp_path / "base")
    worse = make_run(tmp_path / "worse", name="toy/b", shift=-1.0, seed=2)
    done = run_script(action, tmp_path, baseline=str(base), run=str(worse))
    assert done.returncode == 1
    assert "::error title=tokbench check%3A psnr::" in done.stdout
    assert (tmp_path / "output").read_text() == "outcome=regression\n"
    assert (tmp_path / "summary.md").read_text().startswith("### tokbench check: failed")
    assert (tmp_path / "tokbench-check.xml").exists()
    assert (tmp_path / "tokbench-check.md").exists()


def test_hostile_inputs_are_only_arguments(action: dict[str, Any], tmp_path: Path) -> None:
    base = make_run(tmp_path / "base")
    for text in ("$(touch pwned)", '"; touch pwned; "', "`touch pwned`", "--help", "a b\ntouch pwned"):
        done = run_script(action, tmp_path, baseline=str(base), run=text)
        assert done.returncode == 2, done.stdout
        assert "is not a run" in done.stderr
        assert not (tmp_path / "pwned").exists()
    assert (tmp_path / "output").read_text() == "outcome=no-verdict\n" * 5


def test_the_pages_examples(action: dict[str, Any]) -> None:
    page = PAGE.read_text()
    github, gitlab = (load_yaml(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL))
    (use,) = [step for step in github["jobs"]["check"]["steps"] if "tokbench" in step.get("uses", "")]
    assert use["uses"].partition("/tokbench/")[2].partition("@")[0] == ACTION.parent.relative_to(REPOSITORY).as_posix()
    assert set(use["with"]) <= set(action["inputs"])
    assert {name for name, given in action["inputs"].items() if given.get("required")} <= set(use["with"])
    (command,) = [line for line in gitlab["tokenizer"]["script"] if line.startswith("tokbench check")]
    assert {word for word in shlex.split(command) if word.startswith("--")} <= options()
    assert gitlab["tokenizer"]["artifacts"]["reports"]["junit"] in command


def test_the_pages_configuration() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    made = parse_config(tomllib.loads(block), where="docs/ci.md")
    assert set(made.rules) == {"psnr", "t_acc.rapidocr", "codebook_usage", "zipf_exponent"}


def test_the_pages_options_exist() -> None:
    from tokbench.cli.compare import compare

    known = options() | {name for parameter in compare.params for name in parameter.opts}
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE.read_text()))
    assert used
    assert used <= known
