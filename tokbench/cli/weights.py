"""``tokbench weights``: the known files of weights, what pins them, who reads them, and getting them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tokbench.cli.columns import print_columns
from tokbench.cli.options import json_option
from tokbench.errors import ReservedError, UsageError, WeightsError

if TYPE_CHECKING:
    from tokbench.weights.files import WeightsFile

keys_argument = click.argument("keys", metavar="[KEY]...", nargs=-1)


@click.group()
def weights() -> None:
    """List, fetch, find and verify the weights of evaluator networks, and of some tokenizers."""


@weights.command("list")
@keys_argument
@json_option
def list_(keys: tuple[str, ...], as_json: bool) -> None:
    """Every file of weights, whether it is here, and what reads it; with KEYs, all about these."""
    from tokbench.weights.users import metrics_by_owner, tokenizers_by_owner

    metrics, tokenizers = metrics_by_owner(), tokenizers_by_owner()
    rows = [_row(file, metrics.get(file.owner, []), tokenizers.get(file.owner, [])) for file in _chosen(keys)]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False))
    elif keys:
        click.echo("\n\n".join(_details(row) for row in rows))
    else:
        print_columns(
            ("key", "here", "size", "sha256", "licence", "source", "read by"),
            [
                (
                    row["key"],
                    row["status"],
                    _megabytes(row["size"]),
                    row["sha256"][:8] or "–",
                    row["licence"],
                    row["source"],
                    " ".join((*row["metrics"], *row["tokenizers"])) or "–",
                )
                for row in rows
            ],
        )


@weights.command()
@keys_argument
@click.option("--all", "everything", is_flag=True, help="Every file that can be downloaded.")
@click.option("--metrics", metavar="KEYS", help="What these metrics need: keys or groups, or `all`.")
@click.option("--tokenizers", metavar="NAMES", help="What these tokenizers need of these files.")
def fetch(keys: tuple[str, ...], everything: bool, metrics: str | None, tokenizers: str | None) -> int:
    """Download files of weights and check them; prints where each one is.

    They go to $TOKBENCH_WEIGHTS/KEY/ if that is set, else where other programs look for the same file (torch's hub
    folder, the Hugging Face cache), else to tokbench's cache. An interrupted download goes on where it stopped.
    """
    from tokbench.weights.fetching import can_fetch
    from tokbench.weights.fetching import fetch as fetch_one
    from tokbench.weights.files import find_weights, get_command
    from tokbench.weights.progress import terminal_progress

    if sum((bool(keys), everything, metrics is not None, tokenizers is not None)) != 1:
        raise UsageError(
            "say which: KEYs, --metrics KEYS, --tokenizers NAMES, or --all; `tokbench weights list` shows the keys"
        )
    if metrics is not None:
        files = _needed_by_metrics(metrics)
    elif tokenizers is not None:
        files = _needed_by_tokenizers(tokenizers)
    else:
        files = _chosen(keys)
    progress = terminal_progress()
    failed = 0
    for file in files:
        if not keys and not can_fetch(file) and find_weights(file) is None:
            click.echo(f"{file.owner}: not downloaded by tokbench; get it with: {get_command(file)}", err=True)
            continue
        try:
            click.echo(f"{file.owner}: {fetch_one(file, progress=progress)}")
        except WeightsError as err:
            failed += 1
            click.echo(f"failed: {file.owner}: {err}", err=True)
    return 1 if failed else 0


@weights.command()
@click.argument("key")
def path(key: str) -> None:
    """Print where a file is; fails, naming the command that gets it, if it is not here or not the pinned one."""
    from tokbench.weights.catalogue import known
    from tokbench.weights.files import require_weights

    click.echo(str(require_weights(known(key))))


@weights.command()
@keys_argument
@json_option
def verify(keys: tuple[str, ...], as_json: bool) -> int:
    """Read the files that are here and compare their sha256 with the pinned ones.

    Exits 1 if one is not as pinned, or if a KEY was given and its file is not here.
    """
    rows = [_verified(file) for file in _chosen(keys)]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        for row in rows:
            if row["status"] != "missing" or keys:
                click.echo(f"{row['status']:8} {row['key']}  {row['path']}  {row['sha256']}".rstrip())
                if row["problem"]:
                    click.echo(f"{'':8} {row['problem']}", err=True)
    bad = ("wrong", "missing") if keys else ("wrong",)
    return 1 if any(row["status"] in bad for row in rows) else 0


def _chosen(keys: Sequence[str]) -> list[WeightsFile]:
    from tokbench.weights.catalogue import catalogue, known

    return [known(key) for key in dict.fromkeys(keys)] if keys else list(catalogue().values())


def _needed_by_metrics(wanted: str) -> list[WeightsFile]:
    from tokbench.registry import select_metrics
    from tokbench.weights.users import weights_in

    files = {file.owner: file for metric in select_metrics(wanted) for file in weights_in(metric)}
    if not files:
        click.echo("these metrics need no weights", err=True)
    return list(files.values())


def _needed_by_tokenizers(wanted: str) -> list[WeightsFile]:
    from tokbench.registry import find_tokenizer
    from tokbench.weights.catalogue import known

    cards = [find_tokenizer(name.strip()).card for name in wanted.split(",")]
    for card in cards:
        if card.reserved:
            raise ReservedError(f"{card.name} cannot be run: {card.reserved}")
        if card.hub:
            click.echo(f"{card.name}: its checkpoint, {card.hub}, is downloaded from the hub on first use", err=True)
        elif not card.weights_keys:
            click.echo(f"{card.name} needs none of these files", err=True)
    return [known(key) for key in dict.fromkeys(key for card in cards for key in card.weights_keys)]


def _row(file: WeightsFile, metrics: list[str], tokenizers: list[str]) -> dict[str, Any]:
    from tokbench.weights.fetching import can_fetch
    from tokbench.weights.files import find_weights, get_command, wrong_digest

    here = find_weights(file)
    problem = "" if here is None else wrong_digest(file, here)
    return {
        "key": file.owner,
        "name": file.name,
        "status": "missing" if here is None else "wrong" if problem else "yes",
        "path": str(here or ""),
        "problem": problem,
        "size": _size(file, here),
        "sha256": file.sha256,
        "format": file.format,
        "licence": file.licence,
        "source": file.source,
        "url": file.url,
        "hub": file.hub,
        "command": get_command(file),
        "downloads": can_fetch(file),
        "metrics": metrics,
        "tokenizers": tokenizers,
    }


def _verified(file: WeightsFile) -> dict[str, Any]:
    from tokbench.weights.digests import sha256_of
    from tokbench.weights.files import find_weights, missing_weights, wrong_digest

    here = find_weights(file)
    row = {"key": file.owner, "path": str(here or ""), "sha256": "", "pinned": file.sha256, "problem": ""}
    if here is None:
        return {**row, "status": "missing", "problem": missing_weights(file)}
    row["sha256"] = sha256_of(here, read=True)
    row["problem"] = wrong_digest(file, here)
    return {**row, "status": "wrong" if row["problem"] else "ok" if file.sha256 else "unpinned"}


def _size(file: WeightsFile, here: Path | None) -> int:
    return here.stat().st_size if here is not None else file.size


def _details(row: dict[str, Any]) -> str:
    lines = [f"{row['key']}: {row['name']}"]
    where = row["problem"] or row["path"] or f"not here; {row['command']}"
    facts = {
        "where": where,
        "size": _megabytes(row["size"]),
        "sha256": row["sha256"] or "its publisher states none",
        "format": row["format"],
        "licence": row["licence"],
        "source": row["source"],
        "download": row["url"] or row["hub"] or "none; it comes with a package",
        "read by": " ".join((*row["metrics"], *row["tokenizers"])) or "nothing yet",
    }
    return "\n".join([*lines, *(f"  {name:9} {value}" for name, value in facts.items())])


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB" if size else "?"
