"""The nearest entry of a codebook, searched in chunks of bounded memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST_TABLE = 2**24
"""Distances held at a time (64 MiB in float32)."""


class Codebook(nn.Module):
    """A learned codebook under the official name ``embedding.weight``.

    Args:
        size, width: entries and their dimensions.
        is_normalised: vectors and entries are compared at length 1, and entries are given out at length 1.
    """

    def __init__(self, size: int, width: int, *, is_normalised: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, width)
        self.is_normalised = is_normalised

    def entries(self) -> Tensor:
        """Float32 ``(K, d)``, as they are compared."""
        entries = self.embedding.weight.float()
        return F.normalize(entries, dim=-1) if self.is_normalised else entries

    def nearest(self, vectors: Tensor) -> Tensor:
        """Float ``(n, *grid, d)`` → int64 ``(n, *grid)``: the smallest squared distance, the first if several are."""
        flat = vectors.float().flatten(0, -2)
        if self.is_normalised:
            flat = F.normalize(flat, dim=-1)
        return nearest_entries(flat, self.entries()).view(vectors.shape[:-1])

    def look_up(self, indices: Tensor) -> Tensor:
        """int64 ``(n, *grid)`` → float ``(n, *grid, d)``, in the type of the weights."""
        found: Tensor = self.embedding(indices)
        return F.normalize(found, dim=-1) if self.is_normalised else found


def nearest_entries(vectors: Tensor, entries: Tensor, *, largest_table: int = LARGEST_TABLE) -> Tensor:
    """Index of the entry nearest to each vector, without the whole table of distances.

    Args:
        vectors: float32 ``(m, d)``.
        entries: float32 ``(K, d)``.
        largest_table: how many numbers are held at a time, at least one row of K.

    Returns:
        int64 ``(m,)``. The distance is computed as ``|v|² + |e|² − 2 v·e``, in that order, as tokenizers do.
    """
    width = entries.shape[1]
    offsets = torch.cat([part.square().sum(1) for part in entries.split(max(1, largest_table // width))])
    # No name holds a table, so that it is freed before the next one.
    found = [
        (part.square().sum(1, keepdim=True) + offsets).addmm_(part, entries.T, alpha=-2).argmin(1)
        for part in vectors.split(max(1, largest_table // len(entries)))
    ]
    return torch.cat(found)
