"""What every image network has: a card, its file of weights, and one lazy load a device."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from tokbench.environment import version_of
from tokbench.errors import MetricError
from tokbench.once import Once
from tokbench.weights.files import WeightsFile, missing_weights, weights_sha256

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class NetworkCard:
    """What is known about a network before anything is loaded.

    Attributes:
        key: lower snake case; names the feature set. Two preprocessings of one network are two keys.
        title: one line for people.
        weights: its one file of weights.
        dimensions: length of a feature vector.
        classes: what its logits are of (``imagenet-1k``), for a :class:`Classifier`; "" for a network without logits.
        version: bumped whenever any number it gives may change.
        requires: top-level modules that must be importable; extra: the pip extra that installs them.
        licence, weights_licence, paper, repository: SPDX id or name, the same for the weights, arXiv id, URL.
        notes: conventions that change scores (resize, range, normalisation), one sentence each.
    """

    key: str
    title: str
    weights: WeightsFile
    dimensions: int
    classes: str = ""
    version: int = 1
    requires: tuple[str, ...] = ()
    extra: str = ""
    licence: str = ""
    weights_licence: str = ""
    paper: str = ""
    repository: str = ""
    notes: tuple[str, ...] = ()


class LoadedNetwork(Protocol):
    """A network with its weights, on one device."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 ``(n, 3, h, w)`` RGB of any size, on any device → float32 ``(n, d)`` on the CPU.

        All of its preprocessing happens inside. An image's features do not depend on the batch beyond float32
        rounding.
        """
        ...


@runtime_checkable
class Classifier(LoadedNetwork, Protocol):
    """A loaded network that also classifies, in the same pass."""

    def features_and_logits(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """uint8 ``(n, 3, h, w)`` → float32 ``(n, d)`` as from a call, and ``(n, classes)``, both on the CPU."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageNetwork:
    """A network by card; weights are looked for, checked and loaded on first use, once a device.

    Attributes:
        card: its facts.
        build: device → the loaded network; called at most once a device.
    """

    card: NetworkCard
    build: Callable[[str], LoadedNetwork]

    def unavailable(self) -> str:
        """Why it cannot run although its packages are installed (missing weights), or ""."""
        return missing_weights(self.card.weights)

    def identity(self) -> Mapping[str, str | int | float]:
        """Everything but pixels and device that a feature depends on."""
        return {
            "version": self.card.version,
            "weights": weights_sha256(self.card.weights),
            "torch": version_of("torch"),
        }

    def on(self, device: str) -> LoadedNetwork:
        """The network on that device."""
        return _loader(self, device)()


@functools.cache
def _loader(network: ImageNetwork, device: str) -> Once[LoadedNetwork]:
    return Once(lambda: network.build(device))


def require_batch(images: torch.Tensor) -> None:
    """Raise MetricError unless ``images`` is uint8 ``(n, 3, h, w)`` with at least one pixel."""
    shape = tuple(images.shape)
    if str(images.dtype) != "torch.uint8" or len(shape) != 4 or shape[1] != 3 or 0 in shape[2:]:
        raise MetricError(f"expected uint8 (n, 3, h, w) RGB with at least one pixel, got {images.dtype} {shape}")


def one_at_a_time_on_cpu(images: torch.Tensor, device: str) -> tuple[torch.Tensor, ...]:
    """The batch as single images on a CPU, whole on any other device.

    One image fills a core as well as several do, stays in its cache, and its features are then independent of the
    batch to the last bit.
    """
    return tuple(images[row : row + 1] for row in range(len(images))) if device == "cpu" else (images,)
