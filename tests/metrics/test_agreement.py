"""Classes and cosines: known logits, labels of every kind, and a real classifier on real photographs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from metric_inputs import compare, noisy
from network_inputs import labelled, with_features

from tokbench.contracts import Comparison, DeviceBound, NeedsWeights, PairMetric
from tokbench.errors import MetricError
from tokbench.metrics.agreement import METRICS, RowMetric, classification, similarity
from tokbench.metrics.features import NetworkFeature
from tokbench.networks import clip_vision, effnet_lite
from tokbench.networks.base import ImageNetwork
from tokbench.networks.imagenet import class_index, wordnet_ids

BY_KEY = {metric.card.key: metric for metric in METRICS}
WEIGHTLESS = effnet_lite.NETWORK.unavailable()


class Colours:
    """A classifier whose logits are an image's mean colour, in place of the first three classes."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return self.features_and_logits(images)[0]

    def features_and_logits(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = images.float().mean((2, 3))
        return features, torch.nn.functional.pad(features, (0, 997))


class Plain:
    """A network without logits."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().mean((2, 3))


COLOURS = ImageNetwork(
    card=replace(effnet_lite.CARD, key="colours", title="Colours", dimensions=3), build=lambda device: Colours()
)


def colours(*rgb: tuple[int, int, int]) -> torch.Tensor:
    """uint8 ``(n, 3, 4, 4)``: images of one colour each."""
    return torch.tensor(rgb, dtype=torch.uint8).view(-1, 3, 1, 1).expand(-1, 3, 4, 4).contiguous()


def measured(metric: RowMetric, comparison: Comparison) -> list[float | None]:
    return metric.measure(with_features(comparison, metric.features))


AGREEMENT, ACCURACY, CEILING = classification(COLOURS)
BEFORE = colours((200, 10, 10), (10, 200, 10), (10, 10, 200), (9, 10, 11))
AFTER = colours((210, 90, 10), (10, 20, 90), (10, 10, 200), (12, 10, 11))


def test_agreement_of_known_classes() -> None:
    assert measured(AGREEMENT, compare(BEFORE, AFTER)) == [1.0, 0.0, 1.0, 0.0]
    assert measured(AGREEMENT, compare(BEFORE, BEFORE)) == [1.0] * 4


def test_accuracy_against_labels_of_both_forms() -> None:
    """Class 0 is a tench; a sample with any other label, or none, has no value."""
    given = labelled(compare(BEFORE, AFTER), ["n01440764", "1", "cat", ""])
    assert measured(ACCURACY, given) == [1.0, 0.0, None, None]
    assert measured(CEILING, given) == [1.0, 1.0, None, None]
    given = labelled(compare(BEFORE, AFTER), ["2", "n01484850", "n01484850", "0"])
    assert measured(ACCURACY, given) == [0.0, 1.0, 1.0, 1.0]
    assert measured(CEILING, given) == [0.0, 0.0, 1.0, 0.0]
    for metric in (ACCURACY, CEILING):
        assert "n01440764" in metric.card.undefined
        assert metric.card.perfect is None


@pytest.mark.parametrize(
    ("label", "index"),
    [
        ("n01440764", 0),
        ("n02123159", 282),
        ("n15075141", 999),
        ("0", 0),
        ("999", 999),
        ("007", 7),
        ("1000", None),
        ("-1", None),
        ("1.0", None),
        ("²", None),
        ("٣", None),
        ("n00000000", None),
        ("tench", None),
        ("", None),
    ],
)
def test_labels(label: str, index: int | None) -> None:
    assert class_index(label) == index


def test_the_list_of_classes_is_whole_and_in_order() -> None:
    ids = wordnet_ids()
    assert len(set(ids)) == len(ids) == 1000
    assert list(ids) == sorted(ids)
    assert {len(wordnet_id) for wordnet_id in ids} == {9}
    # tabby, tiger cat, Egyptian cat, drilling platform, missile, espresso, as in every list of the classes
    known = {281: 2123045, 282: 2123159, 285: 2124075, 540: 3240683, 657: 3773504, 967: 7920052}
    assert {index: int(ids[index][1:]) for index in known} == known


def test_cosine_of_known_features() -> None:
    values = measured(similarity(COLOURS), compare(colours((100, 0, 0), (3, 4, 0)), colours((0, 50, 0), (6, 8, 0))))
    assert values == pytest.approx([0.0, 1.0], abs=1e-12)
    assert measured(similarity(COLOURS), compare(BEFORE, BEFORE)) == [1.0] * 4
    assert measured(similarity(COLOURS), compare(colours((0, 0, 0)), colours((1, 0, 0)))) == [None]


def test_a_network_without_classes_is_refused() -> None:
    with pytest.raises(MetricError, match="clip_vitl14_336 gives logits of ''"):
        classification(clip_vision.NETWORK)


def test_logits_come_only_from_classifiers() -> None:
    plain = ImageNetwork(card=COLOURS.card, build=lambda device: Plain())
    assert [set(row) for row in NetworkFeature(network=plain).compute(BEFORE, [])] == [{"features"}] * 4
    both = NetworkFeature(network=COLOURS).compute(BEFORE, [])
    assert [{name: array.shape for name, array in row.items()} for row in both] == [
        {"features": (3,), "logits": (1000,)}
    ] * 4
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for row in both for array in row.values())


def test_metrics_of_one_network_share_one_pass() -> None:
    features = [metric.features[0] for metric in METRICS if metric.card.key.endswith(".effnet_lite0")]
    assert len(features) == 4
    assert len({feature.name for feature in features}) == 1


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.card.key)
def test_metrics_fit_the_contracts(metric: RowMetric) -> None:
    assert isinstance(metric, PairMetric)
    assert isinstance(metric, NeedsWeights)
    assert isinstance(metric, DeviceBound)
    moved = metric.on_device("cuda:0")
    assert moved.card is metric.card
    assert moved.features[0].identity()["device"] == "cuda"
    assert metric.features[0].identity()["device"] == "cpu"


@pytest.mark.skipif(bool(WEIGHTLESS), reason=WEIGHTLESS)
def test_real_photographs_and_their_noise() -> None:
    import skimage.data

    cat, cup = skimage.data.chelsea()[:, 76:376], skimage.data.coffee()[:300, 100:400]
    images = torch.from_numpy(np.stack([cat, cup])).permute(0, 3, 1, 2).contiguous()
    given = labelled(compare(images, noisy(images, 10)), ["n02124075", "n07920052"])
    assert measured(BY_KEY["top1_agreement.effnet_lite0"], given) == [1.0, 1.0]
    assert measured(BY_KEY["top1_accuracy_reference.effnet_lite0"], given) == [1.0, 1.0]
    cosines = [
        measured(BY_KEY["feature_cosine.effnet_lite0"], compare(images, noisy(images, sigma)))
        for sigma in (0, 10, 40, 120)
    ]
    assert cosines[0] == [1.0, 1.0]
    for row in range(2):
        values = [column[row] for column in cosines]
        assert values == sorted(values, reverse=True)
    grey = compare(images, torch.full_like(images, 128))
    assert measured(BY_KEY["top1_agreement.effnet_lite0"], grey) == [0.0, 0.0]
