"""Submissions as one .zip or .tar file: deterministic to write, and safe to open whoever made it.

An archive is looked over entry by entry before anything is written. Only the names a submission may have are taken, so
no entry can leave the folder it is unpacked into, which is private and temporary.
"""

from __future__ import annotations

import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from tokbench.errors import UsageError
from tokbench.runfolder import PICTURES
from tokbench.submissions.findings import Findings
from tokbench.submissions.form import MAX_PICTURES, MAX_TOTAL_BYTES, MIB, NAMES, limit_bytes

SUFFIXES = (".zip", ".tar")
MAX_ENTRIES = 8 + MAX_PICTURES
MAX_RATIO = 200
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment a zip entry can have
_CHUNK = 1 << 16


def is_archive(path: Path) -> bool:
    """Whether the name says .zip or .tar."""
    return path.suffix.lower() in SUFFIXES


def write_archive(folder: Path, target: Path) -> None:
    """The files below ``folder`` as one; sorted, without times and owners, so that equal folders give equal bytes."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    if target.suffix.lower() == ".zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:  # what is large is compressed already
            for name in names:
                entry = zipfile.ZipInfo(name, date_time=_EPOCH)
                entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
                archive.writestr(entry, (folder / name).read_bytes())
        return
    with tarfile.open(target, "w:", format=tarfile.USTAR_FORMAT) as archive_tar:
        for name in names:
            content = (folder / name).read_bytes()
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive_tar.addfile(member, io.BytesIO(content))


@contextmanager
def unpacked(path: Path, findings: Findings) -> Iterator[Path | None]:
    """A temporary folder with the archive's files while the context lasts; None, with findings, if it is not safe.

    Raises:
        UsageError: the file cannot be read at all.
    """
    with TemporaryDirectory(prefix="tokbench-submission-") as name:
        folder = Path(name)
        before = len(findings.errors)
        try:
            if path.stat().st_size > MAX_TOTAL_BYTES:
                findings.error(
                    "archive-size", "the archive is too large", got=path.stat().st_size, expected=f"≤ {MAX_TOTAL_BYTES}"
                )
            elif path.suffix.lower() == ".zip":
                _open_zip(path, folder, findings)
            else:
                _open_tar(path, folder, findings)
        except OSError as err:
            raise UsageError(f"cannot read {path}: {err.strerror or err}") from err
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, ValueError, NotImplementedError) as err:
            findings.error("archive-damaged", f"the archive is damaged or truncated: {err}")
        yield folder if len(findings.errors) == before else None


def name_problem(name: str) -> str:
    """Why an entry may not have this name, "" if it may."""
    if "\0" in name or any(not char.isprintable() for char in name):
        return "holds characters that cannot be printed"
    if "\\" in name:
        return "holds a backslash"
    if name.startswith("/") or name[1:2] == ":":
        return "is an absolute path"
    if ".." in name.split("/"):
        return "leaves the folder by '..' (path traversal)"
    return "" if NAMES.match(name) else "is not a file of a submission"


class _Names:
    """Checks names as they come: allowed, and each there once, even where case does not count."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._seen: dict[str, str] = {}
        self._total = 0

    def check(self, name: str, size: int) -> bool:
        """Whether to look further at the entry."""
        if problem := name_problem(name):
            self._findings.error("archive-name", f"the archive has an entry whose name {problem}", where=name)
            return False
        other = self._seen.setdefault(name.casefold(), name)
        if other is not name:
            self._findings.error("archive-duplicate", f"the archive has two entries of the name {other!r}", where=name)
        self._total += size
        if size > limit_bytes(name) or self._total > MAX_TOTAL_BYTES:
            self._findings.error(
                "archive-size", "the entry is too large", where=name, got=size, expected=f"≤ {limit_bytes(name)} bytes"
            )
        return True


def _open_zip(path: Path, folder: Path, findings: Findings) -> None:
    count = _zip_entries(path)
    if count > MAX_ENTRIES:
        findings.error("archive-entries", "the archive has too many entries", got=count, expected=f"≤ {MAX_ENTRIES}")
        return
    before = len(findings.errors)
    names = _Names(findings)
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if entry.orig_filename != f"{PICTURES}/"]
        for entry in entries:
            if not names.check(entry.orig_filename, entry.file_size):
                continue
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                findings.error("archive-link", "the entry is a link or device, not a file", where=entry.filename)
            if entry.flag_bits & 0x1:
                findings.error("archive-encrypted", "the entry is encrypted", where=entry.filename)
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                findings.error("archive-method", "the entry is not stored or deflated", where=entry.filename)
            if entry.file_size > MIB and entry.file_size > MAX_RATIO * max(1, entry.compress_size):
                findings.error(
                    "archive-bomb",
                    "the entry grows too much when unpacked (zip bomb)",
                    where=entry.filename,
                    got=f"{entry.compress_size} to {entry.file_size} bytes",
                    expected=f"at most {MAX_RATIO} times",
                )
        if len(findings.errors) > before:
            return
        for entry in entries:
            with archive.open(entry) as source:
                _copy(source, folder, entry.filename, entry.file_size, findings)


def _zip_entries(path: Path) -> int:
    """How many entries the end record promises, read before a directory of millions is."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16) - 22))
        tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) < at + 22:
        raise zipfile.BadZipFile("it has no end record")
    count: int = struct.unpack_from("<H", tail, at + 10)[0]
    return count


def _open_tar(path: Path, folder: Path, findings: Findings) -> None:
    before = len(findings.errors)
    names = _Names(findings)
    with tarfile.open(path, "r:") as archive:
        members: list[tarfile.TarInfo] = []
        for member in archive:
            members.append(member)
            if len(members) > MAX_ENTRIES:
                findings.error("archive-entries", "the archive has too many entries", expected=f"≤ {MAX_ENTRIES}")
                return
        files = [member for member in members if not (member.isdir() and member.name == PICTURES)]
        for member in files:
            if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                findings.error("archive-link", "the entry is a link, folder or device, not a file", where=member.name)
            names.check(member.name, member.size)
        if len(findings.errors) > before:
            return
        for member in files:
            source = archive.extractfile(member)
            if source is None:
                raise tarfile.ReadError(f"{member.name} has no content")
            _copy(source, folder, member.name, member.size, findings)


def _copy(source: IO[bytes], folder: Path, name: str, size: int, findings: Findings) -> None:
    """Write one entry whose name was checked; more bytes than promised end it."""
    target = folder / name
    target.parent.mkdir(exist_ok=True)
    written = 0
    with target.open("xb") as file:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > size:
                break
            file.write(chunk)
    if written != size:
        findings.error(
            "archive-damaged",
            "the entry is not as long as it says (truncated?)",
            where=name,
            got=written,
            expected=size,
        )
