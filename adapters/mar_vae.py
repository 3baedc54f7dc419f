"""MAR's KL-16, the continuous autoencoder that MAR and TokenBridge generate with, read under its official names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tokbench_adapters._libraries.ldm_names import kl_config, open_ldm
from tokbench_adapters._libraries.published import Published, cards_of, tokenizer_of
from tokbench_adapters._reading.places import Place
from tokbench_adapters._reading.torch_checkpoints import read_tensors

if TYPE_CHECKING:
    import torch

    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer

FAMILY = "mar_vae"
FILES = ("vae/kl16.ckpt", "kl16.ckpt")
"""Where in the repository it may lie; no source that we read says."""

CONFIG = kl_config(16, (1, 1, 2, 2, 4), encoder_attends=True, decoder_attends=False)
KL16 = Published(
    title="MAR KL-16",
    hub="Epiphqny/TokenBridge",
    cell_px=16,
    channels=16,
    factor=0.2325,
    posterior="sample",
    facts={
        "licence": "MIT",
        "weights_licence": "MIT",
        "paper": "arXiv:2406.11838",
        "repository": "https://github.com/LTH14/mar",
        "notes": (
            "The posterior is sampled, from each image's own seed, as in TokenBridge's evaluation of it.",
            "The file in TokenBridge's repository is a copy of the one that MAR's authors share.",
            "Trained at 256 px; other multiples of 16 px run.",
        ),
    },
)

CARDS = cards_of(FAMILY, {"": KL16})


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the published checkpoint.

    Raises:
        WeightsError: it cannot be had, would run code, or is not the one this network is read from.
    """
    place = Place(card=card)
    file = place.first_there(FILES)
    tensors = read_tensors(place.path(file), inside=("model",))
    return build(place.with_digests((file,)), tensors, device=device, dtype=dtype)


def build(card: TokenizerCard, tensors: Mapping[str, torch.Tensor], *, device: str, dtype: str) -> Tokenizer:
    """The tokenizer from a state dict under the official names."""
    return tokenizer_of(open_ldm(card, CONFIG, tensors), KL16, device=device, dtype=dtype)
