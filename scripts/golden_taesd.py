"""The official TAESD networks, as ``make_tokenizer_golden.py`` runs them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from golden_jobs import Job, module_at
from torch import nn

from tests.adapters.seeding import pattern, values_facts

REPOSITORIES = {"taesd": ("madebyollin/taesd", "5cccb12dc72074a4be35680c3b108548a7c69978")}

VARIANTS: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    # arguments of TAESD, and the size of the images
    "taesd": ({"latent_channels": 4, "arch_variant": None}, (2, 32, 48)),
    "taesd3": ({"latent_channels": 16, "arch_variant": None}, (2, 32, 48)),
    "taef2": ({"latent_channels": 32, "arch_variant": "flux_2"}, (2, 32, 48)),
    "taesana": ({"latent_channels": 32, "arch_variant": "f32"}, (2, 64, 96)),
}


def jobs(family: str, checkout: Path) -> dict[str, Job]:  # noqa: ARG001
    """By variant."""
    return {
        variant: Job(build=partial(_build, checkout, arguments), run=partial(_run, size))
        for variant, (arguments, size) in VARIANTS.items()
    }


def _build(checkout: Path, arguments: dict[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    network = module_at(checkout / "taesd.py").TAESD(encoder_path=None, decoder_path=None, **arguments)
    return network, {"config": arguments}


def _run(size: tuple[int, int, int], network: Any) -> dict[str, Any]:
    latents = network.encoder(pattern(*size))
    return {
        "images": list(size),
        "latents": values_facts(latents),
        "image": values_facts(network.decoder(latents)),
    }
