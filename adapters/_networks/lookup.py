"""Codebooks whose entries are not chosen by distance: by inner product, and by learned logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tokbench_adapters._networks.codebook import LARGEST_TABLE


class DotCodebook(nn.Module):
    """A learned codebook under the official name ``embedding.weight``, searched for the largest inner product.

    After IBQ (arXiv:2412.02692), TencentARC/SEED-Voken at b9a17ea, ``modules/vqvae/quantize.py``. There the largest is
    taken of the softmax, which can make near ties equal and give the lower index; here of the products themselves.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, width)

    is_normalised = False

    def nearest(self, vectors: Tensor) -> Tensor:
        """Float ``(n, *grid, d)`` → int64 ``(n, *grid)``, in float32; equal ones: the lower index."""
        flat = vectors.float().flatten(0, -2)
        return largest_products(flat, self.embedding.weight.float()).view(vectors.shape[:-1])

    def entries(self) -> Tensor:
        """Float32 ``(K, d + 1)``, whose distances to :meth:`compared` vectors rank as the products do."""
        return raised(self.embedding.weight.float())

    def compared(self, vectors: Tensor) -> Tensor:
        """Float ``(n, *grid, d)`` → float32 ``(n, *grid, d + 1)``, to be compared with :meth:`entries`."""
        return F.pad(vectors.float(), (0, 1))

    def look_up(self, indices: Tensor) -> Tensor:
        """int64 ``(n, *grid)`` → float ``(n, *grid, d)``, in the type of the weights."""
        found: Tensor = self.embedding(indices)
        return found


class LogitCodebook(nn.Module):
    """A learned 1×1 projection to one logit an entry, under the official names ``proj`` and ``embed.weight``.

    After the Gumbel quantiser of CompVis/taming-transformers at 3ba01b2. There noise is added to the logits at
    inference too; here the largest logit is taken, which is the mode of that draw.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(width, size, 1)
        self.embed = nn.Embedding(size, width)

    is_normalised = False

    def nearest(self, vectors: Tensor) -> Tensor:
        """Float ``(n, *grid, d)`` → int64 ``(n, *grid)``, in float32; equal ones: the lower index."""
        weight, bias = self._projection()
        return largest_products(vectors.float().flatten(0, -2), weight, bias).view(vectors.shape[:-1])

    def entries(self) -> Tensor:
        """Float32 ``(K, d + 2)``, whose distances to :meth:`compared` vectors rank as the logits do."""
        weight, bias = self._projection()
        return raised(torch.cat([weight, bias[:, None]], dim=1))

    def compared(self, vectors: Tensor) -> Tensor:
        """Float ``(n, *grid, d)`` → float32 ``(n, *grid, d + 2)``, to be compared with :meth:`entries`."""
        return F.pad(F.pad(vectors.float(), (0, 1), value=1.0), (0, 1))

    def _projection(self) -> tuple[Tensor, Tensor]:
        """Weight float32 ``(K, d)`` and bias float32 ``(K,)``."""
        assert self.proj.bias is not None
        return self.proj.weight.float()[:, :, 0, 0], self.proj.bias.float()

    def look_up(self, indices: Tensor) -> Tensor:
        """int64 ``(n, *grid)`` → float ``(n, *grid, d)``, in the type of the weights."""
        found: Tensor = self.embed(indices)
        return found


def raised(entries: Tensor) -> Tensor:
    """Entries of one length by one more dimension, so that the largest product is the smallest distance.

    Float32 ``(K, d)`` → ``(K, d + 1)``; vectors get a zero there (Bachrach et al., "Speeding Up the Xbox Recommender
    System Using a Euclidean Transformation for Inner-Product Spaces", 2014).
    """
    squares = entries.square().sum(1)
    return torch.cat([entries, (squares.max() - squares).clamp_min(0).sqrt()[:, None]], dim=1)


def largest_products(
    vectors: Tensor, entries: Tensor, offsets: Tensor | None = None, *, largest_table: int = LARGEST_TABLE
) -> Tensor:
    """Index of the entry with the largest ``v·e + offset`` for each vector, without the whole table of products.

    Args:
        vectors: float32 ``(m, d)``.
        entries: float32 ``(K, d)``.
        offsets: float32 ``(K,)``; zero if not given.
        largest_table: how many products are held at a time, at least one row of K.

    Returns:
        int64 ``(m,)``.
    """
    rows = max(1, largest_table // len(entries))
    return torch.cat([_products(part, entries, offsets).argmax(1) for part in vectors.split(rows)])


def _products(vectors: Tensor, entries: Tensor, offsets: Tensor | None) -> Tensor:
    products = vectors @ entries.T
    return products if offsets is None else products.add_(offsets)
