"""Files of weights: what pins one, and where it is on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tokbench.errors import WeightsError
from tokbench.weights import places
from tokbench.weights.digests import sha256_of
from tokbench.weights.hub import HubFile, find_hub_file

Format = Literal["safetensors", "state_dict", "torchscript", "onnx", "dlib", "numpy_pickle", "npz"]


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A file of weights, and where it may be.

    Attributes:
        owner: its key: the engine or network it belongs to.
        name: the file's name.
        format: what is in it, which decides how it is read (see :mod:`tokbench.weights.loading`).
        sha256: of its bytes, or the first digits of it; "" where its publisher states none.
        folders: where else it is looked for, as :func:`tokbench.weights.places.expand` reads them.
        command: what to type to get it; "" where `tokbench weights fetch` does.
        url: where it is downloaded from, if it is a plain download.
        hub: ``ORG/REPO@REVISION:PATH`` if it lies on the hub.
        licence, source: of the weights: SPDX id or name, and the page that says so.
        aliases: names under which other programs keep the very same file in the same folders.
        size: in bytes, 0 where it is not known.
        network: what it is a part of, where that is several files; they share a folder.
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
    aliases: tuple[str, ...] = ()
    size: int = 0
    network: str = ""

    @property
    def folder(self) -> str:
        """Its folder under ``$TOKBENCH_WEIGHTS`` and in tokbench's cache."""
        return self.network or self.owner


def find_weights(weights: WeightsFile) -> Path | None:
    """The file, where it is, or None: nothing is read, nothing downloaded.

    The first of ``$TOKBENCH_WEIGHTS/<folder>``, the file's own folders, tokbench's cache folder, and the hub's cache.
    """
    folders = [place for folder in weights.folders if (place := places.expand(folder)) is not None]
    if (own := places.own_folder()) is not None:
        folders.insert(0, own / weights.folder)
    folders.append(places.store_folder(weights.folder))
    for folder in folders:
        for name in (weights.name, *weights.aliases):
            if (folder / name).is_file():
                return folder / name
    return find_hub_file(HubFile.parse(weights.hub)) if weights.hub else None


def get_command(weights: WeightsFile) -> str:
    """What to type to get the file."""
    return weights.command or f"tokbench weights fetch {weights.owner}"


def wrong_digest(weights: WeightsFile, path: Path, *, read: bool = False) -> str:
    """What is wrong with a file that was found, naming both digests; "" if it is the pinned one or none is pinned."""
    if not weights.sha256 or (digest := sha256_of(path, read=read)).startswith(weights.sha256):
        return ""
    return f"{path} has sha256 {digest}, expected {expected(weights.sha256)}"


def expected(sha256: str) -> str:
    """A pinned digest in words: all of it, or its leading digits."""
    return sha256 if len(sha256) == 64 else f"{sha256}…"


def missing_weights(weights: WeightsFile) -> str:
    """Why the weights cannot be used, with what to do about it; "" if they can."""
    path = find_weights(weights)
    if path is None:
        own = f"${places.OWN_FOLDER}/{weights.folder}"
        elsewhere = f" or {weights.folders[-1]}" if weights.command and weights.folders else ""
        return f"needs {weights.name} in {own}{elsewhere}: {get_command(weights)}"
    if wrong := wrong_digest(weights, path):
        return f"{wrong}: delete it, then {get_command(weights)}"
    return ""


def require_weights(weights: WeightsFile) -> Path:
    """The checked file.

    Raises:
        WeightsError: missing, or not the pinned file.
    """
    path = find_weights(weights)
    if path is None or (reason := missing_weights(weights)):
        raise WeightsError(f"{weights.owner} {missing_weights(weights) if path is None else reason}")
    return path


def weights_sha256(weights: WeightsFile) -> str:
    """Digest of the file in use, "" if there is none."""
    path = find_weights(weights)
    return "" if path is None else sha256_of(path)
