"""RapidOCR's recogniser: PP-OCRv6 small, whose weights come with the package."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tokbench.engines.base import PRINTABLE_ASCII, EngineCard, onnx_session, opencv_version, require_pixels, spread
from tokbench.environment import version_of
from tokbench.once import Once
from tokbench.weights.catalogue import known
from tokbench.weights.files import missing_weights, require_weights, weights_sha256

HEIGHT_PX = 48
LEAST_WIDTH_PX = 96
GREATEST_WIDTH_PX = 4096
LAST_LAYER = ("linear_8.w_0", "linear_8.b_0")

CARD = EngineCard(
    key="rapidocr",
    title="RapidOCR",
    kind="text",
    requires=("rapidocr", "onnxruntime", "onnx", "cv2"),
    weights=known("rapidocr"),
    alphabet=PRINTABLE_ASCII,
    licence="Apache-2.0",
    weights_licence="Apache-2.0",
    repository="https://github.com/RapidAI/RapidOCR",
    notes=(
        "Answers are limited to printable ASCII; the network knows 18,708 characters.",
        "Each crop is read alone, padded to its own width or 96 px, so nothing depends on a batch.",
    ),
)


class RapidOcr:
    """Recognition only: each crop scaled to 48 px height, read alone, decoded greedily.

    The package is not imported; its network is run as ``RapidOCR.recognize_txt([crop])`` runs it with
    ``Rec.rec_img_shape`` = (3, 48, 96). Differs from it: only printable ASCII can be answered, spaces are dropped,
    and a crop over 85 times as wide as high is squeezed. The network's last layer loses the columns of the 18,614
    characters that may not win, so its scores are the original's over what is left (the tests compare them), in a
    sixth less time.

    Batches bring nothing on a CPU (a crop takes 0.05 ms a pixel of width, alone or among eight), and padding to a
    common width costs time and changes a reading in a few hundred. So there are none: cores take a crop each.
    """

    card = CARD

    def __init__(self) -> None:
        self._loaded = Once(self._load)

    def unavailable(self) -> str:
        return missing_weights(self.card.weights)

    def identity(self) -> Mapping[str, str | int | float]:
        return {
            "version": 1,
            "weights": weights_sha256(self.card.weights),
            "alphabet": "ascii",
            "least_width_px": LEAST_WIDTH_PX,
            "onnxruntime": version_of("onnxruntime", "onnxruntime-gpu"),
            "opencv": opencv_version(),
        }

    def read(
        self,
        crops: Sequence[np.ndarray],
        *,
        caps: Sequence[int | None] | None = None,  # noqa: ARG002  # the contract
    ) -> list[str]:
        """uint8 ``(h, w, 3)`` RGB each → what each says, printable ASCII without spaces."""
        return spread(self._read, crops)

    def scores(self, crop: np.ndarray) -> np.ndarray:
        """uint8 ``(h, w, 3)`` → float32 ``(t, 96)``: at each step the probability of blank and characters."""
        scores: np.ndarray = self._loaded()[0].run(None, {"x": network_input(crop)})[0][0]
        return scores

    def _read(self, crop: np.ndarray) -> str:
        return collapse(self.scores(crop).argmax(axis=1), self._loaded()[1])

    def _load(self) -> tuple[Any, list[str]]:
        """The session of the cut network, and what its columns stand for (the first for nothing)."""
        import onnx

        network = onnx.load(str(require_weights(self.card.weights)))
        known = next(entry.value for entry in network.metadata_props if entry.key == "character").split("\n")
        columns = ["", *known, " "]
        kept = [0, *(i for i, text in enumerate(columns) if text and (text == " " or text in self.card.alphabet))]
        for tensor in network.graph.initializer:
            if tensor.name in LAST_LAYER:
                part = np.ascontiguousarray(onnx.numpy_helper.to_array(tensor)[..., kept])
                tensor.CopyFrom(onnx.numpy_helper.from_array(part, tensor.name))
        network.graph.output[0].type.tensor_type.shape.dim[2].dim_value = len(kept)
        return onnx_session(network.SerializeToString()), [columns[column] for column in kept]


def network_input(crop: np.ndarray) -> np.ndarray:
    """uint8 ``(h, w, 3)`` RGB → float32 ``(1, 3, 48, width)`` BGR in [-1, 1], zeros on the right up to 96 px.

    Bilinear without antialiasing (OpenCV), as the network's authors do it.
    """
    import cv2

    require_pixels(crop)
    height, width = crop.shape[:2]
    scaled_px = min(GREATEST_WIDTH_PX, math.ceil(HEIGHT_PX * (width / float(height))))
    padded_px = max(LEAST_WIDTH_PX, min(GREATEST_WIDTH_PX, int(HEIGHT_PX * (width / float(height)))))
    scaled_px = min(scaled_px, padded_px)
    scaled = cv2.resize(np.ascontiguousarray(crop[:, :, ::-1]), (scaled_px, HEIGHT_PX))
    padded = np.zeros((1, 3, HEIGHT_PX, padded_px), np.float32)
    values = scaled.astype(np.float32).transpose(2, 0, 1) / 255
    values -= 0.5
    values /= 0.5
    padded[0, :, :, :scaled_px] = values
    return padded


def collapse(best: np.ndarray, characters: Sequence[str]) -> str:
    """The best entry at each step → text: repeats count once, blanks (entry 0) and spaces not at all."""
    changed = np.concatenate([[True], best[1:] != best[:-1]])
    return "".join(characters[entry] for entry in best[changed & (best != 0)]).replace(" ", "")


ENGINE = RapidOcr()
