"""Comparisons with the features of networks on both sides, as a run hands them to metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from tokbench.contracts import Comparison, Feature


def with_features(comparison: Comparison, features: Sequence[Feature]) -> Comparison:
    """The comparison with these features computed, beside those it has."""
    ours = {feature.name: features_of(feature, comparison.reference) for feature in features}
    theirs = {feature.name: features_of(feature, comparison.reconstruction) for feature in features}
    return replace(
        comparison,
        features={**comparison.features, **ours},
        reconstruction_features={**comparison.reconstruction_features, **theirs},
    )


def features_of(feature: Feature, images: torch.Tensor) -> list[dict[str, np.ndarray]]:
    """A feature without regions, computed on one thread as on a run's measuring threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return feature.compute(images, [()] * len(images))
    finally:
        torch.set_num_threads(threads)


def labelled(comparison: Comparison, labels: Sequence[str]) -> Comparison:
    """The comparison with the samples' labels."""
    pairs = zip(comparison.samples, labels, strict=True)
    return replace(comparison, samples=tuple(replace(sample, label=label) for sample, label in pairs))
