"""Training of linear block bases (PCA) and of residual codebooks (Linde, Buzo, Gray 1980), on one thread, seeded."""

from __future__ import annotations

import logging

import torch
import torch.nn.functional as F

log = logging.getLogger(__name__)

CHUNK = 1 << 14
SPLIT = 0.01


def to_blocks(patches: torch.Tensor, *, side: int) -> torch.Tensor:
    """Images ``(n, 3, h, w)`` → blocks ``(n * h/side * w/side, 3 * side * side)``, in pixel-unshuffle order."""
    return F.pixel_unshuffle(patches, side).permute(0, 2, 3, 1).flatten(0, 2)


def fit_basis(blocks: torch.Tensor, *, keep: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean ``(d,)`` and the ``keep`` leading principal directions ``(keep, d)``, float32; signs are made definite."""
    mean = blocks.mean(0, dtype=torch.float64)
    covariance = torch.zeros(blocks.shape[1], blocks.shape[1], dtype=torch.float64)
    for chunk in blocks.split(CHUNK):
        centred = chunk.double() - mean
        covariance += centred.T @ centred
    _, vectors = torch.linalg.eigh(covariance / len(blocks))
    basis = vectors.T.flip(0)[:keep]
    largest = basis.gather(1, basis.abs().argmax(1, keepdim=True))
    return mean.float(), (basis * largest.sign()).float()


def nearest(vectors: torch.Tensor, codebook: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Index of and squared distance to the nearest code of each vector."""
    indices, distances = [], []
    offset = (codebook * codebook).sum(1)
    for chunk in vectors.split(CHUNK):
        score, index = torch.addmm(offset, chunk, codebook.T, alpha=-2).min(1)
        indices.append(index)
        distances.append((score + (chunk * chunk).sum(1)).clamp_(min=0))
    return torch.cat(indices), torch.cat(distances)


def train_codebook(vectors: torch.Tensor, *, size: int, rounds: int, seed: int) -> torch.Tensor:
    """Linde–Buzo–Gray: start from the mean, split every code in two, settle, and so on up to ``size``.

    Args:
        vectors: float32 ``(n, d)``.
        size: entries, a power of two.
        rounds: Lloyd iterations at the full size; a third of them at each smaller one.
        seed: of the directions codes are split in.

    Returns:
        float32 ``(size, d)``, in the order of the first coordinate.
    """
    generator = torch.Generator().manual_seed(seed)
    codebook = vectors.mean(0, keepdim=True)
    while len(codebook) < size:
        push = torch.randn(codebook.shape, generator=generator) * vectors.std(0) * SPLIT
        codebook = torch.cat([codebook - push, codebook + push])
        for _ in range(rounds if len(codebook) == size else max(rounds // 3, 2)):
            codebook, distortion = _settle(vectors, codebook, generator)
    log.info("codebook of %d: mean squared error %.6f", size, distortion)
    return codebook[codebook[:, 0].argsort()]


def _settle(vectors: torch.Tensor, codebook: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, float]:
    """One Lloyd iteration; a code without vectors is put beside one of those with the largest total error."""
    indices, distances = nearest(vectors, codebook)
    counts = torch.bincount(indices, minlength=len(codebook))
    sums = torch.zeros_like(codebook).index_add_(0, indices, vectors)
    centres = sums / counts.clamp(min=1)[:, None]
    empty = (counts == 0).nonzero()[:, 0]
    if len(empty):
        errors = torch.zeros(len(codebook)).index_add_(0, indices, distances)
        worst = errors.topk(len(empty)).indices
        push = torch.randn(len(empty), codebook.shape[1], generator=generator) * vectors.std(0) * SPLIT
        centres[empty] = centres[worst] + push
    return centres, float(distances.mean())
