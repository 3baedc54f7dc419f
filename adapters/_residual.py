"""The residual quantiser that ``lbg`` and ``rvq`` share: a linear block transform and one codebook a level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tokbench.cards import TokenizerCard
from tokbench.encodings import Encoding, Tokens, TokenStream
from tokbench.errors import BadOutputError
from tokbench.quantisers import Quantiser
from tokbench_adapters._inputs import check_images

if TYPE_CHECKING:
    import torch

BLOCK_PX = 8
LEVELS = 8
CODEBOOK_SIZE = 1024
CODEBOOKS = ("lbg.safetensors", "4cb67580178881a86907dc5f97cdd682352615fca7850ebc97ab0075dc2077af")


def residual_cards(
    family: str, *, title: str, note: str, more_weights: tuple[tuple[str, str], ...] = ()
) -> tuple[TokenizerCard, ...]:
    """One card a depth, the full one first."""
    return tuple(
        TokenizerCard(
            name=f"{family}/d{depth}",
            title=f"{title}, {depth} level{'s' if depth > 1 else ''}",
            latent="discrete",
            codebook_sizes=(CODEBOOK_SIZE,) * depth,
            size_multiple=BLOCK_PX,
            downsampling=BLOCK_PX,
            prefix_axis="streams",
            max_length=depth,
            weights=(CODEBOOKS, *more_weights),
            licence="MIT",
            weights_licence="MIT",
            paper="10.1109/TCOM.1980.1094577",
            notes=(
                note,
                "Trained on 87 photographs out of Debian packages, a good third of the patches with writing drawn on "
                "in matplotlib's fonts; none of the photographs is in the data set quick, whose words are drawn in "
                "fonts of the same package.",
                "Computed in float32 whatever the type of the images.",
            ),
        )
        for depth in (LEVELS, *range(1, LEVELS))
    )


class ResidualQuantiser:
    """Nearest code of each 8×8 RGB block, then of what is left, level by level (Linde, Buzo and Gray 1980).

    Images and sums of codes are handled one image at a time: a product of another shape may round another way, and
    pick another code.
    """

    def __init__(self, card: TokenizerCard, weights: Mapping[str, torch.Tensor], *, coordinates: int) -> None:
        self._card = card
        self.mean = weights["mean"][:, None]
        self._analysis = weights["analysis"][:coordinates]
        self._codebooks = weights["codebooks"][: len(card.codebook_sizes), :, :coordinates].contiguous()
        self._offsets = (self._codebooks * self._codebooks).sum(-1)

    def encode(self, images: torch.Tensor) -> Tokens:
        """Float ``(n, 3, h, w)`` in [0, 1] → one stream of int64 ``(n, h/8, w/8)`` a level.

        The first stream carries the projected blocks it was chosen for; from them the later levels' vectors follow.
        """
        import torch
        import torch.nn.functional as F

        check_images(self._card, images)
        indices, vectors = [], []
        for image in images.to(self.mean):
            blocks = F.pixel_unshuffle(image, BLOCK_PX)
            residual = (self._analysis @ (blocks.flatten(1) - self.mean)).T.contiguous()
            vectors.append(residual.unflatten(0, blocks.shape[1:]))
            levels = []
            for codebook, offset in zip(self._codebooks, self._offsets, strict=True):
                index = torch.addmm(offset, residual, codebook.T, alpha=-2).argmin(1)
                residual = residual - codebook[index]
                levels.append(index)
            indices.append(torch.stack(levels).unflatten(1, blocks.shape[1:]))
        return Tokens(
            streams=tuple(
                TokenStream(
                    indices=level,
                    codebook_size=self._codebooks.shape[1],
                    codebook=str(number),
                    vectors=torch.stack(vectors) if number == 0 else None,
                )
                for number, level in enumerate(torch.stack(indices, dim=1))
            )
        )

    def facts(self) -> Quantiser:
        """What a perturbation needs to know."""
        return Quantiser(
            kind="lookup",
            composition="residual" if len(self._codebooks) > 1 else "single",
            codebooks={str(number): entries for number, entries in enumerate(self._codebooks)},
        )

    def latents(self, encoding: Encoding) -> list[torch.Tensor]:
        """Any number of leading levels → the sum of their codes, float32 ``(c, h/8, w/8)`` a sample."""
        if not isinstance(encoding, Tokens) or len(encoding.streams) > len(self._codebooks):
            raise BadOutputError(
                f"{self._card.name} decodes Tokens of 1 to {len(self._codebooks)} levels, got {type(encoding).__name__}"
            )
        streams = [stream.indices.to(self.mean.device) for stream in encoding.streams]
        sums = []
        for row in range(encoding.n):
            total = self._codebooks[0][streams[0][row].flatten()]
            for codebook, stream in zip(self._codebooks[1:], streams[1:], strict=False):
                total = total + codebook[stream[row].flatten()]
            sums.append(total.T.unflatten(1, streams[0].shape[1:]))
        return sums
