"""One part of a large checkpoint: only the files that hold it are fetched, and only its tensors are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tokbench.errors import WeightsError
from tokbench.weights.loading import read_checkpoint
from tokbench_adapters._reading.places import Place

if TYPE_CHECKING:
    import torch

    from tokbench.cards import TokenizerCard

PartFormat = Literal["safetensors", "state_dict"]
_WHOLE: dict[PartFormat, str] = {"safetensors": "model.safetensors", "state_dict": "pytorch_model.bin"}


def read_prefixed(
    place: Place,
    prefixes: Sequence[str],
    *,
    format: PartFormat = "safetensors",  # noqa: A002
) -> tuple[TokenizerCard, dict[str, torch.Tensor]]:
    """The tensors whose names begin with a prefix, of a checkpoint in one file or in several with an index.

    Args:
        place: where the checkpoint lies, as the library of the hub saves it: ``model.safetensors`` or
            ``pytorch_model.bin``, or shards beside such a name with ``.index.json``.
        prefixes: of the names, in the order they are tried: releases of a library name a part in more ways than one.
        format: how the files are read.

    Returns:
        The card with the digests of the files that were read, and the tensors on the CPU, the prefix cut off.

    Raises:
        WeightsError: a file cannot be had, would run code or is damaged; nothing has such a name; or a file lacks a
            tensor that the index says it has.
    """
    whole = _WHOLE[format]
    index = f"{whole}.index.json"
    if place.first_there((whole, index)) == whole:
        found = _read(place.path(whole), format, lambda name: name.startswith(tuple(prefixes)))
        prefix = _first_used(prefixes, found, source=str(place))
        tensors = {name: tensor for name, tensor in found.items() if name.startswith(prefix)}
        files: Sequence[str] = (whole,)
    else:
        shards = place.read_index(index)
        prefix = _first_used(prefixes, shards, source=f"{index} of {place}")
        wanted = {name: file for name, file in shards.items() if name.startswith(prefix)}
        files = tuple(sorted(set(wanted.values())))
        tensors = {}
        for file in files:
            tensors |= _read_shard(place, file, {name for name, where in wanted.items() if where == file}, format)
    return place.with_digests(files), {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def _read_shard(place: Place, file: str, names: set[str], format: PartFormat) -> dict[str, torch.Tensor]:  # noqa: A002
    found = _read(place.path(file), format, names.__contains__)
    if missing := sorted(names - found.keys()):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise WeightsError(f"{file} of {place} lacks {missing[0]}{more}, which the index says it has")
    return found


def _read(path: Path, format: PartFormat, is_wanted: Callable[[str], bool]) -> dict[str, torch.Tensor]:  # noqa: A002
    """The wanted tensors of a file; the others stay on the disk."""
    import torch
    from safetensors import SafetensorError, safe_open

    if format == "state_dict":
        held = read_checkpoint(path, mapped=True)
        if not isinstance(held, Mapping) or not all(torch.is_tensor(entry) for entry in held.values()):
            raise WeightsError(f"{path} holds something but tensors by name")
        return {str(name): tensor.clone() for name, tensor in held.items() if is_wanted(str(name))}

    try:
        with safe_open(path, framework="pt", device="cpu") as stored:
            return {name: stored.get_tensor(name) for name in stored.keys() if is_wanted(name)}  # noqa: SIM118
    except SafetensorError as err:
        raise WeightsError(f"{path} cannot be read as safetensors: {err}") from err


def _first_used(prefixes: Sequence[str], names: Mapping[str, object], *, source: str) -> str:
    for prefix in prefixes:
        if any(name.startswith(prefix) for name in names):
            return prefix
    begins = f"; it has {', '.join(sorted(names)[:5])}" if names else ""
    raise WeightsError(f"{source} has nothing that begins with {' or '.join(map(repr, prefixes))}{begins}")
