"""SqueezeNet 1.1 with Caffe's weights, which come inside the package ndf (Iandola et al., arXiv:1602.07360).

The package pads the first convolution; the network was trained without padding there and is run without it here: it
then names 0.640 of 250 ImageNet samples right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tokbench.networks.taps import convolutions

if TYPE_CHECKING:
    import numpy as np
    import torch

MIN_SIDE_PX = 17
CHANNELS = (64, 128, 256, 384, 384, 512, 512)
MEAN_BGR = (103.939, 116.779, 123.68)

# Fire modules: channels in, squeezed, and out of each of the two expansions.
_FIRES = {
    "fire2": (64, 16, 64),
    "fire3": (128, 16, 64),
    "fire4": (128, 32, 128),
    "fire5": (256, 32, 128),
    "fire6": (256, 48, 192),
    "fire7": (384, 48, 192),
    "fire8": (384, 64, 256),
    "fire9": (512, 64, 256),
}
# What follows each tap: whether it begins with max pooling (3, stride 2, rounding up), and its modules.
_STEPS = (
    (True, ("fire2", "fire3")),
    (True, ("fire4", "fire5")),
    (True, ("fire6",)),
    (False, ("fire7",)),
    (False, ("fire8",)),
    (False, ("fire9",)),
)


class SqueezeNet:
    """Its seven taps (conv1, fire3, fire5, fire6 to fire9, where LPIPS has them too) and its 1,000 classes.

    Args:
        arrays: by layer, weights ``(side, side, in, out)`` and biases ``(out,)``, as in the package's file.
        device: where it computes.

    Raises:
        WeightsError: a layer is missing or of another shape.
    """

    def __init__(self, arrays: Mapping[str, list[np.ndarray]], *, device: str = "cpu") -> None:
        import torch

        shapes: dict[str, tuple[int, ...]] = {"conv1": (64, 3, 3, 3), "conv10": (1000, 512, 1, 1)}
        for name, (n_in, squeezed, n_out) in _FIRES.items():
            shapes[f"{name}/squeeze1x1"] = (squeezed, n_in, 1, 1)
            shapes[f"{name}/expand1x1"] = (n_out, squeezed, 1, 1)
            shapes[f"{name}/expand3x3"] = (n_out, squeezed, 3, 3)
        state = {}
        for name, (weights, biases) in arrays.items():
            state[f"{name}.weight"] = torch.from_numpy(weights).permute(3, 2, 0, 1)
            state[f"{name}.bias"] = torch.from_numpy(biases)
        self._convolutions = convolutions(state, shapes, owner="SqueezeNet", device=device)

    def taps(self, values: torch.Tensor) -> Iterator[torch.Tensor]:
        """What :func:`normalised` gives, sides of at least 17 px → seven maps of :data:`CHANNELS`, one by one."""
        import torch.nn.functional as f

        values = f.conv2d(values, *self._convolutions["conv1"], stride=2).relu_()
        yield values
        for pools, modules in _STEPS:
            values = f.max_pool2d(values, 3, 2, ceil_mode=True) if pools else values
            for name in modules:
                values = self._fire(name, values)
            yield values

    def classes(self, values: torch.Tensor) -> torch.Tensor:
        """What :func:`normalised` gives → logits ``(n, 1000)``, classes in ImageNet's order."""
        import torch.nn.functional as f

        *_, last = self.taps(values)
        return f.conv2d(last, *self._convolutions["conv10"]).relu_().mean((2, 3))

    def _fire(self, name: str, values: torch.Tensor) -> torch.Tensor:
        import torch
        import torch.nn.functional as f

        squeezed = f.conv2d(values, *self._convolutions[f"{name}/squeeze1x1"]).relu_()
        small = f.conv2d(squeezed, *self._convolutions[f"{name}/expand1x1"])
        large = f.conv2d(squeezed, *self._convolutions[f"{name}/expand3x3"], padding=1)
        return torch.cat((small, large), 1).relu_()


def normalised(images: torch.Tensor) -> torch.Tensor:
    """uint8 ``(n, 3, h, w)`` RGB → float32 BGR less :data:`MEAN_BGR`, as Caffe's networks take it."""
    import torch

    means = torch.tensor(MEAN_BGR, device=images.device).view(1, 3, 1, 1)
    return images.flip(1).float() - means
