"""Cards say what a reader needs to use a tokenizer and to compare its numbers, or that it is not known."""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters.tiny import BUILT_IN
from tests.conftest import SHARED
from tokbench.cards import TokenizerCard
from tokbench.errors import ReservedError
from tokbench.families import KINDS, families, kind_of
from tokbench.registry import openings, tokenizers
from tokbench.report.details import paper_link
from tokbench.tokenizers import load_tokenizer
from tokbench.weights.catalogue import catalogue
from tokbench_adapters.reserved import CARDS as RESERVED
from tokbench_adapters.reserved import REASONS

CARDS = {name: entry.card for name, entry in tokenizers().items.items()}
RUNNABLE = tuple(card for card in CARDS.values() if not card.reserved)
REFERENCE = SHARED / "reference" / "tokenizers.csv"
EXTRAS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
_NO_POSTERIOR = re.compile("without a posterior|no posterior")
_HUB = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


def incomplete(card: TokenizerCard) -> Iterator[str]:
    """What is missing on a card of a tokenizer that runs."""
    if not card.title:
        yield "a title"
    if not card.licence:
        yield "the licence of the code (or that none is stated)"
    if not card.notes or not all(note.endswith((".", ")")) for note in card.notes):
        yield "notes in sentences"
    if (card.latent == "discrete") != bool(card.codebook_sizes):
        yield "codebook sizes, which discrete tokenizers and no others have"
    if not all(re.fullmatch(r"[0-9a-f]{64}", digest) for _, digest in card.weights):
        yield "whole digests"
    if card.paper and not paper_link(card.paper) and card.latent != "codec":  # these have a standard
        yield "a paper by arXiv id or DOI"
    if card.repository and not card.repository.startswith("https://"):
        yield "a repository's address"
    if not card.pixel_range[0] < card.pixel_range[1]:
        yield "the range of its network"
    if card.requires and not (card.extra in EXTRAS or not card.extra):
        yield f"an extra of ours, not {card.extra!r}"
    if card.posterior and card.latent != "continuous" and not any("VAE" in note for note in card.notes):
        yield "which VAE it is whose posterior is decoded: its own codes have none"


def incomplete_download(card: TokenizerCard) -> Iterator[str]:
    """What is missing besides on a card whose weights are got elsewhere."""
    if kind_of(card) == "built_in":
        return
    if not card.weights_licence:
        yield "the licence of the weights (or that none is stated)"
    if not (card.paper or card.repository):
        yield "a paper or a repository"
    if card.hub and not _HUB.fullmatch(card.hub):
        yield "ORG/REPO@REVISION on the hub"
    if card.page and not card.page.startswith("https://"):
        yield "the page's address"
    if not set(card.weights_keys) <= catalogue().keys():
        yield "keys that `tokbench weights` knows"
    if card.tokens is None:
        yield "how many tokens an image takes"
    if card.fixed_size_px is None and card.size_multiple == 1:
        yield "the sizes it takes"
    pinned = "@" in card.hub or bool(card.weights)
    if not pinned and not card.page and not any("newest file" in note for note in card.notes):
        yield "a revision, digests, or a note that neither is known"
    if card.latent == "continuous" and not card.posterior and not any(map(_NO_POSTERIOR.search, card.notes)):
        yield "what of the posterior is decoded, or a note that there is none"


@pytest.mark.parametrize("family", dict.fromkeys(card.family for card in RUNNABLE))
def test_cards_are_complete(family: str) -> None:
    cards = [card for card in RUNNABLE if card.family == family]
    missing = {card.name: [*incomplete(card), *incomplete_download(card)] for card in cards}
    assert not {name: what for name, what in missing.items() if what}


def test_built_in_is_what_needs_no_download() -> None:
    assert {family.name for family in families() if family.kind == "built_in"} == set(BUILT_IN)


def test_every_kind_has_families() -> None:
    assert {family.kind for family in families()} == set(KINDS)


@pytest.mark.parametrize("prefix", openings().items)
def test_prefixes_say_how_they_are_typed(prefix: str) -> None:
    opens = openings().items[prefix].OPENS
    assert opens.prefix == prefix
    assert opens.usage.startswith(f"{prefix}:")
    assert opens.title
    assert not opens.requires or opens.extra in EXTRAS


@pytest.mark.parametrize("card", RESERVED, ids=lambda card: card.name)
def test_reserved_systems_say_why_and_where_they_are(card: TokenizerCard) -> None:
    assert card.title
    assert card.reserved in REASONS.values()
    assert paper_link(card.paper) or card.repository.startswith("https://github.com/")
    assert not card.hub or _HUB.fullmatch(card.hub)
    assert not (card.hub and card.page)
    assert not card.weights
    assert all(note.endswith(".") for note in card.notes)
    with pytest.raises(ReservedError, match=re.escape(f"{card.name} cannot be run: {card.reserved}")):
        load_tokenizer(card.name)


def test_a_submission_may_use_the_name_of_a_reserved_system() -> None:
    """Who measures one by wrapping it must not be held against a card that describes nothing that runs."""
    from tokbench.submissions.known import Known

    assert not Known().tokenizer_cards.keys() & {card.name for card in RESERVED}
    assert "titok/l32" in Known().tokenizer_cards


def test_every_reason_is_used() -> None:
    assert {card.reserved for card in RESERVED} == set(REASONS.values())


HERE_AS = {"tatitok": "ta_titok", "emu3_5": "emu35"}
"""Systems of the reference that have another name here."""


def reference_rows() -> list[dict[str, str]]:
    if not REFERENCE.is_file():
        pytest.skip("the reference of tokenizers is not on this machine")
    with REFERENCE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_system_of_the_reference_runs_or_is_reserved() -> None:
    here = {card.family for card in CARDS.values()} | set(openings().items)
    names = [HERE_AS.get(row["id"], row["id"]) for row in reference_rows()]
    assert not [name for name in names if name not in here]


def test_reserved_facts_are_those_of_the_reference() -> None:
    rows = {row["id"]: row for row in reference_rows()}
    for card in RESERVED:
        row = rows[card.name]
        assert card.paper.removeprefix("arXiv:") in row["paper"], card.name
        assert card.repository.removeprefix("https://github.com/") in row["repo"], card.name
        organisation = card.hub.partition("/")[0]
        assert organisation in row["weights"] or card.name == "slot_mllm", card.name  # its README has moved on
        assert row["modality"].startswith("video") == (card.reserved == REASONS["video"]), card.name
