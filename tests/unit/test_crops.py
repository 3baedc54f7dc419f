"""The crops in use: pixel for pixel what the projects that use them do."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tokbench.__main__ import main
from tokbench.errors import MissingExtraError, UsageError
from tokbench.placement import place, plan, restore
from tokbench.samples import Region
from tokbench.tasks.catalogue import find_task, folder_task, tasks
from tokbench.tasks.task import CROPS, Fit

SIDES = st.integers(5, 150)
SIZES = st.integers(4, 40)
PILLOW = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def cropped(pixels: np.ndarray, crop: str, size: int) -> np.ndarray:
    method, name = CROPS[crop]
    fit = Fit(mode="crop", size_px=size, method=method, filter=name)
    return place(pixels, plan((pixels.shape[1], pixels.shape[0]), fit))


def by_adm(pixels: np.ndarray, size: int) -> np.ndarray:
    """The rule of openai/guided-diffusion at 22e0df8, restated: halve by box, scale by bicubic, cut the centre."""
    image = Image.fromarray(pixels)
    while min(image.width, image.height) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    factor = size / min(image.width, image.height)
    image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image)[top : top + size, left : left + size]


def by_torchvision(pixels: np.ndarray, size: int, name: str) -> np.ndarray:
    """The rule of torchvision's Resize(size) and CenterCrop(size), restated."""
    image = Image.fromarray(pixels)
    short, long = min(image.size), max(image.size)
    new_long = int(size * long / short)
    image = image.resize((size, new_long) if image.width <= image.height else (new_long, size), PILLOW[name])
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)  # halves to even
    return np.asarray(image)[top : top + size, left : left + size]


def by_albumentations(pixels: np.ndarray, size: int) -> np.ndarray:
    """The rule of albumentations' SmallestMaxSize(size) and CenterCrop (its 1.x), restated."""
    import cv2

    height, width = pixels.shape[:2]
    factor = size / min(height, width)
    if factor != 1:
        new = (round(width * factor), round(height * factor))
        pixels = cv2.resize(pixels, dsize=new, interpolation=cv2.INTER_LINEAR)
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    return pixels[top : top + size, left : left + size]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(SIDES, SIDES, SIZES)
def test_adm(width: int, height: int, size: int) -> None:
    pixels = noise(width, height)
    assert np.array_equal(cropped(pixels, "adm", size), by_adm(pixels, size))


@pytest.mark.parametrize("name", PILLOW)
@settings(derandomize=True, deadline=None, max_examples=40)
@given(SIDES, SIDES, SIZES)
def test_short_side(name: str, width: int, height: int, size: int) -> None:
    pixels = noise(width, height)
    assert np.array_equal(cropped(pixels, name, size), by_torchvision(pixels, size, name))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(SIDES, SIDES, SIZES)
def test_cv2(width: int, height: int, size: int) -> None:
    pixels = noise(width, height)
    assert np.array_equal(cropped(pixels, "cv2", size), by_albumentations(pixels, size))


@pytest.mark.parametrize("shape", [(500, 375), (375, 500), (333, 500), (256, 256), (97, 211), (1200, 801), (513, 512)])
def test_torchvision_itself(shape: tuple[int, int]) -> None:
    transforms = pytest.importorskip("torchvision.transforms", reason="needs `pip install 'tokbench[dev]'`")
    pixels = noise(*shape)
    modes = transforms.InterpolationMode
    for name, mode in {"bicubic": modes.BICUBIC, "bilinear": modes.BILINEAR, "lanczos": modes.LANCZOS}.items():
        theirs = transforms.Compose([transforms.Resize(256, interpolation=mode), transforms.CenterCrop(256)])
        assert np.array_equal(cropped(pixels, name, 256), np.asarray(theirs(Image.fromarray(pixels))))


def test_by_hand() -> None:
    """500 × 375 to 256: where each rule rounds."""
    fits = {crop: Fit(mode="crop", size_px=256, method=method, filter=name) for crop, (method, name) in CROPS.items()}
    plans = {crop: plan((500, 375), fit) for crop, fit in fits.items()}
    assert plans["square"].crop == (62, 0, 437, 375)
    assert (plans["adm"].halved_sizes, plans["adm"].resized_size) == ((), (341, 256))
    assert plans["adm"].cut == (42, 0, 298, 256)
    assert plans["bicubic"].resized_size == (341, 256)
    assert plans["bicubic"].cut == (42, 0, 298, 256)  # 42.5 to even
    assert plan((503, 375), fits["bicubic"]).cut == (44, 0, 300, 256)  # 343 px wide: 43.5 to even
    assert plan((503, 375), fits["adm"]).cut == (43, 0, 299, 256)
    assert plan((501, 375), fits["bicubic"]).resized_size == (342, 256)
    assert plan((500, 374), fits["bicubic"]).resized_size == (342, 256)
    assert plan((500, 373), fits["bicubic"]).resized_size == (343, 256)
    assert plan((1200, 1100), fits["adm"]).halved_sizes == ((600, 550), (300, 275))
    assert plan((1023, 1023), fits["adm"]).halved_sizes == ((511, 511),)


