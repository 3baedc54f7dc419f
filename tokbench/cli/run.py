"""``tokbench run``: measure a tokenizer."""

from __future__ import annotations

from pathlib import Path

import click

from tokbench.cli.options import (
    choose_task,
    compute_options,
    look_here_for,
    run_options,
    task_options,
    tokenizer_option,
    whole_numbers,
)


@click.command()
@tokenizer_option
@task_options
@run_options
@click.option(
    "--lengths", default="", callback=whole_numbers, help="Variable-length tokenizers: also decode at 1,2,4,…"
)
@compute_options
@click.option("--seed", type=int, default=0, show_default=True, help="Of stochastic decoders, with each sample's id.")
def run(
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
    lengths: tuple[int, ...],
    device: str,
    dtype: str,
    batch_size: int,
    seed: int,
) -> int:
    """Measure a tokenizer on a task.

    Exit codes: 0 done, 1 failed, 2 usage, 3 done with failed samples, 130 interrupted (what is done is kept).
    """
    from tokbench.cli.console import make_progress, share_the_cores, sigterm_as_interrupt

    share_the_cores()
    from tokbench.cli.outcome import finish
    from tokbench.evaluation import evaluate

    look_here_for(name)
    with sigterm_as_interrupt():
        result = evaluate(
            name,
            choose_task(task_name, fit=fit, crop=crop, size=size),
            metrics,
            data=data,
            lengths=lengths,
            out=out,
            device=device,
            dtype=dtype,
            batch_size=batch_size,
            workers=workers,
            seed=seed,
            limit=limit,
            progress=make_progress(),
        )
    return finish(result, as_json=as_json, strict=strict, report=not no_report)
