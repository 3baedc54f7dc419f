"""Tokenizers with a convolutional VQGAN inside: the contract around the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tokbench.cards import TokenizerCard
from tokbench.encodings import Encoding, Tokens, TokenStream
from tokbench.quantisers import Quantiser
from tokbench_adapters._encodings import require_grid
from tokbench_adapters._inputs import check_images, from_network_range, parts_of, to_network_range
from tokbench_adapters._reading.hub_weights import fill

if TYPE_CHECKING:
    import torch

    from tokbench_adapters._networks.vqgan_config import VqganConfig


def vqgan_card(name: str, config: VqganConfig, **facts: Any) -> TokenizerCard:
    """A card with what follows from the network's shape, and the other facts as given."""
    return TokenizerCard(
        name=name,
        codebook_sizes=(config.codebook_size,),
        size_multiple=config.cell_px,
        downsampling=config.cell_px,
        tokens=config.tokens(256),
        pixel_range=(-1.0, 1.0),
        **facts,
    )


def official_names(config: VqganConfig) -> tuple[str, ...]:
    """The names of the network's parameters; none are allocated."""
    import torch

    from tokbench_adapters._networks.vqgan import VqganNetwork

    with torch.device("meta"):
        return tuple(VqganNetwork(config).state_dict())


class Build(Protocol):
    """The tokenizer from a state dict under the official names; ``config`` is the card's unless given."""

    def __call__(
        self,
        card: TokenizerCard,
        tensors: Mapping[str, torch.Tensor],
        *,
        device: str,
        dtype: str,
        config: VqganConfig | None = None,
    ) -> GridCodes: ...


def builder(configs: Mapping[str, VqganConfig], *, unused: Callable[[str], bool] = lambda _: False) -> Build:
    """What builds the tokenizers of a family.

    Args:
        configs: the network's shape by the card's variant.
        unused: whether a name has no part in encoding and decoding.
    """

    def build(
        card: TokenizerCard,
        tensors: Mapping[str, torch.Tensor],
        *,
        device: str,
        dtype: str,
        config: VqganConfig | None = None,
    ) -> GridCodes:
        return GridCodes(card, config or configs[card.variant], tensors, device=device, dtype=dtype, unused=unused)

    return build


def is_usage_record(name: str) -> bool:
    """Whether an entry records the codes last used in training."""
    return name == "quantize.codebook_used"


def is_of_training(name: str) -> bool:
    """Whether an entry belongs to the losses that a trainer keeps beside the network."""
    return name.startswith("loss.")


class GridCodes:
    """One code a cell of the image.

    On a CPU images go through the network one at a time: a product of another shape may round another way and pick
    another code, and one image keeps a core as busy as several do.

    Args:
        card: what it is.
        config: the network's shape.
        tensors: the checkpoint, under the official names.
        device, dtype: where and in what the network computes.
        unused: whether a name has no part in encoding and decoding.

    Raises:
        WeightsError: the checkpoint is not one of this network; the message names the entries.
    """

    def __init__(
        self,
        card: TokenizerCard,
        config: VqganConfig,
        tensors: Mapping[str, torch.Tensor],
        *,
        device: str,
        dtype: str,
        unused: Callable[[str], bool] = lambda _: False,
    ) -> None:
        import torch

        from tokbench_adapters._networks.placement import place
        from tokbench_adapters._networks.vqgan import VqganNetwork

        self.card = card
        self._config = config
        self._device = torch.device(device)
        self._dtype: torch.dtype = getattr(torch, dtype)
        with torch.device("meta"):
            network = VqganNetwork(config)
        fill(network, tensors, source=card.hub or card.name, unused=unused)
        place(network, self._device, self._dtype, unrounded=[network.quantize])
        self._network = network

    def encode(self, images: torch.Tensor) -> Tokens:
        """Float ``(n, 3, h, w)`` in [0, 1] → int64 ``(n, h/cell, w/cell)``, with the vectors that were quantised."""
        import torch

        vectors = self._vectors(images)
        indices = torch.cat([self._network.quantize.nearest(part) for part in vectors])
        compared = self._network.compared(torch.cat(vectors))
        size = self._config.codebook_size
        return Tokens(streams=(TokenStream(indices=indices, codebook_size=size, vectors=compared),))

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        """int64 ``(n, h, w)`` → float ``(n, 3, cell·h, cell·w)``, nominally in [0, 1], not clamped."""
        import torch

        indices = require_grid(self.card, encoding, codebooks=1)[0].to(self._device)
        entries = [self._network.quantize.look_up(part).to(self._dtype) for part in parts_of(indices)]
        decoded = [self._network.decode(part) for part in entries]
        return from_network_range(torch.cat(decoded), self.card.pixel_range)

    def _vectors(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Parts of float32 ``(n, h/cell, w/cell, d)``."""
        check_images(self.card, images)
        batch = to_network_range(images, self.card.pixel_range, device=self._device, dtype=self._dtype)
        return [self._network.encode(part).float() for part in parts_of(batch)]

    def quantiser(self) -> Quantiser:
        """The codebook, for perturbations."""
        book = self._network.quantize
        return Quantiser(
            kind="lookup", composition="single", codebooks={"0": book.entries()}, is_normalised=book.is_normalised
        )
