"""VGG16's convolutions as LPIPS and DISTS tap them: torchvision's network and its key names (arXiv:1409.1556)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from tokbench.networks.taps import convolutions

if TYPE_CHECKING:
    import torch

MIN_SIDE_PX = 16
CHANNELS = (64, 128, 256, 512, 512)

# Per stage, the numbers of its convolutions in torchvision's ``features``; pooling comes between stages.
_STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))


class Vgg16:
    """The outputs of its five stages: relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3.

    Args:
        state: torchvision's state dict; what else is in it is not looked at.
        device: where it computes.

    Raises:
        WeightsError: a convolution is missing or of another shape.
    """

    def __init__(self, state: Mapping[str, torch.Tensor], *, device: str = "cpu") -> None:
        shapes: dict[str, tuple[int, ...]] = {}
        n_in = 3
        for numbers, n_out in zip(_STAGES, CHANNELS, strict=True):
            for number in numbers:
                shapes[f"features.{number}"] = (n_out, n_in, 3, 3)
                n_in = n_out
        self._convolutions = convolutions(state, shapes, owner="VGG16", device=device)

    def taps(
        self, values: torch.Tensor, *, pool: Callable[[torch.Tensor], torch.Tensor] | None = None
    ) -> Iterator[torch.Tensor]:
        """Normalised float32 ``(n, 3, h, w)``, sides of at least 16 px → five maps of :data:`CHANNELS`, one by one.

        ``pool`` comes between stages; None is the network's own, the maximum over 2 x 2.
        """
        import torch.nn.functional as f

        for stage, numbers in enumerate(_STAGES):
            if stage:
                values = f.max_pool2d(values, 2) if pool is None else pool(values)
            for number in numbers:
                values = f.conv2d(values, *self._convolutions[f"features.{number}"], padding=1).relu_()
            yield values
