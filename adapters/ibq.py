"""IBQ: a VQGAN whose code is the entry of the largest inner product, of up to 2^18, with the official weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench_adapters._networks.vqgan_config import TAMING, VqganConfig
from tokbench_adapters._reading.hub_weights import UNPINNED
from tokbench_adapters._reading.torch_checkpoints import averaged, read_hub_checkpoint
from tokbench_adapters._vqgan import builder, official_names, vqgan_card

if TYPE_CHECKING:
    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer


def _config(codebook_size: int) -> VqganConfig:
    return VqganConfig(
        layout=TAMING, codebook_size=codebook_size, code_width=256, search="dot", n_blocks=4, attention=(4,)
    )


# The first is the model of the paper's title row.
VARIANTS: dict[str, VqganConfig] = {
    "262144": _config(262144),
    "16384": _config(16384),
    "8192": _config(8192),
    "1024": _config(1024),
    "262144_pretrain": _config(262144),
    "16384_pretrain": _config(16384),
}


def _file(variant: str) -> str:
    size, _, pretrained = variant.partition("_")
    return f"IBQ_pretrain_{size}.ckpt" if pretrained else f"imagenet256_{size}.ckpt"


def _card(variant: str, config: VqganConfig) -> TokenizerCard:
    size, _, pretrained = variant.partition("_")
    return vqgan_card(
        f"ibq/{variant}",
        config,
        title=f"IBQ f{config.cell_px}, {config.codebook_size} codes" + (" (pretrained)" if pretrained else ""),
        hub=f"TencentARC/IBQ-Tokenizer-{size}{'-Pretrain' if pretrained else ''}",
        licence="Apache-2.0",
        weights_licence="Apache-2.0",
        paper="arXiv:2412.02692",
        repository="https://github.com/TencentARC/SEED-Voken",
        notes=(
            "The code is the entry of the largest inner product, not the nearest; for perturbations, neighbours are "
            "ranked by it too.",
            "The averaged weights (model_ema) are read, with which its scores are published.",
            f"Trained on {'several large sets of captioned images' if pretrained else 'ImageNet'} at 256 px.",
            "Its file may be a pickle that names classes of its trainer; then it is refused unless --trust names it.",
            UNPINNED,
        ),
    )


CARDS = tuple(_card(variant, config) for variant, config in VARIANTS.items())


build = builder(VARIANTS)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the official checkpoint.

    Raises:
        WeightsError: it cannot be had, would run code, or is not the one this network is read from.
    """
    card, tensors = read_hub_checkpoint(card, _file(card.variant), inside=("state_dict",))
    averages = averaged(tensors, official_names(VARIANTS[card.variant]), source=card.hub)
    return build(card, averages, device=device, dtype=dtype)
