"""Codes out of a codebook: replace a token by one of the codes nearest to the encoder's output.

This is the operator of pFID: "Robust Latent Matters" (arXiv 2503.08354), lxa9867/ImageFolder,
``tokenizer/tokenizer_image/latent_perturbation.py`` at 76ddfb9. Neighbours are ranked by their distance to the
encoder's output, not to the code it got; rank 0, that code, stays possible. Three differences: every image is perturbed
(their beta is 1), draws come from each sample's own seed, and equal distances go to the lower index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from tokbench.encodings import TokenStream
from tokbench.errors import BadOutputError, UsageError
from tokbench.perturbation.draws import Draws
from tokbench.perturbation.facts import unit
from tokbench.perturbation.nearest import nearest_codes

if TYPE_CHECKING:
    import torch

# A tokenizer that computes in bfloat16 may pick another code than ours in float32 would; one that attached the wrong
# vectors picks another nearly everywhere.
_ROUNDING = 2.0**-7
_WRONG_SHARE = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class _Search:
    """What was found for a stream, and what it was looked for in."""

    codebook: torch.Tensor
    is_normalised: bool
    count: int
    tables: list[torch.Tensor]


_known: WeakKeyDictionary[TokenStream, _Search] = WeakKeyDictionary()


def perturb_stream(
    stream: TokenStream,
    codebook: torch.Tensor,
    draws: Sequence[Draws],
    *,
    alpha: float,
    delta: int,
    widest: int | None = None,
    is_normalised: bool = False,
) -> TokenStream:
    """Each token keeps its code or, with probability ``alpha``, gets one of the ``delta`` nearest, equally likely.

    Args:
        stream: with vectors, float ``(n, *grid, d)``.
        codebook: float ``(K, d)``, of unit length where ``is_normalised``.
        draws: one a sample.
        alpha: share of tokens that are selected.
        delta: neighbours, the nearest code included, from 1 to K; with 1 nothing changes.
        widest: the largest delta that will be asked of this stream, so that one search serves them all.
        is_normalised: vectors are scaled to length 1 first.

    Returns:
        The stream with ``replaced`` set, and without vectors, which no longer explain its codes. Positions past a
        sample's length stay as they are.

    Raises:
        UsageError: delta is not between 1 and K.
        BadOutputError: the stream has no vectors, or they are not what its codes were chosen for.
    """
    tables = _neighbours(stream, codebook, max(delta, widest or 0), is_normalised=is_normalised)
    flat = stream.indices.flatten(1)
    changed = flat.clone()
    for row, (table, own) in enumerate(zip(tables, draws, strict=True)):
        ranks = own.ranks(stream.positions, alpha=alpha, delta=delta)[: len(table)].to(flat.device)
        changed[row, : len(table)] = table.gather(1, ranks[:, None])[:, 0].long()
    indices = changed.reshape(stream.indices.shape)
    return replace(stream, indices=indices, vectors=None, replaced=indices != stream.indices)


def is_sent(stream: TokenStream) -> torch.Tensor:
    """False past a sample's length: bool ``(n, *grid)``."""
    import torch

    places = torch.arange(stream.positions, device=stream.indices.device)
    return (places[None] < stream.counts().to(places.device)[:, None]).reshape(stream.indices.shape)


def _neighbours(stream: TokenStream, codebook: torch.Tensor, count: int, *, is_normalised: bool) -> list[torch.Tensor]:
    """Per sample, the nearest codes of every token sent: int32 ``(tokens, count or more)``, its own code first.

    Remembered as long as the stream is, since all points of a grid need them.
    """
    if stream.vectors is None:
        raise BadOutputError(
            f"codebook {stream.codebook!r}: the tokenizer says it can be perturbed, but its encode attached no vectors "
            "to this stream (TokenStream.vectors)"
        )
    if not 1 <= count <= len(codebook):
        raise UsageError(f"delta must be between 1 and the {len(codebook)} codes of {stream.codebook!r}, got {count}")
    known = _known.get(stream)
    if known is None or known.codebook is not codebook or known.is_normalised != is_normalised or known.count < count:
        tables = []
        for indices, vectors, sent in zip(stream.indices, stream.vectors, stream.counts().tolist(), strict=True):
            # One sample at a time: a product of another shape may round another way, and rank other codes.
            own = vectors.flatten(0, -2)[:sent].float()
            codes = indices.flatten()[:sent]
            tables.append(_own_first(stream.codebook, unit(own) if is_normalised else own, codes, codebook, count))
        known = _known[stream] = _Search(codebook=codebook, is_normalised=is_normalised, count=count, tables=tables)
    return known.tables


def _own_first(name: str, vectors: torch.Tensor, own: torch.Tensor, codebook: torch.Tensor, count: int) -> torch.Tensor:
    """The nearest codes, with the code the tokenizer chose brought to the front should rounding have it elsewhere."""
    import torch

    table = nearest_codes(vectors, codebook, count)
    differs = table[:, 0] != own
    if not bool(differs.any()):
        return table
    if not bool(vectors.isfinite().all()):
        raise BadOutputError(f"codebook {name!r}: encode attached vectors with NaN or infinite values")
    entries = codebook.to(vectors.device)
    chosen, nearest = entries[own[differs]], entries[table[differs, 0].long()]
    at = vectors[differs]
    excess = (at - chosen).square().sum(-1) - (at - nearest).square().sum(-1)
    scale = at.square().sum(-1) + chosen.square().sum(-1)
    wrong = int((excess > _ROUNDING * scale).sum())
    if wrong > _WRONG_SHARE * len(own):
        raise BadOutputError(
            f"codebook {name!r}: {wrong} of {len(own)} indices are not the codes nearest to the vectors beside them; "
            "attach the encoder's output as it is compared with the codebook"
        )
    is_own = table[differs] == own[differs, None]
    # A stable sort by "is another code" brings the own code forward; where it is not there, the farthest leaves.
    order = (~is_own).int().sort(dim=1, stable=True).indices
    forward = table[differs].gather(1, order)
    pushed = torch.cat([own[differs, None].int(), table[differs][:, :-1]], dim=1)
    table[differs] = torch.where(is_own.any(1, keepdim=True), forward, pushed)
    return table
