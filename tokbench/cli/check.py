"""``tokbench check``: the regression gate."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from tokbench.cli.options import json_option, trust_option

if TYPE_CHECKING:
    from tokbench.gate.check import GateResult
    from tokbench.gate.config import GateConfig
    from tokbench.gate.items import GateItem

PASSED, REGRESSION, CANNOT_TELL = 0, 1, 2
DEFAULT_CONFIG = Path("tokbench-check.toml")
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("run", required=False, type=click.Path(path_type=Path), metavar="[RUN]")
@click.option("--baseline", required=True, type=click.Path(path_type=Path), help="The run that must not be undercut.")
@click.option("--config", type=_FILE, help="Tolerances. [default: tokbench-check.toml, if there is one]")
@click.option(
    "--common", is_flag=True, help="Pair what both have where the baseline lacks samples, or a run is partial."
)
@click.option("--junit", type=_FILE, help="Write the verdict as JUnit XML.")
@click.option("--markdown", type=_FILE, help="Write the verdict as Markdown.")
@click.option("--step-summary", is_flag=True, help="Append the Markdown to the file $GITHUB_STEP_SUMMARY names.")
@click.option("--annotations/--no-annotations", default=None, help="GitHub's annotations. [default: where it runs]")
@click.option("--rerun", "tokenizer", metavar="NAME", help="Measure this tokenizer now, as the baseline was measured.")
@click.option("--baseline-tokenizer", metavar="NAME", help="With --rerun: time this one beside it, and gate the speed.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="With --rerun: keep the run below OUT.")
@click.option("--data", type=click.Path(path_type=Path), help="With --rerun and a baseline on the task `folder`.")
@click.option("--device", default="auto", show_default=True, help="With --rerun: auto, cpu, cuda, cuda:1, mps.")
@click.option("--workers", type=int, help="With --rerun: threads. [default: cores, at most 8]")
@trust_option
@json_option
def check(
    run: Path | None,
    baseline: Path,
    config: Path | None,
    common: bool,
    junit: Path | None,
    markdown: Path | None,
    step_summary: bool,
    annotations: bool | None,
    tokenizer: str | None,
    baseline_tokenizer: str | None,
    out: Path | None,
    data: Path | None,
    device: str,
    workers: int | None,
    as_json: bool,
) -> int:
    """Gate a run against its baseline: is any metric worse than tolerated, beyond chance?

    A metric fails if it is worse than its tolerance and chance is no explanation, after correction for everything
    that is gated: where nothing has changed, at most 5 % of checks fail. docs/ci.md has the configuration and ready
    examples for GitHub and GitLab.

    Exit codes: 0 passed; 1 a regression, or the checkpoint cannot be measured; 2 usage, unlike runs or unreadable
    results: no verdict.
    """
    from tokbench.errors import ResultsError
    from tokbench.gate.check import check_runs

    if (run is None) == (tokenizer is None):
        raise click.UsageError("pass either the folder of a RUN, or --rerun NAME to measure one now")
    if tokenizer is None:
        for given, option in ((baseline_tokenizer, "--baseline-tokenizer"), (out, "--out"), (data, "--data")):
            if given is not None:
                raise click.UsageError(f"{option} is for --rerun")
    try:
        settings = _config(config)
        if run is not None:
            result = check_runs(run, baseline, config=settings, common=common)
        elif tokenizer is not None:
            with ExitStack() as stack:
                kept = out or Path(stack.enter_context(TemporaryDirectory(prefix="tokbench-check-")))
                folder = _measure(tokenizer, baseline, out=kept, workers=workers, data=data, device=device)
                speed = (
                    _time(baseline_tokenizer, tokenizer, baseline, settings, data=data, device=device)
                    if baseline_tokenizer
                    else []
                )
                result = check_runs(
                    folder,
                    baseline,
                    config=settings,
                    common=common,
                    speed=speed,
                    label=f"{tokenizer} (measured now)",
                )
        _write(result, junit=junit, markdown=markdown, step_summary=step_summary)
    except ResultsError as err:  # not 1: that a file is damaged is no regression
        click.echo(f"tokbench: {err}", err=True)
        return CANNOT_TELL
    _print(result, as_json=as_json, annotations=annotations)
    return PASSED if result.passed else REGRESSION


def _config(path: Path | None) -> GateConfig:
    from tokbench.gate.config import GateConfig, read_config

    if path is None and DEFAULT_CONFIG.is_file():
        click.echo(f"tolerances: {DEFAULT_CONFIG}", err=True)
        path = DEFAULT_CONFIG
    return GateConfig() if path is None else read_config(path)


def _measure(tokenizer: str, baseline: Path, *, out: Path, workers: int | None, data: Path | None, device: str) -> Path:
    import sys

    from tokbench.cli.console import make_progress, share_the_cores, sigterm_as_interrupt

    share_the_cores()
    from tokbench.rerun import rerun
    from tokbench.runfolder import read_result

    sys.path.insert(0, str(Path.cwd()))  # for module:attr; a console script's path does not hold the user's folder
    with sigterm_as_interrupt():
        return rerun(
            tokenizer, read_result(baseline), out=out, data=data, device=device, workers=workers,
            progress=make_progress(),
        )  # fmt: skip


def _time(
    beside: str, tokenizer: str, baseline: Path, settings: GateConfig, *, data: Path | None, device: str
) -> list[GateItem]:
    from tokbench.gate.speed import speed_items
    from tokbench.rerun import time_side_by_side
    from tokbench.runfolder import read_result

    click.echo(f"timing {beside} and {tokenizer} side by side, {settings.rounds} rounds", err=True)
    rounds = time_side_by_side(
        beside, tokenizer, read_result(baseline), rounds=settings.rounds, data=data, device=device
    )
    return speed_items(rounds, settings)


def _write(result: GateResult, *, junit: Path | None, markdown: Path | None, step_summary: bool) -> None:
    from tokbench.gate.reports import gate_markdown
    from tokbench.gate.reports import junit as junit_xml
    from tokbench.runfolder import disk_error, write_text

    if junit is not None:
        write_text(junit, junit_xml(result))
    if markdown is not None:
        write_text(markdown, gate_markdown(result))
    if step_summary:
        name = os.environ.get("GITHUB_STEP_SUMMARY")
        if not name:
            click.echo("tokbench: --step-summary: $GITHUB_STEP_SUMMARY is not set, so nothing was appended", err=True)
            return
        try:
            with Path(name).open("a", encoding="utf-8") as file:
                file.write(gate_markdown(result) + "\n")
        except OSError as err:
            raise disk_error(Path(name), err) from err


def _print(result: GateResult, *, as_json: bool, annotations: bool | None) -> None:
    import json
    import sys

    from rich.console import Console

    from tokbench.gate.check import gate_json
    from tokbench.gate.reports import gate_text, workflow_commands
    from tokbench.report.table import emit

    if as_json:
        click.echo(json.dumps(gate_json(result), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        is_terminal = sys.stdout.isatty()
        width = Console(file=sys.stdout).width if is_terminal else None
        emit(gate_text(result, width=width, is_terminal=is_terminal), sys.stdout)
    if os.environ.get("GITHUB_ACTIONS") == "true" if annotations is None else annotations:
        for line in workflow_commands(result):
            click.echo(line, err=as_json)
