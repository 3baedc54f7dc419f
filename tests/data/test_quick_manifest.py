"""The data of the task quick: whole, in place, and made by the script beside it."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tokbench.data.manifests import load_manifest, load_pixels
from tokbench.data.scenes import ink_box
from tokbench.samples import Manifest, Region, Sample
from tokbench.tasks.task import SizeGroups

REPOSITORY = Path(__file__).resolve().parents[2]
WORDS = SizeGroups(by="height_px", edges=(8, 12, 24, 65))
FACES = SizeGroups(by="height_px", edges=(16, 40, 80, 257))


@pytest.fixture(scope="module")
def quick() -> Manifest:
    return load_manifest("quick")


@pytest.fixture(scope="module")
def pixels(quick: Manifest) -> dict[str, np.ndarray]:
    return {sample.id: load_pixels(sample, quick.root) for sample in quick.samples}


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_quick", REPOSITORY / "scripts" / "build_quick_manifest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["build_quick"] = module
    spec.loader.exec_module(module)
    return module


def scenes(manifest: Manifest) -> list[Sample]:
    return [sample for sample in manifest.samples if sample.scene is not None]


def on_grid(sample: Sample, region: Region) -> Region:
    scale = 256 / sample.width_px
    x0, y0, x1, y1 = (value * scale for value in region.box)
    return Region(kind=region.kind, box=(x0, y0, x1, y1))


def test_every_sample_loads_at_its_size(quick: Manifest, pixels: dict[str, np.ndarray]) -> None:
    assert len(quick.samples) == 96
    assert len(scenes(quick)) == 40
    for sample in quick.samples:
        assert pixels[sample.id].shape == (sample.height_px, sample.width_px, 3)
        assert sample.width_px == sample.height_px >= 256
        assert sample.sha256
        assert sample.source.startswith("package:")


def test_no_two_samples_show_the_same(pixels: dict[str, np.ndarray]) -> None:
    assert len({image.tobytes() for image in pixels.values()}) == len(pixels)
    assert min(image.std() for image in pixels.values()) > 5


def test_loading_again_gives_the_same_pixels(quick: Manifest, pixels: dict[str, np.ndarray]) -> None:
    for sample in quick.samples[::7]:
        np.testing.assert_array_equal(load_pixels(sample, quick.root), pixels[sample.id])


def test_every_size_group_is_well_filled(quick: Manifest) -> None:
    counts: Counter[tuple[str, str | None]] = Counter()
    for sample in quick.samples:
        for region in sample.regions:
            groups = WORDS if region.kind == "word" else FACES
            counts[region.kind, groups.group_of(on_grid(sample, region))] += 1
    for name in ("small", "medium", "large"):
        assert counts["word", name] >= 80
        assert counts["face", name] >= 8
    assert not counts["word", None]
    assert not counts["face", None]


def test_regions_lie_inside_and_words_do_not_touch(quick: Manifest) -> None:
    for sample in quick.samples:
        margin = 2 if sample.scene else 0
        taken = np.zeros((sample.height_px, sample.width_px), bool)
        for region in sample.regions:
            x0, y0, x1, y1 = region.box
            assert margin <= x0 < x1 <= sample.width_px - margin
            assert margin <= y0 < y1 <= sample.height_px - margin
            if region.kind == "word":
                area = taken[int(y0) - 1 : int(y1) + 1, int(x0) - 1 : int(x1) + 1]
                assert not area.any(), (sample.id, region.label)
                area[:] = True


def test_plates_hide_no_other_word(quick: Manifest) -> None:
    for sample in scenes(quick):
        assert sample.scene is not None
        for index, word in enumerate(sample.scene["words"]):
            if "plate" in word:
                px0, py0, px1, py1 = word["plate"]["box"]
                for other, region in enumerate(sample.regions):
                    x0, y0, x1, y1 = region.box
                    apart = x1 <= px0 or px1 <= x0 or y1 <= py0 or py1 <= y0
                    assert apart or other == index, (sample.id, region.label)


def test_word_boxes_are_the_ink_of_a_new_drawing(quick: Manifest) -> None:
    for sample in scenes(quick)[::5]:
        assert sample.scene is not None
        assert [word["text"] for word in sample.scene["words"]] == [region.label for region in sample.regions]
        for word, region in zip(sample.scene["words"], sample.regions, strict=True):
            assert ink_box(word, sample.scene["fonts"][word["font"]]) == region.box


def test_word_boxes_are_where_the_pixels_change(quick: Manifest, pixels: dict[str, np.ndarray]) -> None:
    for sample in scenes(quick)[::5]:
        assert sample.scene is not None
        bare = replace(sample, scene={**sample.scene, "words": []})
        ink = (pixels[sample.id] != load_pixels(bare, quick.root)).any(axis=2)
        for region in sample.regions:
            x0, y0, x1, y1 = (int(value) for value in region.box)
            ink[y0 - 1 : y1 + 1, x0 - 1 : x1 + 1] = False
        for word in sample.scene["words"]:
            if "plate" in word:
                x0, y0, x1, y1 = word["plate"]["box"]
                ink[y0:y1, x0:x1] = False
        assert not ink.any(), sample.id


def test_words_stand_out(quick: Manifest, pixels: dict[str, np.ndarray]) -> None:
    for sample in scenes(quick):
        assert sample.scene is not None
        luma = pixels[sample.id] @ np.array([0.299, 0.587, 0.114])
        for word, region in zip(sample.scene["words"], sample.regions, strict=True):
            x0, y0, x1, y1 = (int(value) for value in region.box)
            edge = np.concatenate([luma[y0 - 2, x0:x1], luma[y1 + 1, x0:x1], luma[y0:y1, x0 - 2], luma[y0:y1, x1 + 1]])
            ink = float(np.dot(word["colour"], [0.299, 0.587, 0.114]))
            assert np.abs(edge.mean() - ink) >= 80, (sample.id, word["text"])


def test_faces_are_whole_and_their_points_in_order(quick: Manifest) -> None:
    for sample in quick.samples:
        for region in sample.regions:
            if region.kind != "face":
                continue
            x0, y0, x1, y1 = region.box
            points = np.array(region.keypoints)
            assert points.shape == (5, 2)
            assert ((points > (x0, y0)) & (points < (x1, y1))).all(), (sample.id, region.label)
            left_eye, right_eye, nose, left_mouth, right_mouth = points
            assert left_eye[0] < right_eye[0]
            assert left_mouth[0] < right_mouth[0]
            assert max(left_eye[1], right_eye[1]) < nose[1] < max(left_mouth[1], right_mouth[1])
            assert region.label


def test_clusters_are_photographs_and_single_scenes(quick: Manifest) -> None:
    clusters: dict[str, set[str]] = {}
    for sample in quick.samples:
        clusters.setdefault(sample.cluster_id, set()).add(sample.source)
    assert len(clusters) >= 50
    assert all(len(sources) == 1 for name, sources in clusters.items() if name != "motorcycle")
    assert all(sample.cluster_id == sample.id for sample in scenes(quick))


def test_every_source_has_its_terms_in_the_notes(quick: Manifest) -> None:
    recipe = tomllib.loads((REPOSITORY / "data_manifests" / "quick" / "recipe.toml").read_text(encoding="utf-8"))
    assert {photo["source"] for photo in recipe["photos"].values()} == {sample.source for sample in quick.samples}
    for name in recipe["photos"]:
        assert any(note.startswith(f"{name}: ") for note in quick.notes)
    assert len(set(recipe["scenes"]["words"].split())) >= 200


def test_the_script_makes_these_samples(quick: Manifest, builder: ModuleType) -> None:
    recipe = tomllib.loads((REPOSITORY / "data_manifests" / "quick" / "recipe.toml").read_text(encoding="utf-8"))
    photos = {name: builder.Photo(name, facts) for name, facts in recipe["photos"].items()}
    remade = [*builder.photo_samples(photos), *islice(builder.scene_samples(photos, recipe["scenes"]), 2)]
    stored = {sample.id: sample for sample in quick.samples}
    assert remade == [stored[sample.id] for sample in remade]
    assert len(remade) == 58
