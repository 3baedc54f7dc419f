"""dlib's face descriptor, whose weights come with the package face_recognition_models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources

import numpy as np

from tokbench.engines.align import similarity, smooth_chip
from tokbench.engines.base import EngineCard, opencv_version, require_pixels, spread
from tokbench.engines.dlib_network import SIDE_PX, DescriptorNetwork
from tokbench.environment import version_of
from tokbench.once import Once
from tokbench.samples import Point, Region
from tokbench.weights.catalogue import known
from tokbench.weights.files import missing_weights, require_weights, weights_sha256

TEMPLATE_150: tuple[Point, ...] = ((46.6, 45.9), (100.5, 45.8), (72.6, 77.0), (49.8, 101.9), (100.7, 101.9))
"""Where the five points lie in dlib's own 150 px chips: the median of 124 faces that its 5-point predictor aligned."""

CARD = EngineCard(
    key="dlib",
    title="dlib",
    kind="face",
    requires=("face_recognition_models", "cv2"),
    weights=known("dlib"),
    threshold=0.6,
    threshold_on="distance",
    licence="BSL-1.0",
    weights_licence="CC0-1.0",
    repository="https://github.com/davisking/dlib-models",
    notes=(
        "A fixed mean descriptor is taken off before the cosine: without it two strangers score 0.82.",
        "Aligned from the five annotated points (eye centres, nose, mouth corners) instead of dlib's own five.",
        "The same person means a Euclidean distance of at most 0.6 between descriptors, dlib's own rule.",
    ),
)


class DlibDescriptor:
    """The 128 numbers of dlib's recogniser, less their mean over people.

    Neither dlib nor face_recognition_models is imported: the network is read from the file and run by torch (see
    :mod:`tokbench.engines.dlib_network`), so there is nothing to compile and any number of threads can work.
    """

    card = CARD

    def __init__(self) -> None:
        self._network = Once(lambda: DescriptorNetwork(require_weights(CARD.weights)))
        self._mean = Once(_mean_descriptor)

    def unavailable(self) -> str:
        return missing_weights(self.card.weights)

    def identity(self) -> Mapping[str, str | int | float]:
        return {
            "version": 1,
            "weights": weights_sha256(self.card.weights),
            "torch": version_of("torch"),
            "opencv": opencv_version(),
        }

    def embed(self, image: np.ndarray, faces: Sequence[Region]) -> list[np.ndarray | None]:
        """uint8 ``(h, w, 3)`` RGB and faces in it → float32 ``(128,)`` each, None without five distinct points."""
        require_pixels(image)
        matrices = [similarity(face.keypoints, TEMPLATE_150) for face in faces]
        chips = [smooth_chip(image, matrix, side_px=SIDE_PX) for matrix in matrices if matrix is not None]
        described = iter(spread(self._network(), chips))
        return [None if matrix is None else next(described) - self._mean() for matrix in matrices]


def _mean_descriptor() -> np.ndarray:
    """float32 ``(128,)``; the file says of whom."""
    stored = json.loads(resources.files("tokbench.engines").joinpath("dlib_mean.json").read_text())
    return np.array(stored["mean"], np.float32)


ENGINE = DlibDescriptor()
