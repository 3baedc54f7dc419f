"""The Inception of 2015-12-05 as three feature sets: one network, three ways to bring an image to 299 x 299.

The resize moves the Fréchet distance more than the port does, so each has a key of its own and they are never mixed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tokbench.environment import version_of
from tokbench.networks import inception_inputs
from tokbench.networks.base import ImageNetwork, LoadedNetwork, NetworkCard, require_batch
from tokbench.networks.checkpoint import Checkpoint
from tokbench.networks.inception_layers import N_FEATURES, InceptionLayers
from tokbench.weights.catalogue import known
from tokbench.weights.files import WeightsFile, missing_weights, require_weights, weights_sha256
from tokbench.weights.loading import read_torchscript

if TYPE_CHECKING:
    import torch

_SHARED_NOTES = (
    "Features are the 2,048 means over the last map (pool_3); float32, no TF32, batch norms folded in float64.",
    "Average pools leave the padding out and the last block pools by maximum, as in the original graph.",
)

COMPAT = NetworkCard(
    key="inception_compat",
    title="Inception of 2015-12-05, resized as in TensorFlow 1",
    weights=known("inception"),
    dimensions=N_FEATURES,
    licence="Apache-2.0",
    weights_licence="Apache-2.0",
    paper="arXiv:1512.00567",
    repository="https://github.com/toshas/torch-fidelity",
    notes=(
        "TensorFlow 1's bilinear resize to 299 x 299 px without antialiasing, then (x - 128) / 128: torch-fidelity's "
        "inception-v3-compat, which repeats what the graph of the original FID and of ADM's evaluator does inside.",
        *_SHARED_NOTES,
    ),
)
PYTORCH = replace(
    COMPAT,
    key="inception_pytorch",
    title="Inception of 2015-12-05, resized as in pytorch-fid",
    repository="https://github.com/mseitzer/pytorch-fid",
    notes=(
        "torch's bilinear resize to 299 x 299 px without antialiasing, then 2 x - 1 with x in [0, 1]: pytorch-fid's.",
        *_SHARED_NOTES,
    ),
)
CLEAN = replace(
    COMPAT,
    key="inception_clean",
    title="Inception of 2015-12-05, resized as in clean-fid",
    weights=known("inception_clean"),
    paper="arXiv:2104.11222",
    repository="https://github.com/GaParmar/clean-fid",
    notes=(
        "Pillow's bicubic resize to 299 x 299 px of each channel in 32-bit floats, antialiased, not rounded, then "
        "(x - 128) / 128: clean-fid's.",
        "clean-fid's file is a TorchScript translation of the same graph. Where the ports' file is there it is read "
        "instead, into the faster network; otherwise the TorchScript runs as clean-fid runs it, and "
        "on CUDA with TF32 unless torch is told otherwise.",
        *_SHARED_NOTES,
    ),
)


class _Inception:
    """Preprocessing and layers; safe to call from several threads."""

    def __init__(
        self,
        prepare: Callable[[torch.Tensor], torch.Tensor],
        layers: Callable[[torch.Tensor], torch.Tensor],
        device: str,
    ) -> None:
        self._prepare = prepare
        self._layers = layers
        self._device = device

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 ``(n, 3, h, w)`` → float32 ``(n, 2048)`` on the CPU."""
        import torch

        require_batch(images)
        with torch.inference_mode():
            if not len(images):
                return torch.empty((0, N_FEATURES))
            return self._layers(self._prepare(images.to(self._device))).cpu()


@dataclass(frozen=True, kw_only=True, eq=False)
class _OfEitherFile(ImageNetwork):
    """A network that reads another file of the same numbers where its own is not there."""

    preferred: WeightsFile

    def unavailable(self) -> str:
        return "" if not missing_weights(self.preferred) else missing_weights(self.card.weights)

    def identity(self) -> Mapping[str, str | int | float]:
        chosen = self.card.weights if missing_weights(self.preferred) else self.preferred
        return {
            "version": self.card.version,
            "weights": weights_sha256(chosen),
            "torch": version_of("torch"),
        }


def port(card: NetworkCard, prepare: Callable[[torch.Tensor], torch.Tensor]) -> ImageNetwork:
    """The network of a card whose weights are a state dict under the ports' key names."""

    def build(device: str) -> LoadedNetwork:
        return _Inception(prepare, InceptionLayers(Checkpoint.read(card.weights), device=device), device)

    return ImageNetwork(card=card, build=build)


def clean(card: NetworkCard, preferred: WeightsFile) -> ImageNetwork:
    """clean-fid's network: from the ports' file ``preferred``, or from the card's TorchScript as it is."""

    def build(device: str) -> LoadedNetwork:
        if not missing_weights(preferred):
            return port(replace(card, weights=preferred), inception_inputs.clean).build(device)
        graph: Any = read_torchscript(require_weights(card.weights), card.weights.sha256).to(device).layers

        def layers(values: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = graph.forward(values).view(len(values), N_FEATURES)
            return features

        return _Inception(inception_inputs.clean, layers, device)

    return _OfEitherFile(card=card, build=build, preferred=preferred)


INCEPTION_COMPAT = port(COMPAT, inception_inputs.compat)
INCEPTION_PYTORCH = port(PYTORCH, inception_inputs.pytorch_fid)
INCEPTION_CLEAN = clean(CLEAN, COMPAT.weights)
