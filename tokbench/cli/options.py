"""Options that several subcommands share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tokbench.tasks.task import CROPS

F = TypeVar("F", bound=Callable[..., Any])

tokenizer_option = click.option(
    "--tokenizer",
    "name",
    required=True,
    metavar="NAME",
    help="family, family/variant, an opened name (prefix:…), or module:attr (also path/to/file.py:attr) for your own.",
)
workers_option = click.option("--workers", type=int, help="Loading and metric threads. [default: cores, at most 8]")
no_report_option = click.option("--no-report", is_flag=True, help="Do not write report.html.")


def _trust(context: click.Context, _: click.Parameter, files: tuple[str, ...]) -> None:
    if files:
        from tokbench.weights.trust import trusting

        context.with_resource(trusting(*files))


trust_option = click.option(
    "--trust",
    multiple=True,
    metavar="FILE",
    callback=_trust,
    expose_value=False,
    help="Let the code in this very file of weights run (a path, or a sha256); may be repeated.",
)
dtype_option = click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "bfloat16"]),
    default="float32",
    show_default=True,
    help="What the tokenizer computes in.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout instead of a table.")


def task_options(function: F) -> F:
    """``--task`` and what the task ``folder`` takes."""
    for option in reversed(
        (
            click.option("--task", "task_name", default="quick", show_default=True, help="What to measure on."),
            click.option("--data", type=click.Path(path_type=Path), help="With --task folder: images to measure on."),
            click.option(
                "--fit",
                type=click.Choice(["crop", "pad", "none"]),
                default="crop",
                show_default=True,
                help="With --task folder: centre crop, pad to a square, or keep the size.",
            ),
            click.option(
                "--crop",
                type=click.Choice(list(CROPS)),
                default="square",
                show_default=True,
                help="With --task folder --fit crop: which centre crop, as in the tasks imagenet-256-….",
            ),
            click.option("--size", type=int, default=256, show_default=True, help="With --task folder: side in px."),
            click.option("--limit", type=int, help="Only this many samples, spread over the set (marks it partial)."),
        )
    ):
        function = option(function)
    return function


def run_options(function: F) -> F:
    """What `run` and `score` share besides the task."""
    for option in reversed(
        (
            click.option(
                "--metrics", default="all", show_default=True, help="`all`, groups or keys, separated by commas."
            ),
            click.option(
                "--out",
                type=click.Path(path_type=Path, file_okay=False),
                default=Path("runs"),
                show_default=True,
                help="Where results go: OUT/TASK/TOKENIZER/.",
            ),
            workers_option,
            click.option("--strict", is_flag=True, help="Exit 1 if any metric could not be measured."),
            no_report_option,
            json_option,
        )
    ):
        function = option(function)
    return function


def compute_options(function: F) -> F:
    """Where and how a tokenizer runs."""
    for option in reversed(
        (
            click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps."),
            dtype_option,
            click.option("--batch-size", type=int, default=8, show_default=True, help="Affects speed, not values."),
            trust_option,
        )
    ):
        function = option(function)
    return function


def look_here_for(name: str | None) -> None:
    """Let ``module:attr`` be found in the user's folder, which a console script's path does not hold."""
    if name is not None and ":" in name:
        sys.path.insert(0, str(Path.cwd()))


def choose_task(name: str, *, fit: str, crop: str, size: int) -> Any:
    """The named task; ``folder`` with the given placement."""
    from tokbench.tasks.catalogue import FOLDER, find_task, folder_task

    if name != FOLDER:
        return find_task(name)
    return folder_task(mode=fit, size_px=size, crop=crop)  # type: ignore[arg-type]


def whole_numbers(_: click.Context, __: click.Parameter, value: str) -> tuple[int, ...]:
    """``1,2,4`` as numbers; a click callback."""
    try:
        return tuple(int(part) for part in value.split(",") if part.strip())
    except ValueError as err:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers like 1,2,4") from err
