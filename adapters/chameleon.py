"""The VQGAN of Chameleon, and Anole's copy of it, with the official weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench.weights.files import WeightsFile, require_weights
from tokbench_adapters._networks.vqgan_config import TAMING, VqganConfig
from tokbench_adapters._reading.hub_weights import UNPINNED, with_digest
from tokbench_adapters._reading.torch_checkpoints import read_hub_checkpoint, read_tensors
from tokbench_adapters._vqgan import builder, is_of_training, vqgan_card

if TYPE_CHECKING:
    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer

CONFIG = VqganConfig(layout=TAMING, codebook_size=8192, code_width=256)
FORM = "https://ai.meta.com/resources/models-and-libraries/chameleon-downloads"
LICENCE = "Chameleon Research License (non-commercial research)"
INSIDE = ("state_dict",)
FILE = WeightsFile(
    owner="chameleon",
    name="vqgan.ckpt",
    format="state_dict",
    command=f"accept the terms on {FORM} and copy tokenizer/vqgan.ckpt from what is downloaded",
    licence=LICENCE,
    source=FORM,
)
NOTES = (
    "Trained on images of 512 px (1024 tokens); attention in the middle only.",
    "White is 1.0, as in the authors' code; the image processor of transformers makes it 0.989.",
    "Its file is a trainer's checkpoint; if its pickle names classes, it is refused unless --trust names it.",
)

CARDS = (
    vqgan_card(
        "chameleon",
        CONFIG,
        title="Chameleon VQGAN f16, 8192 codes",
        page=FORM,
        gated="terms to accept on that page; research only",
        licence=LICENCE,
        weights_licence=LICENCE,
        paper="arXiv:2405.09818",
        repository="https://github.com/facebookresearch/chameleon",
        notes=(*NOTES, "A copy of yours is read from $TOKBENCH_WEIGHTS/chameleon/vqgan.ckpt."),
    ),
    vqgan_card(
        "anole",
        CONFIG,
        title="Anole VQGAN f16, 8192 codes (Chameleon's)",
        hub="GAIR/Anole-7b-v0.1",
        licence=LICENCE,
        weights_licence=LICENCE,
        paper="arXiv:2407.06135",
        repository="https://github.com/GAIR-NLP/anole",
        notes=(
            *NOTES,
            "Said to be Chameleon's tokenizer unchanged; the digests and scores of both would be equal then.",
            UNPINNED,
        ),
    ),
)


build = builder(dict.fromkeys((card.variant for card in CARDS), CONFIG), unused=is_of_training)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch or find, check and read the official checkpoint.

    Raises:
        WeightsError: it cannot be had, would run code, or is not the one this network is read from.
    """
    if card.hub:
        card, tensors = read_hub_checkpoint(card, "tokenizer/vqgan.ckpt", inside=INSIDE)
    else:
        path = require_weights(FILE)
        card, tensors = with_digest(card, FILE.name, path), read_tensors(path, inside=INSIDE)
    return build(card, tensors, device=device, dtype=dtype)
