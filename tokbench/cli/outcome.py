"""How `run` and `score` end: the table, where the files are, and the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tokbench.results import RunResult

DONE, FAILED, FAILED_SAMPLES, INTERRUPTED = 0, 1, 3, 130


def finish(result: RunResult, *, as_json: bool, strict: bool, report: bool) -> int:
    """Write the report, print the result, and return the exit code."""
    from tokbench.report.table import print_results
    from tokbench.schema import dump_json, result_to_json

    if as_json:
        click.echo(dump_json(result_to_json(result)), nl=False)
    else:
        print_results(result)
    if result.path is not None:
        write_and_tell(Path(result.path), report=report)
    return exit_code(result, strict=strict)


def write_and_tell(folder: Path, *, report: bool) -> None:
    """Write a run's report if it is wanted, and say where things are."""
    from tokbench.runfolder import REPORT

    if report:
        from tokbench.report.html import write_report

        write_report([folder], folder / REPORT)
    click.echo(f"{'report' if report else 'results'}: {folder / REPORT if report else folder}", err=True)


def exit_code(result: RunResult, *, strict: bool) -> int:
    """0 done, 1 failed, 3 done with failed samples, 130 interrupted."""
    unmeasured = [value for value in result.values.values() if value.status != "ok"]
    if result.reason.startswith("interrupted"):
        return INTERRUPTED
    if result.status == "failed" or any(value.status == "failed" for value in unmeasured):
        return FAILED
    if strict and unmeasured:
        click.echo(f"tokbench: --strict: not measured: {', '.join(value.key for value in unmeasured)}", err=True)
        return FAILED
    return FAILED_SAMPLES if result.counts["failed"] else DONE
