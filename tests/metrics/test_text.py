from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from metric_inputs import compare

from tokbench.contracts import Comparison, Feature, RegionMetric
from tokbench.data.manifests import load_manifest, load_pixels
from tokbench.engines.base import PRINTABLE_ASCII
from tokbench.engines.rapidocr import CARD
from tokbench.errors import MetricError
from tokbench.metrics import text
from tokbench.metrics.base import OUTSIDE
from tokbench.metrics.text import NO_LABEL, NOT_IN_ALPHABET, NOT_READ, Readings, WordMetric, crop_pixels
from tokbench.requirements import missing_requirement
from tokbench.samples import Region

BY_KEY = {metric.card.key: metric for metric in text.METRICS}


class Brightness:
    """An engine that reads a crop's first pixel: 0 is "", 1 is "a", 2 is "b", any other its number and its shape."""

    card = CARD

    def __init__(self) -> None:
        self.calls: list[tuple[int, list[int | None] | None]] = []

    def unavailable(self) -> str:
        return "no battery"

    def identity(self) -> Mapping[str, str | int | float]:
        return {"version": 7}

    def read(self, crops: Sequence[np.ndarray], *, caps: Sequence[int | None] | None = None) -> list[str]:
        self.calls.append((len(crops), None if caps is None else list(caps)))
        return [
            ["", "a", "b"][crop[0, 0, 0]] if crop[0, 0, 0] < 3 else "x".join(map(str, crop.shape[:2])) for crop in crops
        ]


def metric(key: str = "t_acc.rapidocr", **readings: object) -> WordMetric:
    return dataclasses.replace(BY_KEY[key], readings=Readings(engine=Brightness(), **readings))  # type: ignore[arg-type]


def word(box: tuple[float, float, float, float], label: str = "a", **attributes: int) -> Region:
    return Region(kind="word", box=box, label=label, attributes=attributes)


def compared(
    which: WordMetric, reference: np.ndarray, reconstruction: np.ndarray, regions: Sequence[Sequence[Region]]
) -> Comparison:
    """uint8 ``(n, h, w)`` grey each → a comparison with the metric's features of both sides."""
    sides = [torch.from_numpy(np.stack([side] * 3, axis=1)) for side in (reference, reconstruction)]
    (feature,) = which.features
    comparison = compare(*sides, regions=regions, features={feature.name: feature.compute(sides[0], regions)})
    return dataclasses.replace(comparison, reconstruction_features={feature.name: feature.compute(sides[1], regions)})


def grey(*values: int) -> np.ndarray:
    """One row of 10 px squares of these levels: uint8 ``(1, 10, 10 n)``."""
    return np.repeat(np.repeat(np.array([[values]], np.uint8), 10, axis=1), 10, axis=2)


def test_every_bad_word_has_its_reason_and_none_is_lost() -> None:
    regions = [
        [
            word((0, 0, 10, 10)),
            word((10, 0, 20, 10)),
            word((20, 0, 30, 10), "b"),
            word((0, 0, 10, 10), ""),
            word((0, 0, 10, 10), "ä"),
            word((0, 0, 10, 10), "a b"),
            word((5, 5, 5, 9)),
            word((-20, 0, -5, 10)),
            word((300, 0, 310, 10)),
            word((float("nan"), 0, 9, 10)),
            Region(kind="face", box=(0, 0, 10, 10)),
            word((-5, -5, 1e9, 1e9)),
        ]
    ]
    which = metric()
    (answers,) = which.measure_regions(compared(which, grey(1, 2, 2), grey(1, 1, 1), regions))
    assert list(answers) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11]
    assert [answer.value for answer in answers.values()] == [1.0, None, 0.0, *[None] * 7, 1.0]
    reasons = [answer.reason for answer in answers.values()]
    outside = [OUTSIDE] * 4
    assert reasons == ["", NOT_READ, "", NO_LABEL, NOT_IN_ALPHABET, NOT_IN_ALPHABET, *outside, ""]
    assert answers[2].seen == {"reference": "b", "reconstruction": "a"}
    assert answers[1].seen == {"reference": "b", "reconstruction": "a"}


def test_as_labelled_every_word_counts() -> None:
    which = metric()
    comparison = compared(which, grey(1, 2, 2), grey(1, 1, 1), [[word((10, 0, 20, 10)), word((0, 0, 9, 9), "é")]])
    task = dataclasses.replace(comparison.task, words="as_labelled")
    bound = which.for_task(task)
    with pytest.raises(MetricError, match="for_task"):
        which.measure_regions(dataclasses.replace(comparison, task=task))
    (answers,) = bound.measure_regions(dataclasses.replace(comparison, task=task))
    assert answers[0].value == 1.0
    assert answers[1].reason == NOT_IN_ALPHABET


