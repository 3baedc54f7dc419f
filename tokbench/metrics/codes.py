"""Counting codes: from an encoding to sparse histograms with 64-bit keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tokbench.encodings import BitCodes, Tokens, TokenStream
from tokbench.errors import MetricError

if TYPE_CHECKING:
    import torch

BIT_CODEBOOK = "bits"


@dataclass(frozen=True, kw_only=True, eq=False)
class CodeCounts:
    """How often each entry of one codebook occurs.

    Attributes:
        codebook: its name.
        entries: its size K; 2^d for d-bit codes.
        keys: distinct entries seen, rising, uint64 ``(k,)``; for codes wider than 64 bits a 64-bit hash of them.
        counts: how often, int64 ``(k,)``.
    """

    codebook: str
    entries: int
    keys: np.ndarray
    counts: np.ndarray

    @property
    def tokens(self) -> int:
        return int(self.counts.sum())


def count_codes(encoding: Tokens | BitCodes) -> list[CodeCounts]:
    """Code histograms of an encoding, one a stream (so a shared codebook occurs more than once).

    Raises:
        MetricError: an index outside [0, codebook size).
    """
    if isinstance(encoding, BitCodes):
        keys, counts = np.unique(pack_bits(encoding.values), return_counts=True)
        entries = 2 ** int(encoding.values.shape[-1])
        return [CodeCounts(codebook=BIT_CODEBOOK, entries=entries, keys=keys, counts=counts)]
    return [_count_stream(stream) for stream in encoding.streams]


def pack_bits(values: torch.Tensor) -> np.ndarray:
    """One uint64 key a code: bool ``(n, *grid, d)`` → ``(n * grid,)``.

    Up to 64 bits the key is the code itself, first bit highest. Wider codes are hashed, 64 bits at a time; the chance
    that any two of 10 million different codes share a key is about 3e-6.
    """
    width = int(values.shape[-1])
    bits = values.reshape(-1, width).cpu().numpy()
    keys = np.zeros(bits.shape[0], np.uint64)
    for start in range(0, width, 64):
        word = np.zeros(bits.shape[0], np.uint64)
        for bit in range(start, min(start + 64, width)):
            word = (word << np.uint64(1)) | bits[:, bit].astype(np.uint64)
        keys = word if width <= 64 else _mix(keys ^ word)
    return keys


def _count_stream(stream: TokenStream) -> CodeCounts:
    import torch

    indices = stream.indices.reshape(stream.indices.shape[0], -1)
    if stream.lengths is not None:
        positions = torch.arange(indices.shape[1], device=indices.device)
        indices = indices[positions[None] < stream.lengths.to(indices.device)[:, None]]
    keys, counts = np.unique(indices.reshape(-1).cpu().numpy(), return_counts=True)
    if keys.size and (keys[0] < 0 or keys[-1] >= stream.codebook_size):
        raise MetricError(
            f"codebook {stream.codebook!r}: indices run from {keys[0]} to {keys[-1]}, outside "
            f"[0, {stream.codebook_size})"
        )
    return CodeCounts(
        codebook=stream.codebook, entries=stream.codebook_size, keys=keys.astype(np.uint64), counts=counts
    )


def _mix(keys: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64, a bijection of uint64 that changes half the bits on average."""
    mixed = keys + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
