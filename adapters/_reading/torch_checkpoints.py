"""Torch checkpoints as published: with a trainer's state around the weights, or averages beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokbench.errors import WeightsError
from tokbench.weights.loading import read_checkpoint
from tokbench_adapters._reading.hub_weights import fetch_hub_weights, with_digest

if TYPE_CHECKING:
    import torch

    from tokbench.cards import TokenizerCard

AVERAGES = "model_ema."


def read_hub_checkpoint(
    card: TokenizerCard, name: str, *, inside: Sequence[str] = (), prefix: str = ""
) -> tuple[TokenizerCard, dict[str, torch.Tensor]]:
    """The tensors of a torch file of the card's repository, and the card with the file's digest.

    Args:
        card: with ``hub`` and, if known, the pinned digest.
        name: the file in the repository.
        inside, prefix: see :func:`read_tensors`.

    Raises:
        WeightsError: it cannot be had, would run code, or holds no tensors there.
    """
    path = fetch_hub_weights(card, name)
    return with_digest(card, name, path), read_tensors(path, inside=inside, prefix=prefix)


def read_tensors(path: Path, *, inside: Sequence[str] = (), prefix: str = "") -> dict[str, torch.Tensor]:
    """A torch file's tensors by name, without running what is in it unless the user trusts that very file.

    Args:
        path: the file.
        inside: keys under which the state dict may lie; the first that is there is read. None: the file is one itself,
            as is said by "" among them.
        prefix: only names that begin so are given, without it.

    Raises:
        WeightsError: it would run code, is damaged, or holds no tensors by name there.
    """
    import torch

    state = _within(read_checkpoint(path), inside, path)
    if not isinstance(state, Mapping) or not all(torch.is_tensor(entry) for entry in state.values()):
        raise WeightsError(f"{path} holds something but tensors by name{f' under one of {inside}' if inside else ''}")
    found = {str(key).removeprefix(prefix): entry for key, entry in state.items() if str(key).startswith(prefix)}
    if not found:
        raise WeightsError(
            f"{path} has no names that begin with {prefix!r}; the first are {', '.join(list(state)[:5])}"
        )
    return found


def averaged(tensors: Mapping[str, torch.Tensor], names: Iterable[str], *, source: str) -> dict[str, torch.Tensor]:
    """The averages that a trainer keeps beside the live weights under names without dots, by official name.

    Args:
        tensors: a checkpoint; averages lie under ``model_ema.`` and the official name less its dots.
        names: the official names.
        source: what it is, for errors.

    Raises:
        WeightsError: an average is missing; the message names some.
    """
    stored = {name: AVERAGES + name.replace(".", "") for name in names}
    if missing := sorted(name for name, key in stored.items() if key not in tensors):
        raise WeightsError(
            f"{source} lacks the averages of {len(missing)} of {len(stored)} entries ({AVERAGES}*), the first being "
            f"those of {', '.join(missing[:5])}; its published scores are those of the averages"
        )
    return {name: tensors[key] for name, key in stored.items()}


def _within(found: Any, inside: Sequence[str], path: Path) -> Any:
    if not inside:
        return found
    for key in inside:
        if key == "":
            return found
        if isinstance(found, Mapping) and key in found:
            return found[key]
    has = ", ".join(map(str, list(found)[:8])) if isinstance(found, Mapping) else type(found).__name__
    raise WeightsError(f"{path} has its weights under none of {', '.join(inside)}; it has {has}")
