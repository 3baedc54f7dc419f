"""How the latents of a diffusers autoencoder are spread, as its publisher states it for generators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import torch

Statistics: TypeAlias = "tuple[float | torch.Tensor, float | torch.Tensor]"
"""Mean and standard deviation: numbers, or float32 ``(c,)``, one a channel."""


def scaled_by(factor: float, shift: float = 0.0) -> Statistics:
    """The statistics behind a ``scaling_factor`` and ``shift_factor``: generators see (z - shift) · factor."""
    return shift, 1 / factor


def published_statistics(config: Mapping[str, Any], network: Any) -> Statistics | None:
    """What ``config.json`` (as it stands, without a class's defaults) or the network's buffers say, or None.

    Args:
        config: what ``config.json`` says.
        network: what was built from it.
    """
    if hasattr(network, "bn"):
        return _of_patches(network)
    factor, shift = config.get("scaling_factor"), config.get("shift_factor")
    if hasattr(network, "_latents_std"):  # its latents are divided by these inside, then scaled
        return (0.0, float(factor or 1.0)) if network._latents_std.numel() > 1 else None
    mean, std = config.get("latents_mean"), config.get("latents_std")
    if mean is not None and std is not None:
        return _per_channel(mean), _per_channel(std)
    says_nothing = factor is None or (factor == 1.0 and not shift and type(network).__name__ != "AutoencoderTiny")
    return None if says_nothing else scaled_by(float(factor or 1.0), float(shift or 0.0))


def _of_patches(network: Any) -> Statistics:
    """Of FLUX.2's latents by channel: its buffers keep them for each place of a patch, which are pooled here.

    A channel's values are a mixture of those at its places, so its variance is the mean of theirs plus the variance
    of their means.
    """
    n_places = network.config.patch_size[0] * network.config.patch_size[1]
    means = network.bn.running_mean.double().reshape(-1, n_places)
    variances = network.bn.running_var.double().reshape(-1, n_places) + network.config.batch_norm_eps
    pooled = variances.mean(1) + means.var(1, correction=0)
    return means.mean(1).float().cpu(), pooled.sqrt().float().cpu()


def _per_channel(values: Any) -> torch.Tensor:
    """Nested lists of one number a channel → float32 ``(c,)``."""
    import torch

    return torch.tensor(values, dtype=torch.float32).flatten()
