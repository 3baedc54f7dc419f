"""What every engine has: a card, its files, and one lazy load a process."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from tokbench.errors import MetricError, UsageError, WeightsError
from tokbench.samples import Region

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")
Item = TypeVar("Item")

PRINTABLE_ASCII = "".join(chr(code) for code in range(33, 127))
"""The 94 printable ASCII characters without the space."""


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A file of weights, and where it may be.

    Attributes:
        name: the file's name.
        sha256: of its bytes, or the first digits of it; "" where its publisher states none.
        folders: where it is looked for, after ``$TOKBENCH_WEIGHTS/<engine key>``: a path (``~`` and ``$VARIABLE``
            are filled in) or ``package:MODULE/path/in/it`` (the module is not imported).
        command: what to type to get it.
    """

    name: str
    sha256: str
    folders: tuple[str, ...]
    command: str


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


class Once(Generic[T]):
    """A value built by the first thread that asks for it and shared by all."""

    def __init__(self, build: Callable[[], T]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._value: T | None = None

    def __call__(self) -> T:
        with self._lock:
            if self._value is None:
                self._value = self._build()
            return self._value


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


def find_weights(card: EngineCard) -> Path | None:
    """The engine's file of weights, where it is, or None."""
    places = [Path(os.environ["TOKBENCH_WEIGHTS"]) / card.key] if os.environ.get("TOKBENCH_WEIGHTS") else []
    for folder in card.weights.folders:
        module, _, rest = folder.removeprefix("package:").partition("/")
        if not folder.startswith("package:"):
            places.append(Path(os.path.expandvars(folder)))
        elif (spec := find_spec(module)) is not None and spec.submodule_search_locations:
            places.append(Path(next(iter(spec.submodule_search_locations))) / rest)
    paths = (place.expanduser() / card.weights.name for place in places)
    return next((path for path in paths if path.is_file()), None)


def missing_weights(card: EngineCard) -> str:
    """Why the engine's weights cannot be used, with what to do about it; "" if they can."""
    path, weights = find_weights(card), card.weights
    if path is None:
        return f"needs {weights.name} in $TOKBENCH_WEIGHTS/{card.key} or {weights.folders[-1]}: {weights.command}"
    if not (digest := sha256_of(path)).startswith(weights.sha256):
        return f"{weights.name} has sha256 {digest}, expected {weights.sha256}…: delete it, then {weights.command}"
    return ""


def require_weights(card: EngineCard) -> Path:
    """The checked file of weights.

    Raises:
        WeightsError: missing, or not the pinned file.
    """
    path = find_weights(card)
    if path is None or missing_weights(card):
        raise WeightsError(f"{card.key} {missing_weights(card)}")
    return path


def weights_sha256(card: EngineCard) -> str:
    """Digest of the file in use, "" if there is none."""
    path = find_weights(card)
    return "" if path is None else sha256_of(path)


def sha256_of(path: Path) -> str:
    """Digest of a file, hex; read once for each state of the file."""
    stat = path.stat()
    return _sha256(str(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: str, size: int, changed_ns: int) -> str:  # noqa: ARG001  # size and time are the cache's key
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=64)
def version_of(*distributions: str) -> str:
    """Version of the first of these distributions that is installed, "" if none is."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


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
