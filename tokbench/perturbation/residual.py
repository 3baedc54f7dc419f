"""Residual and multi-scale codes: replace tokens of one level, and leave the later levels or choose them anew.

No operator for these is published: this one is ours. ``frozen`` is a decoder that is handed one wrong level among
right ones; ``reencoded`` is a generator that errs in one level and then makes the best of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from tokbench.encodings import Tokens, TokenStream
from tokbench.errors import BadOutputError, NotApplicableError, UsageError
from tokbench.perturbation.draws import Draws
from tokbench.perturbation.facts import codebook_of
from tokbench.perturbation.lookup import is_sent, perturb_stream
from tokbench.quantisers import Quantiser

if TYPE_CHECKING:
    import torch

Later = Literal["frozen", "reencoded"]

MAX_DISTANCES = 1 << 24  # held at a time: 64 MiB in float32


def perturb_level(
    tokens: Tokens,
    quantiser: Quantiser,
    draws: Sequence[Draws],
    *,
    level: int,
    later: Later,
    alpha: float,
    delta: int,
    widest: int | None = None,
) -> Tokens:
    """Perturb one level (from 0) as :func:`~tokbench.perturbation.lookup.perturb_stream` does.

    Args:
        tokens: a stream a level, coarse to fine.
        quantiser: of composition ``residual`` or ``multi_scale``.
        draws: one a sample.
        level: which stream.
        later: what becomes of the streams after it.
        alpha, delta, widest: see there.

    Raises:
        UsageError: no such level.
        NotApplicableError: later scales cannot be chosen anew, since the tokenizer does not say how.
    """
    if not 0 <= level < len(tokens.streams):
        raise UsageError(f"level {level} is not between 0 and the {len(tokens.streams) - 1} there is last")
    stream = tokens.streams[level]
    if quantiser.composition == "residual" and level > 0:
        stream = replace(stream, vectors=_left_over(tokens, quantiser, level))
    changed = perturb_stream(
        stream,
        codebook_of(quantiser, stream),
        draws,
        alpha=alpha,
        delta=delta,
        widest=widest,
        is_normalised=quantiser.is_normalised,
    )
    streams = (*tokens.streams[:level], changed, *tokens.streams[level + 1 :])
    if later == "frozen" or level + 1 == len(streams):
        return replace(tokens, streams=streams)
    if quantiser.composition == "residual":
        rechosen = _rechosen(stream, changed, streams[level + 1 :], quantiser)
        return replace(tokens, streams=(*streams[: level + 1], *rechosen))
    if quantiser.requantise is None:
        raise NotApplicableError("the tokenizer does not say how later scales are chosen anew (Quantiser.requantise)")
    return quantiser.requantise(replace(tokens, streams=streams), level)


def greedy_codes(vectors: torch.Tensor, codebooks: Sequence[torch.Tensor]) -> torch.Tensor:
    """The nearest code, then that of what is left, level by level: float ``(t, d)`` → int64 ``(levels, t)``."""
    import torch

    codes = []
    for codebook in codebooks:
        offset = (codebook * codebook).sum(-1)
        parts = torch.split(vectors, max(1, MAX_DISTANCES // len(codebook)))
        index = torch.cat([torch.addmm(offset, part, codebook.T, alpha=-2).argmin(1) for part in parts])
        vectors = vectors - codebook[index]
        codes.append(index)
    return torch.stack(codes)


def _left_over(tokens: Tokens, quantiser: Quantiser, level: int) -> torch.Tensor:
    """What the levels before this one leave of the first stream's vectors: float ``(n, *grid, d)``."""
    vectors = tokens.streams[0].vectors
    if vectors is None:
        raise BadOutputError("residual codes need vectors at the first stream (TokenStream.vectors)")
    for stream in tokens.streams[:level]:
        vectors = vectors - codebook_of(quantiser, stream)[stream.indices]
    return vectors


def _rechosen(
    before: TokenStream, changed: TokenStream, later: Sequence[TokenStream], quantiser: Quantiser
) -> list[TokenStream]:
    """The later levels, chosen anew where a code of this one was replaced."""
    import torch

    if before.vectors is None or changed.replaced is None:
        raise BadOutputError("residual codes need vectors at the first stream (TokenStream.vectors)")
    entries = codebook_of(quantiser, changed)
    codebooks = [codebook_of(quantiser, stream) for stream in later]
    rows = []
    for vectors, indices, where, *old in zip(
        before.vectors, changed.indices, changed.replaced, *(stream.indices for stream in later), strict=True
    ):
        codes = torch.stack(old)
        if bool(where.any()):
            codes[:, where] = greedy_codes(vectors[where].float() - entries[indices[where]], codebooks)
        rows.append(codes)
    return [
        replace(stream, indices=torch.where(is_sent(stream), indices, stream.indices), vectors=None)
        for stream, indices in zip(later, torch.stack(rows, dim=1), strict=True)
    ]
