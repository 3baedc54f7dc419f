"""EasyOCR's English recogniser (CRNN, second generation)."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tokbench.engines.base import PRINTABLE_ASCII, EngineCard, opencv_version, require_pixels
from tokbench.environment import version_of
from tokbench.once import Once
from tokbench.weights.catalogue import known
from tokbench.weights.files import missing_weights, require_weights, weights_sha256

CARD = EngineCard(
    key="easyocr",
    title="EasyOCR, English recogniser",
    kind="text",
    requires=("easyocr", "torchvision"),
    extra="easyocr",
    weights=known("easyocr"),
    alphabet=PRINTABLE_ASCII + "€",
    licence="Apache-2.0",
    weights_licence="Apache-2.0",
    repository="https://github.com/JaidedAI/EasyOCR",
    notes=("Recogniser only, on grey crops, unquantised, on the CPU; each crop is read alone.",),
)


class EasyOcr:
    """``easyocr.Reader.recognize`` on each crop as a whole, greedy decoding, its second look at faint crops included.

    The weights are pinned by EasyOCR itself (an MD5 in its configuration), so a wrong file is refused at loading.
    """

    card = CARD

    def __init__(self) -> None:
        self._reader: Once[Any] = Once(self._load)
        self._lock = threading.Lock()  # easyocr says nothing about threads

    def unavailable(self) -> str:
        return missing_weights(self.card.weights)

    def identity(self) -> Mapping[str, str | int | float]:
        return {
            "version": 1,
            "weights": weights_sha256(self.card.weights),
            "easyocr": version_of("easyocr"),
            "torch": version_of("torch"),
            "opencv": opencv_version(),
        }

    def read(
        self,
        crops: Sequence[np.ndarray],
        *,
        caps: Sequence[int | None] | None = None,  # noqa: ARG002  # the contract
    ) -> list[str]:
        """uint8 ``(h, w, 3)`` RGB each → what each says, without spaces."""
        with self._lock:
            return [self._read(crop) for crop in crops]

    def _read(self, crop: np.ndarray) -> str:
        import cv2

        require_pixels(crop)
        grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY)
        whole = [[0, crop.shape[1], 0, crop.shape[0]]]
        found = self._reader().recognize(grey, horizontal_list=whole, free_list=[], batch_size=1, workers=0, detail=0)
        return "".join(found).replace(" ", "")

    def _load(self) -> Any:
        import easyocr

        folder = str(require_weights(self.card.weights).parent)
        return easyocr.Reader(
            ["en"],
            gpu=False,
            detector=False,
            download_enabled=False,
            model_storage_directory=folder,
            verbose=False,
            quantize=False,
        )


ENGINE = EasyOcr()
