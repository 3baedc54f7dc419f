"""Codes with vectors and codebooks whose nearest codes are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tokbench.encodings import TokenStream
from tokbench.perturbation.draws import Draws


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    """float32 of ``shape``."""
    return torch.from_numpy(np.random.Generator(np.random.Philox(seed)).standard_normal(shape).astype(np.float32))


def draws(n: int, *, first: int = 0) -> list[Draws]:
    return [Draws(first + row) for row in range(n)]


def stream_of(
    vectors: torch.Tensor, codebook: torch.Tensor, *, lengths: Sequence[int] | None = None, name: str = "0"
) -> TokenStream:
    """Each vector's nearest code, as a tokenizer would choose it."""
    flat = vectors.reshape(-1, vectors.shape[-1])
    indices = torch.cdist(flat.double(), codebook.double()).argmin(1).reshape(vectors.shape[:-1])
    if lengths is not None:
        places = torch.arange(indices[0].numel()).reshape(indices.shape[1:])
        indices = torch.where(places[None] < torch.tensor(lengths).reshape(-1, *[1] * places.ndim), indices, 0)
    return TokenStream(
        indices=indices,
        codebook_size=len(codebook),
        codebook=name,
        lengths=None if lengths is None else torch.tensor(lengths),
        vectors=vectors,
    )
