"""Training of the convolutional residual quantiser, end to end, from the linear transform and LBG codebooks."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
import torch.nn.functional as F

from tokbench_adapters import _conv_rvq

log = logging.getLogger(__name__)

CROP_PX, BATCH = 96, 8
CHANNELS, CONTEXT, SEAM = 88, 24, 32
# The decoder learns fast; what decides the codes learns slowly and late, or encoder and codebooks run apart.
DECODER_RATE, ENCODER_RATE, CODE_RATE = 1e-3, 1e-4, 3e-5
WARM_UP, ENCODER_STARTS = 100, 500
COMMITMENT = 1.0
COORDINATES = 3  # RGB values a latent stands for, so that both errors are in one unit

Weights = dict[str, torch.Tensor]


def initial_weights(*, analysis: Weights, codebooks: torch.Tensor, seed: int) -> Weights:
    """Weights that compute exactly the linear transform: the convolutional branches end in zeros.

    Args:
        analysis: ``weight (c, 192)`` and ``bias (c,)`` on pixel-unshuffled blocks, and ``inverse (192, c)`` and
            ``inverse_bias (192,)``.
        codebooks: float32 ``(levels, size, c)``.
        seed: of everything else.
    """
    generator = torch.Generator().manual_seed(seed)
    c = codebooks.shape[2]
    shapes = {
        "analysis.in": (CHANNELS, 192, 1),
        "analysis.block.0": (CHANNELS, CHANNELS, 3),
        "analysis.block.1": (CHANNELS, CHANNELS, 3),
        "analysis.out": (c, CHANNELS, 1),
        "synthesis.in": (CHANNELS, c, 3),
        "synthesis.block.0": (CHANNELS, CHANNELS, 3),
        "synthesis.block.1": (CHANNELS, CHANNELS, 3),
        "synthesis.up": (CONTEXT * 16, CHANNELS, 1),
        "seam.in": (SEAM, CONTEXT + 12, 3),
        "seam.mid": (SEAM, SEAM, 3),
        "seam.out": (12, SEAM, 3),
    }
    weights: Weights = {}
    for name, (out, into, kernel) in shapes.items():
        scale = 0.0 if name in ("analysis.out", "seam.out") else math.sqrt(2 / (into * kernel * kernel))
        weights[f"{name}.weight"] = torch.randn(out, into, kernel, kernel, generator=generator) * scale
        weights[f"{name}.bias"] = torch.zeros(out)
    weights["analysis.linear.weight"] = analysis["weight"][:, :, None, None].clone()
    weights["analysis.linear.bias"] = analysis["bias"].clone()
    weights["synthesis.linear.weight"] = analysis["inverse"][:, :, None, None].clone()
    weights["synthesis.linear.bias"] = analysis["inverse_bias"].clone()
    weights["codebooks"] = codebooks.clone()
    return weights


def quantise(latents: torch.Tensor, codebooks: torch.Tensor) -> torch.Tensor:
    """Latents ``(n, c, h, w)`` → their quantised values; gradients reach the codes chosen and, straight through, the
    latents (van den Oord et al. 2017).
    """
    flat = latents.permute(0, 2, 3, 1).flatten(0, 2)
    with torch.no_grad():
        residual, chosen = flat, []
        for codebook in codebooks:
            index = torch.addmm((codebook * codebook).sum(1), residual, codebook.T, alpha=-2).argmin(1)
            chosen.append(index)
            residual = residual - codebook[index]
    total = sum(F.embedding(index, codebook) for index, codebook in zip(chosen, codebooks, strict=True))
    n, c, h, w = latents.shape
    quantised = total.reshape(n, h, w, c).permute(0, 3, 1, 2)
    return quantised + latents - latents.detach()


def train(weights: Weights, patches: torch.Tensor, *, steps: int, seed: int) -> Weights:
    """Minimise the squared error of reconstructions at random depths, half of them the full one.

    Args:
        weights: from :func:`initial_weights`; left as they are.
        patches: uint8 ``(n, side, side, 3)``.
        steps: of Adam, with a linear warm-up and a cosine to zero.
        seed: of the order, crops and depths.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {name: value.clone().requires_grad_() for name, value in weights.items()}
    groups: list[dict[str, Any]] = [{"params": [], "base": rate} for rate in (DECODER_RATE, ENCODER_RATE, CODE_RATE)]
    for name, value in weights.items():
        slow = ".linear." in name or name == "codebooks"
        groups[2 if slow else 1 if name.startswith("analysis.") else 0]["params"].append(value)
    optimiser = torch.optim.Adam(groups, lr=DECODER_RATE, betas=(0.9, 0.99))
    room = patches.shape[1] - CROP_PX + 1
    depth_full = len(weights["codebooks"])
    running = 0.0
    for step in range(steps):
        rate = min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            waits = group["base"] < DECODER_RATE and step < ENCODER_STARTS
            group["lr"] = 0.0 if waits else group["base"] * rate
        picked = torch.randint(len(patches), (BATCH,), generator=generator)
        top, left, drawn = (int(torch.randint(n, (1,), generator=generator)) for n in (room, room, 2 * depth_full))
        crop = patches[picked, top : top + CROP_PX, left : left + CROP_PX]
        images = crop.permute(0, 3, 1, 2).float() / 255
        latents = _conv_rvq.analyse(weights, images)
        quantised = quantise(latents, weights["codebooks"][: min(drawn + 1, depth_full)])
        rebuilt = _conv_rvq.synthesise(weights, quantised)
        error = F.mse_loss(rebuilt, images)
        loss = error + COMMITMENT * F.mse_loss(latents, quantised.detach()) / COORDINATES
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
        optimiser.step()
        running = 0.98 * running + 0.02 * float(error.detach()) if step else float(error.detach())
        if step % 200 == 0:
            log.info("step %d of %d: %.2f dB", step, steps, -10 * math.log10(running))
    return {name: value.detach() for name, value in weights.items()}
