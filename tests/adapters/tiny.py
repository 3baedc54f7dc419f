"""Tiny seeded variants of the tokenizers whose weights are not in the repository, so that the contract is tested.

Every registered family that is not built in has at least one here (``test_conformance_seeded.py`` insists). A maker
takes the dtype and returns the tokenizer on the CPU, the same one at every call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.adapters import fqgan_cases, vqgan_cases
from tests.adapters.titok_cases import tokenizer_of
from tokbench.contracts import Tokenizer
from tokbench_adapters._networks.titok_config import PixelDecoderSize, TiTokConfig, TransformerSize
from tokbench_adapters._networks.vqgan_config import LLAMAGEN, TAMING, FactorConfig, VqganConfig

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
_COSINE = VqganConfig(
    layout=LLAMAGEN,
    codebook_size=64,
    code_width=8,
    search="cosine",
    latent_channels=16,
    channels=32,
    multipliers=(1, 1, 2),
    n_blocks=1,
    attention=(2,),
)
_EUCLID = replace(_COSINE, layout=TAMING, search="euclid")
_FACTORS = FactorConfig(vqgan=_COSINE, factors=("vis", "sem"), positions=64, depth=1, n_heads=4)


def _titok(family: str, config: TiTokConfig) -> Maker:
    return lambda dtype: tokenizer_of(family, config, dtype=dtype)


def _vqgan(family: str, config: VqganConfig) -> Maker:
    return lambda dtype: vqgan_cases.tokenizer_of(family, config, dtype=dtype)


TINY: dict[str, Maker] = {
    "titok two steps": _titok("titok", _TWO_STEPS),
    "titok vq": _titok("titok", _CODED),
    "titok kl": _titok("titok", _CONTINUOUS),
    "one_d_piece": _titok("one_d_piece", _TWO_STEPS),
    "ta_titok vq": _titok("ta_titok", replace(_CODED, text_width=768)),
    "ta_titok kl": _titok("ta_titok", replace(_CONTINUOUS, text_width=768)),
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
}
"""By family, with what tells it from the family's others after a space."""
