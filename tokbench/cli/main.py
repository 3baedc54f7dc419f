"""``tokbench``: the group of subcommands."""

from __future__ import annotations

from importlib.metadata import version

import click

from tokbench.cli.check import check
from tokbench.cli.compare import compare
from tokbench.cli.data import data
from tokbench.cli.doctor import doctor
from tokbench.cli.export import export
from tokbench.cli.external import external
from tokbench.cli.leaderboard import leaderboard
from tokbench.cli.listing import list_
from tokbench.cli.report import report
from tokbench.cli.run import run
from tokbench.cli.schema import schema
from tokbench.cli.score import score
from tokbench.cli.show import show
from tokbench.cli.submit import submit
from tokbench.cli.sweep import sweep
from tokbench.cli.weights import weights


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("tokbench"), prog_name="tokbench")
def cli() -> None:
    """The benchmark suite for visual tokenizers: what does an image tokenizer keep?

    \b
    First steps:
      tokbench run --tokenizer lbg --metrics all    measure a small built-in tokenizer
      tokbench run --tokenizer mymodule:MyModel     measure your own
      tokbench list tokenizers                      what else there is
    """


for command in (
    run, sweep, score, report, compare, check, submit, leaderboard, export, schema, list_, show, data, weights,
    external, doctor,
):  # fmt: skip
    cli.add_command(command)
