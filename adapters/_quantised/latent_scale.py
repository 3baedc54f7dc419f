"""The scale of a continuous tokenizer's latents: mean and standard deviation, told or measured on photographs.

A tokenizer may tell them itself, with a method ``latent_statistics()`` (see :class:`TellsStatistics`). Otherwise they
are measured, channel by channel: two numbers each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from tokbench.errors import BadOutputError, UsageError
from tokbench_adapters._quantised.photographs import short_digest

if TYPE_CHECKING:
    import torch

    from tokbench.cards import TokenizerCard
    from tokbench_adapters._libraries.latent_statistics import Statistics

_LEAST_STD = 1e-4  # of the widest channel's: a channel that never moves needs no levels, but must not divide by 0


@runtime_checkable
class TellsStatistics(Protocol):
    """A continuous tokenizer whose publisher states how its latents are scaled for a generator."""

    def latent_statistics(self) -> Statistics:
        """Mean and standard deviation of its latents: numbers, or ``(c,)`` by channel."""
        ...


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Mean and standard deviation: one of each, or one a channel.

    Attributes:
        mean, std: equally many; python floats, so that they are no parameters of the tokenizer.
        axis: which axis of the latents the channels are; None where one number serves them all.
        source: where they are from, a sentence for the card.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    axis: int | None
    source: str

    def normalise(self, values: torch.Tensor) -> torch.Tensor:
        """Latents of any float type → float32 around 0, in standard deviations."""
        mean, std = self._fitted(values)
        return (values.float() - mean) / std

    def restore(self, values: torch.Tensor) -> torch.Tensor:
        """Inverse of :meth:`normalise`, float32."""
        mean, std = self._fitted(values)
        return values * std + mean

    def _fitted(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        shape = [1] * values.ndim
        if self.axis is not None:
            shape[self.axis] = len(self.mean)
        mean, std = (
            torch.tensor(numbers, dtype=torch.float32, device=values.device) for numbers in (self.mean, self.std)
        )
        return mean.view(shape), std.view(shape)


def given_scale(mean: float, std: float) -> Scale:
    """One mean and one standard deviation, as the user states them."""
    return Scale(mean=(mean,), std=(std,), axis=None, source=f"as asked for, mean {mean:g} and deviation {std:g}")


def told_scale(statistics: Statistics, latents: torch.Tensor, card: TokenizerCard, channels: str) -> Scale:
    """What a tokenizer tells of itself.

    Raises:
        BadOutputError: numbers that fit no axis of its latents, or that are no means and deviations.
    """
    import torch

    mean, std = (torch.as_tensor(numbers, dtype=torch.float64).flatten().tolist() for numbers in statistics)
    if len(mean) == len(std) == 1:
        axis = None
    else:
        count = max(len(mean), len(std))
        mean, std = (numbers * count if len(numbers) == 1 else numbers for numbers in (mean, std))
        axis = channel_axis(latents, card, channels, count=count)
        if len(mean) != len(std) or latents.shape[axis] != count:
            raise BadOutputError(
                f"{card.name}: latent_statistics() gave {len(mean)} means and {len(std)} standard deviations for "
                f"latents of shape {tuple(latents.shape[1:])}; expected one of each, or one a channel"
            )
    if not all(0 < number < float("inf") for number in std) or not all(abs(number) < float("inf") for number in mean):
        raise BadOutputError(f"{card.name}: latent_statistics() gave means {mean} and standard deviations {std}")
    source = f"as its publisher states, {_described(mean, std)}"
    return Scale(mean=tuple(mean), std=tuple(std), axis=axis, source=source)


def measured_scale(latents: torch.Tensor, card: TokenizerCard, channels: str, *, side_px: int, digest: str) -> Scale:
    """Mean and standard deviation of each channel over photographs and positions.

    They are rounded, to 4 digits and to a thousandth of a standard deviation, so that the last bits of a machine's
    floats make no other quantiser.

    Raises:
        BadOutputError: latents that do not vary at all.
    """
    axis = channel_axis(latents, card, channels)
    rows = latents.double().movedim(axis, 0).flatten(1)
    stds = rows.std(1, correction=0).tolist()
    widest = max(stds)
    if not widest:
        raise BadOutputError(f"{card.name}: its latents are the same for every photograph and at every position")
    std = [float(f"{max(number, _LEAST_STD * widest):.4g}") for number in stds]
    mean = [round(number / width, 3) * width for number, width in zip(rows.mean(1).tolist(), std, strict=True)]
    source = (
        f"measured on {len(latents)} photographs at {side_px} px (files {digest}), {_described(mean, std)}, "
        f"all of them {short_digest(repr((mean, std)).encode())}"
    )
    return Scale(mean=tuple(mean), std=tuple(std), axis=axis, source=source)


def channel_axis(latents: torch.Tensor, card: TokenizerCard, channels: str, *, count: int | None = None) -> int:
    """Which axis of ``(n, c, *grid)`` or ``(n, l, c)`` latents the channels are.

    Args:
        latents: of any number of samples.
        card: its ``tokens`` tell the length of a sequence.
        channels: ``first``, ``last``, or "" to find out.
        count: how many channels there are, where that is known.

    Raises:
        UsageError: latents of three axes of which nothing says which is which.
    """
    if channels:
        return 1 if channels == "first" else latents.ndim - 1
    if latents.ndim != 3:
        return 1
    first, last = latents.shape[1:]
    if card.tokens is not None and (first == card.tokens) != (last == card.tokens):
        return 2 if first == card.tokens else 1
    if count is not None and (first == count) != (last == count):
        return 1 if first == count else 2
    raise UsageError(
        f"{card.name} gives latents ({first}, {last}) an image, and nothing says which of these are channels; pass "
        "?channels=first or ?channels=last, or ?mean=…&std=… for one scale of them all"
    )


def _described(mean: Sequence[float], std: Sequence[float]) -> str:
    return f"mean {_span(mean)} and deviation {_span(std)}"


def _span(numbers: Sequence[float]) -> str:
    low, high = f"{min(numbers):.4g}", f"{max(numbers):.4g}"
    return low if low == high else f"{low} to {high}"
