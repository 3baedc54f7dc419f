"""``tokbench show``: everything known about one tokenizer, metric, task or data set."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import click

from tokbench.cli.columns import print_columns
from tokbench.cli.options import json_option, look_here_for, trust_option
from tokbench.errors import UnknownNameError


@click.command()
@click.argument("name")
@trust_option
@json_option
def show(name: str, as_json: bool) -> None:
    """Show the card of a tokenizer, metric, task or data set.

    A tokenizer that is opened by its name ('quantised:pca?bits=4') or yours (module:attr) is loaded to be shown.
    """
    kind, card = find_card(name)
    if as_json:
        click.echo(json.dumps({"kind": kind, **card}, indent=2, ensure_ascii=False, allow_nan=False))
        return
    if kind == "tokenizer":
        from tokbench.cli.facts import labelled

        title, rows = f"{card['name']}: {card['title']}", labelled(card)
    elif kind == "prefix":
        title = f"{card['name']} {card['title']}"
        rows = [("typed as", card["usage"]), ("still needs", card["needs"])]
    else:
        title = card["name"]
        rows = [(key, _text(value)) for key, value in card.items() if key != "name" and _is_said(value)]
    click.echo(f"{kind} {title}")
    print_columns(None, [(f"  {label if first else ''}", line) for label, text in rows for first, line in _lines(text)])


def find_card(name: str) -> tuple[str, dict[str, Any]]:
    """(``tokenizer``, ``prefix``, ``metric``, ``task`` or ``data``, its facts); UnknownNameError names the nearest."""
    from tokbench.data.manifests import list_manifests
    from tokbench.families import families
    from tokbench.registry import did_you_mean, metrics, openings, tokenizers
    from tokbench.requirements import missing_requirement
    from tokbench.tasks.catalogue import FOLDER, find_task, tasks

    known_metrics, prefixes = metrics().items, openings().items
    if name in known_metrics:
        return "metric", {"name": name, **dataclasses.asdict(known_metrics[name].card)}
    entries = tokenizers().items
    by_name = {family.name: family for family in families()}
    if name in entries or name in by_name:
        family = by_name[name.partition("/")[0]]
        card = entries[name].card if name in entries else family.default
        return "tokenizer", _facts(card, variants=[other.name for other in family.cards if other.variant])
    if name.removesuffix(":") in prefixes:
        opens = prefixes[name.removesuffix(":")].OPENS
        return "prefix", {
            "name": opens.name,
            **dataclasses.asdict(opens),
            "needs": missing_requirement(opens).removeprefix("needs "),
        }
    if ":" in name:
        return "tokenizer", _opened(name)
    if name in tasks() or name == FOLDER:
        return "task", dataclasses.asdict(find_task(name))
    if name in list_manifests():
        from tokbench.cli.listing import data_rows

        return "data", next(row for row in data_rows() if row["name"] == name)
    choices = [*known_metrics, *by_name, *entries, *prefixes, *tasks(), FOLDER, *list_manifests()]
    raise UnknownNameError(f"nothing is named {name!r}{did_you_mean(name, choices)}; see `tokbench list`")


def _facts(card: Any, *, variants: list[str]) -> dict[str, Any]:
    from tokbench.families import needs

    return {**dataclasses.asdict(card), "needs": "; ".join(needs(card)), "variants": variants}


def _opened(name: str) -> dict[str, Any]:
    from tokbench.tokenizers import load_tokenizer

    look_here_for(name)
    return {**dataclasses.asdict(load_tokenizer(name, device="cpu").card), "needs": "", "variants": []}


def _lines(text: str) -> list[tuple[bool, str]]:
    """Lines of a text, and whether each is the first."""
    return [(number == 0, line) for number, line in enumerate(text.splitlines())]


def _is_said(value: Any) -> bool:
    return value not in (None, "", (), [], {})


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        shown = [_text(item) for item in value[:12]]
        return ", ".join(shown) + (f", … ({len(value)})" if len(value) > 12 else "")
    return str(value)
