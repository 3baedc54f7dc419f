"""A VQ-VAE with 512 codes of 128 dimensions, 4 px a token, from published weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tokbench.cards import TokenizerCard
from tokbench.encodings import Encoding, Tokens, TokenStream
from tokbench.quantisers import Quantiser
from tokbench_adapters._encodings import require_grid
from tokbench_adapters._inputs import check_images, from_network_range, parts_of, to_network_range
from tokbench_adapters._reading.hub_weights import fill
from tokbench_adapters._reading.known_weights import known_weights, read_known_weights

if TYPE_CHECKING:
    import torch

    from tokbench.contracts import Tokenizer

KEY = "vqvae_explore"
SHAPE = {"n_codes": 512, "code_width": 128, "width": 128}

CARDS = (
    TokenizerCard(
        name="vqvae_explore",
        title="VQ-VAE f4, 512 codes (NimbleBox)",
        codebook_sizes=(512,),
        size_multiple=4,
        downsampling=4,
        tokens=4096,
        pixel_range=(-0.5, 0.5),
        licence="MIT",
        weights_licence="MIT",
        repository="https://github.com/NimbleBoxAI/explore-weights",
        notes=(
            "Published without code and without a word on its training data; a real discrete tokenizer of 4 MB.",
            "Input range and the residual layers, which add to relu(x) as an in-place ReLU makes them, were found by "
            "search; the textbook's layers read the same file and lose 10 dB, 5 of them in the decoder.",
        ),
        **known_weights(KEY),
    ),
)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the published weights.

    Raises:
        WeightsError: they cannot be had, or are not those this network is read from.
    """
    return build(card, read_known_weights(card, KEY), device=device, dtype=dtype)


def build(
    card: TokenizerCard,
    tensors: Mapping[str, torch.Tensor],
    *,
    device: str,
    dtype: str,
    shape: Mapping[str, int] = SHAPE,
) -> Tokenizer:
    """The tokenizer from a state dict under the published names; ``shape`` as its network takes it."""
    return VqvaeExplore(card, shape, tensors, device=device, dtype=dtype)


class VqvaeExplore:
    """One code a cell of 4 px.

    On a CPU images go through the network one at a time: a product of another shape may round another way and pick
    another code.

    Args:
        card: what it is.
        shape: sizes of the network, by the names of its arguments.
        tensors: the weights, under the published names.
        device, dtype: where and in what the network computes.

    Raises:
        WeightsError: they are not those of this network; the message names the entries.
    """

    def __init__(
        self,
        card: TokenizerCard,
        shape: Mapping[str, int],
        tensors: Mapping[str, torch.Tensor],
        *,
        device: str,
        dtype: str,
    ) -> None:
        import torch

        from tokbench_adapters._networks.placement import place
        from tokbench_adapters._networks.vqvae_explore import VqvaeExploreNetwork

        self.card = card
        self._device = torch.device(device)
        self._dtype: torch.dtype = getattr(torch, dtype)
        with torch.device("meta"):
            network = VqvaeExploreNetwork(**shape)
        fill(network, tensors, source=card.name)
        place(network, self._device, self._dtype, unrounded=[network.vq_vae])
        self._network = network
        self._n_codes = shape["n_codes"]

    def encode(self, images: torch.Tensor) -> Tokens:
        """Float ``(n, 3, h, w)`` in [0, 1] → int64 ``(n, h/4, w/4)``, with the vectors that were quantised."""
        import torch

        check_images(self.card, images)
        batch = to_network_range(images, self.card.pixel_range, device=self._device, dtype=self._dtype)
        vectors = [self._network.encode(part).float() for part in parts_of(batch)]
        indices = torch.cat([self._network.vq_vae.nearest(part) for part in vectors])
        stream = TokenStream(indices=indices, codebook_size=self._n_codes, vectors=torch.cat(vectors))
        return Tokens(streams=(stream,))

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        """int64 ``(n, h, w)`` → float ``(n, 3, 4·h, 4·w)``, nominally in [0, 1], not clamped."""
        import torch

        indices = require_grid(self.card, encoding, codebooks=1)[0].to(self._device)
        entries = [self._network.vq_vae.look_up(part).to(self._dtype) for part in parts_of(indices)]
        decoded = [self._network.decode(part) for part in entries]
        return from_network_range(torch.cat(decoded), self.card.pixel_range)

    def quantiser(self) -> Quantiser:
        """The codebook, for perturbations."""
        return Quantiser(kind="lookup", composition="single", codebooks={"0": self._network.vq_vae.entries()})
