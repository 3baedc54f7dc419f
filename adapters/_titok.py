"""Tokenizers with a TiTok network inside: the contract around it, discrete or continuous, of fixed length or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tokbench.cards import TokenizerCard
from tokbench.encodings import Encoding, Latents, Tokens, TokenStream
from tokbench.errors import BadOutputError
from tokbench.quantisers import Quantiser
from tokbench_adapters._inputs import check_images, parts_of
from tokbench_adapters._posterior import posterior_latents
from tokbench_adapters._reading.hub_weights import fill

if TYPE_CHECKING:
    import torch

    from tokbench.contracts import Tokenizer
    from tokbench_adapters._networks.titok_config import TiTokConfig

NOTES = {
    "steps": "Decodes in two steps: the transformer's softmax over MaskGIT's 1024 codes mixes their vectors (no "
    "argmax), and MaskGIT's convolutional decoder paints from the mixture.",
    "patches": "The transformer paints the patches itself; there is no second decoder.",
    "sample": "Latents are drawn from the posterior, each image's by its own seed, as the authors' evaluation and "
    "demonstration draw them.",
}

ONE_D_TOKENIZER = {
    "repository": "https://github.com/bytedance/1d-tokenizer",
    "licence": "Apache-2.0",
    "weights_licence": "Apache-2.0; its authors: for research purposes only",
}

# Where upstream holds a posterior's logarithm of the variance.
LOG_VARIANCES = (-30.0, 20.0)
# Counts how often codes were used in training; the mixin that saves checkpoints writes it beside the weights.
UNUSED = "quantize.embed_prob"


def size_of(variant: str) -> str:
    """The letters of a variant's name that say how large its networks are: ``BL`` of ``bl64_vq8k``."""
    return variant.partition("_")[0].rstrip("0123456789").upper()


def titok_card(name: str, title: str, config: TiTokConfig, **facts: Any) -> TokenizerCard:
    """A card with what follows from the network's shape, and the other facts as given.

    ``title`` is followed by the kind and number of its codes or channels.
    """
    size = config.codebook_size
    return TokenizerCard(
        name=name,
        title=f"{title} ({f'KL, {config.token_width} channels' if size is None else f'VQ, {size} codes'})",
        latent="continuous" if size is None else "discrete",
        codebook_sizes=() if size is None else (size,),
        fixed_size_px=config.side_px,
        size_multiple=config.patch_px,
        tokens=config.n_tokens,
        **{"posterior": "sample" if size is None else "", **ONE_D_TOKENIZER, **facts},
    )


def build(
    card: TokenizerCard,
    config: TiTokConfig,
    tensors: Mapping[str, torch.Tensor],
    *,
    device: str,
    dtype: str,
    text: torch.Tensor | None = None,
) -> Tokenizer:
    """The tokenizer of a state dict under the official names.

    Args:
        card: what it is; ``prefix_axis`` says whether fewer tokens decode.
        config: the network's shape.
        tensors: the checkpoint.
        device, dtype: where and in what the network computes.
        text: float ``(text_length, text_width)`` that every image is decoded with, where the network reads text.

    Raises:
        WeightsError: the checkpoint is not one of this network; the message names the entries.
    """
    kind = LatentTokens if config.codebook_size is None else CodedTokens
    return kind(card, config, tensors, device=device, dtype=dtype, text=text)


