"""``tokbench export``: results in other people's formats."""

from __future__ import annotations

from pathlib import Path

import click

FORMATS = ("csv", "parquet", "latex", "markdown", "modelcard")


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option("--format", "form", type=click.Choice(FORMATS), default="markdown", show_default=True)
@click.option("--metrics", default="", help="Value keys, comma-separated, in this order. [default: all measured]")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The file to write. [default: stdout]")
def export(runs: tuple[Path, ...], form: str, metrics: str, out: Path | None) -> int:
    """Write runs as a table or as model-card metadata.

    RUN is a folder that `tokbench run` made, or a submission's. csv and parquet have a row a value; latex and
    markdown a table a task, intervals as ± and the best in bold; modelcard is the front matter that model hubs read.
    """
    from tokbench.errors import UsageError
    from tokbench.exports.modelcard import to_front_matter
    from tokbench.exports.tables import to_latex, to_markdown
    from tokbench.exports.tabular import to_csv, to_parquet
    from tokbench.runfolder import disk_error, read_result

    results = [read_result(run) for run in runs]
    keys = [key.strip() for key in metrics.split(",") if key.strip()]
    if form == "parquet" and out is None:
        raise UsageError("parquet is binary; pass --out FILE")
    if form == "parquet":
        content = to_parquet(results, keys=keys)
    else:
        writers = {"csv": to_csv, "latex": to_latex, "markdown": to_markdown, "modelcard": to_front_matter}
        content = writers[form](results, keys=keys).encode()
    if out is None:
        click.echo(content, nl=False)
        return 0
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(content)
    except OSError as err:
        raise disk_error(out, err) from err
    click.echo(f"{form}: {out}", err=True)
    return 0
