"""dlib's face descriptor network, read from dlib's own file and run by torch.

The file is dlib's serialised ``anet_type`` (a 29-layer residual network of 5.6 million parameters, davisking/dlib:
examples/dnn_face_recognition_ex.cpp). Whole numbers in it are a length byte and little-endian bytes; a tensor is a
version (2), four sizes and raw float32. Its 59 tensors follow the network from the input to the output: weights and
biases of a convolution, then gain and shift of the affine layer behind it, 29 times, and the last matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tokbench.errors import WeightsError

if TYPE_CHECKING:
    import torch

SIDE_PX = 150
N_NUMBERS = 128
MEAN_RGB = (122.782, 117.001, 104.298)
# Residual blocks as (channels in, channels out, halves the size), in the order of the forward pass.
BLOCKS = (
    *((32, 32, False),) * 3,
    (32, 64, True),
    *((64, 64, False),) * 3,
    (64, 128, True),
    *((128, 128, False),) * 2,
    (128, 256, True),
    *((256, 256, False),) * 2,
    (256, 256, True),
)


class DescriptorNetwork:
    """Descriptors of aligned faces, equal to ``dlib.face_recognition_model_v1`` to 1e-6 and twelve times as fast.

    The affine layers are folded into the convolutions. Every chip goes through alone, so that no descriptor depends
    on another (grouped, they would differ in the last bit). Holds no state between calls: safe for several threads.
    """

    def __init__(self, path: Path) -> None:
        tensors = _tensors(path.read_bytes())
        sizes = [(3, 32, 7), *((n, out, 3) for first, out, _ in BLOCKS for n in (first, out))]
        try:
            self._layers = [_folded(next(tensors), next(tensors), *size) for size in sizes]
            self._last = _torch(next(tensors).reshape(256, N_NUMBERS))
        except (StopIteration, ValueError) as err:
            raise WeightsError(f"{path.name} is not dlib's face descriptor network; install it again") from err
        if next(tensors, None) is not None:
            raise WeightsError(f"{path.name} holds more layers than dlib's face descriptor network")

    def __call__(self, chip: np.ndarray) -> np.ndarray:
        """uint8 ``(150, 150, 3)`` RGB → float32 ``(128,)``, of length about 1.4."""
        import torch

        with torch.inference_mode():
            pixels = _torch(chip[None].astype(np.float32))
            values = ((pixels - torch.tensor(MEAN_RGB)) / 256).permute(0, 3, 1, 2)
            return np.asarray(self._forward(values)[0].numpy())

    def _forward(self, values: torch.Tensor) -> torch.Tensor:
        """Float ``(1, 3, 150, 150)`` → ``(1, 128)``."""
        import torch.nn.functional as f

        layers = iter(self._layers)
        values = f.relu(f.conv2d(values, *next(layers), stride=2))
        values = f.max_pool2d(values, 3, 2)
        for _, _, halves in BLOCKS:
            first, second = next(layers), next(layers)
            # dlib pads a convolution only where its stride is 1
            inner = f.relu(f.conv2d(values, *first, stride=2 if halves else 1, padding=0 if halves else 1))
            inner = f.conv2d(inner, *second, padding=1)
            values = f.relu(_add(inner, f.avg_pool2d(values, 2, 2) if halves else values))
        return values.mean((2, 3)) @ self._last


def _add(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Sum of two maps, each extended by zeros at the high end of every axis to the larger size, as dlib adds."""
    import torch.nn.functional as f

    shape = [max(a, b) for a, b in zip(first.shape, second.shape, strict=True)]
    padded = [
        f.pad(part, [size for axis in (3, 2, 1) for size in (0, shape[axis] - part.shape[axis])])
        for part in (first, second)
    ]
    return padded[0] + padded[1]


def _folded(
    convolution: np.ndarray, affine: np.ndarray, n_in: int, n_out: int, side: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights ``(out, in, side, side)`` and biases ``(out,)`` of a convolution and the affine layer behind it."""
    import torch

    weights, biases = convolution[:-n_out].reshape(n_out, n_in, side, side), convolution[-n_out:]
    gain, shift = affine.reshape(2, n_out)
    folded = _torch(weights * gain[:, None, None, None]).contiguous(memory_format=torch.channels_last)
    return folded, _torch(biases * gain + shift)


def _tensors(data: bytes) -> Iterator[np.ndarray]:
    """Every float tensor with data in a dlib file, flat, in file order."""
    place = 0
    while (found := data.find(b"\x01\x02", place)) >= 0:
        place, start = found + 1, found + 2
        sizes: list[int] = []
        while len(sizes) < 4 and start < len(data) and 1 <= (n := data[start]) <= 4:
            sizes.append(int.from_bytes(data[start + 1 : start + 1 + n], "little"))
            start += 1 + n
        # Parameters are stored flat, (n, 1, 1, 1), or as the last matrix, (256, 128, 1, 1); 64 is the smallest.
        if len(sizes) == 4 and sizes[2:] == [1, 1] and (n_values := math.prod(sizes)) >= 64:
            end = start + 4 * n_values
            if end <= len(data):
                yield np.frombuffer(data[start:end], "<f4")
                place = end


def _torch(values: np.ndarray) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.array(values, np.float32))
