"""One sample's random numbers: they come from its own seed, so no draw depends on the batch or its order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tokbench.errors import UsageError

if TYPE_CHECKING:
    import torch


class Draws:
    """A stream of random numbers of one sample: numpy's Philox, on the CPU whatever the tokenizer's device."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.Generator(np.random.Philox(seed))

    def uniform(self) -> float:
        """One number in [0, 1)."""
        return float(self._rng.random())

    def selected(self, count: int, *, alpha: float) -> torch.Tensor:
        """Which of ``count`` tokens to replace, each with probability ``alpha`` by itself: bool ``(count,)``."""
        import torch

        if not 0 <= alpha <= 1:
            raise UsageError(f"alpha is a probability, got {alpha}")
        # 1 - random() lies in (0, 1], so alpha 0 selects none and alpha 1 all of them.
        return torch.from_numpy(1 - self._rng.random(count) <= alpha)

    def below(self, count: int, bound: int) -> torch.Tensor:
        """Whole numbers from 0 to ``bound - 1``, equally likely: int64 ``(count,)``."""
        import torch

        return torch.from_numpy((self._rng.random(count) * bound).astype(np.int64))

    def ranks(self, count: int, *, alpha: float, delta: int) -> torch.Tensor:
        """Which of the ``delta`` nearest codes each token gets: int64 ``(count,)``.

        A token that is not selected keeps rank 0. One that is gets a rank from 0 to ``delta - 1``, 0 included, so a
        share ``alpha * (1 - 1 / delta)`` gets another than rank 0.

        Source: lxa9867/ImageFolder, ``tokenizer/tokenizer_image/latent_perturbation.py`` at 76ddfb9, which draws for a
        whole batch, unseeded.
        """
        import torch

        if delta < 1:
            raise UsageError(f"delta counts neighbours, the code itself included, so it is at least 1; got {delta}")
        selected = self.selected(count, alpha=alpha)
        return torch.where(selected, self.below(count, delta), 0)

    def normal(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Standard normal numbers: float64 of ``shape``."""
        import torch

        return torch.from_numpy(self._rng.standard_normal(shape))
