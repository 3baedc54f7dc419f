"""``tokbench doctor``: what is installed, what is missing, and the command that gets it."""

from __future__ import annotations

import json
from typing import Any

import click

from tokbench.cli.options import json_option


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Check this installation: packages, devices, weights, data, cache, and what is missing for what.

    Exits 1 if something that the task `quick` needs is broken.
    """
    from tokbench.diagnosis import diagnose

    checks = diagnose()
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
