"""Tensors taken out of a state dict by their official names, so that a wrong file is refused and none is ignored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tokbench.errors import WeightsError
from tokbench.weights.files import WeightsFile
from tokbench.weights.loading import load_state_dict

if TYPE_CHECKING:
    import torch


class Checkpoint:
    """A state dict whose entries are taken one by one; what is left at the end is an error.

    Attributes:
        name: of the file, for errors.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor], *, name: str) -> None:
        self.name = name
        self._left = dict(tensors)

    @classmethod
    def read(cls, weights: WeightsFile) -> Checkpoint:
        """The checked file's state dict, read without running anything in it.

        Raises:
            WeightsError: missing, not the pinned file, or not a plain state dict.
        """
        return cls(load_state_dict(weights), name=weights.name)

    def take(self, key: str, *shape: int) -> torch.Tensor:
        """The float32 tensor of that name and shape.

        Raises:
            WeightsError: there is none, or of another shape.
        """
        if key not in self._left:
            raise WeightsError(f"{self.name} has no entry {key}: it is not the file this network is read from")
        tensor = self._left.pop(key)
        if tuple(tensor.shape) != shape:
            raise WeightsError(f"{self.name}: {key} has shape {tuple(tensor.shape)}, expected {shape}")
        return tensor.detach().float()

    def drop(self, is_unused: Callable[[str], bool]) -> None:
        """Leave out entries this network has no use for (counters, another tower), by name."""
        self._left = {key: tensor for key, tensor in self._left.items() if not is_unused(key)}

    def require_empty(self) -> None:
        """Raise WeightsError if an entry was not taken."""
        if self._left:
            first = ", ".join(sorted(self._left)[:3])
            raise WeightsError(f"{self.name} has {len(self._left)} entries this network lacks: {first} …")
