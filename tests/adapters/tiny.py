"""Tiny seeded variants of the tokenizers whose weights are not in the repository, so that the contract is tested.

Every registered family that is not built in has at least one here (``test_conformance_seeded.py`` insists). A maker
takes the dtype and returns the tokenizer on the CPU, the same one at every call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.adapters import (
    autoencoder_cases,
    cosmos_cases,
    flextok_cases,
    flux2_1d_cases,
    fqgan_cases,
    library_cases,
    taesd_cases,
    vqgan_cases,
    vqvae_explore_cases,
)
from tests.adapters.titok_cases import tokenizer_of
from tokbench.contracts import Tokenizer
from tokbench.names import OpenName
from tokbench.wrapping import wrap
from tokbench_adapters._networks.titok_config import PixelDecoderSize, TiTokConfig, TransformerSize
from tokbench_adapters._networks.vqgan_config import TAMING, FactorConfig, VqganConfig
from tokbench_adapters.quantised import open_name as open_quantised

Maker = Callable[[str], Tokenizer]

BUILT_IN = ("avif", "identity", "jpeg", "lbg", "pca", "resize", "rvq", "webp")
"""Families that need no weights, or whose weights are in the repository: tested as they are."""

_SIZE = TransformerSize(width=64, depth=2, n_heads=4)
_CODED = TiTokConfig(encoder=_SIZE, decoder=_SIZE, n_tokens=6, token_width=8, codebook_size=64, side_px=32)
_TWO_STEPS = replace(
    _CODED,
    is_normalised=True,
    pixels=PixelDecoderSize(codebook_size=32, codebook_width=32, channels=32, multipliers=(1, 1, 1, 1, 2), n_blocks=1),
)
_CONTINUOUS = replace(_CODED, codebook_size=None)
_COSINE = replace(vqgan_cases.SMALLEST, multipliers=(1, 1, 2), attention=(2,))
_EUCLID = replace(_COSINE, layout=TAMING, search="euclid")
_FACTORS = FactorConfig(vqgan=_COSINE, factors=("vis", "sem"), positions=64, depth=1, n_heads=4)


def _titok(family: str, config: TiTokConfig) -> Maker:
    return lambda dtype: tokenizer_of(family, config, dtype=dtype)


def _autoencoder(name: str, kind: str) -> Maker:
    return lambda dtype: autoencoder_cases.tokenizer_of(name, kind, dtype=dtype)


def _vqgan(family: str, config: VqganConfig) -> Maker:
    return lambda dtype: vqgan_cases.tokenizer_of(family, config, dtype=dtype)


def _library_codes(family: str) -> Maker:
    return lambda dtype: library_cases.diffusers_codes(family, dtype=dtype)


def _taesd(name: str) -> Maker:
    return lambda dtype: taesd_cases.tokenizer_of(name, taesd_cases.TINY_SHAPES[name], dtype=dtype)


def _quantised(query: str, inner: Maker) -> Maker:
    name = OpenName.parse(f"quantised:inner?{query}")
    return lambda dtype: open_quantised(name, device="cpu", dtype=dtype, load=lambda _: wrap(inner(dtype)))


TINY: dict[str, Maker] = {
    "titok two steps": _titok("titok", _TWO_STEPS),
    "titok vq": _titok("titok", _CODED),
    "titok kl": _titok("titok", _CONTINUOUS),
    "one_d_piece": _titok("one_d_piece", _TWO_STEPS),
    "ta_titok vq": _titok("ta_titok", replace(_CODED, text_width=768)),
    "ta_titok kl": _titok("ta_titok", replace(_CONTINUOUS, text_width=768)),
    "flowtok": _titok("flowtok", replace(_CONTINUOUS, text_width=768, is_rotary=True)),
    "llamagen": _vqgan("llamagen", _COSINE),
    "janus": _vqgan("janus", _COSINE),
    "fvq": _vqgan("fvq", replace(_COSINE, search="euclid")),
    "fqgan": lambda dtype: fqgan_cases.tokenizer_of(_FACTORS, 32, dtype=dtype),
    "taming": _vqgan("taming", _EUCLID),
    "taming gumbel": _vqgan("taming", replace(_EUCLID, search="logits")),
    "chameleon": _vqgan("chameleon", replace(_EUCLID, attention=())),
    "anole": _vqgan("chameleon", replace(_EUCLID, attention=())),
    "ibq": _vqgan("ibq", replace(_EUCLID, search="dot")),
    "emu35": _vqgan("emu35", replace(_EUCLID, search="dot")),
    "cosmos_ci": lambda dtype: cosmos_cases.tokenizer_of("cosmos_ci", dtype=dtype),
    "cosmos_di": lambda dtype: cosmos_cases.tokenizer_of("cosmos_di", dtype=dtype),
    "flextok": lambda dtype: flextok_cases.tokenizer_of(dtype=dtype),
    "flux2_1d": lambda dtype: flux2_1d_cases.tokenizer_of(dtype=dtype),
    "emu3": lambda dtype: library_cases.emu3_codes(dtype=dtype),
    **{family: _library_codes(family) for family in library_cases.CONFIGS},
    "sd15_vae": _autoencoder("sd15_vae", "kl"),
    "sdxl_vae": _autoencoder("sdxl_vae", "kl"),
    "sd35_vae": _autoencoder("sd35_vae", "kl shifted, without 1×1 convolutions"),
    "flux1_vae": _autoencoder("flux1_vae", "kl shifted, without 1×1 convolutions"),
    "flux2_vae": _autoencoder("flux2_vae", "flux2"),
    "dc_ae": _autoencoder("dc_ae", "dc"),
    "va_vae": _autoencoder("va_vae", "kl with attention at each level"),
    "eq_vae": _autoencoder("eq_vae", "kl"),
    "repa_e": _autoencoder("repa_e", "kl by channel"),
    "repa_e qwenimage": _autoencoder("repa_e/qwenimage", "qwenimage"),
    "rae": _autoencoder("rae", "rae dinov2"),
    "rae siglip2": _autoencoder("rae/siglip2_base", "rae siglip2"),
    "rae mae": _autoencoder("rae/mae_base", "rae mae"),
    "hunyuanimage_vae": _autoencoder("hunyuanimage_vae", "hunyuanimage"),
    "qwenimage_vae": _autoencoder("qwenimage_vae", "qwenimage"),
    "kvae": _autoencoder("kvae", "kvae"),
    "asymmetric_vae": _autoencoder("asymmetric_vae", "asymmetric"),
    "mar_vae": _autoencoder("mar_vae", "kl"),
    **{name: _taesd(name) for name in taesd_cases.TINY_SHAPES},
    "vqvae_explore": lambda dtype: vqvae_explore_cases.tokenizer_of(dtype=dtype),
    "quantised": _quantised("bits=4", _titok("titok", _CONTINUOUS)),
}
"""By family or prefix, with what tells it from the family's others after a space."""
