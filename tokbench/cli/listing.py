"""``tokbench list``: tokenizers, metrics, tasks and data."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from tokbench.cli.options import json_option

if TYPE_CHECKING:
    from tokbench.cards import TokenizerCard


@click.command("list")
@click.argument("what", type=click.Choice(["tokenizers", "metrics", "tasks", "data"]))
@json_option
def list_(what: str, as_json: bool) -> None:
    """List what there is; `tokbench show NAME` tells more of one."""
    rows = _ROWS[what]()
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False))
        return
    _PRINT[what](rows)


def _tokenizers() -> list[dict[str, Any]]:
    from tokbench.registry import tokenizers

    return [{**dataclasses.asdict(entry.card), "needs": _needs(entry.card)} for entry in tokenizers().items.values()]


def _needs(card: TokenizerCard) -> str:
    """What a tokenizer still needs on this machine: packages, weights, terms; "" if nothing."""
    from tokbench.requirements import missing_requirement
    from tokbench.weights.hub import is_repository_here

    if card.reserved:
        return f"cannot be run: {card.reserved}"
    needs = [missing_requirement(card)]
    if not (card.hub and is_repository_here(card.hub)):
        needs += [f"downloads {card.hub}" if card.hub else "", card.gated]
    return "; ".join(need for need in needs if need)


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


def _data() -> list[dict[str, Any]]:
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


def _print_tokenizers(rows: Sequence[dict[str, Any]]) -> None:
    from tokbench.registry import tokenizers

    families: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        families.setdefault(row["name"].partition("/")[0], []).append(row)
    table = []
    for family, members in families.items():
        variants = [member["name"].partition("/")[2] for member in members]
        kinds = "/".join(dict.fromkeys(member["latent"] for member in members))
        table.append((family, kinds, _short(variants), members[0]["title"], members[0]["needs"]))
    _print_columns(("family", "latent", "variants (first is the default)", "what", "still needs (the default)"), table)
    for name, why in tokenizers().broken.items():
        click.echo(f"broken plug-in {name}: {why}", err=True)


def _print_metrics(rows: Sequence[dict[str, Any]]) -> None:
    table = []
    for row in rows:
        arrow = {"higher": "↑", "lower": "↓", "neither": ""}[row["better"]]
        table.append((row["name"], row["group"], f"{row['unit']} {arrow}".strip(), row["missing"] or row["title"]))
    _print_columns(("key", "group", "unit", "what"), table)


def _print_tasks(rows: Sequence[dict[str, Any]]) -> None:
    table = [(row["name"], f"v{row['version']}", row["manifest"], row["title"]) for row in rows]
    _print_columns(("task", "version", "data", "what"), table)


def _print_data(rows: Sequence[dict[str, Any]]) -> None:
    table = [
        (row["name"], str(row["n_samples"]), str(row["n_words"]), str(row["n_faces"]), row["title"]) for row in rows
    ]
    _print_columns(("data", "samples", "words", "faces", "what"), table)


def _short(variants: Sequence[str]) -> str:
    named = [variant for variant in variants if variant]
    if len(named) <= 6:
        return " ".join(named)
    return f"{' '.join(named[:3])} … {named[-1]} ({len(named)})"


def _print_columns(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Aligned columns; nothing is cut, so the output can be searched."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


_ROWS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "tokenizers": _tokenizers,
    "metrics": _metrics,
    "tasks": _tasks,
    "data": _data,
}
_PRINT: dict[str, Callable[[Sequence[dict[str, Any]]], None]] = {
    "tokenizers": _print_tokenizers,
    "metrics": _print_metrics,
    "tasks": _print_tasks,
    "data": _print_data,
}
