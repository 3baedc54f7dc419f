"""Network features as something metrics share: of each reference once for ever, of each reconstruction once a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from tokbench.contracts import FeatureRows
from tokbench.networks.base import Classifier, ImageNetwork
from tokbench.samples import Region

if TYPE_CHECKING:
    import torch

ROW = "features"
LOGITS = "logits"


@dataclass(frozen=True, kw_only=True)
class NetworkFeature:
    """A :class:`~tokbench.contracts.Feature`: one vector an image, float32 ``(d,)`` under the name ``features``.

    A classifier's logits come with it, float32 ``(classes,)`` under ``logits``: one pass serves distances and classes.
    """

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
        """uint8 ``(n, 3, h, w)`` → n mappings ``{"features": float32 (d,)}``, with ``logits`` for a classifier."""
        import torch

        network = self.network.on(self.device)
        with torch.inference_mode():
            if isinstance(network, Classifier):
                arrays = dict(zip((ROW, LOGITS), network.features_and_logits(images), strict=True))
            else:
                arrays = {ROW: network(images)}
        columns = {name: array.numpy() for name, array in arrays.items()}
        return [
            {name: np.ascontiguousarray(column[row]) for name, column in columns.items()}
            for row in range(images.shape[0])
        ]

    def on_device(self, device: str) -> NetworkFeature:
        return replace(self, device=device)


def stacked(rows: FeatureRows, name: str = ROW) -> np.ndarray:
    """One array of each of a comparison's images, usually the feature vectors: float32 ``(n, d)``."""
    return np.stack([row[name] for row in rows])
