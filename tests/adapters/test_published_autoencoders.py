"""Published autoencoders of diffusers: what their cards say is what the classes at full size are."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.adapters.autoencoder_cases import network_of, tokenizer_of, write
from tokbench.cards import TokenizerCard
from tokbench.errors import UsageError, WeightsError
from tokbench.registry import find_tokenizer
from tokbench_adapters import aligned_vae, dc_ae, flux_vae, generator_vae, mar_vae, rae, sd_vae
from tokbench_adapters._libraries.autoencoder import CLASSES, KINDS, latent_channels
from tokbench_adapters._libraries.diffusers_folder import read_autoencoder
from tokbench_adapters._libraries.former_names import siglip_of_before
from tokbench_adapters._libraries.latent_statistics import published_statistics, scaled_by
from tokbench_adapters._libraries.published import Published
from tokbench_adapters._libraries.published import tokenizer_of as tokenizer_around

MODULES: tuple[ModuleType, ...] = (sd_vae, flux_vae, dc_ae, aligned_vae, rae, generator_vae, mar_vae)
CARDS: dict[str, TokenizerCard] = {card.name: card for module in MODULES for card in module.CARDS}


def known(name: str) -> Published:
    """What a module knows besides the card."""
    if name == "mar_vae":
        return mar_vae.KL16
    family, _, variant = name.partition("/")
    for module in MODULES:
        if any(card.name == name for card in module.CARDS):
            families = getattr(module, "FAMILIES", None) or {family: module.VARIANTS}
            found: Published = families[family][variant]
            return found
    raise AssertionError(name)


def _kl(channels: int, levels: tuple[int, ...] = (128, 256, 512, 512), **more: Any) -> dict[str, Any]:
    return {
        "block_out_channels": levels,
        "down_block_types": ("DownEncoderBlock2D",) * len(levels),
        "up_block_types": ("UpDecoderBlock2D",) * len(levels),
        "layers_per_block": 2,
        "latent_channels": channels,
        **more,
    }


def _dc(channels: int, *deeper: int) -> dict[str, Any]:
    n = 3 + len(deeper)
    widths = (128, 256, 512, *deeper)
    return {
        "latent_channels": channels,
        "encoder_block_types": ("ResBlock",) * 3 + ("EfficientViTBlock",) * (n - 3),
        "decoder_block_types": ("ResBlock",) * 3 + ("EfficientViTBlock",) * (n - 3),
        "encoder_block_out_channels": widths,
        "decoder_block_out_channels": widths,
        "encoder_layers_per_block": (0, 4, 8) + (2,) * (n - 3),
        "decoder_layers_per_block": (0, 5, 10) + (2,) * (n - 3),
        "encoder_qkv_multiscales": ((),) * n,
        "decoder_qkv_multiscales": ((),) * n,
        "decoder_norm_types": ("batch_norm",) * 3 + ("rms_norm",) * (n - 3),
        "decoder_act_fns": ("relu",) * 3 + ("silu",) * (n - 3),
    }


def _rae(encoder: str, width: int, patch: int, side: int, layers: int = 12) -> dict[str, Any]:
    return {
        "encoder_type": encoder,
        "encoder_hidden_size": width,
        "encoder_patch_size": patch,
        "encoder_num_hidden_layers": layers,
        "encoder_input_size": side,
        "decoder_hidden_size": 1152,
        "decoder_num_hidden_layers": 28,
        "decoder_num_attention_heads": 16,
        "decoder_intermediate_size": 4096,
    }


_BARE = {"use_quant_conv": False, "use_post_quant_conv": False}
_SANA = {
    "latent_channels": 32,
    "encoder_block_types": ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3,
    "decoder_block_types": ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3,
    "downsample_block_type": "conv",
    "upsample_block_type": "interpolate",
}
# The published configurations: of DC-AE, RAE, HunyuanImage and FLUX.1 by the library's conversion scripts, of FLUX.2,
# KVAE and Qwen-Image the defaults of the classes, of the others by the code of their papers (less attention in f16).
FULL: dict[str, dict[str, Any]] = {
    "sd15_vae/ft_mse": _kl(4),
    "sdxl_vae/original": _kl(4),
    "sd35_vae/medium": _kl(16, **_BARE),
    "flux1_vae/schnell": _kl(16, **_BARE),
    "flux2_vae/klein_4b": {},
    "dc_ae/f32c32_in": _dc(32, 512, 1024, 1024),
    "dc_ae/f32c32_sana": _SANA,
    "dc_ae/f64c128_in": _dc(128, 512, 1024, 1024, 2048),
    "dc_ae/f128c512_in": _dc(512, 512, 1024, 1024, 2048, 2048),
    "va_vae/f16d32": _kl(32, (128, 128, 256, 256, 512)),
    "eq_vae/base": _kl(4),
    "mar_vae": {key: value for key, value in mar_vae.CONFIG.items() if key != "_class_name"},
    "repa_e/invae": _kl(32, (128, 128, 256, 256, 512)),
    "repa_e/qwenimage": {},
    "rae/dinov2_base": _rae("dinov2", 768, 14, 224),
    "rae/dinov2_small": _rae("dinov2", 384, 14, 224),
    "rae/dinov2_large": _rae("dinov2", 1024, 14, 224, 24),
    "rae/dinov2_base_512": _rae("dinov2", 768, 14, 448),
    "rae/siglip2_base": _rae("siglip2", 768, 16, 256),
    "rae/mae_base": _rae("mae", 768, 16, 256),
    "hunyuanimage_vae/2.1": {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 64,
        "block_out_channels": (128, 256, 512, 512, 1024, 1024),
        "layers_per_block": 2,
        "spatial_compression_ratio": 32,
        "sample_size": 384,
    },
    "qwenimage_vae": {},
    "kvae/2d_1.0": {},
    "asymmetric_vae/x1.5": {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "down_block_out_channels": (128, 256, 512, 512),
        "layers_per_down_block": 2,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "up_block_out_channels": (192, 384, 768, 768),
        "layers_per_up_block": 3,
    },
}


@pytest.mark.parametrize("name", FULL)
def test_the_class_at_full_size_is_what_the_card_says(name: str) -> None:
    import diffusers

    card, facts = CARDS[name], known(name)
    kind = KINDS[facts.class_name]
    with torch.device("meta"), siglip_of_before(FULL[name]):
        network = getattr(diffusers, facts.class_name)(**FULL[name])
    config = network.config
    cell = kind.cell_px(config)
    assert cell == card.downsampling
    assert (kind.multiple(config) if kind.multiple else cell) == card.size_multiple
    assert (kind.side_px(config) if kind.side_px else None) == card.fixed_size_px
    assert latent_channels(config) == facts.channels
    if "spatial_compression_ratio" in vars(network):
        assert network.spatial_compression_ratio == cell
    assert sum(entry.numel() for entry in network.parameters()) > 3e7


def test_the_count_of_parameters_is_the_published_one() -> None:
    import diffusers

    with torch.device("meta"):
        network = diffusers.AutoencoderKL(**FULL["sd15_vae/ft_mse"])
    assert sum(entry.numel() for entry in network.parameters()) == 83_653_863


@pytest.mark.parametrize("name", CARDS)
def test_cards_are_complete(name: str) -> None:
    card = CARDS[name]
    assert re.fullmatch(r".+ \(f\d+, \d+ channels\)", card.title)
    assert card.latent == "continuous"
    assert (card.pixel_range == (0.0, 1.0)) == (card.family == "rae")
    assert card.tokens == ((card.fixed_size_px or 256) // (card.downsampling or 1)) ** 2
    assert re.fullmatch(r"[\w.-]+/[\w.-]+(@[0-9a-f]{40})?", card.hub)
    assert card.repository.startswith("https://github.com/")
    assert card.licence
    assert card.weights_licence
    assert "diffusers" in card.requires
    assert card.extra == "diffusers"
    assert card.notes
    assert all(note.endswith(".") for note in card.notes)
    has_posterior = KINDS[known(name).class_name].gives == "latent_dist"
    assert bool(card.posterior) == has_posterior
    assert (card.posterior == "sample") == any("own seed" in note for note in card.notes)


def test_names_without_a_variant_mean_the_one_people_mean() -> None:
    meant = {
        "sd15_vae": "ft_mse",
        "sdxl_vae": "original",
        "sd35_vae": "medium",
        "flux1_vae": "schnell",
        "flux2_vae": "klein_4b",
        "dc_ae": "f32c32_in",
        "va_vae": "f16d32",
        "eq_vae": "base",
        "repa_e": "vavae",
        "rae": "dinov2_base",
    }
    assert {family: find_tokenizer(family).card.variant for family in meant} == meant


def test_published_convention_decides_between_mean_and_sample() -> None:
    assert {card.family for card in CARDS.values() if card.posterior == "sample"} == {"va_vae", "eq_vae", "mar_vae"}


def test_gated_repositories_are_marked() -> None:
    assert {name for name, card in CARDS.items() if card.gated} == {
        "sd35_vae/medium",
        "sd35_vae/large",
        "flux1_vae/dev",
        "flux2_vae/dev",
    }


def test_sdxl_in_float16_is_refused_and_its_repair_is_not() -> None:
    with pytest.raises(UsageError, match="overflows in float16; pass --dtype bfloat16 or measure sdxl_vae/fp16_fix"):
        sd_vae.load(CARDS["sdxl_vae/original"], device="cpu", dtype="float16")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "card sd15_vae/ft_mse says: downsampling 4 instead of 8, size_multiple 4 instead of 8$"),
        ({"cell_px": 4, "channels": 16}, "says: latent channels 4 instead of 16$"),
        ({"cell_px": 4}, ""),
    ],
)
def test_another_network_under_a_published_name_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    said = replace(known("sd15_vae/ft_mse"), **change)
    card = said.card("sd15_vae/ft_mse")
    opened = read_autoencoder(card, CLASSES, folder=write(tmp_path / "other", "kl"))
    if not words:
        assert tokenizer_around(opened, said, device="cpu", dtype="float32").card.downsampling == 4
        return
    with pytest.raises(WeightsError, match=words):
        tokenizer_around(opened, said, device="cpu", dtype="float32")


def test_scaled_latents_are_what_generators_are_given() -> None:
    """The library's pipelines compute (z - shift) · factor, which is (z - mean) / deviation."""
    flux = known("flux1_vae/schnell")
    assert flux.factor is not None
    mean, deviation = scaled_by(flux.factor, flux.shift)
    for value in (-3.0, 0.0, 5.0):
        assert (value - mean) / deviation == pytest.approx((value - 0.1159) * 0.3611)
    tokenizer: Any = tokenizer_of("flux1_vae", "kl shifted, without 1×1 convolutions")
    assert tokenizer.latent_statistics() == (0.25, 2.0), "of its own configuration: shift 0.25, factor 0.5"


