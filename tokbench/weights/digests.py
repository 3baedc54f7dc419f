"""SHA-256 of files, each state of a file read once: gigabytes of weights are asked for at every start."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from functools import lru_cache
from pathlib import Path

from tokbench.cache import cache_folder

logger = logging.getLogger(__name__)

REMEMBERED_FROM = 16 * 2**20
"""Bytes; smaller files are read faster than the record of their digest is kept."""


def sha256_of(path: Path, *, read: bool = False) -> str:
    """Digest of a file, lower-case hex.

    A large file is read once for each state of it (size, both times, inode), remembered in ``digests.json`` in
    tokbench's cache folder. ``read`` reads it in any case.
    """
    stat = path.stat()
    state = f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}:{stat.st_ino}"
    name, is_large = str(path.resolve()), stat.st_size >= REMEMBERED_FROM
    if not read:
        return _known(name, state, is_large)
    _known.cache_clear()
    return _digest(name, state, is_large)


@lru_cache(maxsize=256)
def _known(path: str, state: str, is_large: bool) -> str:
    if is_large and (row := _recorded(_record()).get(path)) is not None and row[0] == state:
        return row[1]
    return _digest(path, state, is_large)


def _digest(path: str, state: str, is_large: bool) -> str:
    digest = _read(path)
    if is_large:
        _remember(_record(), path, state, digest)
    return digest


def _record() -> Path:
    return cache_folder() / "weights" / "digests.json"


def _read(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _recorded(record: Path) -> dict[str, tuple[str, str]]:
    try:
        rows = json.loads(record.read_text(encoding="utf-8"))
        return {str(path): (str(state), str(digest)) for path, (state, digest) in rows.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as err:
        logger.warning("%s cannot be used (%s); files are read again", record, err)
        return {}


def _remember(record: Path, path: str, state: str, digest: str) -> None:
    rows = {**_recorded(record), path: (state, digest)}
    new = record.with_name(f"{record.name}.{os.getpid()}")
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps({name: row for name, row in rows.items() if Path(name).is_file()}, indent=0))
        new.replace(record)
    except OSError as err:
        logger.warning("%s cannot be written (%s); %s is read again next time", record, err, path)
