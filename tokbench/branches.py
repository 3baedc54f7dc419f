"""Branches: further reconstructions of the same sample in the same pass.

A run always has the plain reconstruction, branch ``""``. Each further branch derives another encoding from the plain
one (a prefix of it, a perturbed copy) or takes another tokenizer's (another quality), decodes it, and feeds metrics
under the key ``metric@branch``. The image is read and placed once for all of them, and encoded once for all branches
that derive from the plain encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tokbench.cards import TokenizerCard
from tokbench.contracts import Tokenizer
from tokbench.encodings import Encoding, Tokens
from tokbench.errors import UsageError


class Survey(Protocol):
    """What a branch must have seen of the whole set before the run."""

    def see(self, encoding: Encoding, seeds: Sequence[int]) -> None:
        """Take in the plain encoding of a batch, with the seeds ``derive`` will be given; in the set's order."""
        ...

    def finish(self) -> None:
        """The whole set was seen."""
        ...


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One further reconstruction.

    Attributes:
        name: shown after the ``@`` of value keys; letters, digits and ``=._-``.
        derive: (encoding, one seed a sample) → encoding of the same samples; None keeps the encoding.
        tokenizer: encodes and decodes instead of the run's own; None uses that one and its encoding.
        metrics: keys this branch feeds; None for all of the run's.
        keeps_pictures: whether its reconstructions may be among the run's pictures; False for a curve's many points.
        survey: shown the plain encodings of all samples in a pass before the run; branches that share one show it once,
            with the seeds of the first of them.
        is_perturbed: no encoder made its encoding, so what the decoder makes of it may leave [0, 1], and a failure
            costs the metrics it feeds, not the sample.
    """

    name: str
    derive: Callable[[Encoding, Sequence[int]], Encoding] | None = None
    tokenizer: Tokenizer | None = None
    metrics: tuple[str, ...] | None = None
    keeps_pictures: bool = True
    survey: Survey | None = None
    is_perturbed: bool = False

    def __post_init__(self) -> None:
        if not self.name or not all(char.isalnum() or char in "=._-" for char in self.name):
            raise UsageError(f"branch name {self.name!r} may hold letters, digits and = . _ - only")
        if self.derive is None and self.tokenizer is None:
            raise UsageError(f"branch {self.name!r} derives nothing and has no tokenizer of its own")


def length_branches(card: TokenizerCard, lengths: Sequence[int]) -> tuple[Branch, ...]:
    """One branch a length, named ``length=k``: what decoding a prefix of the encoding gives."""
    if card.prefix_axis is None or card.max_length is None:
        raise UsageError(f"{card.name} has no variable length, so --lengths does not apply; pass variants instead")
    for length in lengths:
        if not 1 <= length <= card.max_length:
            raise UsageError(f"{card.name} has lengths 1 to {card.max_length}, got {length}")
    axis = card.prefix_axis

    def keep(length: int) -> Callable[[Encoding, Sequence[int]], Encoding]:
        def derive(encoding: Encoding, _: Sequence[int]) -> Encoding:
            if not isinstance(encoding, Tokens):
                raise UsageError(f"{card.name}: a prefix needs Tokens, got {type(encoding).__name__}")
            return encoding.keep_streams(length) if axis == "streams" else encoding.keep_positions(length)

        return derive

    return tuple(Branch(name=f"length={length}", derive=keep(length)) for length in dict.fromkeys(lengths))
