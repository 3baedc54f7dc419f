"""FlexTok in tests: a reduced configuration that the package accepts, and a stand-in for the package.

The stand-in has the package's modules, names and calls as apple/ml-flextok has them at 87d00cc, around arithmetic that
can be followed by hand. Where the package is installed, the same tests run on it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from tests.adapters.seeding import seeded_state
from tokbench.contracts import Tokenizer
from tokbench_adapters import flextok

LEVELS = (8, 8, 8, 5, 5, 5)
DIM, TOKENS, CHANNELS, GRID = 64, 16, 4, 32


def _target(name: str, **options: Any) -> dict[str, Any]:
    return {"_target_": f"flextok.{name}", **options}


def _transformer(half: str, **options: Any) -> dict[str, Any]:
    return _target(
        "model.trunks.transformers.FlexTransformer",
        input_seq_read_key=f"{half}_packed",
        output_seq_write_key=f"{half}_packed",
        block_mask_read_key=f"{half}_mask",
        dim=DIM,
        depth=1,
        head_dim=32,
        **options,
    )


def _packer(half: str, parts: list[str], **options: Any) -> dict[str, Any]:
    return _target(
        "model.preprocessors.flex_seq_packing.BlockWiseSequencePacker",
        input_list_read_keys=parts,
        packed_seq_write_key=f"{half}_packed",
        block_mask_write_key=f"{half}_mask",
        inner_packed_shapes_write_key=f"{half}_inner",
        outer_packed_shapes_write_key=f"{half}_outer",
        pad_to_multiple=128,
        **options,
    )


def _unpacker(half: str, parts: list[str]) -> dict[str, Any]:
    return _target(
        "model.postprocessors.seq_unpacking.SequenceUnpacker",
        packed_seq_read_key=f"{half}_packed",
        inner_seq_write_keys=parts,
        inner_packed_shapes_read_key=f"{half}_inner",
        outer_packed_shapes_read_key=f"{half}_outer",
    )


def _patches(half: str, read: str) -> dict[str, Any]:
    """Channels last, patches of 2×2, and where they are."""
    dict_ops, patches = "model.utils.dict_ops", f"{half}_patches"
    return {
        f"{half}_channels_to_last": _target(
            f"{dict_ops}.PerSampleOp",
            read_key=read,
            write_key=f"{half}_last",
            per_sample_op=_target(f"{dict_ops}.channels_first_to_last", _partial_=True),
        ),
        f"{half}_patch_emb": _target(
            "model.preprocessors.patching.PatchEmbedder",
            input_tensor_list_read_key=f"{half}_last",
            patches_list_write_key=patches,
            n_patches_write_key=f"{half}_n_patches",
            channels_in=CHANNELS,
            dim=DIM,
            patch_sizes=[2, 2],
            flatten_patches=False,
        ),
        f"{half}_posemb_module": _target(
            "model.utils.posembs.PositionalEmbeddingAdder",
            read_key=patches,
            write_key=patches,
            dim=DIM,
            max_sizes=[GRID // 2, GRID // 2],
        ),
    }


def _encoder() -> dict[str, Any]:
    parts = ["enc_patches", "enc_registers"]
    return {
        **_patches("enc", "vae_latents"),
        "enc_register_module": _target(
            "model.preprocessors.registers.Registers1D",
            input_tensor_list_read_key="enc_patches",
            register_sizes_read_write_key="register_sizes",
            registers_write_key="enc_registers",
            dim=DIM,
            n_min=TOKENS,
            n_max=TOKENS,
        ),
        "enc_seq_packer": _packer("enc", parts, mask_mode="causal_last"),
        "enc_transformer": _transformer("enc"),
        "enc_unpacker": _unpacker("enc", parts),
        "enc_to_latents": _target(
            "model.postprocessors.heads.LinearHead",
            read_key="enc_registers",
            write_key="enc_registers",
            dim=DIM,
            dim_out=len(LEVELS),
            use_mup_readout=False,
        ),
    }


def _decoder() -> dict[str, Any]:
    parts = ["dec_patches", "dec_quants"]
    return {
        **_patches("dec", "noised"),
        "dec_from_latents": _target(
            "model.preprocessors.linear.LinearLayer",
            read_key="quants",
            write_key="dec_quants",
            dim_in=len(LEVELS),
            dim=DIM,
        ),
        "dec_nested_dropout": _target(
            "model.preprocessors.token_dropout.MaskedNestedDropout", read_write_key="dec_quants", dim=DIM
        ),
        "dec_latent_dropout": _target(
            "model.preprocessors.nullcond.LearnedNullCond", read_write_key="dec_quants", dim=DIM
        ),
        "dec_temb": _target(
            "model.preprocessors.time_embedding.TimestepEmbedder",
            timesteps_read_key="timesteps",
            time_embedding_write_key="temb",
            dim=DIM,
            max_timestep=1.0,
        ),
        "dec_seq_packer": _packer("dec", parts, emb_packing_fn_write_key="emb_packing"),
        "dec_transformer": _transformer("dec", adaLN_emb_read_key="temb", adaLN_packing_fn_read_key="emb_packing"),
        "dec_unpacker": _unpacker("dec", parts),
        "dec_to_patches": _target(
            "model.postprocessors.heads.ToPatchesLinearHead",
            read_key="dec_patches",
            write_key="dec_patches",
            dim=DIM,
            channels_out=CHANNELS,
            patch_sizes=[2, 2],
            use_mup_readout=False,
            adaLN_emb_read_key="temb",
        ),
        "dec_channels_to_first": _target(
            "model.utils.dict_ops.PerSampleOp",
            read_key="dec_patches",
            write_key="reconst",
            per_sample_op=_target("model.utils.dict_ops.channels_last_to_first", _partial_=True),
        ),
    }


def reduced_config() -> dict[str, Any]:
    """A network of one layer and 16 tokens, in the words of the file on the hub."""
    wrapper = "model.utils.wrappers.SequentialModuleDictWrapper"
    return {
        "vae": _target(
            "vae_wrapper.StableDiffusionVAE",
            images_read_key="rgb",
            vae_latents_read_key="reconst",
            vae_latents_write_key="vae_latents",
            images_reconst_write_key="rgb_reconst",
            vae_kl_loss_write_key="kl",
            latent_channels=CHANNELS,
            scaling_factor=0.5,
        ),
        "encoder": _target(wrapper, module_dict=_encoder()),
        "decoder": _target(wrapper, module_dict=_decoder()),
        "regularizer": _target(
            "regularizers.quantize_fsq.FSQ",
            latents_read_key="enc_registers",
            quants_write_key="quants",
            tokens_write_key="tokens",
            levels=list(LEVELS),
        ),
        "flow_matching_noise_module": _target(
            "flow_matching.noise_modules.MinRFNoiseModule",
            clean_images_read_key="vae_latents",
            noised_images_write_key="noised",
            timesteps_write_key="timesteps",
            sigmas_write_key="sigmas",
        ),
        "pipeline": _target(
            "flow_matching.pipelines.MinRFPipeline",
            _partial_=True,
            latents_read_key="quants",
            timesteps_read_key="timesteps",
            noised_images_read_key="noised",
            reconst_write_key="reconst",
            out_channels=CHANNELS,
        ),
    }


def stand_in_config(**vae: Any) -> dict[str, Any]:
    """As much of a configuration as the stand-in reads."""
    return {
        "vae": _target("vae_wrapper.StableDiffusionVAE", **vae),
        "encoder": _target(
            "model.utils.wrappers.SequentialModuleDictWrapper",
            module_dict={"enc_register_module": _target("model.preprocessors.registers.Registers1D", n_max=TOKENS)},
        ),
        "regularizer": _target("regularizers.quantize_fsq.FSQ", levels=list(LEVELS)),
    }


class StableDiffusionVAE(nn.Module):
    """Says whether the posterior is sampled, as the package's does by default."""

    def __init__(self, sample_posterior: bool = True, hf_hub_path: str | None = None) -> None:
        super().__init__()
        self.sample_posterior, self.hf_hub_path = sample_posterior, hf_hub_path


