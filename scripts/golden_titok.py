"""The official TiTok, TA-TiTok, One-D-Piece and FlowTok, as ``make_tokenizer_golden.py`` runs them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from golden_jobs import Job, plain, smallest_gap
from torch import Tensor, nn

from tests.adapters.seeding import pattern, values_facts
from tests.adapters.titok_cases import POSTERIOR_SEEDS, PREFIXES, REDUCED_DEPTH, REDUCED_SIDE_PX, seeded_text

_1D_TOKENIZER = ("bytedance/1d-tokenizer", "942a96fbdd873780179d1b78d5462911528bf8c8")
REPOSITORIES = {
    "titok": _1D_TOKENIZER,
    "ta_titok": _1D_TOKENIZER,
    "one_d_piece": ("turingmotors/One-D-Piece", "473665d1ec5d4f96e07f1c379166f668ee17b961"),
    "flowtok": ("TACJU/FlowTok", "d4d43c5e3aa241e9a43855f2facfb55359cd56f2"),
}
CLASSES = {
    "titok": ("modeling.titok", "TiTok", "configs/infer/TiTok/titok_*.yaml", "titok_"),
    "ta_titok": ("modeling.tatitok", "TATiTok", "configs/infer/TA-TiTok/tatitok_*.yaml", "tatitok_"),
    "one_d_piece": ("modeling.one_d_piece", "OneDPiece", "configs/one-d-piece_*.yaml", "one-d-piece_"),
    "flowtok": ("libs.flowtitok", "FlowTiTok", "configs/FlowTok-XL-Stage3.py", ""),
}
# Of every kind of network one, with few tokens where the published file has many.
REDUCED = {
    "titok": {"two_steps": ("s128", 8), "vq": ("sl256_vq8k", 8), "kl": ("bl64_vae_c16", 8)},
    "ta_titok": {"vq": ("bl32_vq", 8), "kl": ("sl128_vae", 8)},
    "one_d_piece": {"two_steps": ("s256", 16)},
    "flowtok": {"kl": ("512", 8)},
}
WITH_TEXT = ("ta_titok", "flowtok")
N_IMAGES = 2


def jobs(family: str, checkout: Path) -> dict[str, Job]:
    """By variant, what is run."""
    module, name, configs, prefix = CLASSES[family]
    sys.path.insert(0, str(checkout))
    network_class = getattr(importlib.import_module(module), name)
    found = {path.stem.removeprefix(prefix): path for path in sorted(checkout.glob(configs))}
    published = {"512": found["FlowTok-XL-Stage3"]} if family == "flowtok" else found
    made = {f"reduced_{kind}": (published[variant], n_tokens) for kind, (variant, n_tokens) in REDUCED[family].items()}
    return {
        variant: _job(family, network_class, path, n_tokens)
        for variant, (path, n_tokens) in {**made, **{key: (path, None) for key, path in published.items()}}.items()
    }


def _job(family: str, network_class: Callable[[Any], Any], path: Path, n_tokens: int | None) -> Job:
    return Job(partial(_build, family, network_class, path, n_tokens), partial(_run, family))


def _build(
    family: str, network_class: Callable[[Any], Any], path: Path, n_tokens: int | None
) -> tuple[nn.Module, dict[str, Any]]:
    config, shape, pixels = _read(family, path)
    if n_tokens is not None:
        shape.num_latent_tokens = n_tokens
        pixels.crop_size = REDUCED_SIDE_PX
    network = network_class(config)
    if n_tokens is not None:
        for half in (network.encoder, network.decoder):
            half.transformer = half.transformer[:REDUCED_DEPTH]
            half.num_layers = REDUCED_DEPTH
    depth = REDUCED_DEPTH if n_tokens is not None else None
    return network, {"config": plain(shape), "side_px": int(pixels.crop_size), "depth": depth}


def _read(family: str, path: Path) -> tuple[Any, Any, Any]:
    """The official configuration, and in it the part about the network and the one about images."""
    if family == "flowtok":
        config = importlib.import_module(f"configs.{path.stem}").get_config()
        return config, config.vq_model, config.dataset
    from omegaconf import OmegaConf

    read = OmegaConf.load(path)
    return read, read.model.vq_model, read.dataset.preprocessing


def _run(family: str, network: Any) -> dict[str, Any]:
    side = network.encoder.image_size
    images = pattern(N_IMAGES, side, side)
    text = [seeded_text().expand(N_IMAGES, -1, -1)] if family in WITH_TEXT else []
    if not isinstance(network.quantize, nn.Module):  # a Gaussian posterior
        latents = network.encode(images)[1].mode()
        return {
            "latents": values_facts(latents[:, :, 0]),
            "samples": values_facts(torch.stack([_sample(network, images, number) for number in range(N_IMAGES)])),
            "image": values_facts(network.decode_tokens(latents, *text)),
        }
    vectors = network.encoder(pixel_values=images, latent_tokens=network.latent_tokens)
    indices = network.encode(images)[1]["min_encoding_indices"]
    flat, book = vectors[:, :, 0].transpose(1, 2).flatten(0, 1), network.quantize.embedding.weight
    facts = {
        "indices": indices[:, 0].tolist(),
        "smallest_gap": smallest_gap(flat, book, cosine=network.quantize.use_l2_norm),
        "vectors": values_facts(vectors[:, :, 0].transpose(1, 2).contiguous()),
        "image": values_facts(network.decode_tokens(indices, *text)),
    }
    if family == "one_d_piece":
        facts["prefixes"] = {
            str(length): values_facts(network.decode_tokens(indices, length=length))
            for length in PREFIXES
            if length < indices.shape[-1]
        }
    return facts


def _sample(network: Any, images: Tensor, number: int) -> Tensor:
    """The latents ``(d, l)`` that the official code draws for one image, by itself, from that image's seed."""
    torch.manual_seed(POSTERIOR_SEEDS[number])
    drawn: Tensor = network.encode(images[number : number + 1])[0]
    return drawn[0, :, 0]
