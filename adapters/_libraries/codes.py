"""Tokenizers around a library's network with one codebook: the contract, and a search in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from tokbench.cards import TokenizerCard
from tokbench.encodings import Encoding, Tokens, TokenStream
from tokbench.quantisers import Quantiser
from tokbench_adapters._encodings import require_grid
from tokbench_adapters._inputs import check_images, from_network_range, parts_of, to_network_range
from tokbench_adapters._libraries.card_check import require_facts

if TYPE_CHECKING:
    import torch


class CodeNetwork(Protocol):
    """What of a library's network is used; each in the type and on the device the network computes on."""

    def vectors(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``(n, 3, h, w)`` in the network's range → what is quantised, float ``(n, h/cell, w/cell, d)``."""
        ...

    def entries(self) -> torch.Tensor:
        """The codebook, float ``(K, d)``, as vectors are compared with it by distance."""
        ...

    def images(self, indices: torch.Tensor) -> torch.Tensor:
        """int64 ``(n, h, w)`` → images ``(n, 3, cell·h, cell·w)``, nominally in the network's range, not clamped."""
        ...


def require_same(card: TokenizerCard, found: TokenizerCard) -> None:
    """Raise WeightsError if a known card (one with ``downsampling``) says other things than what was found."""
    if card.downsampling is None:
        return
    require_facts(card, found, ("codebook_sizes", "size_multiple", "downsampling"))


class LibraryCodes:
    """One code a cell, the nearest entry by Euclidean distance in float32, whatever the network computes in.

    Libraries search the whole table of distances at once, which for 2^15 codes and 2^14 cells is 2 GiB; here it is
    searched in pieces. Vectors whose two nearest entries are equally near but for rounding may get the other one.

    Args:
        card: ``pixel_range`` is what the network takes and gives.
        network: on ``device`` and in ``dtype``.
        entries: its codebook as it was read, float32 ``(K, d)``: codes are searched unrounded.
        device, dtype: where and in what it computes.
    """

    def __init__(
        self,
        card: TokenizerCard,
        network: CodeNetwork,
        entries: torch.Tensor,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.card = card
        self._network = network
        self._entries = entries.to(device)
        self._device = device
        self._dtype = dtype

    def encode(self, images: torch.Tensor) -> Tokens:
        """Float ``(n, 3, h, w)`` in [0, 1] → int64 ``(n, h/cell, w/cell)``, with the vectors that were quantised."""
        import torch

        from tokbench_adapters._networks.codebook import nearest_entries

        check_images(self.card, images)
        batch = to_network_range(images, self.card.pixel_range, device=self._device, dtype=self._dtype)
        parts = [self._network.vectors(part).float().contiguous() for part in parts_of(batch)]
        indices = [nearest_entries(part.flatten(0, -2), self._entries).view(part.shape[:-1]) for part in parts]
        stream = TokenStream(indices=torch.cat(indices), codebook_size=len(self._entries), vectors=torch.cat(parts))
        return Tokens(streams=(stream,))

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        """int64 ``(n, h, w)`` → float ``(n, 3, cell·h, cell·w)``, nominally in [0, 1], not clamped."""
        import torch

        indices = require_grid(self.card, encoding, codebooks=1)[0].to(self._device)
        decoded = torch.cat([self._network.images(part) for part in parts_of(indices)])
        return from_network_range(decoded, self.card.pixel_range)

    def quantiser(self) -> Quantiser:
        """The codebook, for perturbations."""
        return Quantiser(kind="lookup", composition="single", codebooks={"0": self._entries})
