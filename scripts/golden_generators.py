"""The official VQ networks of image generators whose published weights have a library's form, for comparison with it.

``make_tokenizer_golden.py`` runs them. Paella's code imports its quantiser from the package torchtools; what stands
here instead has the same entry name and gives the nearest entry by distance, as that does.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from golden_jobs import Job, module_at, smallest_gap
from torch import Tensor, nn

from tests.adapters.seeding import pattern, values_facts

REPOSITORIES = {
    "paella": ("dome272/Paella", "e1ab72b8aa7b22def24dafd51805aed84be52ed9"),
    "movq": ("ai-forever/MoVQGAN", "f3976d8752826c6ba003cfee8790e91ea23c57e8"),
}
IMAGES = (2, 32, 32)
PAELLA = {"bottleneck_blocks": 2, "c_hidden": 64, "codebook_size": 512}
MOVQ: dict[str, Any] = {
    "embed_dim": 4, "n_embed": 512,
    "ddconfig": {
        "double_z": False, "z_channels": 4, "resolution": 32, "in_channels": 3, "out_ch": 3, "ch": 32,
        "ch_mult": [1, 2], "num_res_blocks": 2, "attn_resolutions": [16], "dropout": 0.0,
    },
}  # fmt: skip


class Nearest(nn.Module):
    """Stands for ``torchtools.nn.VectorQuantize``."""

    def __init__(self, width: int, k: int) -> None:
        super().__init__()
        self.codebook = nn.Embedding(k, width)

    def forward(self, vectors: Tensor, dim: int) -> tuple[Tensor, tuple[int, int], Tensor]:
        last = vectors.movedim(dim, -1)
        indices = torch.cdist(last.flatten(0, -2), self.codebook.weight).argmin(1).view(last.shape[:-1])
        return self.idx2vq(indices, dim), (0, 0), indices

    def idx2vq(self, indices: Tensor, dim: int) -> Tensor:
        found: Tensor = self.codebook(indices).movedim(-1, dim)
        return found


class Movq(nn.Module):
    """``movqgan.models.vqgan.MOVQ`` without its trainer, and so without what that imports."""

    def __init__(self, blocks: ModuleType, decoder: ModuleType) -> None:
        super().__init__()
        said, width = MOVQ["ddconfig"], MOVQ["embed_dim"]
        self.encoder = blocks.Encoder(**said)
        self.decoder = decoder.MOVQDecoder(zq_ch=width, **said)
        self.quantize = nn.ModuleDict({"embedding": nn.Embedding(MOVQ["n_embed"], width)})
        self.quant_conv = nn.Conv2d(said["z_channels"], width, 1)
        self.post_quant_conv = nn.Conv2d(width, said["z_channels"], 1)


def jobs(family: str, checkout: Path) -> dict[str, Job]:
    """By variant, what is run."""
    build, run = {"paella": (_build_paella, _run_paella), "movq": (_build_movq, _run_movq)}[family]
    return {"reduced": Job(partial(build, checkout), run)}


def _build_paella(checkout: Path) -> tuple[nn.Module, dict[str, Any]]:
    package, inner = ModuleType("torchtools"), ModuleType("torchtools.nn")
    inner.VectorQuantize = Nearest  # type: ignore[attr-defined]
    sys.modules |= {"torchtools": package, "torchtools.nn": inner}
    return module_at(checkout / "src/vqgan.py").VQModel(**PAELLA), {"config": PAELLA}


def _run_paella(network: Any) -> dict[str, Any]:
    _, scaled, indices, _ = network.encode(pattern(*IMAGES))
    vectors = (scaled * network.scale_factor).permute(0, 2, 3, 1)
    return _facts(vectors, network.vquantizer.codebook.weight, indices, network.decode_indices(indices))


def _build_movq(checkout: Path) -> tuple[nn.Module, dict[str, Any]]:
    folder = checkout / "movqgan/modules/vqvae"
    return Movq(module_at(folder / "vqvae_blocks.py"), module_at(folder / "movq_modules.py")), {"config": MOVQ}


def _run_movq(network: Any) -> dict[str, Any]:
    vectors = network.quant_conv(network.encoder(pattern(*IMAGES) * 2 - 1)).permute(0, 2, 3, 1)
    book = network.quantize["embedding"].weight
    indices = torch.cdist(vectors.flatten(0, -2), book).argmin(1).view(vectors.shape[:-1])
    entries = book[indices].permute(0, 3, 1, 2)
    return _facts(vectors, book, indices, network.decoder(network.post_quant_conv(entries), entries) / 2 + 0.5)


def _facts(vectors: Tensor, entries: Tensor, indices: Tensor, images: Tensor) -> dict[str, Any]:
    return {
        "images": list(IMAGES),
        "indices": indices.tolist(),
        "smallest_gap": smallest_gap(vectors.flatten(0, -2), entries),
        "vectors": values_facts(vectors),
        "image": values_facts(images),
    }
