"""``tokbench show``: everything known about one tokenizer, metric, task or data set."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import click

from tokbench.cli.options import json_option
from tokbench.errors import UnknownNameError


@click.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show the card of a tokenizer, metric, task or data set."""
    kind, card = find_card(name)
    if as_json:
        click.echo(json.dumps({"kind": kind, **card}, indent=2, ensure_ascii=False, allow_nan=False))
        return
    click.echo(f"{kind} {card['name']}")
    for key, value in card.items():
        if key != "name" and value not in (None, "", (), [], {}):
            click.echo(f"  {key}: {_text(value)}")


def find_card(name: str) -> tuple[str, dict[str, Any]]:
    """(``tokenizer``, ``metric``, ``task`` or ``data``, its facts); UnknownNameError names the nearest."""
    from tokbench.data.manifests import list_manifests
    from tokbench.registry import did_you_mean, find_tokenizer, metrics, tokenizers
    from tokbench.tasks.catalogue import FOLDER, find_task, tasks

    known_metrics = metrics().items
    if name in known_metrics:
        return "metric", {"name": name, **dataclasses.asdict(known_metrics[name].card)}
    entries = tokenizers().items
    families = dict.fromkeys(entry.card.family for entry in entries.values())
    if name in entries or name in families:
        card = dataclasses.asdict(find_tokenizer(name).card)
        others = [key for key in entries if key.startswith(card["name"].partition("/")[0] + "/")]
        return "tokenizer", {**card, "variants": others}
    if name in tasks() or name == FOLDER:
        return "task", dataclasses.asdict(find_task(name))
    if name in list_manifests():
        from tokbench.cli.listing import _data

        return "data", next(row for row in _data() if row["name"] == name)
    choices = [*known_metrics, *families, *entries, *tasks(), FOLDER, *list_manifests()]
    raise UnknownNameError(f"nothing is named {name!r}{did_you_mean(name, choices)}; see `tokbench list`")


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        shown = [_text(item) for item in value[:12]]
        return ", ".join(shown) + (f", … ({len(value)})" if len(value) > 12 else "")
    return str(value)
