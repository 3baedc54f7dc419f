"""``tokbench leaderboard``: tables and a site from a folder of submissions."""

from __future__ import annotations

from pathlib import Path

import click

from tokbench.cli.options import json_option


@click.group()
def leaderboard() -> None:
    """Rank submissions, and write tables and a site."""


@leaderboard.command()
@click.argument("results", type=click.Path(path_type=Path, file_okay=False), metavar="RESULTS")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("site"), show_default=True,
    help="A new or empty folder, or one that holds a site, which is replaced.",
)  # fmt: skip
@click.option("--strict", is_flag=True, help="Build nothing if a submission has to be left out.")
@json_option
def build(results: Path, out: Path, strict: bool, as_json: bool) -> int:
    """Build the site of RESULTS, a folder laid out as results/<task>/<family>__<variant>.

    Pages work from file:// and need no network. Submissions that cannot be shown are left out with the reason.
    Whether their numbers follow from their records is what `tokbench submit validate` says.
    """
    import json

    from tokbench.cli.console import printable
    from tokbench.leaderboard.site import build_site

    built = build_site(results, out, strict=strict)
    if as_json:
        row = {
            "out": str(built.out),
            "boards": dict(built.boards),
            "skipped": [{"path": item.path, "reason": item.reason} for item in built.skipped],
            "files": built.n_files,
            "bytes": built.n_bytes,
        }
        click.echo(json.dumps(row, indent=2, ensure_ascii=False, allow_nan=False))
        return 0
    for slug, n in built.boards.items():
        click.echo(printable(f"{slug}: {n} {'submission' if n == 1 else 'submissions'}"))
    for item in built.skipped:
        click.echo(printable(f"left out: {item.path}: {item.reason}"), err=True)
    click.echo(f"site: {out / 'index.html'} ({built.n_files} files, {built.n_bytes / 1e6:.1f} MB)", err=True)
    return 0
