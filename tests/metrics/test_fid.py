"""The Inception metrics as metrics: cards, shared state, tasks, skips; with a small seeded network in its place."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from metric_inputs import compare, noisy, photographs
from network_inputs import with_features

from tokbench.contracts import Comparison, DeviceBound, NeedsWeights, SharesState, StatefulMetric, TaskBound
from tokbench.metrics import fid
from tokbench.metrics.feature_sets import FeatureSetMetric
from tokbench.metrics.features import NetworkFeature
from tokbench.metrics.fid import AdmMetric, ToPublished
from tokbench.metrics.frechet import frechet_distance
from tokbench.networks.base import ImageNetwork
from tokbench.networks.inception import COMPAT
from tokbench.requirements import why_unavailable
from tokbench.tasks.catalogue import find_task, folder_task
from tokbench.weights.files import WeightsFile

KEYS = ["rfid", "rfid_clean", "rfid_pytorch", "rfid_adm", "kid", "fid_inf"]
DIMENSIONS = 5
N_IMAGES = 24


class Projection:
    """Means over a coarse grid of the image, mixed by seeded weights."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        cells = torch.nn.functional.adaptive_avg_pool2d(images.double(), 4).flatten(1)
        weights = torch.randn((cells.shape[1], DIMENSIONS), generator=torch.Generator().manual_seed(0))
        return (cells @ weights.double() / 255).float()


TOY = NetworkFeature(
    network=ImageNetwork(card=replace(COMPAT, key="toy", dimensions=DIMENSIONS), build=lambda _: Projection())
)


@lru_cache
def crops() -> torch.Tensor:
    photograph = photographs(1, 512)[0]
    corners = [(71 * index % 470, 113 * index % 470) for index in range(N_IMAGES)]
    return torch.stack([photograph[:, y : y + 40, x : x + 40] for y, x in corners])


def toys() -> dict[str, FeatureSetMetric]:
    """The metrics on the small network."""
    return {metric.card.key: replace(metric, feature=TOY) for metric in fid.METRICS if metric.card.key != "rfid_adm"}


def comparison(rows: list[int], *, sigma: float = 30) -> Comparison:
    reference = crops()
    reconstruction = noisy(reference, sigma) if sigma else reference.clone()
    return with_features(compare(reference[rows], reconstruction[rows]), [TOY])


def value(metric: FeatureSetMetric, given: Comparison) -> float | None:
    state = metric.new_state()
    metric.update(state, given)
    return metric.compute(state).value


@pytest.fixture
def statistics(tmp_path: Path) -> WeightsFile:
    rows = np.random.default_rng(0).normal(size=(50, DIMENSIONS))
    np.savez(tmp_path / "adm.npz", mu=rows.mean(0), sigma=np.cov(rows.T), arr_0=np.zeros((2, 4, 4, 3), np.uint8))
    return WeightsFile(owner="seeded_adm", name="adm.npz", format="npz", folders=(str(tmp_path),))


def test_every_metric_is_what_a_run_asks_for() -> None:
    assert [metric.card.key for metric in fid.METRICS] == KEYS
    for metric in fid.METRICS:
        assert metric.card.kind == "set"
        assert metric.card.group == "distribution"
        for contract in (StatefulMetric, SharesState, DeviceBound, NeedsWeights):
            assert isinstance(metric, contract)
        assert metric.features == (metric.feature,)
        assert metric.on_device("cuda:0").feature.device == "cuda:0"
        assert metric.on_device("cuda:0").card is metric.card


def test_a_feature_has_one_state_and_features_are_never_mixed() -> None:
    by_state: dict[str, list[str]] = {}
    for metric in fid.METRICS:
        by_state.setdefault(metric.state_name, []).append(metric.card.key)
    assert sorted(by_state.values()) == [["rfid", "rfid_adm", "kid", "fid_inf"], ["rfid_clean"], ["rfid_pytorch"]]


