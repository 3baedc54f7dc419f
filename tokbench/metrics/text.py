"""Can it still be read: what recognisers make of the annotated words.

Each recogniser has its own keys (``t_acc.rapidocr``), because scores of different recognisers are not comparable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from tokbench.cards import MetricCard
from tokbench.contracts import Comparison, Feature, RegionValue
from tokbench.engines import easyocr, parseq, rapidocr
from tokbench.engines.base import TextEngine
from tokbench.errors import MetricError
from tokbench.metrics.base import OUTSIDE
from tokbench.metrics.regions import whole_pixels
from tokbench.metrics.text_match import cer, is_match, ned, wer
from tokbench.samples import Box, Region, RegionKind

if TYPE_CHECKING:
    import torch

    from tokbench.tasks.task import Crop, Task

NO_LABEL = "it has no label"
NOT_IN_ALPHABET = "its label has a character the recogniser cannot answer"
NOT_READ = "not read on the original"
CAP_ATTRIBUTE = "published_cap"
"""Region attribute: the longest label of the batch of 64 in which the published evaluation reads the word."""


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What an engine reads in every annotated word of an image: a :class:`~tokbench.contracts.Feature`.

    Attributes:
        engine: the recogniser.
        crop: how a box becomes a crop (see :class:`~tokbench.tasks.task.Task`).
        uses_caps: the label bounds the decoder, as published; only engines that know how do anything with it.
    """

    engine: TextEngine
    crop: Crop = "outward"
    uses_caps: bool = False
    sides: Literal["reference", "both"] = "both"
    uses_regions: bool = True

    @property
    def name(self) -> str:
        return f"readings.{self.engine.card.key}"

    def identity(self) -> Mapping[str, str | int | float]:
        own = {"readings_version": 1, "crop": self.crop, "uses_caps": int(self.uses_caps)}
        return {**own, **self.engine.identity()}

    def compute(self, images: torch.Tensor, regions: Sequence[Sequence[Region]]) -> list[dict[str, np.ndarray]]:
        """uint8 ``(n, 3, h, w)`` → n × {"regions": int64 ``(k,)``, "texts": str ``(k,)``}.

        ``regions`` are the indices of the words that have a crop, among all the image's regions.
        """
        pixels = images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        places, crops, caps = [], [], []
        for row, image in enumerate(pixels):
            for index, region in enumerate(regions[row]):
                inside = crop_pixels(region.box, self.crop, height_px=image.shape[0], width_px=image.shape[1])
                if region.kind == "word" and inside is not None:
                    x0, y0, x1, y1 = inside
                    places.append((row, index))
                    crops.append(image[y0:y1, x0:x1])
                    caps.append(_cap(region) if self.uses_caps else None)
        found: list[dict[int, str]] = [{} for _ in pixels]
        for (row, index), text in zip(places, self.engine.read(crops, caps=caps), strict=True):
            found[row][index] = text
        return [
            {"regions": np.array(list(texts), np.int64), "texts": np.array(list(texts.values()), np.str_)}
            for texts in found
        ]


def crop_pixels(box: Box, crop: Crop, *, height_px: int, width_px: int) -> tuple[int, int, int, int] | None:
    """The pixels of a box, half-open x0, y0, x1, y1 inside the image; None if there are none.

    ``outward``: every pixel it touches (:func:`~tokbench.metrics.regions.whole_pixels`). ``truncate``: float32
    coordinates cut toward zero, as TokBench slices them (arXiv 2505.18142, eval_text.py). Differs from it where a
    coordinate is -1 or less: there Python would count from the other end, here the box is clipped.
    """
    if crop == "outward":
        return whole_pixels(box, height_px=height_px, width_px=width_px)
    if not all(math.isfinite(value) for value in box):
        return None
    x0, y0, x1, y1 = (int(np.float32(value)) for value in box)
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width_px), min(y1, height_px)
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


