"""flux2-1d-tokenizer in tests: the package's own networks at a reduced size, filled by key, over a tiny FLUX.2 VAE."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.adapters.seeding import seeded_state
from tokbench.contracts import Tokenizer
from tokbench_adapters import flux2_1d

ABSENT = "flux2-1d-tokenizer is not installed: pip install 'tokbench[flux2_1d]'"
CONFIG: dict[str, Any] = {
    "num_tokens": 12, "num_bits": 8, "hidden": 32, "depth": 1, "heads": 2, "latent_ch": 4, "latent_patch_size": 2,
    "vq_code_dim": 16,
}  # fmt: skip
VAE_CONFIG: dict[str, Any] = {
    "_class_name": "AutoencoderKLFlux2", "block_out_channels": [8, 8, 8, 8], "layers_per_block": 1,
    "latent_channels": 4, "norm_num_groups": 4, "mid_block_add_attention": False,
}  # fmt: skip


def require_package() -> None:
    pytest.importorskip("flux2_tokenizer", reason=ABSENT)
    pytest.importorskip("diffusers", reason=ABSENT)


def core_weights() -> dict[str, Tensor]:
    from flux2_tokenizer._core import TokenizerCore

    return seeded_state(TokenizerCore(**CONFIG).state_dict())


def tiny_vae(contrast: float = 1.0) -> Any:
    """Deterministic and frozen; ``contrast`` scales what it paints."""
    from diffusers import AutoencoderKLFlux2

    vae: Any = AutoencoderKLFlux2.from_config(VAE_CONFIG)
    weights = seeded_state(vae.state_dict())
    weights["decoder.conv_out.weight"] = weights["decoder.conv_out.weight"] * contrast
    vae.load_state_dict(weights, strict=True)
    return vae.eval().requires_grad_(False)


def tokenizer_of(*, dtype: str = "float32") -> Tokenizer:
    require_package()
    return flux2_1d.build(flux2_1d.CARDS[0], CONFIG, core_weights(), tiny_vae(), device="cpu", dtype=dtype)


def package_of(vae: Any) -> Any:
    """The package's own tokenizer, of the same weights."""
    from flux2_tokenizer import Flux2Tokenizer
    from flux2_tokenizer._core import TokenizerCore

    core = TokenizerCore(**CONFIG)
    core.load_state_dict(core_weights(), strict=True)
    return Flux2Tokenizer(core.eval(), vae, torch.device("cpu"), torch.float32)
