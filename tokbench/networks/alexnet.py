"""AlexNet's convolutions as LPIPS taps them: torchvision's network and its key names (Krizhevsky, arXiv:1404.5997)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tokbench.networks.taps import convolutions

if TYPE_CHECKING:
    import torch

MIN_SIDE_PX = 31
CHANNELS = (64, 192, 384, 256, 256)

# Key, channels in and out, kernel's side, stride, padding, and whether max pooling (3, stride 2) comes before it.
_LAYERS = (
    ("features.0", 3, 64, 11, 4, 2, False),
    ("features.3", 64, 192, 5, 1, 2, True),
    ("features.6", 192, 384, 3, 1, 1, True),
    ("features.8", 384, 256, 3, 1, 1, False),
    ("features.10", 256, 256, 3, 1, 1, False),
)


class AlexNet:
    """The five outputs of its convolutions, after their ReLUs.

    Args:
        state: torchvision's state dict; what else is in it is not looked at.
        device: where it computes.

    Raises:
        WeightsError: a convolution is missing or of another shape.
    """

    def __init__(self, state: Mapping[str, torch.Tensor], *, device: str = "cpu") -> None:
        shapes = {key: (n_out, n_in, side, side) for key, n_in, n_out, side, *_ in _LAYERS}
        self._convolutions = convolutions(state, shapes, owner="AlexNet", device=device)

    def taps(self, values: torch.Tensor) -> Iterator[torch.Tensor]:
        """Normalised float32 ``(n, 3, h, w)``, sides of at least 31 px → five maps of :data:`CHANNELS`, one by one."""
        import torch.nn.functional as f

        for key, _, _, _, stride, padding, pools in _LAYERS:
            values = f.max_pool2d(values, 3, 2) if pools else values
            values = f.conv2d(values, *self._convolutions[key], stride=stride, padding=padding).relu_()
            yield values
