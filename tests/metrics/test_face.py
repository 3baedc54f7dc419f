from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from metric_inputs import compare

from tokbench.contracts import Comparison, Feature, RegionMetric
from tokbench.data.manifests import load_manifest, load_pixels
from tokbench.engines import arcface, dlib
from tokbench.metrics import face
from tokbench.metrics.face import (
    NO_DIRECTION,
    NO_POINTS,
    POINTS_COINCIDE,
    POINTS_OUTSIDE,
    Embeddings,
    FaceMetric,
    cosine,
    same_person,
)
from tokbench.requirements import missing_requirement
from tokbench.samples import Region

BY_KEY = {metric.card.key: metric for metric in face.METRICS}
POINTS = ((2.0, 2.0), (7.0, 2.0), (5.0, 5.0), (3.0, 8.0), (7.0, 8.0))


class Corner:
    """An engine whose embedding is the image's first pixel; black has none that can be compared."""

    card = dlib.CARD

    def unavailable(self) -> str:
        return "no mirror"

    def identity(self) -> Mapping[str, str | int | float]:
        return {"version": 3}

    def embed(self, image: np.ndarray, faces: Sequence[Region]) -> list[np.ndarray | None]:
        return [None if len(set(f.keypoints)) < 2 else image[0, 0].astype(np.float32) for f in faces]


def metric(key: str = "f_sim.dlib") -> FaceMetric:
    return dataclasses.replace(BY_KEY[key], embeddings=Embeddings(engine=Corner()))


def compared(
    which: FaceMetric, reference: torch.Tensor, reconstruction: torch.Tensor, regions: Sequence[Sequence[Region]]
) -> Comparison:
    (feature,) = which.features
    comparison = compare(
        reference, reconstruction, regions=regions, features={feature.name: feature.compute(reference, regions)}
    )
    return dataclasses.replace(
        comparison, reconstruction_features={feature.name: feature.compute(reconstruction, regions)}
    )


def colour(*rgb: int) -> torch.Tensor:
    return torch.tensor(rgb, dtype=torch.uint8)[None, :, None, None].expand(1, 3, 10, 10).contiguous()


def test_every_bad_face_has_its_reason_and_none_is_lost() -> None:
    regions = [
        [
            Region(kind="face", box=(0, 0, 9, 9), keypoints=POINTS),
            Region(kind="face", box=(0, 0, 9, 9)),
            Region(kind="face", box=(0, 0, 9, 9), keypoints=POINTS[:3]),
            Region(kind="face", box=(0, 0, 9, 9), keypoints=((-1.0, 2.0), *POINTS[1:])),
            Region(kind="face", box=(0, 0, 9, 9), keypoints=((float("nan"), 2.0), *POINTS[1:])),
            Region(kind="word", box=(0, 0, 9, 9), label="a"),
            Region(kind="face", box=(0, 0, 9, 9), keypoints=POINTS[:1] * 5),
            Region(kind="face", box=(50, 50, 60, 60), keypoints=((10.0, 10.0), *POINTS[1:])),
        ]
    ]
    which = metric()
    (answers,) = which.measure_regions(compared(which, colour(3, 4, 0), colour(4, 3, 0), regions))
    assert list(answers) == [0, 1, 2, 3, 4, 6, 7]
    assert answers[0].value == pytest.approx(24 / 25)
    assert answers[0].seen == {"reconstruction": "similarity 0.960"}
    reasons = [answer.reason for answer in answers.values()]
    assert reasons == ["", NO_POINTS, NO_POINTS, POINTS_OUTSIDE, POINTS_OUTSIDE, POINTS_COINCIDE, ""]
    (black,) = which.measure_regions(compared(which, colour(3, 4, 0), colour(0, 0, 0), regions))
    assert black[0].reason == NO_DIRECTION


def test_cosine() -> None:
    draw = np.random.default_rng(0)
    first, second = draw.normal(size=(2, 128)).astype(np.float32)
    assert cosine(first, first) == 1.0
    assert cosine(first, -first) == pytest.approx(-1)
    assert cosine(first, second) == pytest.approx(np.corrcoef(first, second)[0, 1], abs=0.05)
    assert cosine(first, 3 * second) == pytest.approx(cosine(first, second))  # type: ignore[arg-type]
    assert cosine(first, 0 * second) is None
    assert cosine(first, second * np.nan) is None


def test_the_usual_rules() -> None:
    zero, near, far = (np.array([x, 1.0], np.float32) for x in (0.0, 0.59, 0.61))
    assert same_person(zero, near, card=dlib.CARD) == 1.0
    assert same_person(zero, far, card=dlib.CARD) == 0.0
    right, at, past = np.array([1.0, 0]), np.array([0.29, 1]) / np.hypot(0.29, 1), np.array([0.25, 1])
    assert same_person(right, at, card=arcface.CARD) == float(cosine(right, at) >= 0.28)  # type: ignore[operator]
    assert same_person(right, past, card=arcface.CARD) == 0.0
    assert same_person(right, 0 * right, card=arcface.CARD) is None


def test_cards_features_and_requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(BY_KEY) == ["f_sim.dlib", "f_ver.dlib", "f_sim.antelopev2", "f_ver.antelopev2"]
    assert all(isinstance(each, RegionMetric) for each in face.METRICS)
    assert isinstance(metric().features[0], Feature)
    assert BY_KEY["f_sim.dlib"].features == BY_KEY["f_ver.dlib"].features
    assert metric().features[0].identity()["version"] == 3
    assert metric().unavailable() == "no mirror"
    rows = metric().features[0].compute(colour(1, 2, 3), [[]])
    assert rows[0]["embeddings"].shape == (0, 0)
    monkeypatch.setattr("tokbench.requirements.find_spec", lambda name: None)
    assert "pip install face_recognition_models" in missing_requirement(BY_KEY["f_sim.dlib"].card)


def test_quick_is_perfect_at_identity_and_worse_with_less_detail() -> None:
    if dlib.ENGINE.unavailable():
        pytest.skip(dlib.ENGINE.unavailable())
    manifest = load_manifest("quick")
    sample = next(s for s in manifest.samples if s.width_px >= 256 and any(r.kind == "face" for r in s.regions))
    pixels = torch.from_numpy(load_pixels(sample, root=manifest.root).copy()).permute(2, 0, 1)[None]
    which, means = BY_KEY["f_sim.dlib"], []
    for times in (1, 4, 12):
        small = torch.nn.functional.avg_pool2d(pixels.float(), times, ceil_mode=True)
        size = tuple(pixels.shape[-2:])
        blurred = torch.nn.functional.interpolate(small, size=size, mode="bilinear").round().to(torch.uint8)
        answers = which.measure_regions(compared(which, pixels, blurred, [sample.regions]))[0]
        means.append(float(np.mean([answer.value for answer in answers.values()])))
    assert means[0] == 1.0
    assert means == sorted(set(means), reverse=True)
