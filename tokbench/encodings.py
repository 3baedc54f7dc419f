"""Encodings: what a tokenizer's ``encode`` returns, and what its ``decode`` takes.

Axis order is ``(n, *grid)`` with n samples and a grid of any rank: ``(n, l)`` for a sequence, ``(n, h, w)`` for an
image grid, ``(n, t, h, w)`` for a clip. Everything a tokenizer sends to its decoder is in the encoding, so that
its size in bits can be counted.

===================  =====================================================================================
:class:`Tokens`      one or more streams of code indices: a sequence, a grid, a list of grids (multi-scale),
                     parallel streams (product or residual quantisers)
:class:`BitCodes`    binary codes too wide for an index (2^36 or 2^64 implicit entries)
:class:`Latents`     real values, without an entropy model
:class:`Payloads`    coded files: JPEG, WebP, AVIF, or a learned codec's bitstream
===================  =====================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tokbench.errors import BadOutputError, UsageError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenStream:
    """One array of code indices a sample.

    Attributes:
        indices: int64 ``(n, *grid)``, each in ``[0, codebook_size)``.
        codebook_size: entries of the codebook the indices point into.
        codebook: name of that codebook; streams that share one (all scales of a multi-scale quantiser) share the
            name and are counted together.
        lengths: int64 ``(n,)``, how many of the flattened positions count, for encoders that choose a length per
            sample; None when all do. Positions past the length hold 0.
        vectors: float ``(n, *grid, d)``, the encoder's output that each index was chosen for, before quantisation (for
            a residual level, what the levels before it left over); None where it is not known. Not sent to the
            decoder: only perturbations read it, and metrics never see it.
        replaced: bool ``(n, *grid)``, where a perturbation put another code than the encoder's; None for a stream as
            it was encoded.
    """

    indices: torch.Tensor
    codebook_size: int
    codebook: str = "0"
    lengths: torch.Tensor | None = None
    vectors: torch.Tensor | None = None
    replaced: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if str(self.indices.dtype) != "torch.int64" or self.indices.ndim < 2:
            raise BadOutputError(
                f"token indices must be int64 of shape (n, *grid), got {self.indices.dtype} {tuple(self.indices.shape)}"
            )
        if self.codebook_size < 1:
            raise BadOutputError(f"codebook_size must be at least 1, got {self.codebook_size}")
        if self.lengths is not None and tuple(self.lengths.shape) != (self.indices.shape[0],):
            raise BadOutputError(f"lengths must have shape ({self.indices.shape[0]},), got {tuple(self.lengths.shape)}")
        _check_companions(tuple(self.indices.shape), self.vectors, self.replaced)

    @property
    def positions(self) -> int:
        """Positions a sample, before lengths are applied."""
        return math.prod(self.indices.shape[1:])

    def counts(self) -> torch.Tensor:
        """Tokens each sample really sends: int64 ``(n,)``."""
        if self.lengths is not None:
            return self.lengths
        return self.indices.new_full((self.indices.shape[0],), self.positions)

    def select(self, rows: Sequence[int]) -> TokenStream:
        picked = list(rows)
        return replace(
            self,
            indices=self.indices[picked],
            lengths=_rows(self.lengths, picked),
            vectors=_rows(self.vectors, picked),
            replaced=_rows(self.replaced, picked),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokens:
    """Discrete codes: one or more :class:`TokenStream` of the same samples, coarse to fine.

    Attributes:
        streams: the codes.
        image_px: height and width of the images, where a decoder must be told since the number of codes does not say
            it (a sequence of fixed length for images of several sizes); None elsewhere. Not counted in bits, as the
            shape of a grid is not.
    """

    streams: tuple[TokenStream, ...]
    image_px: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not self.streams:
            raise BadOutputError("Tokens needs at least one stream")
        sizes = {stream.indices.shape[0] for stream in self.streams}
        if len(sizes) != 1:
            raise BadOutputError(f"streams disagree on the number of samples: {sorted(sizes)}")

    @classmethod
    def grid(cls, indices: torch.Tensor, *, codebook_size: int) -> Tokens:
        """The common case: one codebook, int64 indices ``(n, *grid)``."""
        return cls(streams=(TokenStream(indices=indices, codebook_size=codebook_size),))

    @property
    def n(self) -> int:
        return int(self.streams[0].indices.shape[0])

    def token_counts(self) -> torch.Tensor:
        """Tokens of each sample over all streams: int64 ``(n,)``."""
        total = self.streams[0].counts()
        for stream in self.streams[1:]:
            total = total + stream.counts()
        return total

    def bits(self) -> torch.Tensor:
        """Bits of each sample at log2(codebook size) a token, without entropy coding: float64 ``(n,)``."""
        total = self.streams[0].counts().double() * math.log2(self.streams[0].codebook_size)
        for stream in self.streams[1:]:
            total = total + stream.counts().double() * math.log2(stream.codebook_size)
        return total

    def select(self, rows: Sequence[int]) -> Tokens:
        """The encoding of some of the samples, in the given order."""
        return replace(self, streams=tuple(stream.select(rows) for stream in self.streams))

    def keep_streams(self, length: int) -> Tokens:
        """The first ``length`` streams only (residual levels, scales)."""
        if not 1 <= length <= len(self.streams):
            raise UsageError(f"length {length} is not between 1 and the {len(self.streams)} streams there are")
        return replace(self, streams=self.streams[:length])

    def keep_positions(self, length: int) -> Tokens:
        """The first ``length`` positions of each stream; streams must be sequences ``(n, l)``."""
        kept = []
        for stream in self.streams:
            if stream.indices.ndim != 2 or not 1 <= length <= stream.positions:
                raise UsageError(
                    f"cannot keep {length} positions of a stream of shape {tuple(stream.indices.shape)}; "
                    "a prefix needs sequences (n, l) at least that long"
                )
            lengths = None if stream.lengths is None else stream.lengths.clamp(max=length)
            kept.append(
                replace(
                    stream,
                    indices=stream.indices[:, :length],
                    lengths=lengths,
                    vectors=None if stream.vectors is None else stream.vectors[:, :length],
                    replaced=None if stream.replaced is None else stream.replaced[:, :length],
                )
            )
        return replace(self, streams=tuple(kept))


@dataclass(frozen=True, kw_only=True, eq=False)
class BitCodes:
    """Binary codes that do not fit an index.

    Attributes:
        values: bool ``(n, *grid, d)``, d bits a position.
        vectors: float ``(n, *grid, d)``, the encoder's output whose signs the bits are; see :class:`TokenStream`.
        replaced: bool ``(n, *grid)``, where a perturbation changed a code; see :class:`TokenStream`.
    """

    values: torch.Tensor
    vectors: torch.Tensor | None = None
    replaced: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if str(self.values.dtype) != "torch.bool" or self.values.ndim < 3:
            raise BadOutputError(
                f"BitCodes needs bool of shape (n, *grid, d), got {self.values.dtype} {tuple(self.values.shape)}"
            )
        _check_companions(tuple(self.values.shape[:-1]), self.vectors, self.replaced)

    @property
    def n(self) -> int:
        return int(self.values.shape[0])

    def token_counts(self) -> torch.Tensor:
        """Positions of each sample: int64 ``(n,)``."""
        import torch

        return torch.full((self.n,), math.prod(self.values.shape[1:-1]), dtype=torch.int64)

    def bits(self) -> torch.Tensor:
        """Bits of each sample: float64 ``(n,)``."""
        return self.token_counts().double() * self.values.shape[-1]

    def select(self, rows: Sequence[int]) -> BitCodes:
        picked = list(rows)
        return BitCodes(
            values=self.values[picked], vectors=_rows(self.vectors, picked), replaced=_rows(self.replaced, picked)
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Latents:
    """Continuous latents: float ``(n, c, *grid)`` or ``(n, l, c)``. They have no size in bits by themselves."""

    values: torch.Tensor

    def __post_init__(self) -> None:
        if not self.values.is_floating_point() or self.values.ndim < 2:
            raise BadOutputError(
                f"Latents needs floating point of shape (n, c, *grid), got {self.values.dtype} "
                f"{tuple(self.values.shape)}"
            )

    @property
    def n(self) -> int:
        return int(self.values.shape[0])

    def token_counts(self) -> None:
        """Continuous latents have no tokens."""

    def bits(self) -> None:
        """Unknown: no entropy model is attached."""

    def select(self, rows: Sequence[int]) -> Latents:
        return Latents(values=self.values[list(rows)])


@dataclass(frozen=True, kw_only=True, eq=False)
class Payloads:
    """Coded files, one a sample; their length is the true rate."""

    files: tuple[bytes, ...]

    @property
    def n(self) -> int:
        return len(self.files)

    def token_counts(self) -> None:
        """A coded file has no tokens."""

    def bits(self) -> torch.Tensor:
        """Bits of each file: float64 ``(n,)``."""
        import torch

        return torch.tensor([8 * len(file) for file in self.files], dtype=torch.float64)

    def select(self, rows: Sequence[int]) -> Payloads:
        return Payloads(files=tuple(self.files[row] for row in rows))


Encoding = Tokens | BitCodes | Latents | Payloads


def _rows(tensor: torch.Tensor | None, rows: list[int]) -> torch.Tensor | None:
    return None if tensor is None else tensor[rows]


def _check_companions(grid: tuple[int, ...], vectors: torch.Tensor | None, replaced: torch.Tensor | None) -> None:
    """Raise BadOutputError unless what stands beside the codes has their shape ``(n, *grid)``."""
    if vectors is not None and (
        not vectors.is_floating_point() or tuple(vectors.shape[:-1]) != grid or vectors.shape[-1] == 0
    ):
        raise BadOutputError(
            f"vectors must be floating point of shape (n, *grid, d) with (n, *grid) {grid}, got {vectors.dtype} "
            f"{tuple(vectors.shape)}"
        )
    if replaced is not None and (str(replaced.dtype) != "torch.bool" or tuple(replaced.shape) != grid):
        raise BadOutputError(f"replaced must be bool of shape {grid}, got {replaced.dtype} {tuple(replaced.shape)}")
