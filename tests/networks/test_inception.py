"""The Inception's layers and inputs, with weights seeded by name (see seeded.py)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inception_weights import inception_entries, inception_file, inception_state
from PIL import Image
from seeded import assert_like, golden, keys_sha256, pattern

from tokbench.errors import MetricError, WeightsError
from tokbench.networks import inception, inception_inputs, inception_layers
from tokbench.networks.base import ImageNetwork, LoadedNetwork
from tokbench.networks.checkpoint import Checkpoint
from tokbench.networks.inception_layers import InceptionLayers
from tokbench.weights.files import WeightsFile


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> WeightsFile:
    return inception_file(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def network(file: WeightsFile) -> ImageNetwork:
    return inception.port(replace(inception.COMPAT, weights=file), inception_inputs.compat)


@pytest.fixture(scope="module")
def loaded(network: ImageNetwork) -> LoadedNetwork:
    return network.on("cpu")


def test_equals_torch_fidelity(loaded: LoadedNetwork) -> None:
    stored = golden("inception")
    assert keys_sha256(inception_entries()) == stored["keys_sha256"]
    assert_like(loaded(pattern(2, 96)), stored["features"], tolerance=2e-5)


def test_features_depend_on_the_image(loaded: LoadedNetwork) -> None:
    """Otherwise agreement with another implementation would say little."""
    features = loaded(pattern(3, 64))
    assert features.std(0).mean() > 0.02 * features.mean()


def test_an_image_does_not_depend_on_its_batch_or_thread(loaded: LoadedNetwork) -> None:
    images = pattern(6, 48)
    together = loaded(images)
    assert together.dtype == torch.float32
    assert together.shape == (6, 2048)
    alone = torch.cat([loaded(images[[index]]) for index in (5, 2)])
    assert torch.allclose(alone, together[[5, 2]], rtol=1e-5, atol=1e-5)
    with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        threaded = torch.cat(list(pool.map(loaded, images.split(3))))
    assert torch.allclose(threaded, together, rtol=1e-5, atol=1e-5)
    assert loaded(images[:0]).shape == (0, 2048)


def test_packed_and_plain_convolutions_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    values = inception_inputs.compat(pattern(1, 64))
    packed = InceptionLayers(Checkpoint(inception_state(), name="seeded"))
    monkeypatch.setattr("tokbench.networks.inception_layers._packed", lambda *_: None)
    plain = InceptionLayers(Checkpoint(inception_state(), name="seeded"))
    assert all(layer.packed is None for layer in plain._layers.values())
    with torch.inference_mode():
        assert torch.allclose(packed(values), plain(values), rtol=1e-5, atol=1e-5)


def test_weights_are_packed_for_the_maps_they_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another size costs no digits but up to twenty times the time."""
    monkeypatch.setattr(inception_layers, "_packed", lambda _weight, shape, side_px: (shape, side_px))
    layers = InceptionLayers(Checkpoint(inception_state(), name="seeded"))
    met = {}

    original = inception_layers._Layer.__call__

    def call(layer: Any, x: torch.Tensor) -> torch.Tensor:
        met[id(layer)] = (layer.packed[1], *x.shape[2:])
        return original(replace(layer, packed=None), x)

    monkeypatch.setattr(inception_layers._Layer, "__call__", call)
    with torch.inference_mode():
        layers(torch.zeros((1, 3, 299, 299)))
    assert len(met) == len(layers._layers)
    assert all(len(set(sides)) == 1 for sides in met.values())


def test_wrong_files_and_images_are_refused(loaded: LoadedNetwork) -> None:
    state = dict(inception_state())
    del state["Mixed_6c.branch7x7_2.bn.bias"]
    with pytest.raises(WeightsError, match=r"Mixed_6c\.branch7x7_2\.bn\.bias"):
        InceptionLayers(Checkpoint(state, name="some.pth"))
    with pytest.raises(WeightsError, match="AuxLogits"):
        InceptionLayers(Checkpoint({**inception_state(), "AuxLogits.fc.bias": torch.zeros(3)}, name="some.pth"))
    with pytest.raises(MetricError, match="expected uint8"):
        loaded(torch.zeros((1, 3, 8, 8)))


def test_missing_weights_are_said_not_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("TOKBENCH_WEIGHTS", "TORCH_HOME", "HF_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    for card, found in ((inception.COMPAT, inception.INCEPTION_COMPAT), (inception.CLEAN, inception.INCEPTION_CLEAN)):
        assert card.weights.name in found.unavailable()


def test_clean_reads_the_ports_file_first(file: WeightsFile, tmp_path: Path) -> None:
    absent = WeightsFile(owner="absent", name="absent.pt", format="torchscript", folders=(str(tmp_path),))
    network = inception.clean(replace(inception.CLEAN, weights=absent), file)
    assert network.unavailable() == ""
    same = inception.port(replace(inception.CLEAN, weights=file), inception_inputs.clean)
    assert network.identity() == same.identity()
    nothing = replace(absent, owner="nothing")
    assert "absent.pt" in inception.clean(replace(inception.CLEAN, weights=absent), nothing).unavailable()


@pytest.mark.parametrize("size", [(256, 256), (61, 97), (299, 299), (640, 311), (1, 1)])
def test_inputs_are_as_published(size: tuple[int, int]) -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, *size), dtype=np.uint8))
    for prepare in (inception_inputs.compat, inception_inputs.pytorch_fid, inception_inputs.clean):
        values = prepare(images)
        assert values.shape == (2, 3, 299, 299)
        assert values.dtype == torch.float32
        assert values.min() >= -1
        assert values.max() <= 1
    planes = [
        np.asarray(Image.fromarray(plane.astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC)).clip(0, 255)
        for plane in images[0].numpy()
    ]
    assert np.abs(inception_inputs.clean(images)[0].numpy() * 128 + 128 - np.stack(planes)).max() < 2e-4
    # TensorFlow 1: output i reads position i * size / 299, between the pixel there and the next.
    rows, columns = (np.arange(299, dtype=np.float32) * np.float32(side / 299) for side in size)
    for y, x in ((0, 0), (17, 298), (298, 150)):
        expected = bilinear(images[1, 2].numpy().astype(float), rows[y], columns[x])
        assert inception_inputs.compat(images)[1, 2, y, x] * 128 + 128 == pytest.approx(expected, abs=2e-3)


def bilinear(plane: np.ndarray, y: float, x: float) -> float:
    low_y, low_x = int(y), int(x)
    high_y, high_x = min(low_y + 1, plane.shape[0] - 1), min(low_x + 1, plane.shape[1] - 1)
    top = plane[low_y, low_x] * (1 - x + low_x) + plane[low_y, high_x] * (x - low_x)
    bottom = plane[high_y, low_x] * (1 - x + low_x) + plane[high_y, high_x] * (x - low_x)
    return top * (1 - y + low_y) + bottom * (y - low_y)
