"""ArcFace recognisers as ONNX files, and the one TokBench uses: antelopev2's glintr100."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from tokbench.engines.align import ARCFACE_112, chip, similarity
from tokbench.engines.base import EngineCard, onnx_session, opencv_version, require_pixels, spread
from tokbench.environment import version_of
from tokbench.once import Once
from tokbench.samples import Region
from tokbench.weights.catalogue import known
from tokbench.weights.files import missing_weights, require_weights, weights_sha256

SIDE_PX = 112

CARD = EngineCard(
    key="antelopev2",
    title="InsightFace antelopev2 (ResNet-100, Glint360K)",
    kind="face",
    requires=("onnxruntime", "cv2"),
    weights=known("antelopev2"),
    threshold=0.28,
    licence="MIT",
    weights_licence="non-commercial research only",
    paper="arXiv:1801.07698",
    repository="https://github.com/deepinsight/insightface",
    notes=(
        "Aligned from the five annotated points; no detector runs, and both images use the same points.",
        "The threshold 0.28 is the one at which InsightFace's own demo says `the same person`.",
    ),
)


class ArcFaceOnnx:
    """Any recogniser of ArcFace's kind: 112 px input, five-point similarity alignment, (x - 127.5) / 127.5.

    As TokBench's ``eval_face.py`` (arXiv 2505.18142) with insightface: bilinear ``cv2.warpAffine``, black border, raw
    embeddings. Faces are embedded one by one, so an embedding never depends on what else is in the image.
    """

    def __init__(self, card: EngineCard, *, channels: Literal["RGB", "BGR"] = "RGB") -> None:
        self.card = card
        self._channels = channels
        self._session: Once[Any] = Once(lambda: onnx_session(require_weights(card.weights)))

    def unavailable(self) -> str:
        return missing_weights(self.card.weights)

    def identity(self) -> Mapping[str, str | int | float]:
        return {
            "version": 1,
            "weights": weights_sha256(self.card.weights),
            "channels": self._channels,
            "onnxruntime": version_of("onnxruntime", "onnxruntime-gpu"),
            "opencv": opencv_version(),
        }

    def embed(self, image: np.ndarray, faces: Sequence[Region]) -> list[np.ndarray | None]:
        """uint8 ``(h, w, 3)`` RGB and faces in it → float32 ``(512,)`` each, None without five distinct points."""
        require_pixels(image)
        matrices = [similarity(face.keypoints, ARCFACE_112) for face in faces]
        chips = [chip(image, matrix, side_px=SIDE_PX) for matrix in matrices if matrix is not None]
        embedded = iter(spread(self._embed, chips))
        return [None if matrix is None else next(embedded) for matrix in matrices]

    def _embed(self, face: np.ndarray) -> np.ndarray:
        session = self._session()
        pixels = face if self._channels == "RGB" else face[:, :, ::-1]
        values = (pixels.astype(np.float32).transpose(2, 0, 1)[None] - 127.5) / 127.5
        embedding: np.ndarray = session.run(None, {session.get_inputs()[0].name: values})[0][0]
        return embedding


ENGINE = ArcFaceOnnx(CARD)
