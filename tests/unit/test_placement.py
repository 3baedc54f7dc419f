"""Placement and its inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokbench.cards import TokenizerCard
from tokbench.errors import SampleError, UnsupportedInputError, UsageError
from tokbench.placement import check_size, place, plan, restore
from tokbench.samples import Region
from tokbench.tasks.task import Fit, SizeGroups, Task

SIDES = st.integers(1, 70)


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(derandomize=True, deadline=None)
@given(SIDES, SIDES, st.integers(1, 16))
def test_without_resampling_the_way_back_is_exact(width: int, height: int, multiple: int) -> None:
    pixels = noise(width, height)
    placement = plan((width, height), Fit(mode="none"), size_multiple=multiple)
    model = place(pixels, placement)
    assert model.shape[0] % multiple == 0
    assert model.shape[1] % multiple == 0
    for grid in ("model", "source"):
        assert np.array_equal(restore(model, placement, compare_on=grid), pixels)


@settings(derandomize=True, deadline=None)
@given(SIDES, SIDES, st.integers(8, 64))
def test_padding_follows_the_published_rule(width: int, height: int, size: int) -> None:
    """TokBench: scale by min(S/W, S/H), round sizes up, centre with floor, black around."""
    placement = plan((width, height), Fit(mode="pad", size_px=size))
    scale = min(size / width, size / height)
    expected = tuple(min(size, int(np.ceil(side * scale))) for side in (width, height))
    assert placement.resized_size == expected
    assert placement.offset == tuple((size - side) // 2 for side in expected)
    model = place(noise(width, height) | 1, placement)
    assert model.shape == (size, size, 3)
    left, top = placement.offset
    outside = model.copy()
    outside[top : top + expected[1], left : left + expected[0]] = 0
    assert not outside.any()
    assert restore(model, placement, compare_on="source").shape == (height, width, 3)
    assert restore(model, placement, compare_on="model").shape == (expected[1], expected[0], 3)


def test_a_crop_takes_the_centre_square() -> None:
    placement = plan((90, 60), Fit(mode="crop", size_px=30))
    assert placement.crop == (15, 0, 75, 60)
    pixels = np.zeros((60, 90, 3), dtype=np.uint8)
    pixels[:, 15:75] = 200
    assert (place(pixels, placement) == 200).all()


def test_regions_move_with_the_pixels() -> None:
    pixels = np.zeros((120, 160, 3), dtype=np.uint8)
    pixels[40:80, 60:100] = 255
    region = Region(kind="face", box=(60, 40, 100, 80), keypoints=((70, 50), (90, 50), (80, 60), (72, 70), (88, 70)))
    placement = plan((160, 120), Fit(mode="crop", size_px=60))
    (moved,) = placement.regions([region], compare_on="model")
    assert moved.box == (20, 20, 40, 40)
    assert moved.keypoints[0] == (25, 25)
    placed = place(pixels, placement)
    assert placed[22:38, 22:38].min() > 250
    assert placed[:17].max() < 5
    (same,) = plan((160, 120), Fit(mode="pad", size_px=60)).regions([region], compare_on="source")
    assert same == region


def test_sizes_a_tokenizer_cannot_take() -> None:
    with pytest.raises(UnsupportedInputError, match="takes 256×256 images, got 320×256"):
        check_size(TokenizerCard(name="titok", fixed_size_px=256), (320, 256))
    with pytest.raises(UnsupportedInputError, match="multiples of 16 px, got 100×64"):
        check_size(TokenizerCard(name="vq", size_multiple=16), (100, 64))
    check_size(TokenizerCard(name="vq", size_multiple=16), (96, 64))


def test_nothing_cannot_be_placed() -> None:
    with pytest.raises(SampleError, match="no pixels"):
        plan((0, 5), Fit(mode="none"))


def test_tasks_that_contradict_themselves() -> None:
    with pytest.raises(UsageError, match="needs a size"):
        Fit(mode="crop")
    with pytest.raises(UsageError, match="takes no size"):
        Fit(mode="none", size_px=4)
    with pytest.raises(UsageError, match="cannot be undone"):
        Task(
            name="x", version=1, title="", description="", manifest="", fit=Fit(mode="crop", size_px=8),
            compare_on="source",
        )  # fmt: skip


def test_size_groups_are_half_open() -> None:
    groups = SizeGroups(by="height_px", edges=(8, 12, 24, 65))
    heights = {7.9: None, 8: "small", 11.9: "small", 12: "medium", 24: "large", 64.9: "large", 65: None}
    for height, name in heights.items():
        assert groups.group_of(Region(kind="word", box=(0, 0, 5, height))) == name
    by_ratio = SizeGroups(by="ratio", edges=(0.02, 0.03, 0.04, 1))
    assert by_ratio.group_of(Region(kind="word", box=(0, 0, 5, 9), ratio=0.03)) == "medium"
    assert by_ratio.group_of(Region(kind="word", box=(0, 0, 5, 9))) is None
    with pytest.raises(UsageError, match="rising edges"):
        SizeGroups(by="ratio", edges=(1, 0, 2, 3))