class _TiTok:
    """The network, on its device and in its type.

    On a CPU images go through it one at a time: a product of another shape may round another way and pick another
    code, and one image keeps a core as busy as several do.
    """

    def __init__(
        self,
        card: TokenizerCard,
        config: TiTokConfig,
        tensors: Mapping[str, torch.Tensor],
        *,
        device: str,
        dtype: str,
        text: torch.Tensor | None = None,
    ) -> None:
        import torch

        from tokbench_adapters._networks.placement import place
        from tokbench_adapters._networks.titok import TiTokNetwork

        self.card = card
        self._device = torch.device(device)
        self._dtype: torch.dtype = getattr(torch, dtype)
        with torch.device("meta"):
            network = TiTokNetwork(config)
        fill(network, tensors, source=card.hub or card.name, unused=lambda key: key == UNUSED)
        place(network, self._device, self._dtype, unrounded=() if config.codebook_size is None else [network.quantize])
        self._network = network
        self._text = None if text is None else text.to(self._device, self._dtype)
        self._most = config.n_tokens
        self._least = 1 if card.prefix_axis == "positions" else config.n_tokens

    def _encoded(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Float ``(n, 3, h, w)`` → parts of float32 ``(n, d, l)``."""
        check_images(self.card, images)
        batch = images.to(self._device, self._dtype)
        return [self._network.encode(part).float() for part in parts_of(batch)]

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """Float ``(n, l, d)`` → float ``(n, 3, h, w)``."""
        import torch

        if not self._least <= latents.shape[1] <= self._most:
            wanted = f"{self._least} to {self._most}" if self._least < self._most else str(self._most)
            raise BadOutputError(f"{self.card.name} decodes {wanted} tokens an image, got {latents.shape[1]}")
        decoded = []
        for part in parts_of(latents.to(self._device, self._dtype)):
            text = None if self._text is None else self._text.expand(len(part), -1, -1)
            decoded.append(self._network.decode(part, text))
        return torch.cat(decoded)


class CodedTokens(_TiTok):
    """Each latent token is the index of its nearest code."""

    def encode(self, images: torch.Tensor) -> Tokens:
        """Float ``(n, 3, h, w)`` in [0, 1] → int64 ``(n, l)``, with the vectors that were quantised."""
        import torch

        vectors = [part.transpose(1, 2).contiguous() for part in self._encoded(images)]
        indices = torch.cat([self._network.quantize.nearest(part) for part in vectors])
        (size,) = self.card.codebook_sizes
        return Tokens(streams=(TokenStream(indices=indices, codebook_size=size, vectors=torch.cat(vectors)),))

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        """int64 ``(n, l)`` → float ``(n, 3, h, w)``, nominally in [0, 1], not clamped."""
        if not isinstance(encoding, Tokens) or len(encoding.streams) != 1 or encoding.streams[0].indices.ndim != 2:
            raise BadOutputError(f"{self.card.name} decodes one stream of Tokens (n, l), got {_described(encoding)}")
        return self._decoded(self._network.quantize.look_up(encoding.streams[0].indices.to(self._device)))

    def quantiser(self) -> Quantiser:
        """The codebook, for perturbations."""
        book = self._network.quantize
        return Quantiser(
            kind="lookup", composition="single", codebooks={"0": book.entries()}, is_normalised=book.is_normalised
        )


class LatentTokens(_TiTok):
    """Each latent token is drawn from its Gaussian posterior, or is its mean, by the card's ``posterior``."""

    def encode(self, images: torch.Tensor, *, seeds: Sequence[int] | None = None) -> Latents:
        """Float ``(n, 3, h, w)`` in [0, 1] → float32 ``(n, d, l)``.

        ``seeds`` holds one integer an image; a sample is drawn from these alone.

        Raises:
            UsageError: the posterior is sampled, and there is not one seed an image.
        """
        import torch

        means, logarithms = torch.cat(self._encoded(images)).chunk(2, dim=1)
        deviations = (logarithms.clamp(*LOG_VARIANCES) / 2).exp()
        return Latents(values=posterior_latents(self.card, means, deviations, seeds).contiguous())

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        """Float ``(n, d, l)`` → float ``(n, 3, h, w)``, nominally in [0, 1], not clamped."""
        if not isinstance(encoding, Latents) or encoding.values.ndim != 3:
            raise BadOutputError(f"{self.card.name} decodes Latents (n, d, l), got {_described(encoding)}")
        return self._decoded(encoding.values.transpose(1, 2))


def _described(encoding: Encoding) -> str:
    if isinstance(encoding, Tokens):
        return f"Tokens of shapes {[tuple(stream.indices.shape) for stream in encoding.streams]}"
    return f"Latents {tuple(encoding.values.shape)}" if isinstance(encoding, Latents) else type(encoding).__name__
