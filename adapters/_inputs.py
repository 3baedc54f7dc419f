"""What every adapter checks about the images it is handed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench.errors import UnsupportedInputError

if TYPE_CHECKING:
    import torch

    from tokbench.cards import TokenizerCard


def check_images(card: TokenizerCard, images: torch.Tensor) -> None:
    """Raise UnsupportedInputError unless images are float ``(n, 3, h, w)`` of a size the card allows."""
    if not images.is_floating_point() or images.ndim != 4 or images.shape[1] != 3:
        raise UnsupportedInputError(
            f"{card.name} takes float images (n, 3, h, w) in [0, 1], got {images.dtype} {tuple(images.shape)}; "
            "convert with tokbench.images.to_float and put the channels second"
        )
    height, width = images.shape[2:]
    if card.fixed_size_px is not None and (width, height) != (card.fixed_size_px, card.fixed_size_px):
        side = card.fixed_size_px
        raise UnsupportedInputError(
            f"{card.name} takes images of {side}×{side} px, got {width}×{height} (w×h); choose a task of that size, or "
            "crop or resize them first"
        )
    multiple = card.size_multiple
    if not height or not width or height % multiple or width % multiple:
        raise UnsupportedInputError(
            f"{card.name} takes images whose sides are multiples of {multiple} px, got {width}×{height} (w×h); "
            "choose a task that fits images to such a size, or crop or pad them first"
        )


def to_network_range(
    images: torch.Tensor, pixel_range: tuple[float, float], *, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """Images in [0, 1] → the network's range, on its device and in its type; scaled in float32, rounded after."""
    import torch

    low, high = pixel_range
    batch = images.to(device, torch.float32)
    return (batch if (low, high) == (0.0, 1.0) else batch * (high - low) + low).to(dtype)


def from_network_range(decoded: torch.Tensor, pixel_range: tuple[float, float]) -> torch.Tensor:
    """What a network gives → float32 images, nominally in [0, 1]."""
    low, high = pixel_range
    images = decoded.float()
    return images if (low, high) == (0.0, 1.0) else (images - low) / (high - low)


def parts_of(batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """A batch as it goes through a network: one sample at a time on a CPU, else whole."""
    return batch.split(1) if batch.device.type == "cpu" else (batch,)
