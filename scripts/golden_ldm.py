"""The official autoencoders of latent-diffusion's kind (MAR's, VA-VAE), as ``make_tokenizer_golden.py`` runs them.

VA-VAE's file imports requests, tqdm and torchvision besides.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from golden_jobs import Job, module_at
from torch import nn

from tests.adapters.seeding import pattern, values_facts

REPOSITORIES = {
    "mar_vae": ("LTH14/mar", "fe470ac24afbee924668d8c5c83e9fec60af3a73"),
    "va_vae": ("hustvl/LightningDiT", "2725fed42a14898744433809949834e26957bcdd"),
}
_FILES = {"mar_vae": "models/vae.py", "va_vae": "tokenizer/autoencoder.py"}
# Where the decoder attends besides its middle: MAR's class has this default, VA-VAE's is told.
_DECODER_ATTENDS: dict[str, tuple[int, ...]] = {"mar_vae": (), "va_vae": (16,)}
_REDUCED = {"embed_dim": 4, "ch_mult": [1, 2], "ch": 32, "resolution": 32}
VARIANTS: dict[str, dict[str, tuple[dict[str, Any], tuple[int, int, int]]]] = {
    # by family and variant: arguments, and the size of the images
    "mar_vae": {
        "kl16": ({"embed_dim": 16, "ch_mult": [1, 1, 2, 2, 4]}, (1, 64, 96)),
        "reduced": (_REDUCED, (2, 16, 24)),
    },
    "va_vae": {
        "official": ({"embed_dim": 32, "ch_mult": [1, 1, 2, 2, 4]}, (1, 64, 96)),
        "reduced": (_REDUCED, (2, 16, 24)),
    },
}


def jobs(family: str, checkout: Path) -> dict[str, Job]:
    """By variant."""
    return {
        variant: Job(build=partial(_build, family, checkout, arguments), run=partial(_run, size))
        for variant, (arguments, size) in VARIANTS[family].items()
    }


def _build(family: str, checkout: Path, arguments: dict[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    upstream = module_at(checkout / _FILES[family])
    network = upstream.AutoencoderKL(embed_dim=arguments["embed_dim"], ch_mult=tuple(arguments["ch_mult"]))
    if "ch" in arguments:
        more = {"ch": arguments["ch"], "ch_mult": tuple(arguments["ch_mult"]), "resolution": arguments["resolution"]}
        network.encoder = upstream.Encoder(z_channels=arguments["embed_dim"], **more)
        network.decoder = upstream.Decoder(
            z_channels=arguments["embed_dim"], attn_resolutions=_DECODER_ATTENDS[family], **more
        )
    return network, {"config": arguments}


def _run(size: tuple[int, int, int], network: Any) -> dict[str, Any]:
    latents = network.encode(pattern(*size) * 2 - 1).mean
    return {
        "images": list(size),
        "latents": values_facts(latents),
        "image": values_facts(network.decode(latents) / 2 + 0.5),
    }
