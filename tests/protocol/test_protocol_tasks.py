"""The tasks tokbench-* and fidelity-*, the placement they name, and the file type's last generation."""

from __future__ import annotations

import dataclasses
import io
import json
import math

import numpy as np
import pytest
from PIL import Image

from tokbench.errors import SampleError, UsageError
from tokbench.placement import place, plan, restore
from tokbench.runner.recode import recode_as_source
from tokbench.samples import Region
from tokbench.tasks.catalogue import find_task, tasks
from tokbench.tasks.task import Fit, SizeGroups, Task

SIZES = (256, 512, 1024)
PUBLISHED_EDGES = {  # protocols of the release at 855802d
    256: ((0.02, 0.03, 0.04, 1), (0.1, 0.2, 0.3, 1)),
    512: ((0.01, 0.02, 0.03, 1), (0.05, 0.1, 0.2, 1)),
    1024: ((0.005, 0.01, 0.02, 1), (0.02, 0.05, 0.1, 1)),
}


@pytest.mark.parametrize("size", SIZES)
def test_the_published_task_is_the_published_protocol(size: int) -> None:
    task = find_task(f"tokbench-{size}")
    assert task.fit == Fit(mode="pad", size_px=size, filter="lanczos")
    assert (task.manifest, task.compare_on, task.words, task.crop) == ("tokbench", "source", "as_labelled", "truncate")
    assert (task.recode, task.region_mean) == ("source_type", "macro")
    word, face = task.size_groups["word"], task.size_groups["face"]
    assert (word.edges, face.edges) == PUBLISHED_EDGES[size]
    assert word.by == face.by == "ratio"
    assert word.names == face.names == ("small", "medium", "large")


@pytest.mark.parametrize("size", SIZES)
def test_each_repeated_deviation_is_named(size: int) -> None:
    text = find_task(f"tokbench-{size}").description
    for said in (
        "arXiv 2505.18142",
        "JPEG generation",
        "truncated",
        "batch of 64",
        "labels are the words",
        "count nowhere",
        "pools all sets",
        "enlarged",
    ):
        assert said in text, said
    assert f"fit {size} px" in text


@pytest.mark.parametrize("size", SIZES)
def test_the_fair_task_covers_every_size(size: int) -> None:
    task = find_task(f"fidelity-{size}")
    assert task.fit == Fit(mode="pad", size_px=size, filter="lanczos")
    assert (task.words, task.crop, task.recode, task.region_mean) == ("refined", "outward", "none", "macro")
    for kind, px in (("word", (5.12, 10.24, 20.48)), ("face", (25.6, 51.2, 102.4))):
        groups = task.size_groups[kind]  # type: ignore[index]
        assert [edge * size for edge in groups.edges[1:-1]] == pytest.approx(px)  # the same in all three tasks
        for ratio in (0.0, 1e-4, 0.02, 0.5, 1.0):
            assert groups.group_of(Region(kind=kind, box=(0, 0, 1, 1), ratio=ratio)) in groups.names  # type: ignore[arg-type]
    assert f"tokbench-{size}" in task.description


def test_every_task_is_plain_json() -> None:
    for task in tasks().values():
        assert json.loads(json.dumps(dataclasses.asdict(task), allow_nan=False))["name"] == task.name


def test_older_tasks_are_as_they_were() -> None:
    for name in ("quick", "folder"):
        task = find_task(name)
        assert (task.words, task.crop, task.recode, task.region_mean) == ("refined", "outward", "none", "pooled")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"words": "all"}, "words is 'all', expected one of refined, as_labelled"),
        ({"crop": "round"}, "expected one of outward, truncate"),
        ({"recode": "jpeg"}, "expected one of none, source_type"),
        ({"region_mean": "median"}, "expected one of pooled, macro"),
        ({"recode": "source_type", "compare_on": "model"}, "recode needs compare_on 'source'"),
        ({"region_mean": "macro", "size_groups": {}}, "it has none"),
    ],
)
def test_contradictory_tasks_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(find_task("tokbench-256"), **change)


