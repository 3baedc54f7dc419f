"""Finding plug-ins by name: tokenizers in ``adapters/``, metrics in ``tokbench/metrics/``, and other people's.

A tokenizer module exports ``CARDS`` and ``load``, or ``OPENS`` and ``open_name``, or all four; a metric module exports
``METRICS``. Modules are found by listing the package, so adding one touches one file. Other packages add theirs through
the entry-point groups ``tokbench.tokenizers`` and ``tokbench.metrics``, each entry naming a module of the same shape.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from tokbench.cards import METRIC_GROUPS, MetricCard, TokenizerCard
from tokbench.errors import DuplicateNameError, UnknownNameError, UsageError

TOKENIZER_PACKAGE = "tokbench_adapters"
METRIC_PACKAGE = "tokbench.metrics"


@dataclass(frozen=True, kw_only=True)
class Plugins:
    """What was found: items by name, and third-party modules that could not be imported, with the reason."""

    items: Mapping[str, Any]
    broken: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class TokenizerEntry:
    """A tokenizer's card and the module that loads it."""

    card: TokenizerCard
    module: ModuleType


@cache
def tokenizers() -> Plugins:
    """Every known tokenizer: name → :class:`TokenizerEntry`, in module order."""
    found: dict[str, TokenizerEntry] = {}
    families: dict[str, str] = {}
    modules, broken = _modules(TOKENIZER_PACKAGE, "tokbench.tokenizers")
    for module in modules:
        for card in getattr(module, "CARDS", ()):
            owner = families.setdefault(card.family, module.__name__)
            if card.name in found or owner != module.__name__:
                raise DuplicateNameError(f"tokenizer {card.name!r} is declared by {owner} and by {module.__name__}")
            found[card.name] = TokenizerEntry(card=card, module=module)
    return Plugins(items=found, broken=broken)


@cache
def openings() -> Plugins:
    """The modules that open names: prefix → module, in module order."""
    found: dict[str, ModuleType] = {}
    modules, broken = _modules(TOKENIZER_PACKAGE, "tokbench.tokenizers")
    for module in modules:
        if (opens := getattr(module, "OPENS", None)) is None:
            continue
        cards = {entry.card.family: entry.module for entry in tokenizers().items.values()}
        if opens.prefix in found or cards.get(opens.prefix, module) is not module:
            raise DuplicateNameError(f"the prefix {opens.prefix}: is declared twice, the second time by {module}")
        found[opens.prefix] = module
    return Plugins(items=found, broken=broken)


@cache
def metrics() -> Plugins:
    """Every known metric: key → metric object, grouped as :data:`METRIC_GROUPS` orders them."""
    found: dict[str, Any] = {}
    modules, broken = _modules(METRIC_PACKAGE, "tokbench.metrics")
    for module in modules:
        for metric in getattr(module, "METRICS", ()):
            key = metric.card.key
            if key in found:
                raise DuplicateNameError(f"metric {key!r} is declared twice, the second time by {module.__name__}")
            found[key] = metric
    order = {name: index for index, name in enumerate(METRIC_GROUPS)}
    ranked = sorted(found.items(), key=lambda item: order[item[1].card.group])
    return Plugins(items=dict(ranked), broken=broken)


def find_tokenizer(name: str) -> TokenizerEntry:
    """The tokenizer of that name; a bare family name means its first card."""
    entries: Mapping[str, TokenizerEntry] = tokenizers().items
    if name in entries:
        return entries[name]
    for entry in entries.values():
        if entry.card.family == name:
            return entry
    if name in openings().items:
        opens = openings().items[name].OPENS
        raise UnknownNameError(f"{name} needs to know what to open: {opens.usage}")
    families = dict.fromkeys(entry.card.family for entry in entries.values())
    family = name.partition("/")[0]
    if family in families:
        choices: Iterable[str] = [key for key in entries if key.startswith(family + "/")]
    else:
        choices = [*families, *entries]
    broken = "".join(f"; {key} could not be imported: {why}" for key, why in tokenizers().broken.items())
    raise UnknownNameError(
        f"no tokenizer named {name!r}{did_you_mean(name, choices)}; `tokbench list tokenizers` shows all of them, "
        f"and your own is `module:attr`{broken}"
    )


def select_metrics(request: str | Iterable[Any]) -> list[Any]:
    """Metric objects for ``all``, group names, keys, metric objects, or a mix of them, without repeats."""
    words: list[Any] = request.split(",") if isinstance(request, str) else list(request)
    words = [word.strip() if isinstance(word, str) else word for word in words]
    words = [word for word in words if word != ""]
    if not words:
        raise UsageError("--metrics is empty; pass `all`, groups or keys")
    available: Mapping[str, Any] = metrics().items
    chosen: dict[str, Any] = {}
    for word in words:
        if isinstance(getattr(word, "card", None), MetricCard):
            chosen[word.card.key] = word
        elif word == "all":
            chosen |= available
        elif word in METRIC_GROUPS:
            members = {key: metric for key, metric in available.items() if metric.card.group == word}
            if not members:
                filled = sorted({metric.card.group for metric in available.values()})
                raise UnknownNameError(f"no metric of group {word!r} is installed; groups with metrics: {filled}")
            chosen |= members
        elif word in available:
            chosen[word] = available[word]
        else:
            raise UnknownNameError(
                f"no metric or group named {word!r}{did_you_mean(word, [*available, *METRIC_GROUPS, 'all'])}; "
                "`tokbench list metrics` shows all of them"
            )
    return list(chosen.values())


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """`` (did you mean a, b?)`` for the nearest of the choices, or "" if none is near."""
    names = list(dict.fromkeys(choices))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    near += [other for other in names if other not in near and name and other.startswith(name[:3])][: 3 - len(near)]
    return f" (did you mean {', '.join(near)}?)" if near else ""


def _modules(package: str, group: str) -> tuple[list[ModuleType], dict[str, str]]:
    """Our own modules, which must import, and third-party ones, which may be broken."""
    parent = importlib.import_module(package)
    names = sorted(info.name for info in pkgutil.iter_modules(parent.__path__) if not info.name.startswith("_"))
    modules = [importlib.import_module(f"{package}.{name}") for name in names]
    broken: dict[str, str] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        module, error = _load_entry(entry)
        if module is not None:
            modules.append(module)
        else:
            broken[f"{entry.name} ({entry.value})"] = error
    return modules, broken


def _load_entry(entry: EntryPoint) -> tuple[ModuleType | None, str]:
    try:
        module = entry.load()
    except Exception as err:  # other people's code: any failure is theirs, shown by `list` and `doctor`
        return None, f"{type(err).__name__}: {err}"
    if not isinstance(module, ModuleType):
        return None, f"entry point must name a module, got {type(module).__name__}"
    return module, ""
