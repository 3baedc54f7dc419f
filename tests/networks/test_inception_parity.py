"""rFID and KID against torch-fidelity, clean-fid, torchmetrics and pytorch-fid: the same weights, files to numbers."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inception_weights import inception_file, read_folder, write_pairs

from tokbench.metrics import kernels
from tokbench.metrics.features import NetworkFeature
from tokbench.metrics.frechet import frechet_distance, frechet_summary
from tokbench.metrics.kernels import kid_summary
from tokbench.networks import inception, inception_inputs
from tokbench.networks.base import ImageNetwork
from tokbench.weights.files import WeightsFile

WHY = "the reference implementations are in the dev extra: pip install 'tokbench[dev]'"
N_IMAGES = 6


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> WeightsFile:
    return inception_file(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_pairs(tmp_path_factory.mktemp("images"), N_IMAGES)


def path_of(file: WeightsFile) -> str:
    return str(Path(file.folders[0]) / file.name)


def ours(network: ImageNetwork, folders: tuple[Path, Path]) -> tuple[np.ndarray, np.ndarray]:
    feature = NetworkFeature(network=network)
    sides = []
    for folder in folders:
        images = read_folder(folder)
        sides.append(np.stack([row["features"] for row in feature.compute(images, [()] * len(images))]))
    return sides[0], sides[1]


def compat(file: WeightsFile) -> ImageNetwork:
    return inception.port(replace(inception.COMPAT, weights=file), inception_inputs.compat)


def assert_same_features(got: tuple[np.ndarray, np.ndarray], expected: tuple[np.ndarray, np.ndarray]) -> None:
    for side, other in zip(got, expected, strict=True):
        assert np.abs(side - other).max() < 2e-5 * np.abs(other).max()


def assert_same_distance(got: tuple[np.ndarray, np.ndarray], expected: tuple[np.ndarray, np.ndarray]) -> None:
    """Of features that agree, the distances agree; the peers' own arithmetic is checked where it is fast."""
    value = frechet_summary(*got).value
    assert value is not None
    assert value == pytest.approx(frechet_summary(*expected).value, rel=1e-4)
    assert kid_summary(*got).value == pytest.approx(kid_summary(*expected).value, rel=1e-4)


