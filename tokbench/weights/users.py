"""Which metrics and tokenizers read which file of weights."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from tokbench.registry import metrics, tokenizers
from tokbench.weights.files import WeightsFile


def metrics_by_owner() -> dict[str, list[str]]:
    """Owner of a file of weights → keys of the metrics that read it, in the registry's order."""
    found: dict[str, list[str]] = {}
    for key, metric in metrics().items.items():
        for owner in dict.fromkeys(weights.owner for weights in weights_in(metric)):
            found.setdefault(owner, []).append(key)
    return found


def tokenizers_by_owner() -> dict[str, list[str]]:
    """Owner of a file of weights → families of tokenizers that read it, in the registry's order."""
    found: dict[str, dict[str, None]] = {}
    for entry in tokenizers().items.values():
        for owner in entry.card.weights_keys:
            found.setdefault(owner, {})[entry.card.family] = None
    return {owner: list(families) for owner, families in found.items()}


def weights_in(thing: Any, _seen: set[int] | None = None) -> Iterator[WeightsFile]:
    """Every file of weights that an object declares, however deep in its fields.

    Metrics, features, engines and networks hold one another as plain attributes, and their facts as ``card``.
    """
    seen = set() if _seen is None else _seen
    if id(thing) in seen or isinstance(thing, (str, bytes, int, float, type, type(None))):
        return
    seen.add(id(thing))
    if isinstance(thing, WeightsFile):
        yield thing
        return
    for part in _parts(thing):
        yield from weights_in(part, seen)


def _parts(thing: Any) -> list[Any]:
    if isinstance(thing, Mapping):
        return list(thing.values())
    if isinstance(thing, (list, tuple, set, frozenset)):
        return list(thing)
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    card = getattr(thing, "card", None)
    if dataclasses.is_dataclass(thing):
        return [card, *(getattr(thing, field.name) for field in dataclasses.fields(thing))]
    return [] if card is None else [card, *getattr(thing, "__dict__", {}).values()]
