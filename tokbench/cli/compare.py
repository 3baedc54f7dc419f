"""``tokbench compare``: differences between runs, with intervals and verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tokbench.cli.options import json_option

if TYPE_CHECKING:
    from tokbench.comparison.margins import Margin


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="BASELINE RUN...")
@click.option("--metrics", default="all", show_default=True, help="`all`, groups or keys, separated by commas.")
@click.option("--common", is_flag=True, help="Pair what both have where samples failed, or a run is partial.")
@click.option(
    "--interval",
    "method",
    type=click.Choice(["analytic", "bootstrap"]),
    default="analytic",
    show_default=True,
    help="Cluster-robust t, or the studentised cluster bootstrap.",
)
@click.option("--replicates", type=int, default=10_000, show_default=True, help="With --interval bootstrap.")
@click.option(
    "--equal-within",
    "margins",
    multiple=True,
    metavar="KEY=MARGIN",
    help="Call a metric equal if its whole interval lies inside: psnr=0.1 (its unit) or psnr=1% (of the baseline).",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "markdown", "csv"]),
    default="table",
    show_default=True,
    help="What to print on stdout.",
)
@json_option
def compare(
    runs: tuple[Path, ...],
    metrics: str,
    common: bool,
    method: str,
    replicates: int,
    margins: tuple[str, ...],
    style: str,
    as_json: bool,
) -> int:
    """Compare runs with the first of them, metric by metric.

    Differences are paired by image, word and face; intervals count independent clusters; p-values are also corrected
    for the number of comparisons. Runs that differ in more than the tokenizer (task, data, metric versions, samples)
    are refused, with every ingredient that differs.

    Exit codes: 0 compared, whatever the verdicts; 1 a run cannot be read; 2 usage, or the runs are unlike.
    """
    import json
    import sys

    from tokbench.comparison.compare import compare_runs
    from tokbench.comparison.differences import Interval
    from tokbench.comparison.table import (
        comparison_csv,
        comparison_json,
        comparison_markdown,
        print_comparisons,
    )
    from tokbench.report.table import emit

    made = compare_runs(
        runs,
        metrics=[name.strip() for name in metrics.split(",") if name.strip()],
        common=common,
        interval=Interval(method=method, replicates=replicates),
        margins=_margins(margins),
    )
    if as_json:
        click.echo(json.dumps(comparison_json(made), indent=2, ensure_ascii=False, allow_nan=False))
    elif style == "table":
        print_comparisons(made)
    else:
        emit(comparison_markdown(made) if style == "markdown" else comparison_csv(made), sys.stdout)
    return 0


def _margins(raw: tuple[str, ...]) -> dict[str, Margin]:
    from tokbench.comparison.margins import parse_margin

    found = {}
    for text in raw:
        key, equals, margin = text.rpartition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not KEY=MARGIN, as psnr=0.1", param_hint="--equal-within")
        found[key] = parse_margin(margin, where=f"--equal-within {key}")
    return found
