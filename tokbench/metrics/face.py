"""Is it still the same person: embeddings of annotated faces, by recogniser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tokbench.cards import MetricCard
from tokbench.contracts import Comparison, Feature, RegionValue
from tokbench.engines import arcface, dlib
from tokbench.engines.base import EngineCard, FaceEngine
from tokbench.samples import Region, RegionKind

if TYPE_CHECKING:
    import torch

NO_POINTS = "it has no five key points"
POINTS_OUTSIDE = "a key point is outside the image"
POINTS_COINCIDE = "its key points are all in one place"
NO_DIRECTION = "its embedding is zero or not finite"


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """An engine's embedding of every annotated face of an image: a :class:`~tokbench.contracts.Feature`.

    Faces are aligned by the annotated points, which belong to the original, on both sides.
    """

    engine: FaceEngine
    sides: Literal["reference", "both"] = "both"
    uses_regions: bool = True

    @property
    def name(self) -> str:
        return f"embeddings.{self.engine.card.key}"

    def identity(self) -> Mapping[str, str | int | float]:
        return {"embeddings_version": 1, **self.engine.identity()}

    def compute(self, images: torch.Tensor, regions: Sequence[Sequence[Region]]) -> list[dict[str, np.ndarray]]:
        """uint8 ``(n, 3, h, w)`` → n × {"regions": int64 ``(k,)``, "embeddings": float32 ``(k, d)``}.

        ``regions`` are the indices of the faces that could be aligned, among all the image's regions.
        """
        pixels = images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return [self._image(image, regions[row]) for row, image in enumerate(pixels)]

    def _image(self, image: np.ndarray, regions: Sequence[Region]) -> dict[str, np.ndarray]:
        height, width = image.shape[:2]
        indices = [
            index
            for index, region in enumerate(regions)
            if region.kind == "face" and not points_problem(region, height_px=height, width_px=width)
        ]
        embedded = self.engine.embed(image, [regions[index] for index in indices]) if indices else []
        found = {index: row for index, row in zip(indices, embedded, strict=True) if row is not None}
        embeddings = np.stack(list(found.values())) if found else np.zeros((0, 0), np.float32)
        return {"regions": np.array(list(found), np.int64), "embeddings": embeddings}


def points_problem(face: Region, *, height_px: int, width_px: int) -> str:
    """Why a face's key points cannot be used, or ""; a point on the image's very edge is inside."""
    if len(face.keypoints) != 5:
        return NO_POINTS
    if not all(0 <= x <= width_px and 0 <= y <= height_px for x, y in face.keypoints):
        return POINTS_OUTSIDE
    return ""


def cosine(first: np.ndarray, second: np.ndarray) -> float | None:
    """Cosine of the angle between two vectors of d numbers, in [-1, 1]; exactly 1 for equal ones.

    None if one is zero or not finite, so that there is no angle.
    """
    a, b = first.astype(np.float64), second.astype(np.float64)
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    if not np.isfinite(length) or length == 0.0:
        return None
    return 1.0 if np.array_equal(a, b) else float(np.clip(a @ b / length, -1.0, 1.0))


def same_person(first: np.ndarray, second: np.ndarray, *, card: EngineCard) -> float | None:
    """1 if the engine's usual rule calls both the same person, else 0; None where :func:`cosine` is."""
    angle = cosine(first, second)
    if angle is None or card.threshold is None:
        return None
    if card.threshold_on == "cosine":
        return float(angle >= card.threshold)
    return float(np.linalg.norm(first.astype(np.float64) - second.astype(np.float64)) <= card.threshold)


@dataclass(frozen=True, kw_only=True)
class FaceMetric:
    """A :class:`~tokbench.contracts.RegionMetric` from a function of two embeddings."""

    card: MetricCard
    embeddings: Embeddings
    function: Callable[[np.ndarray, np.ndarray], float | None]
    region_kind: RegionKind = "face"

    @property
    def features(self) -> tuple[Feature, ...]:
        return (self.embeddings,)

    def unavailable(self) -> str:
        """Why it cannot run although its packages are installed, with what to do; "" if it can."""
        return self.embeddings.engine.unavailable()

    def measure_regions(self, comparison: Comparison) -> list[dict[int, RegionValue]]:
        """Per sample, an answer for each face."""
        name = self.embeddings.name
        rows = zip(comparison.regions, comparison.features[name], comparison.reconstruction_features[name], strict=True)
        height, width = comparison.reference.shape[-2:]
        return [
            {
                index: self._answer(region, original.get(index), decoded.get(index), height_px=height, width_px=width)
                for index, region in enumerate(regions)
                if region.kind == "face"
            }
            for regions, original, decoded in ((r, _by_index(a), _by_index(b)) for r, a, b in rows)
        ]

    def _answer(
        self,
        region: Region,
        original: np.ndarray | None,
        decoded: np.ndarray | None,
        *,
        height_px: int,
        width_px: int,
    ) -> RegionValue:
        if original is None or decoded is None:
            problem = points_problem(region, height_px=height_px, width_px=width_px)
            return RegionValue(value=None, reason=problem or POINTS_COINCIDE)
        value = self.function(original, decoded)
        if value is None:
            return RegionValue(value=None, reason=NO_DIRECTION)
        angle = cosine(original, decoded)
        return RegionValue(value=value, seen={"reconstruction": "" if angle is None else f"similarity {angle:.3f}"})


def _by_index(row: Mapping[str, np.ndarray]) -> dict[int, np.ndarray]:
    return {int(index): embedding for index, embedding in zip(row["regions"], row["embeddings"], strict=True)}


def _metrics(engine: FaceEngine) -> tuple[FaceMetric, FaceMetric]:
    """Similarity and verification rate by one engine."""
    embeddings, facts = Embeddings(engine=engine), engine.card

    def card(key: str, title: str, *, low: float, unit_notes: str) -> MetricCard:
        return MetricCard(
            key=f"{key}.{facts.key}",
            version=1,
            kind="region",
            group="face",
            title=f"{title} ({facts.title})",
            better="higher",
            low=low,
            high=1.0,
            perfect=1.0,
            extra=facts.extra,
            requires=facts.requires,
            undefined="no face with five key points inside the image is annotated",
            paper="arXiv:2505.18142",
            notes=" ".join((unit_notes, *facts.notes)),
        )

    rule = f"{facts.threshold_on} {'of at least' if facts.threshold_on == 'cosine' else 'of at most'} {facts.threshold}"
    return (
        FaceMetric(
            card=card("f_sim", "Face similarity", low=-1.0, unit_notes="Cosine of the embeddings of both sides."),
            embeddings=embeddings,
            function=cosine,
        ),
        FaceMetric(
            card=card("f_ver", "Faces still recognised", low=0.0, unit_notes=f"Share of faces with a {rule}."),
            embeddings=embeddings,
            function=lambda first, second: same_person(first, second, card=facts),
        ),
    )


METRICS = (*_metrics(dlib.ENGINE), *_metrics(arcface.ENGINE))
