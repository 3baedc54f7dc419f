"""A filled network on its device and in its type, its codebooks unrounded."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


def place(network: nn.Module, device: torch.device, dtype: torch.dtype, *, unrounded: Iterable[nn.Module] = ()) -> None:
    """Move a network, in place; the parameters of the modules in ``unrounded`` keep their own type.

    Codes are searched in float32 whatever the network computes in, and rounded entries would be other codes.
    """
    kept = [(module, module.state_dict()) for module in unrounded]
    network.to(device, dtype)
    for module, state in kept:
        module.load_state_dict({key: entry.to(device) for key, entry in state.items()}, assign=True)
    network.requires_grad_(False)
