"""What the engine tests feed in: real words and faces of the manifest `quick`, and its bad relatives."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec

import numpy as np
import pytest

from tokbench.data.manifests import load_manifest, load_pixels
from tokbench.metrics.regions import whole_pixels
from tokbench.samples import Region, Sample

needs_rapidocr = pytest.mark.skipif(find_spec("rapidocr") is None, reason="needs rapidocr: pip install rapidocr")
needs_dlib_weights = pytest.mark.skipif(
    find_spec("face_recognition_models") is None,
    reason="needs face_recognition_models: pip install face_recognition_models",
)


@lru_cache
def quick(kind: str, n: int = 2) -> tuple[tuple[Sample, np.ndarray], ...]:
    """The first n samples of at most 256 px of `quick` that have such regions, with their pixels."""
    manifest = load_manifest("quick")
    found = [
        sample
        for sample in manifest.samples
        if max(sample.width_px, sample.height_px) <= 256 and any(region.kind == kind for region in sample.regions)
    ]
    return tuple((sample, load_pixels(sample, root=manifest.root)) for sample in found[:n])


@lru_cache
def words(n: int = 24) -> tuple[tuple[str, np.ndarray], ...]:
    """Labels and crops of the first n words: uint8 ``(h, w, 3)``."""
    found = []
    for sample, pixels in quick("word", 2):
        for region in sample.regions:
            inside = whole_pixels(region.box, height_px=pixels.shape[0], width_px=pixels.shape[1])
            assert inside is not None
            x0, y0, x1, y1 = inside
            found.append((region.label, pixels[y0:y1, x0:x1]))
    return tuple(found[:n])


@lru_cache
def portraits() -> dict[str, tuple[np.ndarray, Region]]:
    """Two photographs of one person (different crops of the picture) and one of another."""
    manifest = load_manifest("quick")
    found: dict[str, list[tuple[np.ndarray, Region]]] = {}
    for sample in manifest.samples:
        faces = [region for region in sample.regions if region.kind == "face"]
        if len(faces) == 1 and faces[0].label in ("astronaut", "hopper"):
            found.setdefault(faces[0].label, []).append((load_pixels(sample, root=manifest.root), faces[0]))
    return {"one": found["astronaut"][0], "same": found["astronaut"][1], "other": found["hopper"][0]}


def odd_crops() -> list[np.ndarray]:
    """Crops no annotator meant: a pixel, lines, extreme shapes, noise, nothing but black."""
    draw = np.random.default_rng(0)
    shapes = [(1, 1), (1, 300), (300, 1), (2, 900), (32, 128), (33, 129), (5, 7)]
    return [draw.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes] + [np.zeros((9, 40, 3), np.uint8)]
