"""DC-AE: deep compression autoencoders with 32, 64 or 128 pixels a cell, without a posterior."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench_adapters._libraries.published import UNKNOWN_LICENCE, Published, cards_of, load_published

if TYPE_CHECKING:
    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer

_DATA = {"in": "ImageNet", "mix": "a mixture of data sets", "sana": "a mixture of data sets, for SANA"}


def _released(cell_px: int, channels: int, kind: str, version: str = "1.0", *, note: str = "") -> Published:
    return Published(
        title=f"DC-AE, trained on {_DATA[kind]}",
        hub=f"mit-han-lab/dc-ae-f{cell_px}c{channels}-{kind}-{version}-diffusers",
        class_name="AutoencoderDC",
        cell_px=cell_px,
        channels=channels,
        facts={
            "licence": "Apache-2.0",
            "weights_licence": UNKNOWN_LICENCE,
            "paper": "arXiv:2410.10733",
            "repository": "https://github.com/mit-han-lab/efficientvit",
            "notes": (
                "An autoencoder without a posterior: what the encoder gives is decoded.",
                f"Sides are multiples of {cell_px} px, so {cell_px} px is the smallest image.",
                *([note] * bool(note)),
            ),
        },
    )


# The first is what the name without a variant means.
VARIANTS = {
    "f32c32_in": _released(32, 32, "in"),
    "f32c32_mix": _released(32, 32, "mix"),
    "f32c32_sana": _released(32, 32, "sana"),
    "f32c32_sana_1.1": _released(32, 32, "sana", "1.1", note="The decoder of f32c32_sana, improved."),
    "f64c128_in": _released(64, 128, "in"),
    "f64c128_mix": _released(64, 128, "mix"),
    "f128c512_in": _released(128, 512, "in"),
    "f128c512_mix": _released(128, 512, "mix"),
}

CARDS = cards_of("dc_ae", VARIANTS)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the published files.

    Raises:
        WeightsError: they cannot be had, or are not those of the card.
    """
    return load_published(card, VARIANTS[card.variant], device=device, dtype=dtype)
