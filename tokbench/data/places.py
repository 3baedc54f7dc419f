"""Where a set's images are on this machine, when their manifest names them without saying.

Published sets are kept in many layouts: flat, in class folders, in archives, in shards. Their manifests address an
image as ``named:FILE``, so that everybody's have one digest, and ``places.jsonl`` beside the manifest (a fact of this
machine, and no part of the digest) has the address of each.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path

from tokbench.errors import SampleError

PLACES_NAME = "places.jsonl"

_known: dict[str, tuple[tuple[int, int], Mapping[str, str]]] = {}
_lock = threading.Lock()


def save_places(places: Mapping[str, str], folder: Path) -> None:
    """Write the address of each name, relative to ``folder``, which exists."""
    partial = folder / (PLACES_NAME + ".partial")
    rows = (json.dumps({"name": name, "address": places[name]}, ensure_ascii=False) for name in places)
    partial.write_text("".join(row + "\n" for row in rows), encoding="utf-8", newline="\n")
    partial.replace(folder / PLACES_NAME)


def address_of(name: str, folder: Path) -> str:
    """The address of a named image; read once for each state of the file.

    Raises:
        SampleError: there is no such file, it is damaged, or it does not have the name.
    """
    path = folder / PLACES_NAME
    try:
        stat = path.stat()
        state = (stat.st_mtime_ns, stat.st_size)
        with _lock:
            if _known.get(str(path), (None,))[0] != state:
                _known[str(path)] = (state, _read(path))
            places = _known[str(path)][1]
    except OSError as err:
        raise SampleError(
            f"{path} cannot be read ({err.strerror or err}), which says where {name} is; prepare the data set again"
        ) from err
    if name not in places:
        raise SampleError(f"{path} does not say where {name} is; prepare the data set again")
    return places[name]


def _read(path: Path) -> dict[str, str]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {str(row["name"]): str(row["address"]) for row in rows}
    except (ValueError, KeyError, TypeError) as err:
        raise SampleError(f"{path} is damaged ({err}); prepare the data set again") from err
