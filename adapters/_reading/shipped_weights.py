"""Weights that ship inside this package: safetensors files, pinned by the SHA-256 on the card."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

from tokbench.errors import WeightsError

if TYPE_CHECKING:
    import torch

    from tokbench.cards import TokenizerCard

PACKAGE, FOLDER = "tokbench_adapters", "_weights"


def load_weights(card: TokenizerCard, *, device: str) -> dict[str, torch.Tensor]:
    """The tensors of every weight file on the card, by name, as float32 on ``device``.

    Raises:
        WeightsError: a file is missing, or is not the one the card pins.
    """
    from safetensors.torch import load

    tensors: dict[str, torch.Tensor] = {}
    for name, expected in card.weights:
        resource = files(PACKAGE).joinpath(FOLDER, name)
        if not resource.is_file():
            raise WeightsError(
                f"{card.name}: weights {FOLDER}/{name} are missing from {PACKAGE}; expected a file with SHA-256 "
                f"{expected}: install tokbench again, or make it with scripts/train_embedded_tokenizers.py"
            )
        data = resource.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if digest != expected:
            raise WeightsError(
                f"{card.name}: weights {FOLDER}/{name} are not the pinned ones; got SHA-256 {digest}, expected "
                f"{expected}: install tokbench again, or pin the new digest on the card if the file was meant to change"
            )
        tensors |= {key: value.float().to(device) for key, value in load(data).items()}
    return tensors