@pytest.mark.parametrize("crop", [crop for crop in CROPS if crop != "square"])
def test_regions_move_with_the_pixels(crop: str) -> None:
    pixels = np.zeros((240, 640, 3), dtype=np.uint8)
    pixels[80:160, 280:360] = 255
    method, name = CROPS[crop]
    placement = plan((640, 240), Fit(mode="crop", size_px=60, method=method, filter=name))
    region = Region(kind="face", box=(280, 80, 360, 160), keypoints=((300, 100), (340, 100)))
    (moved,) = placement.regions([region], compare_on="model")
    assert moved.box == (20, 20, 40, 40)
    assert moved.keypoints == ((25, 25), (35, 25))
    placed = place(pixels, placement)
    assert placed.shape == (60, 60, 3)
    assert placed[22:38, 22:38].min() > 245
    assert placed[:17].max() < 10
    assert np.array_equal(restore(placed, placement, compare_on="model"), placed)


def test_the_crops_differ() -> None:
    """Each pair, by its PSNR: numbers of different crops are not comparable."""
    import skimage.data

    pixels = skimage.data.chelsea()
    made = {crop: cropped(pixels, crop, 128).astype(float) for crop in CROPS}
    for first in made:
        for second in made:
            if first != second:
                assert np.mean((made[first] - made[second]) ** 2) > 0.5


def test_fits_that_contradict_themselves() -> None:
    with pytest.raises(UsageError, match="crops nothing"):
        Fit(mode="pad", size_px=8, method="adm", filter="bicubic")
    with pytest.raises(UsageError, match="ADM is bicubic"):
        Fit(mode="crop", size_px=8, method="adm")
    with pytest.raises(UsageError, match="method is 'center'"):
        Fit(mode="crop", size_px=8, method="center")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="filter is 'nearest'"):
        Fit(mode="crop", size_px=8, filter="nearest")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="need fit 'crop'"):
        folder_task(mode="pad", crop="adm")
    with pytest.raises(UsageError, match="crops are square, adm"):
        folder_task(crop="centre")


def test_the_option_crops_as_the_task_does(tmp_path: Path) -> None:
    pixels = noise(90, 61)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    folder = ["--task", "folder", "--data", str(tmp_path / "a.png"), "--size", "16"]
    for crop in ("adm", "bilinear"):
        assert main(["data", "export", str(tmp_path / crop), *folder, "--crop", crop]) == 0
        assert np.array_equal(np.asarray(Image.open(tmp_path / crop / "a.png")), cropped(pixels, crop, 16))
    assert main(["data", "export", str(tmp_path / "no"), *folder, "--fit", "pad", "--crop", "adm"]) == 2


def test_without_opencv_its_filter_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match="pip install opencv-python"):
        cropped(noise(30, 20), "cv2", 10)


def test_tasks_say_how_they_crop() -> None:
    assert find_task("quick").fit == Fit(mode="crop", size_px=256, method="square", filter="lanczos")
    crops = {"imagenet-256": "adm", "imagenet-512": "adm", "coco-256": "adm"}
    crops |= {name: name.rpartition("-")[2] for name in tasks() if name.startswith("imagenet-256-")}
    assert set(crops.values()) == set(CROPS) - {"square"}
    for name, crop in crops.items():
        task = find_task(name)
        method, filter_name = CROPS[crop]
        assert (task.fit.mode, task.fit.method, task.fit.filter) == ("crop", method, filter_name)
        assert task.fit.size_px == int(name.split("-")[1])
        assert task.n_samples == (5_000 if name.startswith("coco") else 50_000)
        assert task.manifest == name.partition("-")[0]
    same = dataclasses.replace(find_task("imagenet-256").fit, size_px=512)
    assert same == find_task("imagenet-512").fit
    assert folder_task(crop="adm").fit == find_task("imagenet-256").fit
