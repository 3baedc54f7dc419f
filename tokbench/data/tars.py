"""Uncompressed tar files (WebDataset shards), read by offset.

Each file is indexed once a process; the index is dropped when the file changes. Every read opens the file anew, so
threads share nothing but the index.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tokbench.data.archives import ArchiveIndexes
from tokbench.errors import SampleError

_MAX_INDEXES = 256  # a shard of 10,000 members costs about 2 MB


class Member(NamedTuple):
    """Where a regular file's bytes are in the archive."""

    offset: int
    n_bytes: int


def index_tar(path: Path) -> Mapping[str, Member]:
    """Regular members by name, in the archive's order; of equal names the last one counts, as with ``tar -x``.

    Raises:
        SampleError: compressed, or not a tar file.
    """
    return _indexes(path)


def read_member(path: Path, name: str) -> bytes:
    """The bytes of one member.

    Raises:
        SampleError: no such regular member, or the archive ends before it does.
    """
    member = index_tar(path).get(name)
    if member is None:
        raise SampleError(f"{path.name} has no regular member {name!r}; list them with `tar -tf`")
    with path.open("rb") as file:
        file.seek(member.offset)
        data = file.read(member.n_bytes)
    if len(data) != member.n_bytes:
        raise SampleError(
            f"{path.name} is truncated: member {name!r} has {len(data)} bytes, expected {member.n_bytes}; "
            f"obtain the archive again"
        )
    return data


def _scan(path: Path) -> dict[str, Member]:
    try:
        with tarfile.open(path, "r:") as tar:
            return {info.name: Member(info.offset_data, info.size) for info in tar if info.isreg()}
    except tarfile.TarError as err:
        with path.open("rb") as file:
            start = file.read(4)
        if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zX", b"\x28\xb5\x2f\xfd")):
            raise SampleError(
                f"{path.name} is compressed, which allows no access to single members; decompress it first "
                f"(`gunzip`, `bunzip2`, `unxz` or `unzstd`)"
            ) from err
        raise SampleError(f"{path.name} is not a tar file, or is damaged ({err}); obtain it again") from err


_indexes = ArchiveIndexes(_scan, most=_MAX_INDEXES)
