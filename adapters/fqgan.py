"""FQGAN: two or three codebooks a cell, for appearance and for meaning, with the official weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tokbench.cards import TokenizerCard
from tokbench.encodings import Encoding, Tokens, TokenStream
from tokbench.quantisers import Quantiser
from tokbench_adapters._encodings import require_grid
from tokbench_adapters._inputs import check_images, from_network_range, parts_of, to_network_range
from tokbench_adapters._networks.vqgan_config import LLAMAGEN, FactorConfig, VqganConfig
from tokbench_adapters._reading.hub_weights import UNPINNED, fill
from tokbench_adapters._reading.torch_checkpoints import read_hub_checkpoint

if TYPE_CHECKING:
    import torch

    from tokbench.contracts import Tokenizer

SIDE_PX = 256
LICENCE = "CC-BY-NC-4.0"
FACTORS = {"dual": ("vis", "sem"), "triple": ("vis", "sem_mid", "sem_high")}
MULTIPLIERS = {"ds16": (1, 1, 2, 2, 4), "ds8": (1, 2, 2, 4)}

# Networks that foretold features of other models in training; absent from files that leave them out.
OF_TRAINING = ("feat_pred_head.", "mid_sem_feat_pred.", "high_sem_feat_pred.")


def _config(number: str, size: str) -> FactorConfig:
    multipliers = MULTIPLIERS[size]
    vqgan = VqganConfig(
        layout=LLAMAGEN,
        codebook_size=16384,
        code_width=8,
        search="cosine",
        multipliers=multipliers,
        attention=(len(multipliers) - 1,),
    )
    return FactorConfig(vqgan=vqgan, factors=FACTORS[number], positions=vqgan.tokens(SIDE_PX))


VARIANTS: dict[str, FactorConfig] = {
    f"{number}_{size}": _config(number, size) for size in MULTIPLIERS for number in FACTORS
}


def _card(variant: str, config: FactorConfig) -> TokenizerCard:
    number, _, _size = variant.partition("_")
    vqgan = config.vqgan
    return TokenizerCard(
        name=f"fqgan/{variant}",
        title=f"FQGAN-{number.capitalize()} f{vqgan.cell_px}, {len(config.factors)} × {vqgan.codebook_size} codes",
        codebook_sizes=(vqgan.codebook_size,) * len(config.factors),
        size_multiple=vqgan.cell_px,
        fixed_size_px=SIDE_PX,
        downsampling=vqgan.cell_px,
        tokens=len(config.factors) * vqgan.tokens(SIDE_PX),
        hub="ZechenBai/FQGAN",
        pixel_range=(-1.0, 1.0),
        licence=LICENCE,
        weights_licence=LICENCE,
        paper="arXiv:2411.16681",
        repository="https://github.com/showlab/FQGAN",
        notes=(
            "Codes are searched after scaling vectors and entries to length 1, and decoded at length 1.",
            f"Streams are in the order in which the decoder takes them: {', '.join(config.factors)}.",
            "Learned positions fix the size of the image.",
            UNPINNED,
        ),
    )


CARDS = tuple(_card(variant, config) for variant, config in VARIANTS.items())


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the official checkpoint.

    Raises:
        WeightsError: it cannot be had, or is not the one this network is read from.
    """
    card, tensors = read_hub_checkpoint(card, f"fqgan_{card.variant}.pt", inside=("ema", "model", "state_dict"))
    return build(card, tensors, device=device, dtype=dtype)


def build(
    card: TokenizerCard,
    tensors: Mapping[str, torch.Tensor],
    *,
    device: str,
    dtype: str,
    config: FactorConfig | None = None,
) -> Tokenizer:
    """The tokenizer from a state dict under the official names; ``config`` is the card's unless given."""
    return FactorCodes(card, config or VARIANTS[card.variant], tensors, device=device, dtype=dtype)


class FactorCodes:
    """One code a cell and factor. On a CPU images go through the network one at a time, as in the other VQGANs."""

    def __init__(
        self,
        card: TokenizerCard,
        config: FactorConfig,
        tensors: Mapping[str, torch.Tensor],
        *,
        device: str,
        dtype: str,
    ) -> None:
        import torch

        from tokbench_adapters._networks.fqgan import FactorNetwork
        from tokbench_adapters._networks.placement import place

        self.card = card
        self._config = config
        self._device = torch.device(device)
        self._dtype: torch.dtype = getattr(torch, dtype)
        with torch.device("meta"):
            network = FactorNetwork(config)
        fill(network, tensors, source=card.hub or card.name, unused=_is_of_training)
        place(network, self._device, self._dtype, unrounded=network.books)
        self._network = network

    def encode(self, images: torch.Tensor) -> Tokens:
        """Float ``(n, 3, h, w)`` in [0, 1] → a factor, int64 ``(n, h/cell, w/cell)`` with its vectors."""
        import torch

        check_images(self.card, images)
        batch = to_network_range(images, self.card.pixel_range, device=self._device, dtype=self._dtype)
        parts = [self._network.encode(part) for part in parts_of(batch)]
        streams = []
        for number, (factor, book) in enumerate(zip(self._config.factors, self._network.books, strict=True)):
            vectors = [part[number].float() for part in parts]
            streams.append(
                TokenStream(
                    indices=torch.cat([book.nearest(part) for part in vectors]),
                    codebook_size=self._config.vqgan.codebook_size,
                    codebook=factor,
                    vectors=torch.cat(vectors),
                )
            )
        return Tokens(streams=tuple(streams))

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        """A factor, int64 ``(n, h, w)`` → float ``(n, 3, cell·h, cell·w)``, nominally in [0, 1], not clamped."""
        import torch

        grids = require_grid(self.card, encoding, codebooks=len(self._config.factors))
        decoded = []
        for part in zip(*(parts_of(grid.to(self._device)) for grid in grids), strict=True):
            entries = [book.look_up(grid).to(self._dtype) for book, grid in zip(self._network.books, part, strict=True)]
            decoded.append(self._network.decode(entries))
        return from_network_range(torch.cat(decoded), self.card.pixel_range)

    def quantiser(self) -> Quantiser:
        """The codebooks, for perturbations."""
        books = dict(zip(self._config.factors, self._network.books, strict=True))
        return Quantiser(
            kind="lookup",
            composition="product",
            codebooks={factor: book.entries() for factor, book in books.items()},
            is_normalised=all(book.is_normalised for book in books.values()),
        )


def _is_of_training(name: str) -> bool:
    return name.startswith(OF_TRAINING) or name.endswith(".codebook_used")
