"""Network features as something metrics share: of each reference once for ever, of each reconstruction once a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from tokbench.contracts import FeatureRows
from tokbench.networks.base import ImageNetwork
from tokbench.samples import Region

if TYPE_CHECKING:
    import torch

ROW = "features"


@dataclass(frozen=True, kw_only=True)
class NetworkFeature:
    """A :class:`~tokbench.contracts.Feature`: one vector an image, float32 ``(d,)`` under the name ``features``."""

    network: ImageNetwork
    device: str = "cpu"
    sides: Literal["reference", "both"] = "both"
    uses_regions: bool = False

    @property
    def name(self) -> str:
        return self.network.card.key

    def identity(self) -> Mapping[str, str | int | float]:
        # Another kind of device rounds differently, so its features are not mixed with these.
        return {**self.network.identity(), "device": self.device.partition(":")[0]}

    def compute(
        self,
        images: torch.Tensor,
        regions: Sequence[Sequence[Region]],  # noqa: ARG002
    ) -> list[dict[str, np.ndarray]]:
        """uint8 ``(n, 3, h, w)`` → n mappings ``{"features": float32 (d,)}``."""
        import torch

        with torch.inference_mode():
            rows = self.network.on(self.device)(images).numpy()
        return [{ROW: np.ascontiguousarray(row)} for row in rows]

    def on_device(self, device: str) -> NetworkFeature:
        return replace(self, device=device)


def stacked(rows: FeatureRows) -> np.ndarray:
    """The vectors of a comparison's images: float32 ``(n, d)``."""
    return np.stack([row[ROW] for row in rows])
