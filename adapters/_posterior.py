"""Gaussian posteriors: the mean, or a sample that the image's own seed determines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokbench.errors import UsageError

if TYPE_CHECKING:
    import torch

    from tokbench.cards import TokenizerCard


def posterior_latents(
    card: TokenizerCard, means: torch.Tensor, deviations: torch.Tensor, seeds: Sequence[int] | None
) -> torch.Tensor:
    """What of a posterior is decoded, by the card's ``posterior``.

    Args:
        card: ``mode`` gives the means; ``sample`` draws.
        means, deviations: float ``(n, …)``.
        seeds: one integer an image. Noise is drawn on the CPU, so that it is the same on every device.

    Returns:
        Like ``means``.

    Raises:
        UsageError: a sample is drawn, and there are no seeds or not one an image.
    """
    import torch

    if card.posterior != "sample":
        return means
    if seeds is None or len(seeds) != len(means):
        got = "none" if seeds is None else str(len(seeds))
        raise UsageError(f"{card.name} samples its posterior: encode needs one seed an image ({len(means)}), got {got}")
    rows = [torch.randn(means.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return means + deviations * torch.stack(rows).to(means)
