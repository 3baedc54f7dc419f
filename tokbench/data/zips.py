"""Zip files, read by offset.

Each file is indexed once a process; the index is dropped when the file changes. Every read opens the file anew, so
threads share nothing but the index. Members may be stored or deflated; images usually are stored.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tokbench.data.archives import ArchiveIndexes
from tokbench.errors import SampleError

_MAX_INDEXES = 16
_HEADER = struct.Struct("<4s22xHH")  # of a member: signature … length of its name, length of its extra field


class Member(NamedTuple):
    """Where a member is in the archive, and what its directory says of it."""

    header: int
    n_stored: int
    n_bytes: int
    method: int
    crc: int


def index_zip(path: Path) -> Mapping[str, Member]:
    """Files by name, in the archive's order; encrypted ones and folders are left out.

    Raises:
        SampleError: not a zip file, or cut off.
    """
    return _indexes(path)


def read_member(path: Path, name: str) -> bytes:
    """The bytes of one member, checked against the archive's own checksum.

    Raises:
        SampleError: no such member, cut off, damaged, or compressed in a way that is neither stored nor deflated.
    """
    member = index_zip(path).get(name)
    if member is None:
        raise SampleError(f"{path.name} has no readable member {name!r}; list them with `unzip -l`")
    damaged = f"{path.name} is damaged at member {name!r}; obtain the archive again"
    with path.open("rb") as file:
        file.seek(member.header)
        header = file.read(_HEADER.size)
        if len(header) != _HEADER.size or not header.startswith(b"PK\x03\x04"):
            raise SampleError(damaged)
        _, n_name, n_extra = _HEADER.unpack(header)
        file.seek(n_name + n_extra, 1)
        stored = file.read(member.n_stored)
    if member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SampleError(f"{path.name}: member {name!r} uses compression {member.method}; expected stored or deflated")
    try:
        data = stored if member.method == zipfile.ZIP_STORED else zlib.decompress(stored, -15)
    except zlib.error as err:
        raise SampleError(damaged) from err
    if len(data) != member.n_bytes or zlib.crc32(data) != member.crc:
        raise SampleError(damaged)
    return data


def _scan(path: Path) -> dict[str, Member]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                info.filename: Member(
                    info.header_offset, info.compress_size, info.file_size, info.compress_type, info.CRC
                )
                for info in archive.infolist()
                if not info.is_dir() and not info.flag_bits & 1
            }
    except zipfile.BadZipFile as err:
        raise SampleError(f"{path.name} is not a zip file, or is cut off ({err}); obtain it again") from err


_indexes = ArchiveIndexes(_scan, most=_MAX_INDEXES)
