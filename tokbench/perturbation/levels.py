"""Finite-scalar codes (FSQ, arXiv 2309.15505): move one dimension of a token by one level.

Not published; ours. Neighbours of a code are the levels beside it, so there is no delta: a selected token has one of
its dimensions, each equally likely, moved by one level up or down, equally likely, and stays where it would leave the
range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tokbench.encodings import TokenStream
from tokbench.errors import BadOutputError
from tokbench.perturbation.draws import Draws
from tokbench.perturbation.lookup import is_sent


def perturb_levels(
    stream: TokenStream, basis: Sequence[int], levels: Sequence[int], draws: Sequence[Draws], *, alpha: float
) -> TokenStream:
    """Each token keeps its code or, with probability ``alpha``, takes one step.

    Args:
        stream: indices that are the sum over dimensions of level times ``basis``; needs no vectors.
        basis, levels: place value and number of levels of each dimension.
        draws: one a sample.
        alpha: share of tokens that are selected.

    Returns:
        The stream with ``replaced`` set. Positions past a sample's length stay as they are.

    Raises:
        BadOutputError: the levels do not span the codebook.
    """
    import torch

    if len(levels) != len(basis) or 1 + sum((n - 1) * b for n, b in zip(levels, basis, strict=False)) != (
        stream.codebook_size
    ):
        raise BadOutputError(
            f"codebook {stream.codebook!r}: {tuple(levels)} levels with place values {tuple(basis)} do not give its "
            f"{stream.codebook_size} codes"
        )
    places = torch.tensor(list(basis), dtype=torch.int64)
    sizes = torch.tensor(list(levels), dtype=torch.int64)
    rows = []
    for indices, own in zip(stream.indices.cpu(), draws, strict=True):
        flat = indices.reshape(-1)
        selected = own.selected(len(flat), alpha=alpha)
        axis = own.below(len(flat), len(places))
        step = 2 * own.below(len(flat), 2) - 1
        level = torch.div(flat, places[axis], rounding_mode="floor") % sizes[axis]
        moved = torch.minimum((level + step).clamp(min=0), sizes[axis] - 1)
        rows.append(torch.where(selected, flat + (moved - level) * places[axis], flat))
    indices = torch.stack(rows).reshape(stream.indices.shape).to(stream.indices.device)
    indices = torch.where(is_sent(stream), indices, stream.indices)
    return replace(stream, indices=indices, vectors=None, replaced=indices != stream.indices)
