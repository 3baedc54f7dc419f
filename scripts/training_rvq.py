"""Training of the convolutional decoder of ``rvq`` on the codes that the residual LBG quantiser finds."""

from __future__ import annotations

import logging
import math

import torch
import torch.nn.functional as F

from tokbench_adapters._networks.conv_decoder import synthesise

log = logging.getLogger(__name__)

CROP_PX, BATCH = 96, 8
CHANNELS, CONTEXT, SEAM = 88, 24, 32
RATE, WARM_UP = 1e-3, 100

Weights = dict[str, torch.Tensor]


def initial_weights(*, inverse: torch.Tensor, mean: torch.Tensor, seed: int) -> Weights:
    """Weights that compute exactly the linear transform back: the convolutional branch ends in zeros.

    Args:
        inverse: float32 ``(192, c)``, latents to pixel-unshuffled blocks.
        mean: float32 ``(192,)``, added to the blocks.
        seed: of everything else.
    """
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "in": (CHANNELS, inverse.shape[1], 3),
        "block.0": (CHANNELS, CHANNELS, 3),
        "block.1": (CHANNELS, CHANNELS, 3),
        "up": (CONTEXT * 16, CHANNELS, 1),
        "seam.in": (SEAM, CONTEXT + 12, 3),
        "seam.mid": (SEAM, SEAM, 3),
        "seam.out": (12, SEAM, 3),
    }
    weights: Weights = {}
    for name, (out, into, kernel) in shapes.items():
        scale = 0.0 if name == "seam.out" else math.sqrt(2 / (into * kernel * kernel))
        weights[f"{name}.weight"] = torch.randn(out, into, kernel, kernel, generator=generator) * scale
        weights[f"{name}.bias"] = torch.zeros(out)
    weights["linear.weight"] = inverse[:, :, None, None].clone()
    weights["linear.bias"] = mean.clone()
    return weights


def quantise(latents: torch.Tensor, codebooks: torch.Tensor) -> torch.Tensor:
    """Latents ``(n, c, h, w)`` → the sum of the nearest codes, level by level; codebooks are ``(levels, size, c)``."""
    n, c, h, w = latents.shape
    residual = latents.permute(0, 2, 3, 1).flatten(0, 2)
    total = torch.zeros_like(residual)
    for codebook in codebooks:
        index = torch.addmm((codebook * codebook).sum(1), residual, codebook.T, alpha=-2).argmin(1)
        total += codebook[index]
        residual = residual - codebook[index]
    return total.reshape(n, h, w, c).permute(0, 3, 1, 2)


def train(
    weights: Weights, patches: torch.Tensor, *, analysis: torch.Tensor, codebooks: torch.Tensor, steps: int, seed: int
) -> Weights:
    """Minimise the squared error of reconstructions at random depths, half of them the full one.

    The encoder and the codes stay as they are: training all three together for as long gained another 0.15 dB, for
    nearly four times the weights.

    Args:
        weights: from :func:`initial_weights`; left as they are.
        patches: uint8 ``(n, side, side, 3)``.
        analysis: float32 ``(c, 192)``, blocks (less the mean) to latents.
        codebooks: float32 ``(levels, size, c)``.
        steps: of Adam, with a linear warm-up and a cosine to zero; the linear part stays as it is.
        seed: of the order, crops and depths.
    """
    generator = torch.Generator().manual_seed(seed)
    mean = weights["linear.bias"]
    weights = {name: value.clone().requires_grad_(not name.startswith("linear.")) for name, value in weights.items()}
    optimiser = torch.optim.Adam(
        [value for value in weights.values() if value.requires_grad], lr=RATE, betas=(0.9, 0.99)
    )
    room, deepest = patches.shape[1] - CROP_PX + 1, len(codebooks)
    running = 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))
        picked = torch.randint(len(patches), (BATCH,), generator=generator)
        top, left, drawn = (int(torch.randint(n, (1,), generator=generator)) for n in (room, room, 2 * deepest))
        crop = patches[picked, top : top + CROP_PX, left : left + CROP_PX]
        images = crop.permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            blocks = F.pixel_unshuffle(images, 8) - mean[:, None, None]
            latents = torch.einsum("cd,ndhw->nchw", analysis, blocks)
            quantised = quantise(latents, codebooks[: min(drawn + 1, deepest)])
        loss = F.mse_loss(synthesise(weights, quantised), images)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        running += loss.item()
        if step % 200 == 199:
            log.info("step %d of %d: %.2f dB", step + 1, steps, -10 * math.log10(running / 200))
            running = 0.0
    return {name: value.detach() for name, value in weights.items()}
