"""The Inception of 2015-12-05 up to its 2,048 features, built for speed at the numbers of its PyTorch ports.

The architecture is that of TensorFlow's ``classify_image_graph_def.pb``, which differs from torchvision's Inception v3:
average pools do not count the padding, and the last block pools by maximum. Ports: mseitzer/pytorch-fid and
toshas/torch-fidelity, whose key names are read here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tokbench.networks.checkpoint import Checkpoint

if TYPE_CHECKING:
    import torch

N_FEATURES = 2048
N_CLASSES = 1008
SIDE_PX = 299
BATCH_NORM_EPSILON = 1e-3
# The side of the map that a convolution reads, by the start of its name; the first that fits.
_SIDES_PX = {
    "Conv2d_1a": SIDE_PX, "Conv2d_2a": 149, "Conv2d_2b": 147, "Conv2d_3b": 73, "Conv2d_4a": 73, "Mixed_5": 35,
    "Mixed_6a": 35, "Mixed_6": 17, "Mixed_7a": 17, "Mixed_7": 8,
}  # fmt: skip
# On a CPU, images that go through together: more do not fit its caches, fewer read the weights more often.
CPU_BATCH = 4


@dataclass(frozen=True)
class Shape:
    """A convolution's shape: channels out and in, kernel height and width, stride; padded to keep the size or not."""

    n_out: int
    n_in: int
    kernel: tuple[int, int]
    stride: int = 1
    is_padded: bool = False

    @property
    def padding(self) -> tuple[int, int]:
        return (self.kernel[0] // 2, self.kernel[1] // 2) if self.is_padded else (0, 0)


def shapes() -> dict[str, Shape]:
    """Every convolution, by its official name."""
    found = {
        "Conv2d_1a_3x3": Shape(32, 3, (3, 3), 2),
        "Conv2d_2a_3x3": Shape(32, 32, (3, 3)),
        "Conv2d_2b_3x3": Shape(64, 32, (3, 3), is_padded=True),
        "Conv2d_3b_1x1": Shape(80, 64, (1, 1)),
        "Conv2d_4a_3x3": Shape(192, 80, (3, 3)),
    }
    for block, branches in _blocks():
        found |= {f"{block}.{branch}": shape for branch, shape in branches.items()}
    return found


def _blocks() -> Iterator[tuple[str, Mapping[str, Shape]]]:
    for letter, n_in, n_pool in (("b", 192, 32), ("c", 256, 64), ("d", 288, 64)):
        yield (
            f"Mixed_5{letter}",
            {
                "branch1x1": Shape(64, n_in, (1, 1)),
                "branch5x5_1": Shape(48, n_in, (1, 1)),
                "branch5x5_2": Shape(64, 48, (5, 5), is_padded=True),
                "branch3x3dbl_1": Shape(64, n_in, (1, 1)),
                "branch3x3dbl_2": Shape(96, 64, (3, 3), is_padded=True),
                "branch3x3dbl_3": Shape(96, 96, (3, 3), is_padded=True),
                "branch_pool": Shape(n_pool, n_in, (1, 1)),
            },
        )
    yield (
        "Mixed_6a",
        {
            "branch3x3": Shape(384, 288, (3, 3), 2),
            "branch3x3dbl_1": Shape(64, 288, (1, 1)),
            "branch3x3dbl_2": Shape(96, 64, (3, 3), is_padded=True),
            "branch3x3dbl_3": Shape(96, 96, (3, 3), 2),
        },
    )
    for letter, n in (("b", 128), ("c", 160), ("d", 160), ("e", 192)):
        yield (
            f"Mixed_6{letter}",
            {
                "branch1x1": Shape(192, 768, (1, 1)),
                "branch7x7_1": Shape(n, 768, (1, 1)),
                "branch7x7_2": Shape(n, n, (1, 7), is_padded=True),
                "branch7x7_3": Shape(192, n, (7, 1), is_padded=True),
                "branch7x7dbl_1": Shape(n, 768, (1, 1)),
                "branch7x7dbl_2": Shape(n, n, (7, 1), is_padded=True),
                "branch7x7dbl_3": Shape(n, n, (1, 7), is_padded=True),
                "branch7x7dbl_4": Shape(n, n, (7, 1), is_padded=True),
                "branch7x7dbl_5": Shape(192, n, (1, 7), is_padded=True),
                "branch_pool": Shape(192, 768, (1, 1)),
            },
        )
    yield (
        "Mixed_7a",
        {
            "branch3x3_1": Shape(192, 768, (1, 1)),
            "branch3x3_2": Shape(320, 192, (3, 3), 2),
            "branch7x7x3_1": Shape(192, 768, (1, 1)),
            "branch7x7x3_2": Shape(192, 192, (1, 7), is_padded=True),
            "branch7x7x3_3": Shape(192, 192, (7, 1), is_padded=True),
            "branch7x7x3_4": Shape(192, 192, (3, 3), 2),
        },
    )
    for letter, n_in in (("b", 1280), ("c", 2048)):
        yield (
            f"Mixed_7{letter}",
            {
                "branch1x1": Shape(320, n_in, (1, 1)),
                "branch3x3_1": Shape(384, n_in, (1, 1)),
                "branch3x3_2a": Shape(384, 384, (1, 3), is_padded=True),
                "branch3x3_2b": Shape(384, 384, (3, 1), is_padded=True),
                "branch3x3dbl_1": Shape(448, n_in, (1, 1)),
                "branch3x3dbl_2": Shape(384, 448, (3, 3), is_padded=True),
                "branch3x3dbl_3a": Shape(384, 384, (1, 3), is_padded=True),
                "branch3x3dbl_3b": Shape(384, 384, (3, 1), is_padded=True),
                "branch_pool": Shape(192, n_in, (1, 1)),
            },
        )


class InceptionLayers:
    """Input values to features; safe to call from several threads, holds no state between calls.

    Batch norms are folded into the convolutions in float64, maps lie with their channels last, and on a CPU weights
    are packed once and the rectifier runs inside the convolution (oneDNN, where torch has these operators).
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str = "cpu") -> None:
        checkpoint.drop(lambda key: key.endswith(".num_batches_tracked"))
        self._is_cpu = device.partition(":")[0] == "cpu"
        self._layers = {name: _Layer.read(checkpoint, name, shape, device) for name, shape in shapes().items()}
        checkpoint.take("fc.weight", N_CLASSES, N_FEATURES)
        checkpoint.take("fc.bias", N_CLASSES)
        checkpoint.require_empty()

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """float32 ``(n, 3, 299, 299)``, on the network's device → float32 ``(n, 2048)``."""
        import torch

        if not self._is_cpu:
            return self._features(values)
        starts = range(0, len(values), CPU_BATCH)
        return torch.cat([self._features(values[start : start + CPU_BATCH]) for start in starts])

    def _features(self, values: torch.Tensor) -> torch.Tensor:
        import torch
        import torch.nn.functional as f

        x = values.contiguous(memory_format=torch.channels_last)
        x = f.max_pool2d(self._chain(x, "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"), 3, 2)
        x = f.max_pool2d(self._chain(x, "Conv2d_3b_1x1", "Conv2d_4a_3x3"), 3, 2)
        for letter in "bcd":
            x = self._wide(x, f"Mixed_5{letter}", ("branch5x5", 2), ("branch3x3dbl", 3))
        x = self._narrowing(x, "Mixed_6a", ("branch3x3",), _steps("branch3x3dbl", 3))
        for letter in "bcde":
            x = self._wide(x, f"Mixed_6{letter}", ("branch7x7", 3), ("branch7x7dbl", 5))
        x = self._narrowing(x, "Mixed_7a", _steps("branch3x3", 2), _steps("branch7x7x3", 4))
        x = self._split(x, "Mixed_7b", _average(x))
        x = self._split(x, "Mixed_7c", f.max_pool2d(x, 3, 1, 1))
        return x.mean((2, 3))

    def _chain(self, x: torch.Tensor, *names: str) -> torch.Tensor:
        for name in names:
            x = self._layers[name](x)
        return x

    def _wide(self, x: torch.Tensor, block: str, *branches: tuple[str, int]) -> torch.Tensor:
        """Blocks A and C: all branches keep the size."""
        import torch

        parts = [self._chain(x, f"{block}.branch1x1")]
        parts += [self._chain(x, *(f"{block}.{step}" for step in _steps(name, n))) for name, n in branches]
        return torch.cat([*parts, self._chain(_average(x), f"{block}.branch_pool")], 1)

    def _narrowing(self, x: torch.Tensor, block: str, *branches: Sequence[str]) -> torch.Tensor:
        """Blocks B and D: all branches halve the size."""
        import torch
        import torch.nn.functional as f

        parts = [self._chain(x, *(f"{block}.{step}" for step in steps)) for steps in branches]
        return torch.cat([*parts, f.max_pool2d(x, 3, 2)], 1)

    def _split(self, x: torch.Tensor, block: str, pooled: torch.Tensor) -> torch.Tensor:
        """Block E: two branches end in a row and a column filter side by side."""
        import torch

        parts = [self._chain(x, f"{block}.branch1x1")]
        for stem, ends in (
            (("branch3x3_1",), "branch3x3_2"),
            (("branch3x3dbl_1", "branch3x3dbl_2"), "branch3x3dbl_3"),
        ):
            y = self._chain(x, *(f"{block}.{step}" for step in stem))
            parts += [self._chain(y, f"{block}.{ends}{end}") for end in "ab"]
        return torch.cat([*parts, self._chain(pooled, f"{block}.branch_pool")], 1)


@dataclass(frozen=True, eq=False)
class _Layer:
    """A convolution with its batch norm folded in, and the rectifier behind it."""

    weight: torch.Tensor
    bias: torch.Tensor
    shape: Shape
    packed: Any = None

    @classmethod
    def read(cls, checkpoint: Checkpoint, name: str, shape: Shape, device: str) -> _Layer:
        import torch

        weight = checkpoint.take(f"{name}.conv.weight", shape.n_out, shape.n_in, *shape.kernel).double()
        norm = {
            part: checkpoint.take(f"{name}.bn.{part}", shape.n_out).double()
            for part in ("weight", "bias", "running_mean", "running_var")
        }
        scale = norm["weight"] / (norm["running_var"] + BATCH_NORM_EPSILON).sqrt()
        bias = (norm["bias"] - norm["running_mean"] * scale).float().to(device)
        weight = (weight * scale.view(-1, 1, 1, 1)).float().to(device)
        weight = weight.contiguous(memory_format=torch.channels_last)
        side_px = next(side for start, side in _SIDES_PX.items() if name.startswith(start))
        return cls(weight, bias, shape, _packed(weight, shape, side_px))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        import torch

        strides, padding = [self.shape.stride] * 2, self.shape.padding
        if self.packed is None:
            # The last argument forbids TF32, which moves the fourth digit of a feature, for this call alone: the switch
            # in torch.backends is the whole process's, and a tokenizer may be decoding at this moment.
            return torch._convolution(
                x, self.weight, self.bias, strides, padding, [1, 1], False, [0, 0], 1, False, False, True, False
            ).relu_()
        fused: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self.packed, self.bias, padding, strides, [1, 1], 1, "relu", [], ""
        )
        return fused


def _packed(weight: torch.Tensor, shape: Shape, side_px: int) -> Any:
    """The weight in oneDNN's own layout, or None where torch or the device has no such thing.

    The layout depends on the map's size: without it oneDNN guesses, and a wrong guess is up to twenty times slower.
    """
    import torch

    backend: Any = torch.backends.mkldnn
    operators = torch.ops.mkldnn
    has_both = hasattr(operators, "_convolution_pointwise") and hasattr(operators, "_reorder_convolution_weight")
    if weight.device.type != "cpu" or not backend.is_available() or not has_both:
        return None
    read = [CPU_BATCH, shape.n_in, side_px, side_px]
    return operators._reorder_convolution_weight(weight, shape.padding, [shape.stride] * 2, [1, 1], 1, read)


def _average(x: torch.Tensor) -> torch.Tensor:
    import torch.nn.functional as f

    return f.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _steps(branch: str, n: int) -> list[str]:
    return [f"{branch}_{step}" for step in range(1, n + 1)]