def test_a_task_decides_on_crops_and_caps() -> None:
    comparison = compared(metric(), grey(9), grey(9), [[]])
    published = dataclasses.replace(comparison.task, words="as_labelled", crop="truncate")
    bound = metric().for_task(published)
    assert (bound.readings.crop, bound.readings.uses_caps) == ("truncate", True)
    assert bound.readings.identity() != metric().readings.identity()
    assert metric().for_task(comparison.task).readings.identity() == metric().readings.identity()
    regions = [[word((1.5, 1.5, 4.5, 5.5), published_cap=7), word((0, 0, 3, 3))]]
    pixels = torch.from_numpy(np.stack([grey(9)] * 3, axis=1))
    assert bound.readings.compute(pixels, regions)[0]["texts"].tolist() == ["4x3", "3x3"]
    assert metric().readings.compute(pixels, regions)[0]["texts"].tolist() == ["5x4", "3x3"]
    assert bound.readings.engine.calls == [(2, [7, None])]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("box", "outward", "truncate"),
    [
        ((1.2, 2.9, 5.1, 6.0), (1, 2, 6, 6), (1, 2, 5, 6)),
        ((-0.9, -3.0, 5.9, 5.0), (0, 0, 6, 5), (0, 0, 5, 5)),
        ((8.5, 8.5, 30.0, 30.0), (8, 8, 10, 10), (8, 8, 10, 10)),
        ((3.1, 3.1, 3.9, 9.0), (3, 3, 4, 9), None),
        ((4.0, 4.0, 4.0, 9.0), None, None),
        ((9.0, 1.0, 3.0, 5.0), None, None),
        ((12.0, 1.0, 15.0, 5.0), None, None),
        ((float("nan"), 1.0, 15.0, 5.0), None, None),
        ((0.0, 0.0, float("inf"), 5.0), (0, 0, 10, 5), None),
    ],
)
def test_crops(box: tuple[float, ...], outward: object, truncate: object) -> None:
    assert crop_pixels(box, "outward", height_px=10, width_px=10) == outward  # type: ignore[arg-type]
    assert crop_pixels(box, "truncate", height_px=10, width_px=10) == truncate  # type: ignore[arg-type]


def test_scores_of_a_word_that_changed() -> None:
    values = {}
    for key in ("t_acc", "t_ned", "t_cer", "t_wer"):
        which = metric(f"{key}.rapidocr")
        comparison = compared(which, grey(9), np.zeros((1, 10, 10), np.uint8) + 2, [[word((0, 0, 10, 10), "10x10")]])
        values[key] = which.measure_regions(comparison)[0][0].value
    assert values == {"t_acc": 0.0, "t_ned": 0.0, "t_cer": 1.0, "t_wer": 1.0}


def test_features_hold_plain_arrays_and_images_without_words() -> None:
    feature = metric().readings
    assert isinstance(feature, Feature)
    assert (feature.name, feature.sides, feature.uses_regions) == ("readings.rapidocr", "both", True)
    rows = feature.compute(torch.zeros((2, 3, 8, 8), dtype=torch.uint8), [[], [Region(kind="face", box=(0, 0, 5, 5))]])
    assert [row["texts"].tolist() for row in rows] == [[], []]
    assert all(array.dtype != object for row in rows for array in row.values())
    assert feature.identity()["version"] == 7


def test_cards_and_requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(isinstance(each, RegionMetric) for each in text.METRICS)
    engines = ("rapidocr", "parseq", "easyocr")
    assert list(BY_KEY) == [f"{key}.{name}" for name in engines for key in ("t_acc", "t_ned", "t_cer", "t_wer")]
    features = {each.features for each in text.METRICS}
    assert len(features) == 3  # one reading for the four metrics of an engine
    assert metric().unavailable() == "no battery"
    monkeypatch.setattr("tokbench.requirements.find_spec", lambda name: None)
    assert missing_requirement(BY_KEY["t_acc.parseq"].card).endswith("pip install 'tokbench[parseq]'")
    assert "pip install rapidocr" in missing_requirement(BY_KEY["t_acc.rapidocr"].card)
    assert set(BY_KEY["t_acc.rapidocr"].readings.engine.card.alphabet) == set(PRINTABLE_ASCII)


def test_quick_is_perfect_at_identity_and_worse_with_less_detail() -> None:
    pytest.importorskip("rapidocr", reason="needs rapidocr: pip install rapidocr")
    manifest = load_manifest("quick")
    sample = next(s for s in manifest.samples if s.width_px == 256 and sum(r.kind == "word" for r in s.regions) > 9)
    pixels = torch.from_numpy(load_pixels(sample, root=manifest.root).copy()).permute(2, 0, 1)[None]
    which, regions = BY_KEY["t_ned.rapidocr"], [sample.regions]
    feature = which.readings
    reference = feature.compute(pixels, regions)
    means = []
    for times in (1, 3, 8):
        small = torch.nn.functional.avg_pool2d(pixels.float(), times, ceil_mode=True)
        blurred = torch.nn.functional.interpolate(small, size=(256, 256), mode="bilinear").round().to(torch.uint8)
        comparison = dataclasses.replace(
            compare(pixels, blurred, regions=regions, features={feature.name: reference}),
            reconstruction_features={feature.name: feature.compute(blurred, regions)},
        )
        values = [a.value for a in which.measure_regions(comparison)[0].values() if a.value is not None]
        assert len(values) > 5
        means.append(float(np.mean(values)))
    assert means[0] == 1.0
    assert means == sorted(set(means), reverse=True)
