"""``tokbench sweep``: rate–distortion curves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tokbench.cli.options import (
    choose_task,
    compute_options,
    json_option,
    look_here_for,
    no_report_option,
    task_options,
    tokenizer_option,
    whole_numbers,
    workers_option,
)

if TYPE_CHECKING:
    from tokbench.sweep import Sweep

_METRICS = "psnr,ssim,ms_ssim,t_acc.rapidocr,f_sim.dlib"


def _words(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in value.split(",") if word.strip())


@click.command()
@tokenizer_option
@click.option(
    "--lengths",
    default="",
    callback=whole_numbers,
    help="Variable-length tokenizers: the points, 1,2,4,8. [default: powers of two up to the longest]",
)
@click.option(
    "--variants",
    default="",
    callback=_words,
    help="Others: variants of the family (q10,q30,…) or names. [default: a codec's qualities 5, 15, 35, 60 and 85; "
    "all of a family of up to 8; 8 spread over a larger one]",
)
@click.option(
    "--against",
    default="jpeg,webp,avif",
    callback=_words,
    show_default=True,
    help="Families to compare with (a codec's qualities as above), or `none`.",
)
@click.option(
    "--rate",
    default="bpp,bpp_adaptive1",
    show_default=True,
    help="bpp, bpp_order0, bpp_adaptive0 or bpp_adaptive1; each gives the tokenizer a curve. Files count as they are.",
)
@task_options
@click.option(
    "--metrics",
    default=_METRICS,
    show_default=True,
    help="`all`, groups or keys, separated by commas; rates are added.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Where results go: OUT/sweeps/TASK/TOKENIZER/.",
)
@workers_option
@no_report_option
@json_option
@compute_options
@click.option("--seed", type=int, default=0, show_default=True, help="Of stochastic decoders and of the intervals.")
def sweep(
    name: str,
    lengths: tuple[int, ...],
    variants: tuple[str, ...],
    against: tuple[str, ...],
    rate: str,
    task_name: str,
    data: Path | None,
    fit: str,
    crop: str,
    size: int,
    limit: int | None,
    metrics: str,
    out: Path,
    workers: int | None,
    no_report: bool,
    as_json: bool,
    device: str,
    dtype: str,
    batch_size: int,
    seed: int,
) -> int:
    """Measure a tokenizer at several rates, in one pass over the data, and compare the curve with codecs'.

    Prints each point and, against each codec, BD-rate (the difference in bits at equal quality) and BD-metric (in
    quality at equal bits), with 95 % intervals. Exit codes are those of `run`.
    """
    from tokbench.cli.console import make_progress, share_the_cores, sigterm_as_interrupt

    share_the_cores()
    from tokbench.sweep import ANCHORS
    from tokbench.sweep import sweep as measure

    look_here_for(name)
    with sigterm_as_interrupt():
        made = measure(
            name,
            choose_task(task_name, fit=fit, crop=crop, size=size),
            metrics,
            out=out,
            lengths=lengths,
            variants=variants,
            against=() if against == ("none",) else None if against == ANCHORS else against,
            rates=rate,
            data=data,
            device=device,
            dtype=dtype,
            batch_size=batch_size,
            workers=workers,
            seed=seed,
            limit=limit,
            progress=make_progress(),
        )
    return _finish(made, as_json=as_json, report=not no_report)


def _finish(made: Sweep, *, as_json: bool, report: bool) -> int:
    from tokbench.cli.outcome import exit_code, write_and_tell
    from tokbench.curves import to_json
    from tokbench.report.curve_table import print_curves
    from tokbench.schema import dump_json

    if as_json:
        click.echo(dump_json(to_json(made.curves)), nl=False)
    else:
        print_curves(made.result, made.curves)
    write_and_tell(Path(made.result.path or "."), report=report)
    return exit_code(made.result, strict=False)
