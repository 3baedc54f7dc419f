"""How a tokenizer turns vectors into codes, as far as perturbing the codes needs to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from tokbench.encodings import Tokens
from tokbench.errors import BadOutputError

if TYPE_CHECKING:
    import torch

QuantiserKind = Literal["lookup", "sign", "levels"]
Composition = Literal["single", "product", "residual", "multi_scale"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantiser:
    """The facts of a quantiser.

    Attributes:
        kind: ``lookup`` (the nearest entry of a learned codebook), ``sign`` (a bit a dimension: LFQ, BSQ) or ``levels``
            (rounding each dimension to a few levels: FSQ).
        composition: what several streams are: ``single`` (there is one), ``product`` (each codes its own part of the
            vector), ``residual`` (each codes what the streams before it left over) or ``multi_scale`` (the same over
            growing grids).
        codebooks: for ``lookup``, a stream's ``codebook`` name → its entries, float ``(K, d)``, as they are compared
            with the stream's vectors.
        is_normalised: entries and vectors are compared after scaling to length 1.
        basis: for ``sign`` and ``levels`` codes given as indices, what one step in each dimension adds to the index.
        levels: for ``levels``, how many each dimension has.
        requantise: for ``multi_scale``: (tokens, level), where the codes of that level (from 0) were changed, → tokens
            with all later levels chosen anew. Not needed for ``residual``, where entries are subtracted from the first
            stream's vectors level by level; without it a multi-scale tokenizer is perturbed with later levels as they
            were only.
    """

    kind: QuantiserKind
    composition: Composition
    codebooks: Mapping[str, torch.Tensor] = field(default_factory=dict)
    is_normalised: bool = False
    basis: tuple[int, ...] = ()
    levels: tuple[int, ...] = ()
    requantise: Callable[[Tokens, int], Tokens] | None = None

    def __post_init__(self) -> None:
        if (self.kind == "lookup") != bool(self.codebooks):
            raise BadOutputError(f"a quantiser has codebooks if and only if it looks codes up; this one is {self.kind}")
        if (self.kind == "levels") != bool(self.levels) or (self.levels and len(self.levels) != len(self.basis)):
            raise BadOutputError(
                f"a quantiser of kind levels needs as many levels as its basis has places, others none; got kind "
                f"{self.kind}, levels {self.levels} and basis {self.basis}"
            )
        if self.kind != "lookup" and self.composition not in ("single", "product"):
            raise BadOutputError(f"{self.composition} codes of kind {self.kind} are not known here; use lookup")


@runtime_checkable
class Perturbable(Protocol):
    """A discrete tokenizer whose codes can be perturbed.

    Its ``encode`` also attaches the vectors its indices were chosen for (:class:`tokbench.encodings.TokenStream`): to
    every stream it may be perturbed in, for residual codes to the first stream at least; codes of kind ``levels`` need
    none.
    """

    def quantiser(self) -> Quantiser: ...
