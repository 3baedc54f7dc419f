"""Do networks that look at images still see the same: classes, and the direction of embeddings.

After One-D-Piece (arXiv:2501.10064), which asks this of ConvNeXt-Base and of CLIP ViT-B/32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tokbench.cards import MetricCard
from tokbench.contracts import Comparison, Feature
from tokbench.errors import MetricError
from tokbench.metrics.face import cosine
from tokbench.metrics.features import LOGITS, ROW, NetworkFeature
from tokbench.networks import clip_vision, effnet_lite
from tokbench.networks.base import ImageNetwork
from tokbench.networks.imagenet import class_index
from tokbench.samples import Sample

if TYPE_CHECKING:
    import numpy as np

    RowFunction = Callable[[np.ndarray, np.ndarray, Sample], float | None]

PAPER = "arXiv:2501.10064"
NO_CLASS = "no sample is labelled with an ImageNet class (a WordNet id such as n01440764, or an index from 0 to 999)"


@dataclass(frozen=True, kw_only=True)
class RowMetric:
    """A :class:`~tokbench.contracts.PairMetric` from a function of one array a network gives on both sides.

    Attributes:
        array: which one, ``features`` or ``logits``.
        function: array of the reference, array of the reconstruction, sample → the value.
    """

    card: MetricCard
    feature: NetworkFeature
    array: str
    function: RowFunction

    @property
    def features(self) -> tuple[Feature, ...]:
        return (self.feature,)

    def unavailable(self) -> str:
        """Why it cannot run although its packages are installed, with what to do; "" if it can."""
        return self.feature.network.unavailable()

    def on_device(self, device: str) -> RowMetric:
        return replace(self, feature=self.feature.on_device(device))

    def measure(self, comparison: Comparison) -> list[float | None]:
        """A value an image, None where it is undefined."""
        name = self.feature.name
        sides = comparison.features[name], comparison.reconstruction_features[name]
        return [
            self.function(reference[self.array], reconstruction[self.array], sample)
            for reference, reconstruction, sample in zip(*sides, comparison.samples, strict=True)
        ]


def agrees(reference: np.ndarray, reconstruction: np.ndarray, sample: Sample) -> float:  # noqa: ARG001
    """1 if the most likely class is the same on both sides, else 0; logits ``(classes,)`` each."""
    return float(reference.argmax() == reconstruction.argmax())


def is_right(reference: np.ndarray, reconstruction: np.ndarray, sample: Sample) -> float | None:  # noqa: ARG001
    """1 if the most likely class of the reconstruction is the sample's own, else 0; None without an ImageNet class."""
    index = class_index(sample.label)
    return None if index is None else float(reconstruction.argmax() == index)


def was_right(reference: np.ndarray, reconstruction: np.ndarray, sample: Sample) -> float | None:
    """The same of the reference."""
    return is_right(reconstruction, reference, sample)


def points_alike(reference: np.ndarray, reconstruction: np.ndarray, sample: Sample) -> float | None:  # noqa: ARG001
    """Cosine of the angle between the two feature vectors ``(d,)``."""
    return cosine(reference, reconstruction)


def classification(network: ImageNetwork) -> tuple[RowMetric, ...]:
    """The metrics of an ImageNet classifier.

    Raises:
        MetricError: the network's card names no logits of the 1,000 classes.
    """
    if network.card.classes != "imagenet-1k":
        raise MetricError(f"{network.card.key} gives logits of {network.card.classes!r}, need 'imagenet-1k'")
    labels = "Labels are WordNet ids or class indices; whole numbers up to 999 are taken for ImageNet's indices."
    return (
        _metric(
            "top1_agreement",
            network,
            title="Top-1 agreement",
            function=agrees,
            array=LOGITS,
            perfect=1.0,
            notes="Share of images whose most likely class is the same on the reference and on the reconstruction.",
        ),
        _metric(
            "top1_accuracy",
            network,
            title="Top-1 accuracy on reconstructions",
            function=is_right,
            array=LOGITS,
            undefined=NO_CLASS,
            notes="Share of labelled images whose most likely class on the reconstruction is the label; read it beside "
            f"top1_accuracy_reference. {labels}",
        ),
        _metric(
            "top1_accuracy_reference",
            network,
            title="Top-1 accuracy on references",
            function=was_right,
            array=LOGITS,
            undefined=NO_CLASS,
            notes="The same of the reference: what the classifier reaches without a tokenizer, on the compared grid. "
            f"{labels}",
        ),
    )


def similarity(network: ImageNetwork) -> RowMetric:
    """The cosine between a network's features of both sides."""
    return _metric(
        "feature_cosine",
        network,
        title="Cosine of features",
        function=points_alike,
        array=ROW,
        low=-1.0,
        perfect=1.0,
        undefined="a feature vector is zero or not finite",
        notes="Cosine between the network's features of the reference and of the reconstruction.",
    )


def _metric(
    key: str,
    network: ImageNetwork,
    *,
    title: str,
    function: RowFunction,
    array: str,
    notes: str,
    low: float = 0.0,
    perfect: float | None = None,
    undefined: str = "",
) -> RowMetric:
    facts = network.card
    card = MetricCard(
        key=f"{key}.{facts.key}",
        version=1,
        kind="pair",
        group="perception",
        title=f"{title} ({facts.title})",
        better="higher",
        low=low,
        high=1.0,
        perfect=perfect,
        extra=facts.extra,
        requires=facts.requires,
        undefined=undefined,
        paper=PAPER,
        notes=" ".join((notes, *facts.notes)),
    )
    return RowMetric(card=card, feature=NetworkFeature(network=network), array=array, function=function)


METRICS = (
    *classification(effnet_lite.NETWORK),
    similarity(effnet_lite.NETWORK),
    similarity(clip_vision.NETWORK),
)
