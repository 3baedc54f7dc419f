"""The reference cache: what depends on the reference image only is computed once, for every tokenizer.

One SQLite file under the user's cache folder (``TOKBENCH_CACHE``, else ``XDG_CACHE_HOME/tokbench``, else
``~/.cache/tokbench``). A key is the SHA-256 of everything a value depends on: the compared reference pixels, the
feature's name and identity (version, weights digest, preprocessing, library versions) and, where it reads them, the
annotated regions. Values are named numpy arrays, never pickles.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import sqlite3
import threading
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tokbench.contracts import Feature
from tokbench.samples import Region

logger = logging.getLogger(__name__)

Arrays = Mapping[str, np.ndarray]


def cache_folder() -> Path:
    """Where tokbench caches things for this user."""
    if chosen := os.environ.get("TOKBENCH_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "tokbench"


def feature_key(feature: Feature, *, reference_sha256: str, regions: Sequence[Region]) -> bytes:
    """The cache key of one feature of one reference image."""
    parts: dict[str, object] = {
        "feature": feature.name,
        "identity": dict(sorted(feature.identity().items())),
        "pixels": reference_sha256,
    }
    if feature.uses_regions:
        parts["regions"] = [
            [region.kind, region.box, region.label, region.keypoints, dict(region.attributes)] for region in regions
        ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, allow_nan=False).encode()).digest()


class ReferenceCache:
    """Get and put by key; safe to use from several threads and processes.

    A cache that cannot be opened or written costs time, not results: it is reported once as a warning and the
    values are computed again.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self.hits = 0
        self.misses = 0
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=30, check_same_thread=False, isolation_level=None)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
            self._connection = connection
        except (OSError, sqlite3.Error) as err:
            logger.warning("reference cache %s cannot be used (%s); reference features are computed again", path, err)

    @classmethod
    def default(cls) -> ReferenceCache:
        return cls(cache_folder() / "reference.sqlite")

    def get(self, key: bytes) -> dict[str, np.ndarray] | None:
        """The stored arrays, or None; an unreadable entry counts as absent and is written again."""
        with self._lock:
            row = None
            if self._connection is not None:
                try:
                    row = self._connection.execute("SELECT value FROM features WHERE key = ?", (key,)).fetchone()
                except sqlite3.Error as err:
                    self._give_up(err)
            arrays = None if row is None else _unpack(row[0])
            if arrays is None:
                self.misses += 1
            else:
                self.hits += 1
            return arrays

    def put(self, key: bytes, arrays: Arrays) -> None:
        with self._lock:
            if self._connection is None:
                return
            try:
                self._connection.execute("INSERT OR REPLACE INTO features VALUES (?, ?)", (key, _pack(arrays)))
            except sqlite3.Error as err:
                self._give_up(err)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _give_up(self, err: sqlite3.Error) -> None:
        logger.warning("reference cache failed (%s); reference features are computed again from here on", err)
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _pack(arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(arrays))
    return buffer.getvalue()


def _unpack(blob: bytes) -> dict[str, np.ndarray] | None:
    try:
        with np.load(io.BytesIO(blob), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile) as err:
        logger.warning("reference cache holds an unreadable entry (%s); it is computed again", err)
        return None
