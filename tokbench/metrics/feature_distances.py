"""Distances between an image set and its reconstructions in the features of networks other than Inception."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench.cards import MetricCard
from tokbench.contracts import Summary
from tokbench.metrics.feature_sets import FeatureSetMetric
from tokbench.metrics.features import NetworkFeature
from tokbench.metrics.frechet import frechet_summary
from tokbench.metrics.gaussian_mmd import mmd_summary
from tokbench.networks import clip_vision, dinov2, effnet_lite
from tokbench.networks.base import NetworkCard

if TYPE_CHECKING:
    import numpy as np

TOO_FEW = "fewer than two images were measured"


def _card(key: str, title: str, network: NetworkCard, *, notes: str, paper: str) -> MetricCard:
    return MetricCard(
        key=key,
        version=1,
        kind="set",
        group="distribution",
        title=title,
        better="lower",
        low=0.0,
        perfect=0.0,
        aggregate="pooled",
        extra=network.extra,
        requires=network.requires,
        undefined=TOO_FEW,
        paper=paper,
        notes=" ".join((notes, *network.notes)),
    )


def cmmd_summary(reference: np.ndarray, reconstruction: np.ndarray) -> Summary:
    """MMD² of unit embeddings with a Gaussian kernel of width 10, times 1,000, as the paper scales it."""
    return mmd_summary(reference, reconstruction, sigma=10, scale=1000)


METRICS = (
    FeatureSetMetric(
        card=_card(
            "fd_effnet",
            "Fréchet distance (EfficientNet-Lite0)",
            effnet_lite.CARD,
            notes="Not FID, and not comparable with one: it compares an image set with its own reconstructions, on "
            "features whose weights come inside a package. Compare it only over the same images: two halves of a set "
            "of photographs are further apart than the set and its JPEG copies at quality 10.",
            paper="arXiv:1706.08500",
        ),
        feature=NetworkFeature(network=effnet_lite.NETWORK),
        statistic=frechet_summary,
    ),
    FeatureSetMetric(
        card=_card(
            "fd_dinov2",
            "FD-DINOv2",
            dinov2.CARD,
            notes="Fréchet distance as in dgm-eval, unscaled; not on the scale of FID, nor of smaller DINOv2 networks.",
            paper="arXiv:2306.04675",
        ),
        feature=NetworkFeature(network=dinov2.NETWORK),
        statistic=frechet_summary,
    ),
    FeatureSetMetric(
        card=_card(
            "cmmd",
            "CMMD",
            clip_vision.CARD,
            notes="MMD² with a Gaussian kernel of width 10, every row also paired with itself, times 1,000, as in "
            "cmmd-pytorch, but in float64: its float32 rounds in the fourth decimal place.",
            paper="arXiv:2401.09603",
        ),
        feature=NetworkFeature(network=clip_vision.NETWORK),
        statistic=cmmd_summary,
    ),
)
