"""``tokbench report``: one HTML page from one or more runs."""

from __future__ import annotations

from pathlib import Path

import click

from tokbench.cli.options import json_option


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The file to write. [default: report.html in RUN]"
)
@json_option
def report(runs: tuple[Path, ...], out: Path | None, as_json: bool) -> int:
    """Write a self-contained HTML page from runs, side by side if there are several.

    RUN is a folder that `tokbench run` made (the one that holds result.json).
    """
    import json

    from tokbench.report.html import write_report
    from tokbench.report.table import print_results
    from tokbench.runfolder import REPORT, read_result
    from tokbench.schema import result_to_json

    results = [read_result(run) for run in runs]
    if as_json:
        rows = [result_to_json(result) for result in results]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        for result in results:
            print_results(result)
    target = out or (runs[0] / REPORT if len(runs) == 1 else Path(REPORT))
    click.echo(f"report: {write_report(runs, target)}", err=True)
    return 0
