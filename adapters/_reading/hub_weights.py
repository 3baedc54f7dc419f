"""Official checkpoints on the hub: fetched, checked and read by the facts on a card, and filled into a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from tokbench.errors import WeightsError
from tokbench.weights import hub
from tokbench.weights.digests import sha256_of
from tokbench.weights.files import Format
from tokbench.weights.loading import read_state_dict
from tokbench.weights.places import hub_endpoint, offline_switch

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from tokbench.cards import TokenizerCard

UNPINNED = (
    "Its publisher names no revision, so the newest file of the repository is taken; its digest is on the card of the "
    "run."
)
MOST_NAMED = 5


def read_hub_weights(
    card: TokenizerCard,
    name: str = "model.safetensors",
    format: Format = "safetensors",  # noqa: A002
) -> tuple[TokenizerCard, dict[str, torch.Tensor]]:
    """The tensors of a card's checkpoint, downloaded if it is not here, without running what is in it.

    Args:
        card: with ``hub``, ``ORG/REPO@REVISION`` or, where no revision is known, ``ORG/REPO``; ``weights`` pins the
            digest if it is known.
        name: the file in the repository.
        format: how it is read.

    Returns:
        The card with the digest of the file that was read, and the tensors on the CPU by official name.

    Raises:
        WeightsError: missing, gated, unreachable, offline, not the pinned file, or unreadable; the message names the
            repository and its page.
    """
    path = fetch_hub_weights(card, name)
    return with_digest(card, name, path), read_state_dict(path, format)


def with_digest(card: TokenizerCard, name: str, path: Path) -> TokenizerCard:
    """The card, with the digest of the file that is read."""
    others = tuple(pinned for pinned in card.weights if pinned[0] != name)
    return replace(card, weights=(*others, (name, sha256_of(path))))


def fetch_hub_weights(card: TokenizerCard, name: str) -> Path:
    """A file of the card's repository, checked; see :func:`read_hub_weights`."""
    repo, _, revision = card.hub.partition("@")
    pinned = dict(card.weights).get(name, "")
    try:
        return hub.fetch(repo, name, revision or "main", pinned)
    except WeightsError as err:
        gated = f" ({card.gated})" if card.gated else ""
        page = f"{hub_endpoint()}/{repo}"
        see = "" if page in str(err) else f"; see {page}"
        if offline_switch():
            get = f"`tokbench run --tokenizer {card.asked_as}` without that switch downloads it, or put"
        else:
            get = "or put"
        raise type(err)(
            f"{card.name} needs {name} of {repo} on the hub{gated}: {err}{see}; {get} a copy of yours in "
            f"$TOKBENCH_WEIGHTS/{repo}/{name}"
        ) from err


def fill(
    network: nn.Module,
    tensors: Mapping[str, torch.Tensor],
    *,
    source: str,
    unused: Callable[[str], bool] = lambda _: False,
) -> None:
    """Give a network (built on the device ``meta``) its parameters, all of them and nothing else, and freeze it.

    Args:
        network: put in evaluation mode, without gradients.
        tensors: by official name; half precision is widened to float32.
        source: what they are, for errors.
        unused: whether a name is known to have no part in encoding and decoding (training counters).

    Raises:
        WeightsError: names every entry that is missing, left over or of another shape.
    """
    wanted = {key: tuple(entry.shape) for key, entry in network.state_dict().items()}
    found = {key: tensor for key, tensor in tensors.items() if not unused(key)}
    misshapen = [
        f"{key} is {tuple(found[key].shape)}, expected {shape}"
        for key, shape in wanted.items()
        if key in found and tuple(found[key].shape) != shape
    ]
    problems = [
        f"{word} {_first(names)}"
        for word, names in (
            ("lacks", sorted(wanted.keys() - found.keys())),
            ("has more than the network:", sorted(found.keys() - wanted.keys())),
            ("has other shapes:", misshapen),
        )
        if names
    ]
    if problems:
        raise WeightsError(f"{source} is not the checkpoint this network is read from: it {'; it '.join(problems)}")
    widened = {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in found.items()}
    network.load_state_dict(widened, strict=True, assign=True)
    network.eval().requires_grad_(False)


def _first(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - MOST_NAMED} more" if len(every) > MOST_NAMED else ""
    return ", ".join(every[:MOST_NAMED]) + more
