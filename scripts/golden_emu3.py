"""Emu3's official vision tokenizer, as ``make_tokenizer_golden.py`` runs it; it needs transformers."""

from __future__ import annotations

import importlib
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from golden_jobs import Job, smallest_gap
from torch import nn

from tests.adapters.seeding import pattern, values_facts

REPOSITORIES = {"emu3": ("baaivision/Emu3", "f6ea9aaa44bd4ae5d7a048300cf0a16a863b0cae")}
REDUCED = {"codebook_size": 512, "ch": 32, "ch_mult": [1, 2, 2], "attn_resolutions": [2]}
VARIANTS: dict[str, dict[str, Any]] = {"vision_tokenizer": {}, "reduced": REDUCED}
SIZES = {"vision_tokenizer": (1, 64, 64), "reduced": (2, 32, 48)}
STRIDE = 37


def jobs(family: str, checkout: Path) -> dict[str, Job]:  # noqa: ARG001
    """By variant, what is run."""
    return {name: Job(partial(_build, checkout, said), partial(_run, name)) for name, said in VARIANTS.items()}


def _build(checkout: Path, said: dict[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    sys.path.insert(0, str(checkout))
    config = importlib.import_module("emu3.tokenizer.configuration_emu3visionvq").Emu3VisionVQConfig(**said)
    network = importlib.import_module("emu3.tokenizer.modeling_emu3visionvq").Emu3VisionVQModel(config)
    return network, {"config": said}


def _run(variant: str, network: Any) -> dict[str, Any]:
    """Codes and vectors of images; and images of codes that are spread over the book, for few are used by the first."""
    images = pattern(*SIZES[variant])
    given: list[torch.Tensor] = []
    handle = network.quantize.register_forward_hook(lambda _, args, __: given.append(args[0]))
    indices = network.encode(images * 2 - 1)
    handle.remove()
    vectors = given[0][:, 0].permute(0, 2, 3, 1)
    spread = torch.arange(indices.numel()).mul(STRIDE).remainder(network.config.codebook_size).view(indices.shape)
    entries = network.quantize.embedding.weight
    return {
        "images": list(SIZES[variant]),
        "indices": indices.tolist(),
        "smallest_gap": smallest_gap(vectors.flatten(0, -2), entries),
        "vectors": values_facts(vectors),
        "stride": STRIDE,
        "image": values_facts(network.decode(spread) / 2 + 0.5),
    }
