"""Autoencoders of diffusers in tests: a tiny configuration of every class we read, with key-seeded weights."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save, save_file
from torch import Tensor, nn

from tests.adapters.key_lists import official_keys
from tests.adapters.seeding import Compared, facts_differ, golden, pattern, seeded_state, values_facts
from tokbench.cards import TokenizerCard
from tokbench.registry import find_tokenizer
from tokbench_adapters._libraries.autoencoder import CLASSES, ImageAutoencoder, autoencoder_of, with_facts
from tokbench_adapters._libraries.diffusers_folder import read_autoencoder
from tokbench_adapters._libraries.former_names import siglip_of_before
from tokbench_adapters._libraries.latent_statistics import Statistics
from tokbench_adapters._libraries.ldm_names import kl_config, open_ldm
from tokbench_adapters._networks.vqgan import Decoder, Encoder
from tokbench_adapters._networks.vqgan_config import TAMING, VqganConfig

WEIGHTS = "diffusion_pytorch_model.safetensors"


def _kl(*widths: int, channels: int = 4, **more: Any) -> dict[str, Any]:
    return {
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "block_out_channels": list(widths),
        "latent_channels": channels,
        "norm_num_groups": 4,
        **more,
    }


def _rae(encoder: str, patch: int, side: int) -> dict[str, Any]:
    return {
        "encoder_type": encoder,
        "encoder_hidden_size": 64,
        "encoder_patch_size": patch,
        "encoder_num_hidden_layers": 1,
        "encoder_input_size": side,
        "decoder_hidden_size": 32,
        "decoder_num_hidden_layers": 1,
        "decoder_num_attention_heads": 2,
        "decoder_intermediate_size": 64,
        "latents_mean": [[[0.01 * channel] * 4] * 4 for channel in range(64)],
        "latents_std": [[[1 + 0.01 * channel] * 4] * 4 for channel in range(64)],
    }


_DC_BLOCKS = {"encoder_block_types": ["ResBlock", "EfficientViTBlock"]}
TINY: dict[str, tuple[str, dict[str, Any]]] = {
    "kl": ("AutoencoderKL", _kl(8, 16, 16, scaling_factor=0.18215)),
    "kl f8 16 channels": ("AutoencoderKL", _kl(4, 8, 8, 8, channels=16, scaling_factor=0.3611, shift_factor=0.1159)),
    "kl shifted, without 1×1 convolutions": (
        "AutoencoderKL",
        _kl(8, 16, channels=6, use_quant_conv=False, use_post_quant_conv=False, scaling_factor=0.5, shift_factor=0.25),
    ),
    "kl with attention at each level": (
        "AutoencoderKL",
        _kl(8, 16)
        | {"down_block_types": ["AttnDownEncoderBlock2D"] * 2, "up_block_types": ["AttnUpDecoderBlock2D"] * 2},
    ),
    "kl by channel": ("AutoencoderKL", _kl(8, 16, latents_mean=[0.1, 0.2, 0.3, 0.4], latents_std=[1.0, 2.0, 3.0, 4.0])),
    "asymmetric": (
        "AsymmetricAutoencoderKL",
        {
            "down_block_types": ["DownEncoderBlock2D"] * 2,
            "down_block_out_channels": [8, 16],
            "up_block_types": ["UpDecoderBlock2D"] * 2,
            "up_block_out_channels": [16, 24],
            "norm_num_groups": 4,
        },
    ),
    "flux2": ("AutoencoderKLFlux2", _kl(8, 16, 16, decoder_block_out_channels=[4, 8, 8], layers_per_block=1)),
    "dc": (
        "AutoencoderDC",
        {
            "latent_channels": 4,
            "attention_head_dim": 8,
            **_DC_BLOCKS,
            "decoder_block_types": _DC_BLOCKS["encoder_block_types"],
            "encoder_block_out_channels": [8, 16],
            "decoder_block_out_channels": [8, 16],
            "encoder_qkv_multiscales": [[], [5]],
            "decoder_qkv_multiscales": [[], [5]],
            "encoder_layers_per_block": [1, 1],
            "decoder_layers_per_block": [1, 1],
            "scaling_factor": 0.3189,
        },
    ),
    "tiny": (
        "AutoencoderTiny",
        {
            "encoder_block_out_channels": [16, 16, 16],
            "decoder_block_out_channels": [16, 16, 16],
            "num_encoder_blocks": [1, 1, 1],
            "num_decoder_blocks": [1, 1, 1],
            "scaling_factor": 1.0,
        },
    ),
    "rae dinov2": ("AutoencoderRAE", _rae("dinov2", 14, 56)),
    "rae siglip2": ("AutoencoderRAE", _rae("siglip2", 16, 64)),
    "rae mae": ("AutoencoderRAE", _rae("mae", 16, 64)),
    "hunyuanimage": (
        "AutoencoderKLHunyuanImage",
        {
            "in_channels": 3,
            "out_channels": 3,
            "latent_channels": 4,
            "block_out_channels": [32, 64, 64],
            "layers_per_block": 1,
            "spatial_compression_ratio": 4,
            "sample_size": 16,  # of the tiles, which no image may go through
            "scaling_factor": 0.75289,
        },
    ),
    "kvae": ("AutoencoderKLKVAE", {"channels": 32, "num_enc_blocks": 1, "num_dec_blocks": 1, "ch_mult": [1, 2]}),
    "qwenimage": (
        "AutoencoderKLQwenImage",
        {
            "base_dim": 8,
            "z_dim": 4,
            "dim_mult": [1, 2, 2],
            "num_res_blocks": 1,
            "temperal_downsample": [False, True],
            "latents_mean": [0.1, -0.2, 0.3, -0.4],
            "latents_std": [1.0, 2.0, 3.0, 4.0],
        },
    ),
}
"""By what it is: the class, and its options as ``config.json`` has them."""


@lru_cache(maxsize=len(TINY))
def network_of(kind: str) -> Any:
    """The library's own network, in evaluation mode; treat it as read-only."""
    import diffusers

    class_name, options = TINY[kind]
    with siglip_of_before(options):
        network = getattr(diffusers, class_name)(**options)
    kept = ("_latents_mean", "_latents_std", "encoder_mean", "encoder_std")  # facts, not weights
    state = network.state_dict()
    drawn = {key: state[key] if key in kept else entry for key, entry in seeded_state(state).items()}
    network.load_state_dict(drawn)
    return network.eval().requires_grad_(False)


