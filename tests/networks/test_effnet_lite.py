"""EfficientNet-Lite0 against its reference package, on real photographs, and as a network that metrics rely on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from seeded import assert_like, golden, pattern

from tokbench.errors import MetricError, WeightsError
from tokbench.networks import effnet_lite
from tokbench.networks.base import Classifier
from tokbench.networks.checkpoint import Checkpoint
from tokbench.networks.effnet_lite import CARD, NETWORK, EfficientNetLite0
from tokbench.weights.loading import load_state_dict

pytestmark = pytest.mark.skipif(bool(NETWORK.unavailable()), reason=NETWORK.unavailable())


@pytest.fixture(scope="module")
def network() -> Classifier:
    loaded = NETWORK.on("cpu")
    assert isinstance(loaded, Classifier)
    return loaded


def photograph(name: str, share: float = 1.0) -> torch.Tensor:
    """uint8 ``(1, 3, side, side)``: the central square, of this share of the shorter side."""
    import skimage.data

    image = getattr(skimage.data, name)()
    height, width = image.shape[:2]
    side = int(min(height, width) * share)
    top, left = (height - side) // 2, (width - side) // 2
    crop = np.ascontiguousarray(image[top : top + side, left : left + side])
    return torch.from_numpy(crop).permute(2, 0, 1)[None]


def test_equals_the_reference_package(network: Classifier) -> None:
    stored = golden("effnet_lite0")
    features, logits = network.features_and_logits(pattern(2, 224))
    assert features.dtype == logits.dtype == torch.float32
    assert_like(features, stored["features"], tolerance=1e-5)
    assert_like(logits, stored["logits"], tolerance=1e-5)
    assert logits.argmax(1).tolist() == stored["top1"]
    assert torch.equal(network(pattern(2, 224)), features)
    assert features.shape[1] == CARD.dimensions


@pytest.mark.parametrize(
    ("name", "index", "probability"), [("chelsea", 282, 0.39), ("coffee", 967, 0.95), ("rocket", 657, 0.27)]
)
def test_knows_what_photographs_show(network: Classifier, name: str, index: int, probability: float) -> None:
    """A tiger cat, an espresso and a missile, in the central crop that ImageNet is evaluated on."""
    likely = network.features_and_logits(photograph(name, share=0.875))[1].softmax(1)[0]
    assert int(likely.argmax()) == index
    assert float(likely[index]) == pytest.approx(probability, abs=0.02)


def test_an_image_does_not_depend_on_its_batch(network: Classifier) -> None:
    images = pattern(3, 97)
    together = network.features_and_logits(images)
    for row in range(3):
        for alone, batched in zip(network.features_and_logits(images[row : row + 1]), together, strict=True):
            assert torch.equal(alone[0], batched[row])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 500), (224, 224), (600, 224)])
def test_takes_any_size(network: Classifier, height: int, width: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 3, height, width), dtype=np.uint8)
    features = network(torch.from_numpy(noise))
    assert features.shape == (1, 1280)
    assert bool(torch.isfinite(features).all())
    assert float(features.min()) >= 0


def test_normalises_as_it_was_trained() -> None:
    levels = effnet_lite.preprocessed(torch.tensor([0, 127, 255], dtype=torch.uint8).expand(1, 3, 1, 3))
    assert levels.shape == (1, 3, 224, 224)
    assert levels[0, 0, 0, [0, 112, 223]].tolist() == pytest.approx([-127 / 128, 0.0, 1.0], abs=0.01)


def test_refuses_other_inputs(network: Classifier) -> None:
    with pytest.raises(MetricError, match="uint8"):
        network(torch.rand(1, 3, 8, 8))


def test_refuses_another_checkpoint() -> None:
    weights = load_state_dict(CARD.weights)
    renamed = {key.replace("_conv_head", "conv_head"): value for key, value in weights.items()}
    with pytest.raises(WeightsError, match=r"no entry _conv_head\.weight"):
        EfficientNetLite0(Checkpoint(renamed, name="a.pth"))
    with pytest.raises(WeightsError, match="1 entries this network lacks: extra"):
        EfficientNetLite0(Checkpoint({**weights, "extra": torch.ones(1)}, name="a.pth"))
    with pytest.raises(WeightsError, match=r"_fc\.weight has shape \(999, 1280\), expected \(1000, 1280\)"):
        EfficientNetLite0(Checkpoint({**weights, "_fc.weight": weights["_fc.weight"][1:]}, name="a.pth"))
