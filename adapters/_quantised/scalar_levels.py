"""Scalar quantisers: which few values stand for all real numbers.

Everything is in units of the latents' standard deviation, around their mean; plain Python, since there are few levels.

============  ========================================================================================================
``gaussian``  TokenBridge's (arXiv 2503.16430; YuqingWang1029/TokenBridge at 3ede281, ``reconstruction.py``): the range
              ±reach is mapped to ±3 of a standard normal, cut into cells of equal probability (the outer ones at ±3),
              and each cell is represented by the mean of the normal within it
``uniform``   the mid-points of equal cells that fill ±reach
``ends``      equally spaced values from -reach to reach, both included; what diffusers' ``AutoencoderTiny.forward``
              does to latents (8 bits, reach 3)
============  ========================================================================================================

A value becomes the nearest level. Between two Gaussian levels that is not quite where their cells meet; the published
code does the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist
from typing import Literal, get_args

from tokbench.errors import UsageError

Spacing = Literal["gaussian", "uniform", "ends"]

SPACINGS: tuple[Spacing, ...] = get_args(Spacing)
MAX_BITS = {"gaussian": 9, "uniform": 16, "ends": 16}  # of 1024 Gaussian cells the outermost lie beyond ±3: empty
_NORMAL_REACH = 3.0


def levels_of(spacing: Spacing, *, bits: int, reach: float) -> tuple[float, ...]:
    """The 2^bits levels, rising and symmetric about 0.

    Raises:
        UsageError: fewer than 1 bit, or more than this spacing has (``MAX_BITS``); a reach that is not positive.
    """
    if not 1 <= bits <= MAX_BITS[spacing]:
        raise UsageError(f"{spacing} levels take 1 to {MAX_BITS[spacing]} bits, got {bits}")
    if not 0 < reach < float("inf"):
        raise UsageError(f"the range is in standard deviations and above 0, got {reach:g}")
    upper = {"gaussian": _gaussian, "uniform": _uniform, "ends": _ends}[spacing](2**bits)
    return (*(-reach * level for level in reversed(upper)), *(reach * level for level in upper))


def borders_of(levels: Sequence[float]) -> tuple[float, ...]:
    """Where the nearest level changes: half-way between neighbours, one fewer than levels."""
    return tuple((low + high) / 2 for low, high in pairwise(levels))


# Each gives the levels above 0 of ``count`` in all, for a reach of 1.


def _uniform(count: int) -> list[float]:
    return [(2 * place + 1) / count for place in range(count // 2)]


def _ends(count: int) -> list[float]:
    return [(2 * place + 1) / (count - 1) for place in range(count // 2)]


def _gaussian(count: int) -> list[float]:
    normal = NormalDist()
    # By symmetry from the lower tail, where small probabilities are exact.
    edges = [_NORMAL_REACH, *(-normal.inv_cdf(place / count) for place in range(1, count // 2)), 0.0]
    means = [
        (normal.pdf(inner) - normal.pdf(outer)) / (normal.cdf(-inner) - normal.cdf(-outer))
        for outer, inner in pairwise(edges)
    ]
    return [mean / _NORMAL_REACH for mean in reversed(means)]