@dataclass(frozen=True, kw_only=True)
class WordMetric:
    """A :class:`~tokbench.contracts.RegionMetric` from a function of a label and a reading."""

    card: MetricCard
    readings: Readings
    function: Callable[[str, str], float]
    region_kind: RegionKind = "word"

    @property
    def features(self) -> tuple[Feature, ...]:
        return (self.readings,)

    def unavailable(self) -> str:
        """Why it cannot run although its packages are installed, with what to do; "" if it can."""
        return self.readings.engine.unavailable()

    def for_task(self, task: Task) -> WordMetric:
        """This metric with the task's crops, and the published use of labels where the task asks for it."""
        return replace(self, readings=replace(self.readings, crop=task.crop, uses_caps=task.words == "as_labelled"))

    def measure_regions(self, comparison: Comparison) -> list[dict[int, RegionValue]]:
        """Per sample, an answer for each word; words that are not read correctly on the original do not count.

        With the task's ``words`` "as_labelled" every word counts that has a crop and a label the engine can answer.
        """
        self._require_same_rules(comparison.task)
        name = self.readings.name
        rows = zip(comparison.regions, comparison.features[name], comparison.reconstruction_features[name], strict=True)
        is_refined = comparison.task.words == "refined"
        return [
            {
                index: self._answer(region, original.get(index), decoded.get(index), is_refined=is_refined)
                for index, region in enumerate(regions)
                if region.kind == "word"
            }
            for regions, original, decoded in ((r, _texts(a), _texts(b)) for r, a, b in rows)
        ]

    def _require_same_rules(self, task: Task) -> None:
        own, asked = self.readings, self.for_task(task).readings
        if own != asked:
            raise MetricError(
                f"{self.card.key} reads with crop {own.crop!r}, caps {own.uses_caps}; the task {task.name!r} wants "
                f"{asked.crop!r}, {asked.uses_caps}; measure with metric.for_task(task)"
            )

    def _answer(self, region: Region, original: str | None, decoded: str | None, *, is_refined: bool) -> RegionValue:
        if original is None or decoded is None:
            return RegionValue(value=None, reason=OUTSIDE)
        seen = {"reference": original, "reconstruction": decoded}
        reason = ""
        if not region.label:
            reason = NO_LABEL
        elif not set(region.label) <= set(self.readings.engine.card.alphabet):
            reason = NOT_IN_ALPHABET
        elif is_refined and not is_match(region.label, original):
            reason = NOT_READ
        if reason:
            return RegionValue(value=None, reason=reason, seen=seen)
        return RegionValue(value=float(self.function(region.label, decoded)), seen=seen)


def _texts(row: Mapping[str, np.ndarray]) -> dict[int, str]:
    """Readings by region index."""
    return {int(index): str(text) for index, text in zip(row["regions"], row["texts"], strict=True)}


def _cap(region: Region) -> int | None:
    cap = region.attributes.get(CAP_ATTRIBUTE)
    return None if cap is None else int(cap)


_REFINED = (
    "Words the recogniser does not read exactly on the original are left out and counted, unless the task scores all "
    "words as labelled. Raw strings: case, accents and punctuation count; spaces in readings are dropped."
)


def _metrics(engine: TextEngine) -> tuple[WordMetric, ...]:
    """Accuracy, edit similarity, character and word error rate by one engine."""
    readings = Readings(engine=engine)
    title = engine.card.title

    def metric(
        key: str, name: str, function: Callable[[str, str], float], *, high: float | None, is_error: bool, notes: str
    ) -> WordMetric:
        return WordMetric(
            card=MetricCard(
                key=f"{key}.{engine.card.key}",
                version=1,
                kind="region",
                group="text",
                title=f"{name} ({title})",
                better="lower" if is_error else "higher",
                low=0.0,
                high=high,
                perfect=0.0 if is_error else 1.0,
                extra=engine.card.extra,
                requires=engine.card.requires,
                undefined="no word is annotated, inside the image and readable on the original",
                paper="arXiv:2505.18142",
                notes=" ".join((notes, _REFINED, *engine.card.notes)),
            ),
            readings=readings,
            function=function,
        )

    return (
        metric("t_acc", "Words read", is_match, high=1.0, is_error=False, notes="1 for a word read exactly, else 0."),
        metric(
            "t_ned", "Edit similarity", ned, high=1.0, is_error=False, notes="1 - edit distance / longer of the two."
        ),
        metric(
            "t_cer",
            "Character error rate",
            cer,
            high=None,
            is_error=True,
            notes="Mean over words of edit distance / length of the label; short words count as much as long ones.",
        ),
        metric(
            "t_wer",
            "Word error rate",
            wer,
            high=None,
            is_error=True,
            notes="A region is one word, so this is 1 - the share of words read.",
        ),
    )


METRICS = (*_metrics(rapidocr.ENGINE), *_metrics(parseq.ENGINE), *_metrics(easyocr.ENGINE))
