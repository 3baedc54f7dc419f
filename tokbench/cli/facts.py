"""What a tokenizer's card says, in words, for `tokbench list` and `tokbench show`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tokbench.report.details import LATENTS, POSTERIORS, paper_link

Facts = Mapping[str, Any]
"""A card as a mapping, by its field names."""

NONE = "–"


def tokens(card: Facts) -> str:
    """How many tokens an image takes: ``32``, ``1–256``."""
    if card["tokens"] is None:
        return NONE
    return f"1–{card['tokens']:,}" if card["prefix_axis"] == "positions" else f"{card['tokens']:,}"


def codebook(card: Facts) -> str:
    """Sizes of the codebooks: ``4,096``, ``2 × 16,384``."""
    counts: Counter[int] = Counter(card["codebook_sizes"])
    if not counts:
        return card["latent"] if card["latent"] != "none" else NONE
    return " + ".join(f"{n} × {size:,}" if n > 1 else f"{size:,}" for size, n in counts.items())


def sides(card: Facts) -> str:
    """Which image sides it takes: ``256 px``, ``n × 16 px``, ``any``."""
    if card["fixed_size_px"]:
        return f"{card['fixed_size_px']} px"
    return f"n × {card['size_multiple']} px" if card["size_multiple"] > 1 else "any"


def labelled(card: Facts) -> list[tuple[str, str]]:
    """All of a card in reading order: label and text; what does not apply is left out."""
    low, high = card["pixel_range"]
    rows = [
        ("cannot be run", card["reserved"]),
        ("still needs", card.get("needs", "")),
        ("opened as", card["opened_as"]),
        ("variants", " ".join(name.partition("/")[2] for name in card.get("variants", ()))),
        ("latent", LATENTS[card["latent"]]),
        ("tokens", _tokens_in_full(card)),
        ("codebook", codebook(card) if card["codebook_sizes"] else ""),
        ("image sides", sides(card)),
        ("pixels a cell", "" if card["downsampling"] is None else f"{card['downsampling']} on a side"),
        ("length", f"any prefix of 1 to {card['max_length']:,} {card['prefix_axis']}" if card["max_length"] else ""),
        ("network's range", f"[{low:g}, {high:g}]"),
        ("posterior", POSTERIORS.get(card["posterior"], "")),
        ("decoding", "deterministic" if card["deterministic"] else "draws random numbers, seeded for each image"),
        ("also decodes from", card["side_information"]),
        ("takes", "the untouched reference: a ceiling, not a tokenizer" if card["takes_source"] else ""),
        ("weights", _weights(card)),
        ("sha256", "\n".join(f"{digest}  {name}" for name, digest in card["weights"])),
        ("terms", card["gated"]),
        ("licence", card["licence"]),
        ("weights' licence", card["weights_licence"]),
        ("packages", _packages(card)),
        ("paper", _paper(card["paper"])),
        ("repository", card["repository"]),
        ("notes", "\n".join(card["notes"])),
    ]
    if card["reserved"]:
        told = ("cannot be run", "terms", "licence", "weights' licence", "weights", "paper", "repository", "notes")
        rows = [row for row in rows if row[0] in told]
    return [(label, text) for label, text in rows if text]


def _tokens_in_full(card: Facts) -> str:
    if card["tokens"] is None:
        return ""
    size = card["fixed_size_px"] or 256
    bits = _bits(card)
    most = "up to " if card["prefix_axis"] == "positions" else ""
    return f"{tokens(card)} at {size} px" + (f", {most}{bits:,.0f} bits" if bits else "")


def _bits(card: Facts) -> float:
    """Of an image at fixed cost a token; 0 where the card does not tell."""
    sizes = set(card["codebook_sizes"])
    return card["tokens"] * math.log2(sizes.pop()) if len(sizes) == 1 else 0.0


def _weights(card: Facts) -> str:
    if card["hub"]:
        repo, _, revision = card["hub"].partition("@")
        where = f"{repo} on the hub" + (f" at {revision}" if revision else "")
    else:
        where = card["page"]
    known = " ".join(card["weights_keys"])
    return "; ".join(part for part in (where, f"tokbench weights list {known}" if known else "") if part)


def _packages(card: Facts) -> str:
    if not card["requires"]:
        return ""
    return ", ".join(card["requires"]) + (f" (pip install 'tokbench[{card['extra']}]')" if card["extra"] else "")


def _paper(paper: str) -> str:
    link = paper_link(paper)
    return f"{paper}, {link}" if link else paper
