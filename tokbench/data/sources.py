"""Bytes by address.

=============================  =======================================================================
``path/to/image.png``          a file under the manifest's root
``package:NAME/path/in/it``    a file inside an installed package, which is located but never imported
``archive:FILE!MEMBER``        a member of an uncompressed tar file (a WebDataset shard) or of a zip file
``parquet:FILE!ROW``           the column ``image`` of one row of a Parquet file under the root
``named:NAME``                 whatever of these :mod:`tokbench.data.places` has for the name
=============================  =======================================================================

Addresses never leave their base folder: absolute paths and ``..`` are refused. Links are followed, since data sets
are often links to another disk. Everything here may be called from several threads at once.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tokbench.data import parquets, tars, zips
from tokbench.data.places import address_of
from tokbench.errors import ChecksumError, SampleError
from tokbench.samples import Sample

PACKAGE, ARCHIVE, PARQUET, NAMED = "package:", "archive:", "parquet:", "named:"

_PIP_NAMES = {"skimage": "scikit-image", "sklearn": "scikit-learn", "PIL": "pillow", "cv2": "opencv-python"}


class Location(NamedTuple):
    """A file on this machine, and what to read of it (``""`` for all of it)."""

    path: Path
    part: str


def read_source(source: str, root: str | Path) -> bytes:
    """The bytes at ``source``; see the module's table for the kinds of address.

    Raises:
        SampleError: malformed or escaping address, package not installed, nothing there, or not readable.
    """
    source = _resolved(source, root)
    location = locate(source, root)
    try:
        if source.startswith(ARCHIVE):
            read_member = zips.read_member if location.path.suffix.lower() == ".zip" else tars.read_member
            return read_member(location.path, location.part)
        if source.startswith(PARQUET):
            return parquets.read_image(location.path, _row_number(source, location.part))
        return location.path.read_bytes()
    except OSError as err:
        raise SampleError(f"{source}: cannot be read ({err.strerror or err})") from err


def read_verified(sample: Sample, root: str | Path) -> bytes:
    """The sample's bytes, checked against its sha256; ``""`` means there is nothing to check against.

    Raises:
        ChecksumError: the bytes are other ones than the manifest promises.
        SampleError: as :func:`read_source`.
    """
    data = read_source(sample.source, root)
    got = hashlib.sha256(data).hexdigest()
    if sample.sha256 and got != sample.sha256:
        raise ChecksumError(
            f"{sample.id}: {sample.source} has sha256 {got[:16]}… ({len(data)} bytes), expected {sample.sha256[:16]}…; "
            f"{_next_step(sample.source)}"
        )
    return data


def locate(source: str, root: str | Path) -> Location:
    """Where ``source`` is on this machine; the file exists, its part may not.

    Raises:
        SampleError: malformed or escaping address, package not installed, or no such file.
    """
    source = _resolved(source, root)
    if source.startswith(PACKAGE):
        return Location(_package_file(source), "")
    if not source.startswith((ARCHIVE, PARQUET)):
        return Location(_under(Path(root), source, source), "")
    file, bang, part = source.partition(":")[2].partition("!")
    if not (file and bang and part):
        kind = source.partition(":")[0]
        raise SampleError(f"{source!r} is no address; expected {kind}:FILE!{'MEMBER' if kind == 'archive' else 'ROW'}")
    return Location(_under(Path(root), file, source), part)


def _resolved(source: str, root: str | Path) -> str:
    if not source.startswith(NAMED):
        return source
    address = address_of(source.removeprefix(NAMED), Path(root))
    if address.startswith(NAMED):
        raise SampleError(f"{source}: its place is {address!r}, another name; prepare the data set again")
    return address


def _under(base: Path, relative: str, source: str) -> Path:
    parts = PurePosixPath(relative).parts
    if not parts or "\\" in relative or ".." in parts or Path(relative).is_absolute():
        raise SampleError(f"{source!r} leaves its folder; expected a relative POSIX path without '..'")
    path = base.joinpath(*parts)
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise SampleError(f"{source}: {path} {what}; get the data, or give its folder as the manifest's root")
    return path


def _package_file(source: str) -> Path:
    name, _, inside = source.removeprefix(PACKAGE).partition("/")
    if not name.isidentifier() or not inside:
        raise SampleError(f"{source!r} is no address; expected package:IMPORT_NAME/path/in/package")
    try:
        spec = importlib.util.find_spec(name)  # of a top-level name: finds, but executes nothing
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise SampleError(f"{source}: package {name} is not installed; run `pip install {_PIP_NAMES.get(name, name)}`")
    return _under(Path(next(iter(spec.submodule_search_locations))), inside, source)


def _row_number(source: str, part: str) -> int:
    if not part.isascii() or not part.isdigit():
        raise SampleError(f"{source!r} is no address; expected a row number from 0 after '!', got {part!r}")
    return int(part)


def _next_step(source: str) -> str:
    if source.startswith(PACKAGE):
        name = source.removeprefix(PACKAGE).partition("/")[0]
        return f"install the release of {_PIP_NAMES.get(name, name)} that the manifest's notes name"
    return "restore the original file, or make a new manifest for this one"