@pytest.fixture(scope="module")
def fidelity_features(file: WeightsFile, folders: tuple[Path, Path]) -> tuple[np.ndarray, np.ndarray]:
    utils = pytest.importorskip("torch_fidelity.utils", reason=WHY)
    options = {
        "cuda": False, "verbose": False, "cache": False, "save_cpu_ram": True, "batch_size": 3,
        "feature_extractor_weights_path": path_of(file), "input1": str(folders[0]), "input2": str(folders[1]),
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        extractor = utils.create_feature_extractor("inception-v3-compat", ["2048"], **options)
        found = [utils.extract_featuresdict_from_input_id(side, extractor, **options)["2048"] for side in (1, 2)]
    return found[0].numpy(), found[1].numpy()


def test_torch_fidelity(
    file: WeightsFile, folders: tuple[Path, Path], fidelity_features: tuple[np.ndarray, np.ndarray]
) -> None:
    got = ours(compat(file), folders)
    assert_same_features(got, fidelity_features)
    assert_same_distance(got, fidelity_features)


def test_torch_fidelitys_own_number(
    file: WeightsFile, folders: tuple[Path, Path], fidelity_features: tuple[np.ndarray, np.ndarray]
) -> None:
    """With its arithmetic too, in the few dimensions that its features span; turning them changes no distance.

    In all 2,048 it takes the roots of two thousand eigenvalues that are rounding noise about zero when images are
    fewer than dimensions, which is worth 2e-4 of this distance.
    """
    fid = pytest.importorskip("torch_fidelity.metric_fid", reason=WHY)
    together = np.concatenate(fidelity_features).astype(np.float64)
    basis = np.linalg.svd(together - together.mean(0), full_matrices=False)[2]
    statistics = [fid.fid_features_to_statistics(torch.from_numpy(side @ basis.T)) for side in fidelity_features]
    expected = fid.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_summary(*ours(compat(file), folders)).value == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_torch_fidelitys_own_number_in_all_dimensions(
    file: WeightsFile, folders: tuple[Path, Path], fidelity_features: tuple[np.ndarray, np.ndarray]
) -> None:
    fid = pytest.importorskip("torch_fidelity.metric_fid", reason=WHY)
    statistics = [fid.fid_features_to_statistics(torch.from_numpy(side)) for side in fidelity_features]
    expected = fid.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_summary(*ours(compat(file), folders)).value == pytest.approx(expected, rel=1e-3)


def correlated(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 features of pairs with a spread of scales."""
    rng = np.random.default_rng(3)
    reference = np.abs(rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / d**0.5 + 0.4)
    return reference.astype(np.float32), (reference * 0.9 + 0.3 * rng.normal(size=(n, d))).astype(np.float32)


def test_distance_from_moments_is_torch_fidelitys() -> None:
    fid = pytest.importorskip("torch_fidelity.metric_fid", reason=WHY)
    sides = [fid.fid_features_to_statistics(torch.from_numpy(side).double()) for side in correlated(600, 100)]
    expected = fid.fid_statistics_to_metric(*sides, verbose=False)["frechet_inception_distance"]
    got = frechet_distance(sides[0]["mu"], sides[0]["sigma"], sides[1]["mu"], sides[1]["sigma"])
    assert got == pytest.approx(expected, rel=1e-8)
    assert frechet_summary(*correlated(600, 100)).value == pytest.approx(expected, rel=1e-8)


def test_distance_from_moments_is_clean_fids() -> None:
    fid = pytest.importorskip("cleanfid.fid", reason=WHY)
    reference, reconstruction = (side.astype(np.float64) for side in correlated(600, 100))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an argument of scipy's that is going away
        try:
            expected = fid.fid_from_feats(reference, reconstruction)
        except (TypeError, ValueError) as err:
            pytest.skip(f"clean-fid does not work with this scipy: {err}")
    assert frechet_summary(reference, reconstruction).value == pytest.approx(expected, rel=1e-8)


def test_kid_is_torch_fidelitys_subset_by_subset(monkeypatch: pytest.MonkeyPatch) -> None:
    kid = pytest.importorskip("torch_fidelity.metric_kid", reason=WHY)
    monkeypatch.setattr(kernels, "SUBSETS", 12)
    reference, reconstruction = correlated(1100, 48)
    expected = kid.kid_features_to_metric(
        torch.from_numpy(reference).double(), torch.from_numpy(reconstruction).double(), kid_subsets=12, verbose=False
    )
    got = kid_summary(reference, reconstruction)
    assert got.value == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-9)
    assert got.details["subset_deviation"] == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-7)


def test_kid_of_a_small_set_is_clean_fids() -> None:
    fid = pytest.importorskip("cleanfid.fid", reason=WHY)
    reference, reconstruction = (side.astype(np.float64) for side in correlated(300, 48))
    expected = fid.kernel_distance(reference, reconstruction, num_subsets=2)
    assert kid_summary(reference, reconstruction).details["own_pairs_kept"] == pytest.approx(expected, rel=1e-9)


@pytest.fixture
def pytorch_fid_network(file: WeightsFile, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    module = pytest.importorskip("pytorch_fid.inception", reason=WHY)
    state = torch.load(path_of(file), weights_only=True)
    monkeypatch.setattr(module, "load_state_dict_from_url", lambda *_, **__: state)
    return module.InceptionV3


def test_pytorch_fid(file: WeightsFile, folders: tuple[Path, Path], pytorch_fid_network: Callable[..., Any]) -> None:
    network = pytorch_fid_network([3]).eval()
    with torch.no_grad():
        found = [network(read_folder(folder).float() / 255)[0][:, :, 0, 0].numpy() for folder in folders]
    got = ours(inception.port(replace(inception.PYTORCH, weights=file), inception_inputs.pytorch_fid), folders)
    assert_same_features(got, (found[0], found[1]))
    assert_same_distance(got, (found[0], found[1]))


@pytest.mark.skipif(sys.platform == "win32", reason="clean-fid looks for its file in another folder there")
def test_clean_fid(
    file: WeightsFile,
    folders: tuple[Path, Path],
    pytorch_fid_network: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """clean-fid's own reading, resize and TorchScript, of the same weights; and ours, of both files."""
    fid = pytest.importorskip("cleanfid.fid", reason=WHY)
    features = pytest.importorskip("cleanfid.inception_torchscript", reason=WHY)
    torchscript = write_torchscript(pytorch_fid_network([3], resize_input=False, normalize_input=False), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = features.InceptionV3W(str(tmp_path), download=False)
        found = [
            fid.get_folder_features(
                str(folder), network, num_workers=0, batch_size=3, device=torch.device("cpu"), verbose=False
            )
            for folder in folders
        ]
    card = replace(inception.CLEAN, weights=torchscript)
    got = ours(inception.clean(card, file), folders)
    assert_same_features(got, (found[0], found[1]))
    assert_same_distance(got, (found[0], found[1]))
    absent = replace(file, owner="absent", name="absent.pth")
    assert_same_features(ours(inception.clean(card, absent), folders), (found[0], found[1]))


def write_torchscript(network: torch.nn.Module, folder: Path) -> WeightsFile:
    """A TorchScript file of the shape of NVIDIA's, which clean-fid reads: the layers without preprocessing inside."""

    class Layers(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network.eval()

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = self.network(values)[0]
            return features

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = Layers()

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = self.layers(values)
            return features

    from tokbench.weights.digests import sha256_of

    path = folder / "inception-2015-12-05.pt"
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced: Any = torch.jit.trace(Whole().eval(), torch.zeros((1, 3, 299, 299)))
        traced.save(str(path))
    return WeightsFile(
        owner="seeded_clean", name=path.name, format="torchscript", sha256=sha256_of(path), folders=(str(folder),)
    )


def test_torchmetrics(file: WeightsFile, folders: tuple[Path, Path]) -> None:
    """Without its antialiasing, which is its own; its features are then torch-fidelity's."""
    pytest.importorskip("torch_fidelity", reason=WHY)
    module = pytest.importorskip("torchmetrics.image.fid", reason=WHY)
    network = module.NoTrainInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=path_of(file), antialias=False
    )
    with torch.no_grad():
        found = [network(read_folder(folder)).numpy() for folder in folders]
    got = ours(compat(file), folders)
    assert_same_features(got, (found[0], found[1]))
    assert_same_distance(got, (found[0], found[1]))
