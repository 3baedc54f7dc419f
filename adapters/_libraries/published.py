"""Published autoencoders that diffusers reads: their cards, and loading them by what the cards say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tokbench.cards import Posterior, TokenizerCard
from tokbench_adapters._libraries.autoencoder import (
    CLASSES,
    KINDS,
    autoencoder_of,
    latent_channels,
    require_same,
    with_facts,
)
from tokbench_adapters._libraries.diffusers_folder import read_autoencoder
from tokbench_adapters._libraries.latent_statistics import scaled_by
from tokbench_adapters._reading.hub_weights import UNPINNED

if TYPE_CHECKING:
    from tokbench_adapters._libraries.autoencoder import ImageAutoencoder
    from tokbench_adapters._libraries.diffusers_folder import Opened

MODE = "The posterior's mean is decoded."
UNSCALED = "Latents are those of the network: the scaling that generators want is not applied."

ONE_FRAME = ("A video network: an image goes through as one frame.", "The network itself clamps its images.")
UNKNOWN_LICENCE = "not known here; see its page on the hub"
LIBRARY_LICENCE = "Apache-2.0 (diffusers, which runs it)"


@dataclass(frozen=True, kw_only=True)
class Published:
    """What is known of a published autoencoder besides its card.

    Attributes:
        hub: ``ORG/REPO`` or ``ORG/REPO@REVISION``.
        subfolder: where in the repository it lies.
        class_name: the library's class.
        cell_px, channels: pixels per latent cell on a side, and channels of the latents.
        side_px: the only side it takes, or None.
        multiple: what sides must be a multiple of, if not of the cell.
        factor, shift: the scaling and shift factor that generators apply; the configuration's own go before.
        posterior: what is decoded, where there is a posterior.
        facts: more of the card.
    """

    title: str
    hub: str
    subfolder: str = ""
    class_name: str = "AutoencoderKL"
    cell_px: int = 8
    channels: int
    side_px: int | None = None
    multiple: int | None = None
    factor: float | None = None
    shift: float = 0.0
    posterior: Posterior = "mode"
    facts: Mapping[str, Any] = field(default_factory=dict)

    def card(self, name: str) -> TokenizerCard:
        """The card under a name; the notes are its own, then those of all."""
        kind = KINDS[self.class_name]
        has_posterior = kind.gives == "latent_dist"
        facts = dict(self.facts)
        notes = [*facts.pop("notes", ())]
        if has_posterior and self.posterior == "mode":
            notes.append(MODE)
        if kind.side_px is None:
            notes.append(UNSCALED)
        if "@" not in self.hub:
            notes.append(UNPINNED)
        side = self.side_px or 256
        return TokenizerCard(
            name=name,
            title=f"{self.title} (f{self.cell_px}, {self.channels} channels)",
            latent="continuous",
            size_multiple=self.multiple or self.cell_px,
            fixed_size_px=self.side_px,
            downsampling=self.cell_px,
            tokens=(side // self.cell_px) ** 2,
            pixel_range=kind.pixel_range,
            posterior=self.posterior if has_posterior else "",
            hub=self.hub,
            notes=tuple(notes),
            **{"requires": ("diffusers",), "extra": "diffusers", "licence": LIBRARY_LICENCE, **facts},
        )


def cards_of(family: str, variants: Mapping[str, Published]) -> tuple[TokenizerCard, ...]:
    """The cards of a family's variants; the variant ``""`` is the family itself."""
    return tuple(known.card(f"{family}/{variant}".rstrip("/")) for variant, known in variants.items())


def load_published(card: TokenizerCard, known: Published, *, device: str, dtype: str) -> ImageAutoencoder:
    """Fetch, check and read the published files.

    Raises:
        UsageError, WeightsError, MissingExtraError: see
            :func:`~tokbench_adapters._libraries.diffusers_folder.read_autoencoder`; or the files are not those of the
            card.
    """
    opened = read_autoencoder(card, CLASSES, subfolder=known.subfolder)
    return tokenizer_of(opened, known, device=device, dtype=dtype)


def tokenizer_of(opened: Opened, known: Published, *, device: str, dtype: str) -> ImageAutoencoder:
    """The tokenizer around a network that was read, if it is the one of its card.

    Raises:
        WeightsError: it is another one.
    """
    found = with_facts(opened)
    require_same(opened.card, found, known.channels, latent_channels(opened.network.config))
    statistics = None if known.factor is None else scaled_by(known.factor, known.shift)
    return autoencoder_of(opened, found, device=device, dtype=dtype, statistics=statistics)
