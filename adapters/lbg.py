"""LBG: a residual vector quantiser of 8×8 RGB blocks with trained codebooks, one token a block and level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokbench.cards import TokenizerCard
from tokbench.encodings import Encoding, Tokens, TokenStream
from tokbench.errors import BadOutputError
from tokbench_adapters._inputs import check_images
from tokbench_adapters._weights_file import load_weights

if TYPE_CHECKING:
    import torch

    from tokbench.contracts import Tokenizer

BLOCK_PX = 8
LEVELS = 8
CODEBOOK_SIZE = 1024
WEIGHTS = (("lbg.safetensors", "4cb67580178881a86907dc5f97cdd682352615fca7850ebc97ab0075dc2077af"),)

CARDS = tuple(
    TokenizerCard(
        name=f"lbg/d{depth}",
        title=f"Residual LBG quantiser of 8×8 blocks, {depth} level{'s' if depth > 1 else ''}",
        latent="discrete",
        codebook_sizes=(CODEBOOK_SIZE,) * depth,
        size_multiple=BLOCK_PX,
        downsampling=BLOCK_PX,
        prefix_axis="streams",
        max_length=depth,
        weights=WEIGHTS,
        licence="MIT",
        weights_licence="MIT",
        paper="10.1109/TCOM.1980.1094577",
        notes=(
            "Blocks are projected on their 96 leading principal directions in weighted opponent colours; each level "
            "codes what the levels before it left over, with a codebook of its own; the search is greedy.",
            "Trained on 87 photographs out of Debian packages, a good third of the patches with writing drawn on; none "
            "is in the data set quick.",
            "Computed in float32 whatever the type of the images.",
        ),
    )
    for depth in (LEVELS, *range(1, LEVELS))
)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Read and verify the codebooks."""
    return ResidualLbg(card, device=device, dtype=dtype)


class ResidualLbg:
    """Nearest code of each block, then of what is left, level by level (Linde, Buzo and Gray 1980).

    Variable length: any number of leading levels decodes.
    """

    def __init__(self, card: TokenizerCard, *, device: str, dtype: str) -> None:
        import torch

        self.card = card
        self._dtype: torch.dtype = getattr(torch, dtype)
        weights = load_weights(card, device=device)
        self._mean = weights["mean"][:, None]
        self._analysis = weights["analysis"]
        self._synthesis = weights["synthesis"]
        self._codebooks = weights["codebooks"][: len(card.codebook_sizes)]
        self._offsets = (self._codebooks * self._codebooks).sum(-1)

    def encode(self, images: torch.Tensor) -> Tokens:
        """Float ``(n, 3, h, w)`` in [0, 1] → one stream of int64 ``(n, h/8, w/8)`` a level."""
        import torch
        import torch.nn.functional as F

        check_images(self.card, images)
        # One image at a time: a product of another shape may round another way, and pick another code.
        indices = []
        for image in images.to(self._mean):
            blocks = F.pixel_unshuffle(image, BLOCK_PX)
            residual = (self._analysis @ (blocks.flatten(1) - self._mean)).T.contiguous()
            levels = []
            for codebook, offset in zip(self._codebooks, self._offsets, strict=True):
                index = torch.addmm(offset, residual, codebook.T, alpha=-2).argmin(1)
                residual = residual - codebook[index]
                levels.append(index)
            indices.append(torch.stack(levels).unflatten(1, blocks.shape[1:]))
        stacked = torch.stack(indices, dim=1)  # (levels, n, h/8, w/8)
        return Tokens(
            streams=tuple(
                TokenStream(indices=level, codebook_size=CODEBOOK_SIZE, codebook=str(number))
                for number, level in enumerate(stacked)
            )
        )

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        """Any number of leading levels → float ``(n, 3, h, w)``, not clamped."""
        import torch
        import torch.nn.functional as F

        if not isinstance(encoding, Tokens) or len(encoding.streams) > len(self._codebooks):
            raise BadOutputError(
                f"{self.card.name} decodes Tokens of 1 to {len(self._codebooks)} levels, got {type(encoding).__name__}"
            )
        streams = [stream.indices.to(self._mean.device) for stream in encoding.streams]
        images = []
        for row in range(encoding.n):
            coordinates = torch.zeros((), device=self._mean.device)
            for codebook, stream in zip(self._codebooks, streams, strict=False):
                coordinates = coordinates + codebook[stream[row].flatten()]
            blocks = self._synthesis @ coordinates.T + self._mean
            images.append(F.pixel_shuffle(blocks.unflatten(1, streams[0].shape[1:]), BLOCK_PX))
        return torch.stack(images).to(self._dtype)
