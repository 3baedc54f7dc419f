"""``tokbench external``: tokenizers that run as programs of their own."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def external() -> None:
    """Tokenizers that run as programs of their own, in any environment (docs/external.md)."""


@external.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def init(folder: Path) -> None:
    """Write a small tokenizer into FOLDER that runs as it is, to be changed into yours.

    It is the description (tokenizer.toml), the program (tokenizer.py) and the one file that lets a program be driven
    (tokbench_external.py, which needs numpy only).
    """
    from tokbench.registry import openings

    for path in openings().items["external"].write_starter(folder):
        click.echo(f"wrote {path}")
    click.echo(f"now: tokbench run --tokenizer external:{folder / 'tokenizer.toml'}")
