"""``tokbench list``: tokenizers, metrics, tasks and data."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import click

from tokbench.cli.columns import Row, print_columns
from tokbench.cli.options import json_option
from tokbench.errors import UnknownNameError, UsageError

_VARIANT_COLUMNS = ("tokenizer", "tokens", "codebook", "sides", "what → what it still needs")
_FAMILY_COLUMNS = ("tokenizer", "variants", *_VARIANT_COLUMNS[1:-1], "what → what it still needs, the default variant")


@click.command("list")
@click.argument("what", type=click.Choice(["tokenizers", "metrics", "tasks", "data"]))
@click.argument("pattern", required=False, default="")
@click.option("--all", "--variants", "every", is_flag=True, help="Tokenizers: every variant, not one row a family.")
@click.option("--reserved", is_flag=True, help="Tokenizers: those that cannot be run here, each with the reason.")
@json_option
def list_(what: str, pattern: str, every: bool, reserved: bool, as_json: bool) -> None:
    """List what there is; `tokbench show NAME` tells more of one.

    With a PATTERN only the names that hold it, or match it if it has wildcards: titok, 'llamagen/*'.
    """
    if what != "tokenizers" and (every or reserved):
        raise UsageError(f"--all and --reserved are for `tokbench list tokenizers`, not for {what}")
    rows = [row for row in _ROWS[what]() if matches(row["name"], pattern)]
    if reserved:
        rows = [row for row in rows if row["kind"] == "reserved"]
    if not rows:
        raise UnknownNameError(f"none of the {what} match {pattern!r}; `tokbench list {what}` shows all of them")
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False))
    elif what == "tokenizers":
        _print_tokenizers(rows, every=every or "/" in pattern, reserved=reserved or bool(pattern))
    else:
        _PRINT[what](rows)


def matches(name: str, pattern: str) -> bool:
    """Whether a name holds the pattern or, if it has wildcards, is as it says; ``family/variant`` by its family too."""
    if not any(sign in pattern for sign in "*?["):
        return pattern in name
    return fnmatchcase(name, pattern) or fnmatchcase(name.partition("/")[0], pattern)


def _tokenizers() -> list[dict[str, Any]]:
    """Every variant of every family, then what is opened, then what is reserved."""
    from tokbench.families import families, kind_of, needs
    from tokbench.registry import openings
    from tokbench.requirements import missing_requirement

    cards = [
        {**dataclasses.asdict(card), "kind": kind_of(card), "needs": "; ".join(needs(card))}
        for family in families()
        for card in family.cards
    ]
    opened = [
        {
            "name": opens.name,
            **dataclasses.asdict(opens),
            "kind": "opened",
            "needs": missing_requirement(opens).removeprefix("needs "),
        }
        for opens in (module.OPENS for module in openings().items.values())
    ]
    runs = [row for row in cards if row["kind"] != "reserved"]
    return [*runs, *opened, *(row for row in cards if row["kind"] == "reserved")]


def _metrics() -> list[dict[str, Any]]:
    from tokbench.registry import metrics
    from tokbench.requirements import why_unavailable

    return [
        {"name": key, **dataclasses.asdict(metric.card), "missing": why_unavailable(metric)}
        for key, metric in metrics().items.items()
    ]


def _tasks() -> list[dict[str, Any]]:
    from tokbench.tasks.catalogue import folder_task, tasks

    return [dataclasses.asdict(task) for task in (*tasks().values(), folder_task())]


def data_rows() -> list[dict[str, Any]]:
    """What is known of each data set."""
    from tokbench.data.manifests import list_manifests, load_manifest

    rows = []
    for name in list_manifests():
        manifest = load_manifest(name)
        rows.append(
            {
                "name": manifest.name,
                "version": manifest.version,
                "title": manifest.title,
                "n_samples": len(manifest.samples),
                "n_words": sum(region.kind == "word" for sample in manifest.samples for region in sample.regions),
                "n_faces": sum(region.kind == "face" for sample in manifest.samples for region in sample.regions),
                "licence": manifest.licence,
                "citation": manifest.citation,
                "digest": manifest.digest,
            }
        )
    return rows


def _print_tokenizers(rows: Sequence[dict[str, Any]], *, every: bool, reserved: bool) -> None:
    """The tables by kind; ``every`` variant or one row a family; ``reserved`` ones in full or only their names."""
    from tokbench.families import KINDS
    from tokbench.registry import tokenizers

    by_kind = {kind: [row for row in rows if row["kind"] == kind] for kind in (*KINDS, "opened")}
    opened, kept = by_kind.pop("opened"), by_kind.pop("reserved")
    table: list[Row] = []
    for kind, title in KINDS.items():
        if held := by_kind.get(kind):
            table += [title, *(_of_variants(held) if every else _of_families(held))]
    if table:
        print_columns(_VARIANT_COLUMNS if every else _FAMILY_COLUMNS, table)
    _print_opened(opened)
    _print_reserved(kept, in_full=reserved)
    for name, why in tokenizers().broken.items():
        click.echo(f"broken plug-in {name}: {why}", err=True)


def _of_families(rows: Sequence[dict[str, Any]]) -> list[Row]:
    """A row a family: how many variants it has, and the facts of the first, which is the default."""
    held: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        held.setdefault(row["name"].partition("/")[0], []).append(row)
    return [(family, str(len(of)), *_facts(of[0])) for family, of in held.items()]


def _of_variants(rows: Sequence[dict[str, Any]]) -> list[Row]:
    return [(row["name"], *_facts(row)) for row in rows]


def _facts(row: dict[str, Any]) -> tuple[str, ...]:
    from tokbench.cli.facts import codebook, sides, tokens

    return tokens(row), codebook(row), sides(row), _what(row)


def _what(row: dict[str, Any]) -> str:
    return f"{row['title']}{_arrow(row)}"


def _arrow(row: dict[str, Any]) -> str:
    return f" → {row['needs']}" if row["needs"] else ""


def _print_opened(rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        click.echo()
        said = [(row["name"], f"{row['title']}: {row['usage']}{_arrow(row)}") for row in rows]
        print_columns(("opened", "what: how it is typed → what it still needs"), said)


def _print_reserved(rows: Sequence[dict[str, Any]], *, in_full: bool) -> None:
    if not rows:
        return
    click.echo()
    if in_full:
        print_columns(("reserved", "what → why it is not run here; where it is"), [(r["name"], _why(r)) for r in rows])
        return
    names: dict[str, list[str]] = {}
    for row in rows:
        names.setdefault(row["reserved"], []).append(row["name"])
    most_first = sorted(names.items(), key=lambda item: -len(item[1]))
    click.echo(f"reserved, {len(rows)} systems that are not run here (--reserved tells more):")
    print_columns(None, [("", f"{why}: {' '.join(held)}") for why, held in most_first])


def _why(row: dict[str, Any]) -> str:
    return f"{row['title']} → {row['reserved']}; {row['repository'] or row['paper']}"


def _print_metrics(rows: Sequence[dict[str, Any]]) -> None:
    table = []
    for row in rows:
        arrow = {"higher": "↑", "lower": "↓", "neither": ""}[row["better"]]
        table.append((row["name"], row["group"], f"{row['unit']} {arrow}".strip(), row["missing"] or row["title"]))
    print_columns(("key", "group", "unit", "what"), table)


def _print_tasks(rows: Sequence[dict[str, Any]]) -> None:
    table = [(row["name"], f"v{row['version']}", row["manifest"], row["title"]) for row in rows]
    print_columns(("task", "version", "data", "what"), table)


def _print_data(rows: Sequence[dict[str, Any]]) -> None:
    table = [
        (row["name"], str(row["n_samples"]), str(row["n_words"]), str(row["n_faces"]), row["title"]) for row in rows
    ]
    print_columns(("data", "samples", "words", "faces", "what"), table)


_ROWS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "tokenizers": _tokenizers,
    "metrics": _metrics,
    "tasks": _tasks,
    "data": data_rows,
}
_PRINT: dict[str, Callable[[Sequence[dict[str, Any]]], None]] = {
    "metrics": _print_metrics,
    "tasks": _print_tasks,
    "data": _print_data,
}
