"""docTR's PARSeq: the recogniser TokBench uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tokbench.engines.base import PRINTABLE_ASCII, EngineCard, require_pixels, spread
from tokbench.environment import version_of
from tokbench.once import Once
from tokbench.weights.catalogue import known
from tokbench.weights.files import missing_weights, weights_sha256
from tokbench.weights.loading import load_state_dict

if TYPE_CHECKING:
    import torch

HEIGHT_PX, WIDTH_PX = 32, 128
MEAN = (0.694, 0.695, 0.693)
STD = (0.299, 0.296, 0.301)
MAX_LENGTH = 32
BATCH_CPU, BATCH_CUDA = 4, 64
# docTR 0.11.1 dropped these; the released file still has them.
UNUSED_WEIGHTS = tuple(
    f"decoder.{layer}.{part}" for layer in ("attention_norm", "cross_attention_norm") for part in ("weight", "bias")
)

CARD = EngineCard(
    key="parseq",
    title="PARSeq of docTR, French vocabulary",
    kind="text",
    requires=("doctr", "torchvision"),
    extra="parseq",
    weights=known("parseq"),
    alphabet=PRINTABLE_ASCII + "°£€¥¢฿àâéèêëîïôùûüçÀÂÉÈÊËÎÏÔÙÛÜÇ",
    licence="Apache-2.0",
    weights_licence="Apache-2.0",
    paper="arXiv:2207.06966",
    repository="https://github.com/mindee/doctr",
    notes=(
        "Where labels count as published, the decoder stops after the longest label of the word's published batch.",
        "Otherwise it always has its 32 steps, and the answer ends at the end-of-text sign.",
    ),
)


class Parseq:
    """docTR's network with docTR's preprocessing, free of the batch a word happens to be in.

    The network always gets batches of one size (4 on a CPU, 64 on a GPU; empty places are black), in which rows do
    not touch each other. docTR alone lets the number of decoder steps depend on the other words of a batch: here it
    is fixed, 32 steps, or the cap given for the word.

    Args:
        network: in place of the released weights, a ``doctr.models.parseq``; for tests.
        device: where it runs; "" is the GPU if there is one.
    """

    card = CARD

    def __init__(self, network: Any = None, *, device: str = "") -> None:
        self._given = network
        self._device = device
        self._network: Once[Any] = Once(self._load)

    def unavailable(self) -> str:
        return missing_weights(self.card.weights) if self._given is None else ""

    def identity(self) -> Mapping[str, str | int | float]:
        return {
            "version": 1,
            "weights": weights_sha256(self.card.weights),
            "doctr": version_of("python-doctr"),
            "torch": version_of("torch"),
            "device": self.device,
        }

    @property
    def device(self) -> str:
        if not self._device:
            import torch

            self._device = "cuda" if torch.cuda.is_available() else "cpu"
        return self._device

    def read(self, crops: Sequence[np.ndarray], *, caps: Sequence[int | None] | None = None) -> list[str]:
        """uint8 ``(h, w, 3)`` RGB each → what each says, without spaces; ``caps`` bounds the steps, by word."""
        steps = [MAX_LENGTH if not cap else min(cap, MAX_LENGTH) for cap in caps or [None] * len(crops)]
        size = BATCH_CPU if self.device == "cpu" else BATCH_CUDA
        batches: list[list[int]] = []
        for cap in sorted(set(steps)):
            rows = [row for row, step in enumerate(steps) if step == cap]
            batches += [rows[start : start + size] for start in range(0, len(rows), size)]
        read = spread(lambda rows: self._read_batch([crops[row] for row in rows], steps[rows[0]], size), batches)
        texts = {
            row: text for rows, part in zip(batches, read, strict=True) for row, text in zip(rows, part, strict=True)
        }
        return [texts[row].replace(" ", "") for row in range(len(crops))]

    def _read_batch(self, crops: Sequence[np.ndarray], cap: int, size: int) -> list[str]:
        """At most ``size`` crops → their texts, after exactly ``cap`` + 1 decoder steps."""
        import torch

        network = self._network()
        with torch.inference_mode():
            batch = torch.zeros((size, 3, HEIGHT_PX, WIDTH_PX))
            for row, crop in enumerate(crops):
                batch[row] = network_input(crop)
            features = network.feat_extractor(batch.to(self.device))["features"][:, 1:, :]
            logits = network.decode_autoregressive(features, cap)
            return [text for text, _ in network.postprocessor(logits.cpu())][: len(crops)]

    def _load(self) -> Any:
        network = self._given
        if network is None:
            from doctr.models import parseq

            network = parseq(pretrained=False)
            state = load_state_dict(self.card.weights)
            network.load_state_dict({name: value for name, value in state.items() if name not in UNUSED_WEIGHTS})
        return network.eval().to(self.device)


def network_input(crop: np.ndarray) -> torch.Tensor:
    """uint8 ``(h, w, 3)`` RGB → float32 ``(3, 32, 128)``, as docTR's preprocessor.

    Scaled to fit with its aspect kept (sides cut to whole pixels, at least 1), bilinear with antialiasing, rounded
    to 8 bits, zeros on the right or below, and only then mean and deviation, so that padding is not zero. What torch
    does wrong with a crop one pixel wide is kept.
    """
    import torch

    require_pixels(crop)
    ratio = crop.shape[0] / crop.shape[1]
    if ratio > HEIGHT_PX / WIDTH_PX:
        size = (HEIGHT_PX, max(int(HEIGHT_PX / ratio), 1))
    else:
        size = (max(int(WIDTH_PX * ratio), 1), WIDTH_PX)
    pixels = torch.from_numpy(crop.astype(np.float32)).permute(2, 0, 1)[None]
    if tuple(pixels.shape[2:]) != size:
        pixels = torch.nn.functional.interpolate(pixels, size=size, mode="bilinear", antialias=True).round()
    padded = torch.zeros((3, HEIGHT_PX, WIDTH_PX))
    padded[:, : size[0], : size[1]] = pixels[0] / 255
    return (padded - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


ENGINE = Parseq()
