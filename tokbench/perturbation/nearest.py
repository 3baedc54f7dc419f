"""The codes nearest to a vector, searched tile by tile so that memory does not grow with the codebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tokbench.errors import UsageError

if TYPE_CHECKING:
    import torch

# A tile of distances: 16 MiB in float32, under 250 MiB with the sorting keys and the copies made on the way.
TILE_VECTORS = 1024
TILE_CODES = 4096


def nearest_codes(
    vectors: torch.Tensor, codebook: torch.Tensor, count: int, *, tile: tuple[int, int] = (TILE_VECTORS, TILE_CODES)
) -> torch.Tensor:
    """The ``count`` codes with the smallest squared Euclidean distance to each vector, nearest first.

    Equal distances go to the lower index, as ``argmin`` has it, however the codebook is cut into tiles. Distances are
    float32 and leave out the vector's own square, which is the same for all codes.

    Args:
        vectors: float ``(t, d)``.
        codebook: float ``(K, d)``, finite.
        count: from 1 to K.
        tile: vectors and codes that are compared at a time.

    Returns:
        int32 ``(t, count)`` on the vectors' device.

    Raises:
        UsageError: ``count`` is not between 1 and K, or the two have different widths.
    """
    import torch

    entries, width = codebook.shape
    if not 1 <= count <= entries:
        raise UsageError(f"a neighbourhood of {count} codes needs a codebook of at least as many, this has {entries}")
    if vectors.shape[-1] != width:
        raise UsageError(f"vectors have {vectors.shape[-1]} dimensions and the codebook's entries {width}")
    vectors, codebook = vectors.float(), codebook.to(vectors.device).float()
    rows, codes = tile
    if not len(vectors):
        return torch.empty((0, count), dtype=torch.int32, device=vectors.device)
    return torch.cat([_nearest(part, codebook, count, codes) for part in torch.split(vectors, rows)])


def _nearest(vectors: torch.Tensor, codebook: torch.Tensor, count: int, step: int) -> torch.Tensor:
    import torch

    best = torch.empty((len(vectors), 0), dtype=torch.int64, device=vectors.device)
    for start in range(0, len(codebook), step):
        part = codebook[start : start + step]
        distances = torch.addmm((part * part).sum(-1), vectors, part.T, alpha=-2)
        best = _smallest(torch.cat([best, _sorting_keys(distances, first=start)], dim=1), count)
    return (best.sort(dim=1).values & 0xFFFFFFFF).int()


def _sorting_keys(distances: torch.Tensor, *, first: int) -> torch.Tensor:
    """float32 ``(t, k)`` → int64 that sort by distance, then by index; the index is in the lower half."""
    import torch

    bits = (distances + 0.0).view(torch.int32)  # adding 0 makes -0 and 0 equal
    rising = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    indices = torch.arange(first, first + distances.shape[1], device=distances.device)
    return (rising.long() << 32) | indices


def _smallest(keys: torch.Tensor, count: int) -> torch.Tensor:
    """The ``count`` smallest of each row, in any order; the keys of a row differ, so which they are is no question."""
    import torch

    if keys.shape[1] <= count:
        return keys
    if keys.device.type != "cuda":  # several times as fast as torch's topk on a CPU, and MPS has none for int64
        return torch.from_numpy(np.partition(keys.cpu().numpy(), count - 1, axis=1)[:, :count].copy()).to(keys.device)
    return keys.topk(count, dim=1, largest=False, sorted=False).values
