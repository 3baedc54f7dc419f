"""``tokbench doctor``: what is installed, what is missing, and the command that gets it."""

from __future__ import annotations

import json
from typing import Any

import click

from tokbench.cli.options import dtype_option, json_option, look_here_for, trust_option


@click.command()
@click.option("--tokenizer", "name", metavar="NAME", help="Try this tokenizer on a few images instead.")
@click.option("--device", default="auto", show_default=True, help="With --tokenizer: auto, cpu, cuda, cuda:1, mps.")
@dtype_option
@trust_option
@json_option
def doctor(name: str | None, device: str, dtype: str, as_json: bool) -> int:
    """Check this installation: packages, devices, weights, data, cache, and what is missing for what.

    With --tokenizer, check that one instead: does it load, encode and decode, give the same again, give an image alone
    what it gives it in a batch, and keep the level of flat greys?

    Exits 1 if something that the task `quick` needs is broken, or if the tokenizer cannot be measured.
    """
    if name is None:
        from tokbench.diagnosis import diagnose

        checks = diagnose()
    else:
        from tokbench.trial import try_tokenizer

        look_here_for(name)
        checks = list(try_tokenizer(name, device=device, dtype=dtype))
    if as_json:
        rows: list[dict[str, Any]] = [
            {"name": check.name, "status": check.status, "found": check.found, "fix": check.fix} for check in checks
        ]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            click.echo(f"{check.status:8} {check.name:{width}}  {check.found}")
            if check.fix:
                click.echo(f"{'':8} {'':{width}}  → {check.fix}")
    return 1 if any(check.status == "broken" for check in checks) else 0
