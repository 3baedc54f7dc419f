"""What every engine has: a card, its files, and one lazy load a process."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from tokbench.environment import version_of
from tokbench.errors import MetricError, UsageError
from tokbench.once import Once
from tokbench.samples import Region
from tokbench.weights.files import WeightsFile

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")
Item = TypeVar("Item")

PRINTABLE_ASCII = "".join(chr(code) for code in range(33, 127))
"""The 94 printable ASCII characters without the space."""


@dataclass(frozen=True, kw_only=True)
class EngineCard:
    """What is known about an engine before anything is loaded.

    Attributes:
        key: lower case, the part of a metric's key after the dot.
        title: one line for people.
        kind: ``text`` or ``face``.
        weights: its one file of weights.
        requires: top-level modules that must be importable.
        extra: the pip extra that installs them, or "" if a plain install does.
        alphabet: for text, every character it can answer.
        threshold: for faces, the usual decision: the same person at this similarity or above (``threshold_on`` is
            ``cosine``), or at this Euclidean distance or below (``distance``).
        licence, weights_licence, paper, repository: SPDX id or name, the same for the weights, arXiv id, URL.
        notes: conventions that change scores, one sentence each.
    """

    key: str
    title: str
    kind: Literal["text", "face"]
    weights: WeightsFile
    requires: tuple[str, ...]
    extra: str = ""
    alphabet: str = ""
    threshold: float | None = None
    threshold_on: Literal["cosine", "distance"] = "cosine"
    licence: str = ""
    weights_licence: str = ""
    paper: str = ""
    repository: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.kind == "text") != bool(self.alphabet) or (self.kind == "face") != (self.threshold is not None):
            raise UsageError(f"engine {self.key}: a text engine has an alphabet, a face engine a threshold")


class TextEngine(Protocol):
    """Reads cropped words. Safe to call from several threads; loads on the first call."""

    @property
    def card(self) -> EngineCard: ...

    def unavailable(self) -> str:
        """Why it cannot run although its packages are installed (missing weights), or ""."""
        ...

    def identity(self) -> Mapping[str, str | int | float]:
        """Everything but the pixels that a reading depends on."""
        ...

    def read(self, crops: Sequence[np.ndarray], *, caps: Sequence[int | None] | None = None) -> list[str]:
        """uint8 ``(h, w, 3)`` RGB each → what each says, without spaces; no reading depends on the other crops.

        ``caps`` bounds the decoder's steps for each word, for engines that take their number of steps from labels
        in a published protocol; others ignore it.
        """
        ...


class FaceEngine(Protocol):
    """Embeds annotated faces. Safe to call from several threads; loads on the first call."""

    @property
    def card(self) -> EngineCard: ...

    def unavailable(self) -> str: ...

    def identity(self) -> Mapping[str, str | int | float]: ...

    def embed(self, image: np.ndarray, faces: Sequence[Region]) -> list[np.ndarray | None]:
        """uint8 ``(h, w, 3)`` RGB and faces in it → float32 ``(d,)`` each, ready for a cosine.

        None where the five key points are missing or all in one place.
        """
        ...


def spread(work: Callable[[Item], T], items: Sequence[Item]) -> list[T]:
    """``work`` on each item, in order, over one thread a core that all engines share.

    A crop is too small for a network to use several cores well, and batches differ in how many words they hold; so
    each core does a crop at a time, whichever call it came from. Torch computes on one thread here whatever the caller
    has set: with another number of threads its sums differ in the last bit.
    """
    return list(_POOL().map(work, items))


def _new_pool() -> ThreadPoolExecutor:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ThreadPoolExecutor(cores, thread_name_prefix="tokbench-engine", initializer=_one_thread)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


_POOL = Once(_new_pool)


def opencv_version() -> str:
    """OpenCV's version, whichever of its wheels is installed."""
    return version_of("opencv-python", "opencv-python-headless", "opencv-contrib-python")


def require_pixels(image: np.ndarray) -> None:
    """Raise MetricError unless ``image`` is uint8 ``(h, w, 3)`` with at least one pixel."""
    if str(image.dtype) != "uint8" or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise MetricError(f"expected uint8 (h, w, 3) RGB with at least one pixel, got {image.dtype} {image.shape}")


def onnx_session(model: Path | bytes) -> Any:
    """An onnxruntime session on the CPU that computes in the calling thread, so that callers decide on threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # every crop has a shape of its own
    options.log_severity_level = 4  # warnings about unused initialisers, at every load
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
    )