def test_missing_weights_skip_every_metric_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("TOKBENCH_WEIGHTS", "TORCH_HOME", "HF_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    for metric in fid.METRICS:
        assert ".pt" in why_unavailable(metric)


@pytest.mark.parametrize("key", toys())
def test_values_do_not_depend_on_batches_order_or_merging(key: str) -> None:
    metric = toys()[key]
    everything = list(range(N_IMAGES))
    whole, batches, merged = metric.new_state(), metric.new_state(), metric.new_state()
    metric.update(whole, comparison(everything))
    for part in (everything[:5], everything[5:6], everything[6:]):
        metric.update(batches, comparison(part))
        shard = metric.new_state()
        metric.update(shard, comparison(part))
        merged.merge(shard)
    assert batches == whole == merged
    summary = metric.compute(whole)
    assert summary.n == N_IMAGES
    shuffled = metric.new_state()
    metric.update(shuffled, comparison(everything[::-1]))
    if key == "fid_inf":  # its subsets are drawn by place
        assert metric.compute(shuffled).details["distance_at_n"] == pytest.approx(summary.details["distance_at_n"])
    else:
        assert metric.compute(shuffled).value == pytest.approx(summary.value, rel=1e-9)
        assert np.allclose(metric.compute(shuffled).influences[::-1], summary.influences, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("key", toys())
def test_identity_is_perfect_and_noise_is_worse(key: str) -> None:
    metric = toys()[key]
    everything = list(range(N_IMAGES))
    if metric.card.perfect is not None:
        assert value(metric, comparison(everything, sigma=0)) == metric.card.perfect
    values = [value(metric, comparison(everything, sigma=sigma)) for sigma in (10, 40, 120)]
    assert values == sorted(values)
    assert len(set(values)) == 3


@pytest.mark.parametrize("key", toys())
def test_no_image_and_one_image_have_no_value(key: str) -> None:
    metric = toys()[key]
    empty = metric.compute(metric.new_state())
    assert empty.value is None
    assert "no image" in empty.reason
    assert value(metric, comparison([0])) is None


def test_a_comparison_without_the_reconstructions_features_leaves_the_state_whole() -> None:
    metric = toys()["rfid"]
    state = metric.new_state()
    given = comparison([0, 1])
    with pytest.raises(KeyError):
        metric.update(state, replace(given, reconstruction_features={}))
    assert state == metric.new_state()


def adm() -> AdmMetric:
    found = next(metric for metric in fid.METRICS if metric.card.key == "rfid_adm")
    assert isinstance(found, AdmMetric)
    assert isinstance(found, TaskBound)
    return found


def test_adm_statistics_are_for_adms_crops_of_imagenet_only() -> None:
    assert adm().for_task(find_task("imagenet-256")).statistic.weights.owner == "adm_imagenet256"
    assert adm().for_task(find_task("imagenet-512")).statistic.weights.owner == "adm_imagenet512"
    for name in ("quick", "imagenet-256-lanczos", "coco-256"):
        assert "its own crops of ImageNet" in adm().for_task(find_task(name)).unavailable()
    assert "its own crops of ImageNet" in adm().for_task(folder_task()).unavailable()
    bound = adm().for_task(find_task("quick")).for_task(find_task("imagenet-256"))
    assert "crops of ImageNet" not in bound.unavailable()


def test_adm_distance_is_to_the_published_moments(statistics: WeightsFile) -> None:
    metric = replace(adm(), feature=TOY, statistic=ToPublished(statistics))
    state = metric.new_state()
    metric.update(state, comparison(list(range(N_IMAGES))))
    summary = metric.compute(state)
    with np.load(Path(statistics.folders[0]) / statistics.name) as arrays:
        mu, sigma = arrays["mu"], arrays["sigma"]
    rows = state["reconstruction"].astype(np.float64)
    assert summary.value == pytest.approx(frechet_distance(mu, sigma, rows.mean(0), np.cov(rows.T)), rel=1e-6)
    assert summary.details["statistics"] == "adm.npz"
    assert len(summary.details["statistics_sha256"]) == 64
    assert summary.influences.shape == (N_IMAGES,)
    assert metric.compute(metric.new_state()).value is None
