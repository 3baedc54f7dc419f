"""The settings a perturbed metric is measured at: their names, and what they do to an encoding."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tokbench.encodings import BitCodes, Encoding, Tokens
from tokbench.errors import BadOutputError, NotApplicableError
from tokbench.perturbation.draws import Draws
from tokbench.perturbation.facts import codebook_of
from tokbench.perturbation.levels import perturb_levels
from tokbench.perturbation.lookup import perturb_stream
from tokbench.perturbation.residual import perturb_level
from tokbench.perturbation.signs import perturb_bits, perturb_sign_stream
from tokbench.quantisers import Quantiser

Operator = Literal["lookup", "product", "frozen", "reencoded", "signs", "levels"]

# What stands in a value's details; only the first is published.
OPERATORS: dict[Operator, str] = {
    "lookup": "one of the delta codes nearest to the encoder's output (as published for pFID)",
    "product": "one of the delta nearest codes, in each sub-codebook independently (ours)",
    "frozen": "one of the delta nearest codes at one level of several, the later levels as they were (ours)",
    "reencoded": "one of the delta nearest codes at one level of several, the later levels chosen anew (ours)",
    "signs": "one of the delta sign patterns nearest to the encoder's output (ours)",
    "levels": "one level up or down in one dimension (ours)",
}
_NUMBER = re.compile(r"(level|alpha|delta)=(\d+(?:\.\d+)?)")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One setting.

    Attributes:
        operator: see :data:`OPERATORS`.
        alpha: share of tokens that are selected.
        delta: neighbours a selected token is drawn from, its own code included; None for ``levels``.
        level: for ``frozen`` and ``reencoded``: which stream, from 1.
    """

    operator: Operator
    alpha: float
    delta: int | None = None
    level: int | None = None

    @property
    def name(self) -> str:
        """As a branch: ``alpha=0.9.delta=200``, any operator but pFID's with its own name before that."""
        parts: list[str] = [] if self.operator == "lookup" else [self.operator]
        parts += [] if self.level is None else [f"level={self.level}"]
        parts += [f"alpha={self.alpha:g}"]
        parts += [] if self.delta is None else [f"delta={self.delta}"]
        return ".".join(parts)

    @classmethod
    def of_name(cls, name: str) -> Point:
        """Inverse of :attr:`name`."""
        numbers = dict(_NUMBER.findall(name))
        named = [operator for operator in OPERATORS if name.startswith(f"{operator}.")]
        return cls(
            operator=named[0] if named else "lookup",
            alpha=float(numbers["alpha"]),
            delta=int(numbers["delta"]) if "delta" in numbers else None,
            level=int(numbers["level"]) if "level" in numbers else None,
        )

    @property
    def series(self) -> str:
        """Which curve over alpha it belongs to."""
        parts = {"frozen": ["later levels frozen"], "reencoded": ["later levels re-encoded"]}.get(self.operator, [])
        return ", ".join([*parts, *([] if self.delta is None else [f"δ = {self.delta}"])]) or "one step"

    @property
    def expected_share(self) -> float | None:
        """Expected share of tokens that get another code; None where it depends on the codes."""
        return None if self.delta is None else self.alpha * (1 - 1 / self.delta)


def points_for(quantiser: Quantiser, *, alphas: Sequence[float], deltas: Sequence[int]) -> tuple[Point, ...]:
    """The settings of a grid for this kind of codes.

    Residual and multi-scale codes are perturbed at their first level, with the largest delta only, once with the later
    levels frozen and, where the tokenizer can, once with them chosen anew. Finite-scalar codes have no delta.

    Raises:
        NotApplicableError: a codebook has fewer codes than the largest delta.
    """
    _check_deltas(quantiser, deltas)
    if quantiser.kind == "levels":
        return tuple(Point(operator="levels", alpha=alpha) for alpha in alphas)
    if quantiser.composition in ("residual", "multi_scale"):
        can = quantiser.composition == "residual" or quantiser.requantise is not None
        laters: tuple[Operator, ...] = ("frozen", "reencoded") if can else ("frozen",)
        return tuple(
            Point(operator=later, alpha=alpha, delta=max(deltas), level=1) for later in laters for alpha in alphas
        )
    operator: Operator = "signs" if quantiser.kind == "sign" else "lookup"
    if operator == "lookup" and quantiser.composition == "product":
        operator = "product"
    return tuple(Point(operator=operator, alpha=alpha, delta=delta) for delta in deltas for alpha in alphas)


def derivation(point: Point, quantiser: Quantiser, *, widest: int) -> Callable[[Encoding, Sequence[int]], Encoding]:
    """What the point does: (encoding, one seed a sample) → encoding of the same samples.

    ``widest`` is the largest delta of the grid, so that one search for neighbours serves all of it.
    """

    def derive(encoding: Encoding, seeds: Sequence[int]) -> Encoding:
        draws = [Draws(seed) for seed in seeds]
        if isinstance(encoding, BitCodes) and point.operator == "signs":
            return perturb_bits(encoding, draws, alpha=point.alpha, delta=point.delta or 1)
        if not isinstance(encoding, Tokens):
            raise BadOutputError(
                f"the tokenizer's quantiser is of kind {quantiser.kind}, and encode returned {type(encoding).__name__}"
            )
        if point.operator in ("frozen", "reencoded"):
            return perturb_level(
                encoding,
                quantiser,
                draws,
                level=(point.level or 1) - 1,
                later="frozen" if point.operator == "frozen" else "reencoded",
                alpha=point.alpha,
                delta=point.delta or 1,
                widest=widest,
            )
        return _all_streams(encoding, quantiser, draws, point, widest)

    return derive


def _all_streams(tokens: Tokens, quantiser: Quantiser, draws: Sequence[Draws], point: Point, widest: int) -> Tokens:
    """Every stream by itself; a sample's draws go on from one to the next."""
    alpha, delta = point.alpha, point.delta or 1
    if point.operator == "lookup" and len(tokens.streams) > 1:
        raise BadOutputError(f"a quantiser of composition single has one stream, encode gave {len(tokens.streams)}")
    streams = []
    for stream in tokens.streams:
        if point.operator == "levels":
            streams.append(perturb_levels(stream, quantiser.basis, quantiser.levels, draws, alpha=alpha))
        elif point.operator == "signs":
            streams.append(perturb_sign_stream(stream, quantiser.basis, draws, alpha=alpha, delta=delta))
        else:
            entries = codebook_of(quantiser, stream)
            is_normalised = quantiser.is_normalised
            streams.append(
                perturb_stream(
                    stream, entries, draws, alpha=alpha, delta=delta, widest=widest, is_normalised=is_normalised
                )
            )
    return replace(tokens, streams=tuple(streams))


def _check_deltas(quantiser: Quantiser, deltas: Sequence[int]) -> None:
    sizes = {f"codebook {name!r}": len(entries) for name, entries in quantiser.codebooks.items()}
    if quantiser.kind == "sign" and quantiser.basis:
        sizes["the implicit codebook"] = 1 << len(quantiser.basis)
    for name, size in sizes.items():
        if size < max(deltas):
            raise NotApplicableError(f"a neighbourhood of {max(deltas)} codes needs as many, and {name} has {size}")
