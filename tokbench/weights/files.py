"""Files of weights: what pins one, and where it may be on this machine."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from tokbench.errors import WeightsError

Format = Literal["safetensors", "state_dict", "torchscript", "onnx", "dlib", "numpy_pickle"]


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A file of weights, and where it may be.

    Attributes:
        owner: key of the engine or network it belongs to; also its folder under ``$TOKBENCH_WEIGHTS``.
        name: the file's name.
        format: what is in it, which decides how it is read (see :mod:`tokbench.weights.loading`).
        sha256: of its bytes, or the first digits of it; "" where its publisher states none.
        folders: where it is looked for, after ``$TOKBENCH_WEIGHTS/<owner>``: a path (``~`` and ``$VARIABLE``
            are filled in) or ``package:MODULE/path/in/it`` (the module is not imported).
        command: what to type to get it; "" where `tokbench weights fetch` does.
        url: where it is downloaded from, if it is a plain download.
        hub: ``ORG/REPO@REVISION:PATH`` if it lies on the hub.
        licence, source: of the weights: SPDX id or name, and the page that says so.
    """

    owner: str
    name: str
    format: Format
    sha256: str = ""
    folders: tuple[str, ...] = ()
    command: str = ""
    url: str = ""
    hub: str = ""
    licence: str = ""
    source: str = ""


def find_weights(weights: WeightsFile) -> Path | None:
    """The file, where it is, or None."""
    places = [Path(os.environ["TOKBENCH_WEIGHTS"]) / weights.owner] if os.environ.get("TOKBENCH_WEIGHTS") else []
    for folder in weights.folders:
        module, _, rest = folder.removeprefix("package:").partition("/")
        if not folder.startswith("package:"):
            places.append(Path(os.path.expandvars(folder)))
        elif (spec := find_spec(module)) is not None and spec.submodule_search_locations:
            places.append(Path(next(iter(spec.submodule_search_locations))) / rest)
    paths = (place.expanduser() / weights.name for place in places)
    return next((path for path in paths if path.is_file()), None)


def missing_weights(weights: WeightsFile) -> str:
    """Why the weights cannot be used, with what to do about it; "" if they can."""
    path = find_weights(weights)
    if path is None:
        return f"needs {weights.name} in $TOKBENCH_WEIGHTS/{weights.owner} or {weights.folders[-1]}: {weights.command}"
    if not (digest := sha256_of(path)).startswith(weights.sha256):
        return f"{weights.name} has sha256 {digest}, expected {weights.sha256}…: delete it, then {weights.command}"
    return ""


def require_weights(weights: WeightsFile) -> Path:
    """The checked file.

    Raises:
        WeightsError: missing, or not the pinned file.
    """
    path = find_weights(weights)
    if path is None or missing_weights(weights):
        raise WeightsError(f"{weights.owner} {missing_weights(weights)}")
    return path


def weights_sha256(weights: WeightsFile) -> str:
    """Digest of the file in use, "" if there is none."""
    path = find_weights(weights)
    return "" if path is None else sha256_of(path)


def sha256_of(path: Path) -> str:
    """Digest of a file, hex; read once for each state of the file."""
    stat = path.stat()
    return _sha256(str(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: str, size: int, changed_ns: int) -> str:  # noqa: ARG001  # size and time are the cache's key
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
