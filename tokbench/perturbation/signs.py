"""Codes of signs (LFQ, BSQ): replace a token by one of the sign patterns nearest to the encoder's output.

A pattern's squared distance to the output is that of the output's own signs plus a multiple of the summed magnitudes
of the dimensions it flips. So the nearest patterns are the subsets with the smallest sums, found here exactly, without
the codebook of 2^d entries. That is the operator of :mod:`tokbench.perturbation.lookup` on that implicit codebook. Not
published; ours. Taking all 2^b flips of the b smallest magnitudes instead would be near it, not it: with three equal
magnitudes the four nearest patterns flip at most one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tokbench.encodings import BitCodes, TokenStream
from tokbench.errors import BadOutputError, UsageError
from tokbench.perturbation.draws import Draws
from tokbench.perturbation.lookup import is_sent

if TYPE_CHECKING:
    import torch

_ROWS = 512  # tokens whose subsets are held at a time: at 200 neighbours of 199 bits, 40 MB
_WRONG_SHARE = 0.01


def nearest_flips(magnitudes: torch.Tensor, count: int) -> torch.Tensor:
    """The ``count`` subsets of dimensions with the smallest sums of magnitudes, smallest first.

    Args:
        magnitudes: float ``(t, d)``, at least 0.
        count: from 1 to 2^d.

    Returns:
        bool ``(t, count, d)``: which dimensions to flip; the first flips none. Equal sums: the subset whose largest
        member is smaller comes first.
    """
    import torch

    tokens, width = magnitudes.shape
    if count < 1 or (width < 63 and count > 1 << width):
        raise UsageError(f"delta must be between 1 and the {1 << width} patterns of {width} bits, got {count}")
    rising, order = magnitudes.double().sort(dim=1, stable=True)
    # A subset that holds the j-th smallest magnitude comes after the j subsets that hold one smaller one or none.
    used = min(width, count - 1)
    sums = torch.zeros((tokens, 1), dtype=torch.float64, device=magnitudes.device)
    flips = torch.zeros((tokens, 1, used), dtype=torch.bool, device=magnitudes.device)
    for bit in range(used):
        more = flips.clone()
        more[:, :, bit] = True
        sums, nearest = torch.cat([sums, sums + rising[:, bit, None]], dim=1).sort(dim=1, stable=True)
        sums, nearest = sums[:, :count], nearest[:, :count, None].expand(-1, -1, used)
        flips = torch.cat([flips, more], dim=1).gather(1, nearest)
    places = order[:, None, :used].expand(-1, flips.shape[1], -1)
    unsorted = torch.zeros((tokens, flips.shape[1], width), dtype=torch.bool, device=magnitudes.device)
    return unsorted.scatter(2, places, flips)


def perturb_bits(codes: BitCodes, draws: Sequence[Draws], *, alpha: float, delta: int) -> BitCodes:
    """Each code stays or, with probability ``alpha``, becomes one of the ``delta`` nearest sign patterns.

    Args:
        codes: with vectors, float ``(n, *grid, d)``.
        draws: one a sample.
        alpha: share of codes that are selected.
        delta: neighbours, the code itself included, from 1 to 2^d.

    Raises:
        BadOutputError: there are no vectors, or the bits are not their signs.
    """
    import torch

    width = codes.values.shape[-1]
    bits = codes.values.reshape(codes.n, -1, width)
    flips = _drawn_flips(codes.vectors, bits, draws, alpha=alpha, delta=delta)
    return replace(
        codes,
        values=torch.logical_xor(bits, flips).reshape(codes.values.shape),
        vectors=None,
        replaced=flips.any(-1).reshape(codes.values.shape[:-1]),
    )


def perturb_sign_stream(
    stream: TokenStream, basis: Sequence[int], draws: Sequence[Draws], *, alpha: float, delta: int
) -> TokenStream:
    """The same for sign codes given as indices, where a set bit in dimension i adds ``basis[i]``.

    Positions past a sample's length stay as they are.
    """
    import torch

    places = torch.tensor(list(basis), dtype=torch.int64, device=stream.indices.device)
    if not len(places) or (stream.vectors is not None and stream.vectors.shape[-1] != len(places)):
        raise BadOutputError(f"codebook {stream.codebook!r}: the basis {tuple(basis)} does not fit the vectors")
    flat = stream.indices.reshape(stream.indices.shape[0], -1)
    bits = torch.div(flat[..., None], places, rounding_mode="floor") % 2 == 1
    flips = _drawn_flips(stream.vectors, bits, draws, alpha=alpha, delta=delta)
    flips &= is_sent(stream).reshape(flat.shape)[..., None]
    steps = torch.where(bits, -places, places)
    indices = (flat + torch.where(flips, steps, 0).sum(-1)).reshape(stream.indices.shape)
    return replace(stream, indices=indices, vectors=None, replaced=flips.any(-1).reshape(indices.shape))


def _drawn_flips(
    vectors: torch.Tensor | None, bits: torch.Tensor, draws: Sequence[Draws], *, alpha: float, delta: int
) -> torch.Tensor:
    """bool ``(n, positions, d)``: which bits to flip."""
    import torch

    if vectors is None:
        raise BadOutputError("the tokenizer says it can be perturbed, but its encode attached no vectors to its codes")
    flips = torch.zeros(bits.shape, dtype=torch.bool)
    for row, own in enumerate(draws):
        values = vectors[row].reshape(bits.shape[1:]).float().cpu()
        disagree = (values != 0) & ((values > 0) != bits[row].cpu())
        if not bool(values.isfinite().all()) or int(disagree.sum()) > _WRONG_SHARE * disagree.numel():
            raise BadOutputError("bits are not the signs of the vectors beside them; attach the encoder's output")
        ranks = own.ranks(bits.shape[1], alpha=alpha, delta=delta)
        where = ranks.nonzero()[:, 0]
        for part in torch.split(where, _ROWS):
            subsets = nearest_flips(values[part].abs(), delta)
            picked = ranks[part][:, None, None].expand(-1, 1, bits.shape[2])
            flips[row, part] = subsets.gather(1, picked)[:, 0]
    return flips.to(bits.device)
