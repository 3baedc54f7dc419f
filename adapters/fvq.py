"""FVQ: LlamaGen's network with wide codes that are compared by distance, with the official weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench_adapters._networks.vqgan_config import LLAMAGEN, VqganConfig
from tokbench_adapters._reading.hub_weights import UNPINNED
from tokbench_adapters._reading.torch_checkpoints import read_hub_checkpoint
from tokbench_adapters._vqgan import builder, is_usage_record, vqgan_card

if TYPE_CHECKING:
    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer

# The first is the paper's best, and the second the one whose file its code names.
VARIANTS: dict[str, VqganConfig] = {
    str(size): VqganConfig(layout=LLAMAGEN, codebook_size=size, code_width=256, attention=(4,))
    for size in (262144, 16384, 65536)
}


def _file(variant: str) -> str:
    return f"fullvq2vqgan_ds16_res2_{variant}_256.pt"


def _card(variant: str, config: VqganConfig) -> TokenizerCard:
    return vqgan_card(
        f"fvq/{variant}",
        config,
        title=f"FVQ f{config.cell_px}, {config.codebook_size} codes",
        hub="yfChang/FVQ",
        licence="none stated",
        weights_licence="none stated",
        paper="arXiv:2509.10140",
        repository="https://github.com/yfChang-cv/FVQ",
        notes=(
            "Codes are searched by squared distance.",
            "Read in the exported form, in which the network that shapes the codebook in training is folded into it.",
            f"The file is {_file(variant)}"
            + ("." if variant == "16384" else ", after the name of the one its authors' evaluation states."),
            UNPINNED,
        ),
    )


CARDS = tuple(_card(variant, config) for variant, config in VARIANTS.items())


build = builder(VARIANTS, unused=is_usage_record)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the official checkpoint.

    Raises:
        WeightsError: it cannot be had, or is not the one this network is read from.
    """
    card, tensors = read_hub_checkpoint(card, _file(card.variant), inside=("ema", "model", "state_dict"))
    return build(card, tensors, device=device, dtype=dtype)
