"""Key-seeded parity: weights, images and figures by rule, so that two implementations of a network can be compared.

Every parameter is drawn from a generator seeded by its official name, so an upstream network and ours are filled alike
without a checkpoint. The rule's check values are in ``test_seeding.py``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "tokenizers"
TOLERANCE = 1e-4
"""How far latents and images may be from upstream's."""
_GAINS = ("weight", "gamma", "scale")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Ours against upstream, the same key-seeded weights in both.

    Attributes:
        codes: how many indices were compared; 0 for continuous latents.
        codes_differ: how many of them differ.
        latents: the largest difference of the stated values of latents, or of the vectors that were quantised.
        images: the same of the images that upstream's codes, or our latents, were decoded to.
        gap: how much better the best code was than the second best, at its smallest; None without codes.
    """

    codes: int = 0
    codes_differ: int = 0
    latents: float = 0.0
    images: float
    gap: float | None = None

    @property
    def is_same(self) -> bool:
        return self.codes_differ == 0 and max(self.latents, self.images) < TOLERANCE


def seeded_tensor(key: str, shape: tuple[int, ...]) -> Tensor:
    """The float32 entry that belongs to a name and a shape."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little") & (2**63 - 1)
    draw = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    last = key.rpartition(".")[2]
    if last == "running_var":
        return 1 + 0.1 * draw.abs()
    if len(shape) >= 2:
        return draw / math.sqrt(math.prod(shape[1:]))
    return 1 + 0.02 * draw if last in _GAINS else 0.02 * draw


def seeded_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names and shapes (on any device, ``meta`` too) → filled entries; integers keep their values."""
    return {
        key: seeded_tensor(key, tuple(entry.shape)) if entry.is_floating_point() else entry
        for key, entry in state.items()
    }


def seeded_weights(network: nn.Module) -> dict[str, Tensor]:
    """A checkpoint for a network that was built on the device ``meta``."""
    return seeded_state(network.state_dict())


def pattern(n: int, height: int, width: int) -> Tensor:
    """n smooth images, float32 ``(n, 3, height, width)`` in [0, 1], computed in float64."""
    image, channel, row, column = torch.meshgrid(
        *(torch.arange(size, dtype=torch.float64) for size in (n, 3, height, width)), indexing="ij"
    )
    phase = (channel + 1) * 0.05 * row + (channel + 2 + image) * 0.031 * column + image
    return (0.5 + 0.5 * torch.sin(phase)).float()


def keys_facts(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Number of entries and of values, and the digest over the sorted lines ``key shape``."""
    lines = sorted(f"{key} {tuple(entry.shape)}" for key, entry in state.items())
    return {
        "n": len(lines),
        "values": sum(entry.numel() for entry in state.values()),
        "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
    }


def values_facts(values: Tensor) -> dict[str, Any]:
    """Shape, mean, standard deviation and eight evenly spaced values of latents or images."""
    flat = values.detach().double().flatten()
    places = torch.linspace(0, len(flat) - 1, 8, dtype=torch.float64).long()
    return {
        "shape": list(values.shape),
        "mean": round(float(flat.mean()), 7),
        "deviation": round(float(flat.std()), 7),
        "values": [round(float(value), 7) for value in flat[places]],
    }


def facts_differ(got: Mapping[str, Any], expected: Mapping[str, Any]) -> float:
    """The largest difference between two :func:`values_facts`; infinite if the shapes differ."""
    if got["shape"] != list(expected["shape"]):
        return math.inf
    pairs = zip(
        [got["mean"], got["deviation"], *got["values"]],
        [expected["mean"], expected["deviation"], *expected["values"]],
        strict=True,
    )
    return max(abs(mine - theirs) for mine, theirs in pairs)


def golden(family: str) -> dict[str, Any]:
    """What an upstream implementation gave, by variant: ``tests/golden/tokenizers/<family>.json``."""
    found: dict[str, Any] = json.loads((GOLDEN / f"{family}.json").read_text(encoding="utf-8"))
    return found
