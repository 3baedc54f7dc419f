"""PCA: the linear autoencoder of 8×8 RGB blocks, cut to its first components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokbench.cards import TokenizerCard
from tokbench.encodings import Encoding, Latents
from tokbench.errors import BadOutputError
from tokbench_adapters._inputs import check_images
from tokbench_adapters._reading.shipped_weights import load_weights

if TYPE_CHECKING:
    import torch

    from tokbench.contracts import Tokenizer

BLOCK_PX = 8
COMPONENTS = (16, 4, 8, 32, 64)
WEIGHTS = (("pca.safetensors", "cb085206e8143488433cf301dfb388f24781d39241d4a5e771e44b8aa809ea3d"),)

CARDS = tuple(
    TokenizerCard(
        name=f"pca/k{kept}",
        title=f"PCA of 8×8 blocks, {kept} components",
        latent="continuous",
        size_multiple=BLOCK_PX,
        downsampling=BLOCK_PX,
        weights=WEIGHTS,
        licence="MIT",
        weights_licence="MIT",
        paper="10.1080/14786440109462720",
        notes=(
            f"{kept} real values a block of {3 * BLOCK_PX**2}; nothing is quantised, so no bits are counted.",
            "Fitted to 87 photographs out of Debian packages, a good third of the patches with writing drawn on; none "
            "is in the data set quick.",
            "Computed in float32 whatever the type of the images; latents and images come back in that type.",
        ),
    )
    for kept in COMPONENTS
)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Read and verify the basis."""
    return BlockPca(card, device=device, dtype=dtype)


class BlockPca:
    """Projection of each block on the leading principal directions (Pearson 1901)."""

    def __init__(self, card: TokenizerCard, *, device: str, dtype: str) -> None:
        import torch

        self.card = card
        self._dtype: torch.dtype = getattr(torch, dtype)
        weights = load_weights(card, device=device)
        self._mean = weights["mean"][:, None]
        self._basis = weights["basis"][: int(card.variant.removeprefix("k"))]

    def encode(self, images: torch.Tensor) -> Latents:
        """Float ``(n, 3, h, w)`` in [0, 1] → float ``(n, k, h/8, w/8)``, largest variance first."""
        import torch
        import torch.nn.functional as F

        check_images(self.card, images)
        # One image at a time: a product of another shape may round another way.
        latents = []
        for image in images.to(self._mean):
            blocks = F.pixel_unshuffle(image, BLOCK_PX)
            latents.append((self._basis @ (blocks.flatten(1) - self._mean)).unflatten(1, blocks.shape[1:]))
        return Latents(values=torch.stack(latents).to(self._dtype))

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        """Float ``(n, k, h/8, w/8)`` → float ``(n, 3, h, w)``, not clamped."""
        import torch
        import torch.nn.functional as F

        if not isinstance(encoding, Latents):
            raise BadOutputError(f"{self.card.name} decodes Latents, got {type(encoding).__name__}")
        images = []
        for latent in encoding.values.to(self._mean):
            blocks = self._basis.T @ latent.flatten(1) + self._mean
            images.append(F.pixel_shuffle(blocks.unflatten(1, latent.shape[1:]), BLOCK_PX))
        return torch.stack(images).to(self._dtype)