class Registers1D(nn.Module):
    def __init__(self, n_max: int) -> None:
        super().__init__()
        self.n_max = n_max
        self.registers = nn.Parameter(torch.zeros(n_max, len(LEVELS)))


class SequentialModuleDictWrapper(nn.Module):
    def __init__(self, module_dict: dict[str, nn.Module]) -> None:
        super().__init__()
        self.module_dict = nn.ModuleDict(module_dict)


class FSQ(nn.Module):
    """Levels in a row, the first running fastest."""

    def __init__(self, levels: list[int]) -> None:
        super().__init__()
        self.register_buffer("_levels", torch.tensor(levels, dtype=torch.int32), persistent=False)
        self._levels: Tensor

    def places(self) -> Tensor:
        return torch.cumprod(torch.tensor([1, *self._levels[:-1].tolist()]), 0)


class FlexTokFromHub(nn.Module):
    """The package's model: lists of ids in, images out, its noise from one generator a call."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        options = {key: value for key, value in config["vae"].items() if key != "_target_"}
        registers = config["encoder"]["module_dict"]["enc_register_module"]
        self.vae = StableDiffusionVAE(**options)
        self.encoder = SequentialModuleDictWrapper({"enc_register_module": Registers1D(registers["n_max"])})
        self.regularizer = FSQ(config["regularizer"]["levels"])
        self.colours = nn.Linear(3, len(LEVELS))
        self.paint = nn.Linear(len(LEVELS), 3)
        self.mask = nn.Parameter(torch.zeros(len(LEVELS)))
        self.seen: list[dict[str, Any]] = []

    def tokenize(self, images: Tensor) -> list[Tensor]:
        """Float ``(B, 3, 256, 256)`` in [-1, 1] → B tensors of ids, ``(1, 16)``."""
        self.seen.append({"images": images.clone()})
        if self.vae.sample_posterior:
            images = images + torch.randn_like(images)
        cells = torch.nn.functional.avg_pool2d(images, images.shape[-1] // 4).flatten(2).transpose(1, 2)
        register: Any = self.encoder.module_dict["enc_register_module"]
        mixed = torch.sigmoid(4 * self.colours(cells) + register.registers).float()
        steps = (mixed * self.regularizer._levels).floor().clamp(max=self.regularizer._levels - 1)
        return list((steps.long() * self.regularizer.places()).sum(-1).split(1))

    def detokenize(self, token_ids_list: list[Tensor], vae_image_sizes: int = 32, **kwargs: Any) -> Tensor:
        """B tensors of ids, ``(1, l)`` → float ``(B, 3, 256, 256)`` in [-1, 1]."""
        self.seen.append({"ids": [ids.clone() for ids in token_ids_list], **kwargs})
        register: Any = self.encoder.module_dict["enc_register_module"]
        painted = []
        for ids in token_ids_list:
            steps = ids[..., None] // self.regularizer.places() % self.regularizer._levels
            vectors = 2 * steps / (self.regularizer._levels - 1) - 1
            missing = self.mask.expand(1, register.n_max - ids.shape[1], -1)
            coarse = self.paint(torch.cat([vectors.to(missing.dtype), missing], dim=1)).transpose(1, 2)
            image = coarse.reshape(1, 3, 4, 4).repeat_interleave(64, 2).repeat_interleave(64, 3)
            noise = torch.randn((1, 3, vae_image_sizes, vae_image_sizes), generator=kwargs["generator"])
            painted.append(image + 0.02 * noise.repeat_interleave(8, 2).repeat_interleave(8, 3))
        return torch.cat(painted)


_MODULES: dict[str, tuple[type, ...]] = {
    "flextok": (),
    "flextok.flextok_wrapper": (FlexTokFromHub,),
    "flextok.vae_wrapper": (StableDiffusionVAE,),
    "flextok.model": (),
    "flextok.model.utils": (),
    "flextok.model.utils.wrappers": (SequentialModuleDictWrapper,),
    "flextok.model.preprocessors": (),
    "flextok.model.preprocessors.registers": (Registers1D,),
    "flextok.regularizers": (),
    "flextok.regularizers.quantize_fsq": (FSQ,),
    "flextok.utils": (),
    "flextok.utils.checkpoint": (),
}


@contextmanager
def stand_in() -> Iterator[None]:
    """Within it, the stand-in is what ``import flextok`` finds."""
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "flextok"}
    for name in before:
        del sys.modules[name]
    homes = {kind: kind.__module__ for kinds in _MODULES.values() for kind in kinds}
    try:
        for name, kinds in _MODULES.items():
            module = sys.modules[name] = ModuleType(name)
            module.__path__ = []
            module.__dict__["os"] = os  # as modules that import it have it
            for kind in kinds:
                kind.__module__ = name
                setattr(module, kind.__name__, kind)
        yield
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "flextok"]:
            del sys.modules[name]
        sys.modules.update(before)
        for kind, home in homes.items():
            kind.__module__ = home


def stand_in_weights() -> dict[str, Tensor]:
    return seeded_state(FlexTokFromHub(stand_in_config()).state_dict())


def tokenizer_of(*, dtype: str = "float32") -> Tokenizer:
    """The stand-in, filled by key."""
    with stand_in():
        return flextok.build(flextok.CARDS[0], stand_in_config(), stand_in_weights(), device="cpu", dtype=dtype)