def test_a_task_of_ones_own_may_use_the_new_fields() -> None:
    Task(
        name="own",
        version=1,
        title="",
        description="",
        manifest="quick",
        fit=Fit(mode="pad", size_px=64),
        compare_on="source",
        recode="source_type",
        region_mean="macro",
        size_groups={"face": SizeGroups(by="ratio", edges=(0, 1), names=("any",))},
    )


def picture(width: int, height: int) -> np.ndarray:
    """Smooth colours with some noise, from arithmetic alone."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([127 + 90 * np.sin(x / 7 + channel) * np.cos(y / (5 + channel)) for channel in range(3)], axis=-1)
    noise = np.random.default_rng(width * 1000 + height).normal(0, 12, waves.shape)
    return np.clip(waves + noise, 0, 255).astype(np.uint8)


def published_round_trip(pixels: np.ndarray, size: int, *, ending: str) -> tuple[np.ndarray, np.ndarray]:
    """What the tokenizer sees, and the image that is scored, restated with Pillow alone."""
    image = Image.fromarray(pixels)
    width, height = image.size
    scale = min(size / width, size / height)
    new = (math.ceil(width * scale), math.ceil(height * scale))
    canvas = Image.new("RGB", (size, size), (0, 0, 0))
    left, top = (size - new[0]) // 2, (size - new[1]) // 2
    canvas.paste(image.resize(new, Image.Resampling.LANCZOS), (left, top))
    back = canvas.crop((left, top, left + new[0], top + new[1])).resize((width, height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    back.save(file, format={"jpg": "JPEG", "png": "PNG"}[ending])
    return np.asarray(canvas), np.asarray(Image.open(file).convert("RGB"))


@pytest.mark.parametrize("ending", ["jpg", "png"])
@pytest.mark.parametrize(
    "shape", [(640, 427), (427, 640), (300, 300), (97, 41), (1000, 13), (256, 256), (257, 255), (1, 9)]
)
@pytest.mark.parametrize("size", [256, 512])
def test_pad_resize_restore_and_recode_are_the_published_ones(size: int, shape: tuple[int, int], ending: str) -> None:
    pixels = picture(*shape)
    seen, scored = published_round_trip(pixels, size, ending=ending)
    placement = plan(shape, find_task(f"tokbench-{size}").fit)
    ours = place(pixels, placement)
    assert np.array_equal(ours, seen)
    back = restore(ours, placement, compare_on="source")
    assert np.array_equal(recode_as_source(back, f"images/text_data/ic13/img_1.{ending}"), scored)


def test_rounding_never_makes_an_image_larger_than_its_square() -> None:
    """Then the published paste would cut a row; for no side up to 10 000 px does floating point get there."""
    for size in SIZES:
        assert all(math.ceil(side * (size / side)) <= size for side in range(1, 10_001))


def test_jpeg_is_pillows_default_of_quality_75_and_half_chroma() -> None:
    pixels = picture(70, 50)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=75, subsampling="4:2:0")
    expected = np.asarray(Image.open(file))
    for source in ("a.jpg", "b/c.JPEG", "archive:set.tar!d/e.jpg", "x.y.jfif"):
        assert np.array_equal(recode_as_source(pixels, source), expected), source
    assert not np.array_equal(expected, pixels)


@pytest.mark.parametrize("ending", ["png", "PNG", "bmp", "tif", "ppm"])
def test_lossless_types_change_nothing(ending: str) -> None:
    pixels = picture(33, 20)
    before = pixels.copy()
    recoded = recode_as_source(pixels, f"doc.{ending}")
    assert np.array_equal(recoded, pixels)
    assert np.array_equal(pixels, before)
    recoded[0, 0] = 0  # the caller's own


@pytest.mark.parametrize("source", ["parquet:set.parquet!3", "image", "image.xyz", "image.svg"])
def test_a_source_without_a_usual_ending_is_refused(source: str) -> None:
    with pytest.raises(SampleError, match="give the images their usual endings"):
        recode_as_source(picture(8, 8), source)


def test_a_size_the_type_cannot_hold_is_a_failed_sample() -> None:
    with pytest.raises(SampleError, match="cannot be saved as JPEG"):
        recode_as_source(np.zeros((1, 65_501, 3), dtype=np.uint8), "wide.jpg")