def config_of(kind: str, **changes: Any) -> dict[str, Any]:
    class_name, options = TINY[kind]
    return {"_class_name": class_name, "_diffusers_version": "0.40.0", **options, **changes}


def write(folder: Path, kind: str, *, config: Mapping[str, Any] | None = None, **weights: Tensor) -> Path:
    """A folder as the library writes it: the configuration and all weights, or those given."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config or config_of(kind)), encoding="utf-8")
    save_file(dict(weights or network_of(kind).state_dict()), folder / WEIGHTS)
    return folder


def files_of(kind: str, *, calm: bool = False) -> dict[str, bytes]:
    """The same as bytes by file name; ``calm`` paints near mid-grey, as a run wants images about [0, 1]."""
    state = {key: entry.clone() for key, entry in network_of(kind).state_dict().items()}
    if calm:
        for key in ("decoder.conv_out.weight", "decoder.conv_out.bias"):
            state[key] *= 0.1
    return {"config.json": json.dumps(config_of(kind)).encode(), WEIGHTS: save(state)}


def tokenizer_of(
    name: str, kind: str, *, dtype: str = "float32", statistics: Statistics | None = None
) -> ImageAutoencoder:
    """A tiny tokenizer under the card of a published one, read from a folder."""
    card = find_tokenizer(name).card
    with tempfile.TemporaryDirectory() as folder:
        opened = read_autoencoder(card, CLASSES, folder=write(Path(folder), kind))
    return autoencoder_of(opened, with_facts(opened), device="cpu", dtype=dtype, statistics=statistics)


def images(n: int, side: int) -> Tensor:
    noise = torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))
    return 0.2 + 0.6 * noise


class LdmNetwork(nn.Module):
    """Our own network of taming-transformers' names, which are latent-diffusion's, with a posterior at its end."""

    def __init__(
        self,
        channels: int,
        multipliers: tuple[int, ...],
        *,
        encoder_attends: bool,
        decoder_attends: bool,
        width: int = 128,
    ) -> None:
        super().__init__()
        config = VqganConfig(
            layout=TAMING, codebook_size=1, code_width=1, channels=width, multipliers=multipliers, n_blocks=2
        )
        last = (len(multipliers) - 1,)
        self.encoder = Encoder(replace(config, latent_channels=2 * channels, attention=last * encoder_attends))
        self.decoder = Decoder(replace(config, latent_channels=channels, attention=last * decoder_attends))
        self.quant_conv = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.post_quant_conv = nn.Conv2d(channels, channels, 1)

    def mean(self, batch: Tensor) -> Tensor:
        moments: Tensor = self.quant_conv(self.encoder(batch))
        return moments.chunk(2, dim=1)[0]

    def paint(self, latents: Tensor) -> Tensor:
        painted: Tensor = self.decoder(self.post_quant_conv(latents))
        return painted


def ldm_config(family: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """A golden run's configuration, in the library's terms."""
    return kl_config(
        said["embed_dim"],
        tuple(said["ch_mult"]),
        encoder_attends=True,
        decoder_attends=family == "va_vae",
        width=said.get("ch", 128),
    )


def compared(family: str, variant: str) -> Compared:
    """The mean of the golden run's images, and the images decoded from it, by the library under the official names."""
    facts = golden(family)["variants"][variant]
    weights = seeded_state(
        {key: torch.empty(shape, device="meta") for key, shape in official_keys(family, variant).items()}
    )
    opened = open_ldm(TokenizerCard(name=family), ldm_config(family, facts["config"]), weights)
    tokenizer = autoencoder_of(opened, with_facts(opened), device="cpu", dtype="float32")
    with torch.inference_mode():
        encoding = tokenizer.encode(pattern(*facts["images"]))
        painted = tokenizer.decode(encoding, seeds=range(encoding.n))
    return Compared(
        latents=facts_differ(values_facts(encoding.values), facts["latents"]),
        images=facts_differ(values_facts(painted), facts["image"]),
    )


PARITY = {family: partial(compared, family) for family in ("mar_vae", "va_vae")}
"""By family, what compares one of its golden variants."""
