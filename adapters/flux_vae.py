"""The autoencoders of FLUX.1 and FLUX.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench_adapters._libraries.published import Published, cards_of, load_published

if TYPE_CHECKING:
    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer

_FLUX1 = {"repository": "https://github.com/black-forest-labs/flux", "licence": "Apache-2.0"}
_FLUX2 = {
    "repository": "https://github.com/black-forest-labs/flux2",
    "weights_licence": "Apache-2.0 (its authors, of the autoencoder)",
    "notes": (
        "Generators join 2×2 cells and normalise them by running statistics; latents here are one cell each, as "
        "encoded, and sides are multiples of 16 px so that cells can be joined.",
    ),
}

# The first are what the names without a variant mean.
FLUX1 = {
    "schnell": Published(
        title="FLUX.1 VAE (schnell)",
        hub="black-forest-labs/FLUX.1-schnell",
        subfolder="vae",
        channels=16,
        factor=0.3611,
        shift=0.1159,
        facts={**_FLUX1, "weights_licence": "Apache-2.0"},
    ),
    "dev": Published(
        title="FLUX.1 VAE (dev)",
        hub="black-forest-labs/FLUX.1-dev",
        subfolder="vae",
        channels=16,
        factor=0.3611,
        shift=0.1159,
        facts={
            **_FLUX1,
            "weights_licence": "FLUX.1 [dev] non-commercial licence",
            "gated": "the FLUX.1 [dev] non-commercial licence must be accepted on its page",
        },
    ),
}
FLUX2 = {
    "klein_4b": Published(
        title="FLUX.2 VAE (klein 4B)",
        hub="black-forest-labs/FLUX.2-klein-4B",
        subfolder="vae",
        class_name="AutoencoderKLFlux2",
        channels=32,
        multiple=16,
        facts=_FLUX2,
    ),
    "standalone": Published(
        title="FLUX.2 VAE, from a repository of its own",
        hub="black-forest-labs/FLUX.2-VAE",
        class_name="AutoencoderKLFlux2",
        channels=32,
        multiple=16,
        facts=_FLUX2,
    ),
    "dev": Published(
        title="FLUX.2 VAE (dev)",
        hub="black-forest-labs/FLUX.2-dev",
        subfolder="vae",
        class_name="AutoencoderKLFlux2",
        channels=32,
        multiple=16,
        facts={**_FLUX2, "gated": "the FLUX.2 [dev] non-commercial licence must be accepted on its page"},
    ),
}
FAMILIES = {"flux1_vae": FLUX1, "flux2_vae": FLUX2}

CARDS = tuple(card for family, variants in FAMILIES.items() for card in cards_of(family, variants))


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the published files.

    Raises:
        WeightsError: they cannot be had, or are not those of the card.
    """
    return load_published(card, FAMILIES[card.family][card.variant], device=device, dtype=dtype)
