"""The VQGANs of "Taming Transformers", with the official weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench.weights.fetching import fetch
from tokbench.weights.files import WeightsFile
from tokbench_adapters._networks.vqgan_config import TAMING, VqganConfig
from tokbench_adapters._reading.hub_weights import with_digest
from tokbench_adapters._reading.torch_checkpoints import read_tensors
from tokbench_adapters._vqgan import builder, is_of_training, vqgan_card

if TYPE_CHECKING:
    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer

# The first is the better of the two that the paper reports on ImageNet.
VARIANTS: dict[str, VqganConfig] = {
    "imagenet_f16_16384": VqganConfig(layout=TAMING, codebook_size=16384, code_width=256, attention=(4,)),
    "imagenet_f16_1024": VqganConfig(layout=TAMING, codebook_size=1024, code_width=256, attention=(4,)),
    "gumbel_f8": VqganConfig(
        layout=TAMING,
        codebook_size=8192,
        code_width=256,
        search="logits",
        multipliers=(1, 1, 2, 4),
        attention=(3,),
    ),
}
_SHARE = "https://heibox.uni-heidelberg.de/d"
_FOLDERS = {
    "imagenet_f16_16384": "a7530b09fed84f80a887",
    "imagenet_f16_1024": "8088892a516d4e3baf92",
    "gumbel_f8": "2e5662443a6b4307b470",
}
_TRAINED_ON = {
    "imagenet_f16_16384": "ImageNet",
    "imagenet_f16_1024": "ImageNet",
    "gumbel_f8": "OpenImages",
}
_CHOICE = {
    "euclid": "Codes are searched by squared distance.",
    "logits": "The likeliest code is taken; upstream draws codes with Gumbel noise at inference too.",
}
PICKLE = (
    "The file is a trainer's checkpoint whose pickle names classes of pytorch-lightning, so it is refused unless "
    "--trust names it; one that holds its state_dict alone is read without."
)


def weights_file(variant: str) -> WeightsFile:
    """What the checkpoint is called here, and where it is downloaded from."""
    folder = _FOLDERS[variant]
    return WeightsFile(
        owner="taming",
        name=f"vqgan_{variant}.ckpt",
        format="state_dict",
        url=f"{_SHARE}/{folder}/files/?p=%2Fckpts%2Flast.ckpt&dl=1",
        licence="MIT",
        source=f"{_SHARE}/{folder}/",
    )


def _card(variant: str, config: VqganConfig) -> TokenizerCard:
    title = "Gumbel VQGAN" if config.search == "logits" else "VQGAN"
    return vqgan_card(
        f"taming/{variant}",
        config,
        title=f"{title} f{config.cell_px}, {config.codebook_size} codes ({_TRAINED_ON[variant]})",
        page=f"{_SHARE}/{_FOLDERS[variant]}/",
        licence="MIT",
        weights_licence="MIT",
        paper="arXiv:2012.09841",
        repository="https://github.com/CompVis/taming-transformers",
        notes=(
            _CHOICE[config.search],
            f"The weights are on the authors' share, from where they are downloaded; a copy of yours is read from "
            f"$TOKBENCH_WEIGHTS/taming/vqgan_{variant}.ckpt.",
            PICKLE,
        ),
    )


CARDS = tuple(_card(variant, config) for variant, config in VARIANTS.items())


build = builder(VARIANTS, unused=is_of_training)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the official checkpoint.

    Raises:
        WeightsError: it cannot be had, would run code, or is not the one this network is read from.
    """
    weights = weights_file(card.variant)
    path = fetch(weights)
    tensors = read_tensors(path, inside=("state_dict",))
    return build(with_digest(card, weights.name, path), tensors, device=device, dtype=dtype)
