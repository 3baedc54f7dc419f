"""Weights and images that two implementations can make alike, for networks whose own weights are not at hand.

Every tensor is drawn from a seed that is a digest of its official name, so a missing, renamed or transposed one, or
another padding, normalisation or activation changes the numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.adapters import seeding

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "networks"

Entries = Mapping[str, tuple[int, ...]]


def golden(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def entries(stored: Mapping[str, list[int]], *, layers: str, depth: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes at a depth, from those of a network with at least one layer (``layers`` + number + ``.``)."""
    first = f"{layers}0."
    found = {key: tuple(shape) for key, shape in stored.items() if not key.startswith(layers)}
    for key in (key for key in stored if key.startswith(first)):
        for index in range(depth):
            found[f"{layers}{index}.{key.removeprefix(first)}"] = tuple(stored[key])
    return found


def keys_sha256(wanted: Entries) -> str:
    lines = sorted(f"{key} {tuple(shape)}" for key, shape in wanted.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def seeded(wanted: Entries) -> dict[str, torch.Tensor]:
    """A state dict of these names and shapes."""
    return {key: seeding.seeded_tensor(key, tuple(shape)) for key, shape in wanted.items()}


def pattern(n: int, side_px: int) -> torch.Tensor:
    """uint8 ``(n, 3, side, side)``: waves, different in every channel and image."""
    return seeding.pattern(n, side_px, side_px).mul(255).round().to(torch.uint8)


def assert_like(got: torch.Tensor, stored: Mapping[str, Any], *, tolerance: float) -> None:
    """Shape, eight evenly spaced values, mean and standard deviation, within a share of the deviation."""
    assert list(got.shape) == stored["shape"]
    values = got.double()
    places = torch.linspace(0, values.numel() - 1, 8).long()
    allowed = tolerance * stored["deviation"]
    assert values.flatten()[places].tolist() == pytest.approx(stored["values"], abs=allowed)
    assert values.mean().item() == pytest.approx(stored["mean"], abs=allowed)
    assert values.std().item() == pytest.approx(stored["deviation"], abs=allowed)
