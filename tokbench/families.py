"""Tokenizers by family and kind, and what each still needs on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tokbench.cards import TokenizerCard
from tokbench.registry import tokenizers
from tokbench.requirements import missing_requirement
from tokbench.weights import places
from tokbench.weights.catalogue import known
from tokbench.weights.files import WeightsFile, find_weights, get_command
from tokbench.weights.hub import is_repository_here

Kind = Literal["built_in", "sequence", "codes", "latents", "reserved"]

KINDS: Mapping[Kind, str] = {
    "built_in": "built in, nothing to download",
    "sequence": "sequences of tokens",
    "codes": "grids of codes",
    "latents": "grids of latents",
    "reserved": "reserved: not run here",
}
"""Kinds in the order in which they are shown, with their headings."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """The variants of one tokenizer; the first is the default."""

    name: str
    cards: tuple[TokenizerCard, ...]

    @property
    def default(self) -> TokenizerCard:
        return self.cards[0]

    @property
    def kind(self) -> Kind:
        return kind_of(self.default)


def families() -> list[Family]:
    """Every family of registered tokenizers, by kind and, within one, by name."""
    found: dict[str, list[TokenizerCard]] = {}
    for entry in tokenizers().items.values():
        found.setdefault(entry.card.family, []).append(entry.card)
    made = [Family(name=name, cards=tuple(cards)) for name, cards in found.items()]
    order = list(KINDS)
    return sorted(made, key=lambda family: (order.index(family.kind), family.name))


def kind_of(card: TokenizerCard) -> Kind:
    """Where a tokenizer stands in lists, from what its card says."""
    if card.reserved:
        return "reserved"
    if not (card.hub or card.page or card.weights_keys):
        return "built_in"
    if card.downsampling is None:
        return "sequence"
    return "codes" if card.latent == "discrete" else "latents"


def needs(card: TokenizerCard) -> list[str]:
    """What a tokenizer still needs on this machine: packages, weights, terms; nothing for a reserved one."""
    if card.reserved:
        return []
    is_here = not card.hub or is_repository_here(card.hub)
    missing = [file for key in card.weights_keys if find_weights(file := known(key)) is None]
    is_by_hand = bool(card.page) and not (card.hub or card.weights_keys or _is_copy_here(card))
    wanted = [
        missing_requirement(card).removeprefix("needs "),
        "" if is_here else f"downloads {card.hub.partition('@')[0]}",
        *_commands(missing),
        f"weights from {card.page}" if is_by_hand else "",
        "" if is_here and not missing and not is_by_hand else card.gated,
    ]
    return [need for need in wanted if need]


def _commands(missing: Sequence[WeightsFile]) -> list[str]:
    """What to type to get these files: one command for those that tokbench downloads."""
    downloaded = [file.owner for file in missing if not file.command]
    others = [get_command(file) for file in missing if file.command]
    return [*([f"tokbench weights fetch {' '.join(downloaded)}"] if downloaded else []), *others]


def _is_copy_here(card: TokenizerCard) -> bool:
    """Whether a file that names the variant lies where a family looks that has its weights from a page."""
    folders = [folder / card.family for folder in (places.own_folder(),) if folder is not None]
    folders.append(places.store_folder(card.family))
    return any(card.variant in path.name for folder in folders for path in folder.glob("*") if path.is_file())
