"""Continuous latents: add Gaussian noise, in units of each channel's standard deviation over the set.

Not published as a metric; ours. The scale makes a step of 0.1 mean the same for latents of any range, so that
tokenizers compare. It is taken over the whole set before the run, since that of a batch would make values depend on
the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokbench.encodings import Encoding, Latents
from tokbench.errors import BadOutputError, MetricError, UsageError
from tokbench.perturbation.draws import Draws

if TYPE_CHECKING:
    import torch


def channel_axis(values: torch.Tensor) -> int:
    """Where the channels of latents are: axis 1 of ``(n, c, *grid)``, the last of sequences ``(n, l, c)``."""
    return 2 if values.ndim == 3 else 1


class ChannelSpread:
    """Standard deviation of each channel over a set, the same to the last bit in any order of samples and batches.

    Until the end it keeps mean and squares of each sample: 16 bytes a channel and sample.
    """

    def __init__(self) -> None:
        self._parts: dict[int, tuple[int, torch.Tensor, torch.Tensor]] = {}
        self._deviations: torch.Tensor | None = None

    def see(self, encoding: Encoding, seeds: Sequence[int]) -> None:
        """Take in a batch.

        Raises:
            BadOutputError: these are no latents.
            MetricError: they are empty.
        """
        values = latents_of(encoding).values.double().cpu()
        if not values.numel():
            raise MetricError(f"latents of shape {tuple(values.shape)} hold nothing to add noise to")
        channels = values.movedim(channel_axis(values), 1)
        for seed, sample in zip(seeds, channels.reshape(*channels.shape[:2], -1), strict=True):
            mean = sample.mean(1)
            self._parts[seed] = sample.shape[1], mean, (sample - mean[:, None]).square().sum(1)

    def finish(self) -> None:
        """Add the samples up.

        Raises:
            MetricError: there is none, or their numbers of channels differ.
        """
        import torch

        parts = [self._parts[seed] for seed in sorted(self._parts)]
        self._parts = {}
        widths = {len(mean) for _, mean, _ in parts}
        if len(widths) != 1:
            raise MetricError(f"noise needs the spread of each channel, and samples have {sorted(widths)} channels")
        counts = torch.tensor([count for count, _, _ in parts], dtype=torch.float64)[:, None]
        means = torch.stack([mean for _, mean, _ in parts])
        mean = (counts * means).sum(0) / counts.sum()
        squares = torch.stack([squares for _, _, squares in parts]).sum(0) + (counts * (means - mean).square()).sum(0)
        self._deviations = (squares / counts.sum()).sqrt()

    def deviations(self) -> torch.Tensor:
        """Of each channel, over samples and positions: float64 ``(c,)``.

        Raises:
            MetricError: the set was not surveyed.
        """
        if self._deviations is None:
            raise MetricError("the spread of the latents is not known: the set was not surveyed")
        return self._deviations


def add_noise(latents: Latents, deviations: torch.Tensor, draws: Sequence[Draws], *, sigma: float) -> Latents:
    """z + sigma · s · ε with ε standard normal.

    Args:
        latents: of n samples.
        deviations: s, float64 ``(c,)``.
        draws: one a sample.
        sigma: at least 0.
    """
    import torch

    values = latents.values
    axis = channel_axis(values)
    if sigma < 0 or len(deviations) != values.shape[axis]:
        raise UsageError(
            f"noise needs sigma of at least 0 and a deviation for each of {values.shape[axis]} channels, got {sigma} "
            f"and {len(deviations)}"
        )
    shape = [1] * (values.ndim - 1)
    shape[axis - 1] = -1
    scale = (sigma * deviations).reshape(shape)
    noise = torch.stack([own.normal(tuple(values.shape[1:])) * scale for own in draws])
    return Latents(values=(values.cpu().double() + noise).to(values))


def latents_of(encoding: Encoding) -> Latents:
    """The encoding as latents.

    Raises:
        BadOutputError: it is of another kind.
    """
    if not isinstance(encoding, Latents):
        raise BadOutputError(f"continuous latents are perturbed here, and encode returned {type(encoding).__name__}")
    return encoding
