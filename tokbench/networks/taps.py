"""What networks that are tapped at several depths share: their convolutions out of a state dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tokbench.errors import WeightsError

if TYPE_CHECKING:
    import torch


def convolutions(
    state: Mapping[str, torch.Tensor], shapes: Mapping[str, tuple[int, ...]], *, owner: str, device: str
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Weights and biases by layer, float32 on the device, channels last (the faster layout on CPUs and GPUs).

    Args:
        state: ``LAYER.weight`` and ``LAYER.bias``, and whatever else.
        shapes: the weights' shape by layer, ``(out, in, side, side)``.
        owner: what to call the network in messages.
        device: where they go.

    Raises:
        WeightsError: one is missing, of another shape, or not finite.
    """
    import torch

    found = {}
    for layer, shape in shapes.items():
        pair = []
        for key, expected in ((f"{layer}.weight", shape), (f"{layer}.bias", shape[:1])):
            if key not in state:
                raise WeightsError(f"the weights of {owner} have no {key}; they have {', '.join(list(state)[:4])}, …")
            values = state[key]
            if tuple(values.shape) != expected:
                raise WeightsError(f"{owner}: {key} has shape {tuple(values.shape)}, expected {expected}")
            if not bool(torch.isfinite(values).all()):
                raise WeightsError(f"{owner}: {key} holds numbers that are not finite; get the file again")
            pair.append(values.detach().to(device, torch.float32))
        found[layer] = (pair[0].contiguous(memory_format=torch.channels_last), pair[1].contiguous())
    return found
