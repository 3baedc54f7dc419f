"""The border to third-party code: what a tokenizer returns is checked once, here, and trusted afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokbench.cards import TokenizerCard
from tokbench.encodings import BitCodes, Encoding, Latents, Tokens
from tokbench.errors import BadOutputError
from tokbench.images import MAX_OVERSHOOT, far_outside

if TYPE_CHECKING:
    import torch


def check_encoding(encoding: Encoding, *, n: int, card: TokenizerCard) -> None:
    """Raise BadOutputError unless this is an encoding of n samples with values inside their codebooks."""
    if encoding.n != n:
        raise BadOutputError(f"{card.name}: encode was given {n} images and returned an encoding of {encoding.n}")
    if isinstance(encoding, Tokens):
        for number, stream in enumerate(encoding.streams):
            if stream.indices.numel() == 0:
                continue
            low, high = int(stream.indices.min()), int(stream.indices.max())
            if low < 0 or high >= stream.codebook_size:
                raise BadOutputError(
                    f"{card.name}: stream {number} holds indices from {low} to {high}, outside its codebook of "
                    f"{stream.codebook_size} entries (0 to {stream.codebook_size - 1})"
                )
            if stream.lengths is not None and not bool(
                ((stream.lengths >= 0) & (stream.lengths <= stream.positions)).all()
            ):
                raise BadOutputError(f"{card.name}: stream {number} has lengths outside 0 to {stream.positions}")
    elif isinstance(encoding, Latents) and not bool(encoding.values.isfinite().all()):
        raise BadOutputError(f"{card.name}: encode returned latents with NaN or infinite values")
    elif isinstance(encoding, BitCodes) and encoding.values.numel() == 0:
        raise BadOutputError(f"{card.name}: encode returned empty bit codes")


def check_images(
    images: Any, *, shape: tuple[int, int, int, int], card: TokenizerCard, is_perturbed: bool = False
) -> torch.Tensor:
    """Raise BadOutputError unless this is float images of ``shape``, finite and in [0, 1] up to overshoot.

    Of perturbed codes, or of latents rounded after training, a decoder may make anything finite; what is outside [0, 1]
    is clamped like any overshoot.
    """
    import torch

    if not isinstance(images, torch.Tensor):
        raise BadOutputError(f"{card.name}: decode returned {type(images).__name__}, expected a torch.Tensor")
    if tuple(images.shape) != shape:
        raise BadOutputError(f"{card.name}: decode returned shape {tuple(images.shape)}, expected (n, 3, h, w) {shape}")
    if not images.is_floating_point():
        raise BadOutputError(
            f"{card.name}: decode returned {images.dtype}, expected floating point in [0, 1]; divide by 255 inside"
        )
    low_high = torch.stack(images.aminmax())  # one pass, and both are NaN if any value is
    if not bool(low_high.isfinite().all()):
        raise BadOutputError(f"{card.name}: decode returned NaN or infinite pixels")
    low, high = low_high.tolist()
    if is_perturbed or card.overshoots or (low >= -MAX_OVERSHOOT and high <= 1 + MAX_OVERSHOOT):
        return images
    if problem := far_outside(images):
        raise BadOutputError(
            f"{card.name}: decode returned {problem}; convert inside decode, or pass pixel_range to tokbench.wrap"
        )
    return images


def clamped_share(images: torch.Tensor) -> torch.Tensor:
    """Per image, the fraction of values outside [0, 1] by more than half an 8-bit step: float64 ``(n,)``."""
    half = 0.5 / 255
    return ((images < -half) | (images > 1 + half)).flatten(1).double().mean(1)