def test_statistics_by_channel_come_from_the_configuration() -> None:
    tokenizer: Any = tokenizer_of("repa_e", "kl by channel")
    mean, deviation = tokenizer.latent_statistics()
    assert torch.equal(mean, torch.tensor([0.1, 0.2, 0.3, 0.4]))
    assert torch.equal(deviation, torch.tensor([1.0, 2.0, 3.0, 4.0]))


def test_statistics_that_nobody_states_are_absent() -> None:
    unsaid: Any = tokenizer_of("va_vae", "kl with attention at each level")
    assert not hasattr(unsaid, "latent_statistics")
    assert published_statistics({"scaling_factor": 1.0}, network_of("dc")) is None
    assert published_statistics({"scaling_factor": None}, network_of("hunyuanimage")) is None
    assert published_statistics({"scaling_factor": 1.0}, network_of("tiny")) == (0.0, 1.0)
    assert published_statistics({}, network_of("rae dinov2")) == (0.0, 1.0), "it normalises by itself"
    assert published_statistics({"scaling_factor": 0.5}, network_of("rae dinov2")) == (0.0, 0.5)
    told: Any = tokenizer_of("sd15_vae", "kl with attention at each level", statistics=scaled_by(0.18215))
    assert told.latent_statistics() == (0.0, 1 / 0.18215)
    both: Any = tokenizer_of("sd15_vae", "kl", statistics=scaled_by(0.5))
    assert both.latent_statistics() == (0.0, 1 / 0.18215), "its configuration goes before"


def test_flux2_statistics_are_those_of_latents_that_have_its_patches_statistics() -> None:
    """Latents made to have the buffers' mean and variance at each place of a patch have the pooled ones by channel."""
    from diffusers.pipelines.flux2.pipeline_flux2 import Flux2Pipeline

    network = copy.deepcopy(network_of("flux2"))
    draw = torch.Generator().manual_seed(3)
    n = network.bn.num_features
    network.bn.running_mean = torch.randn(n, generator=draw)
    network.bn.running_var = torch.rand(n, generator=draw) + 0.5
    deviation = torch.sqrt(network.bn.running_var + network.config.batch_norm_eps)
    signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    patches = network.bn.running_mean[:, None, None] + deviation[:, None, None] * signs
    latents = Flux2Pipeline._unpatchify_latents(patches[None]).double()
    found = published_statistics({}, network)
    assert found is not None
    mean, spread = found
    assert isinstance(mean, torch.Tensor)
    assert isinstance(spread, torch.Tensor)
    torch.testing.assert_close(mean.double(), latents.mean((0, 2, 3)), rtol=0, atol=1e-6)
    torch.testing.assert_close(spread.double(), latents.std((0, 2, 3), correction=0), rtol=0, atol=1e-6)
