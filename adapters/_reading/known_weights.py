"""Files of `tokbench weights` that a tokenizer reads: at a plain address, pinned by their whole sha256."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokbench.errors import WeightsError
from tokbench.weights.catalogue import known
from tokbench.weights.fetching import fetch
from tokbench.weights.loading import load_state_dict

if TYPE_CHECKING:
    import torch

    from tokbench.cards import TokenizerCard


def known_weights(*keys: str) -> dict[str, Any]:
    """What a card says of a tokenizer that is read from these files: their keys, names and digests."""
    files = [known(key) for key in keys]
    return {"weights_keys": keys, "weights": tuple((file.name, file.sha256) for file in files)}


def read_known_weights(card: TokenizerCard, key: str) -> dict[str, torch.Tensor]:
    """The tensors of one file of a card, on the CPU, downloaded if it is not here.

    Raises:
        WeightsError: unreachable, offline, or not the pinned file; the message says what to type or where to copy it.
    """
    file = known(key)
    try:
        fetch(file)
        return load_state_dict(file)
    except WeightsError as err:
        raise WeightsError(f"{card.name} needs {key} (`tokbench weights list {key}`): {err}") from err
