"""``tokbench score``: measure reconstructions that were made elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from tokbench.cli.options import choose_task, run_options, task_options


@click.command()
@click.option(
    "--reconstructions",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="DIR/<sample id>.png (or .webp, .jpg, …) for every sample; `tokbench data export` writes the references so.",
)
@click.option("--name", default="reconstructions", show_default=True, help="What to call the tokenizer in the result.")
@task_options
@run_options
def score(
    folder: Path,
    name: str,
    task_name: str,
    data: Path | None,
    fit: str,
    crop: str,
    size: int,
    limit: int | None,
    metrics: str,
    out: Path,
    workers: int | None,
    strict: bool,
    no_report: bool,
    as_json: bool,
) -> int:
    """Measure a folder of reconstructed images against a task's references.

    Metrics that need the encoding (rate, codebook, cost) are skipped and say so.
    """
    from tokbench.cli.console import make_progress, sigterm_as_interrupt
    from tokbench.cli.outcome import finish
    from tokbench.evaluation import score as score_folder

    with sigterm_as_interrupt():
        result = score_folder(
            folder,
            choose_task(task_name, fit=fit, crop=crop, size=size),
            metrics,
            name=name,
            data=data,
            out=out,
            workers=workers,
            limit=limit,
            progress=make_progress(),
        )
    return finish(result, as_json=as_json, strict=strict, report=not no_report)
