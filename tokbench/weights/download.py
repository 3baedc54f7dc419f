"""One file from one address to one path: resumed, checked, and never half there under its final name.

Beside the file ``NAME`` lie, while it is being fetched, ``NAME.part`` (what has arrived, kept when the transfer is
interrupted), ``NAME.part.json`` (which version of the server's file that is) and ``NAME.lock`` (so that one process
fetches and the others wait). A later call goes on where the last one stopped if the server still has the same version
(HTTP's ``Range`` with ``If-Range``), and starts anew if not.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tokbench.errors import WeightsError
from tokbench.weights import places
from tokbench.weights.digests import sha256_of
from tokbench.weights.progress import DownloadProgress
from tokbench.weights.web import PassingError, RefusedError, open_url

TRIES = 5
"""Failed tries in a row before a download is given up; any progress starts the count anew."""

PAUSE_S = 1.0
"""Before the second try; twice as long before each further one."""

CHUNK = 2**18
_SPARE_BYTES = 2**24


@dataclass(frozen=True, kw_only=True)
class Download:
    """What to fetch, and what it must turn out to be.

    Attributes:
        url: http or https.
        path: the file's final name.
        sha256: hex, or the first digits of it; "" checks the length only.
        size: in bytes if it is known beforehand, else 0.
        headers: sent along, to this host only.
        lock: the lock file; None puts it beside the file.
        page: for people, named when the server refuses.
    """

    url: str
    path: Path
    sha256: str = ""
    size: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    lock: Path | None = None
    page: str = ""

    @property
    def part(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part.json")


def download(what: Download, *, progress: DownloadProgress) -> Path:
    """Fetch the file unless it is there, and return its path.

    Raises:
        WeightsError: offline; refused; not reachable after :data:`TRIES` tries; the folder cannot be written or the
            disk is full; or the file is not the pinned one. In every case nothing lies under the final name.
    """
    from filelock import FileLock

    if what.path.is_file():
        return what.path
    lock = what.lock or what.path.with_name(f"{what.path.name}.lock")
    with _readable_errors(what):
        what.path.parent.mkdir(parents=True, exist_ok=True)
        lock.parent.mkdir(parents=True, exist_ok=True)
        guard = FileLock(lock)
        if not _acquired(guard):
            progress.waiting(f"another process is fetching {what.path.name}; waiting for it")
            guard.acquire()
        try:
            if not what.path.is_file():  # or else whoever held the lock has fetched it
                _fetch(what, progress)
                what.part.replace(what.path)
                what.note.unlink(missing_ok=True)
            # Only now: whoever still waits for this lock, or makes a new one, finds the file.
            with contextlib.suppress(PermissionError):  # Windows keeps a file that is open
                lock.unlink(missing_ok=True)
        finally:
            guard.release()
    return what.path


def _acquired(guard: Any) -> bool:
    from filelock import Timeout

    try:
        guard.acquire(timeout=0)
    except Timeout:
        return False
    return True


def _fetch(what: Download, progress: DownloadProgress) -> None:
    """Transfer to ``.part`` until it is whole and its digest is right."""
    from_before = what.part.exists()
    _transfer_with_tries(what, progress)
    digest = sha256_of(what.part, read=True)
    if from_before and not digest.startswith(what.sha256):
        # The first bytes came in another session, perhaps of another file: one honest try from the start.
        _forget(what)
        _transfer_with_tries(what, progress)
        digest = sha256_of(what.part, read=True)
    if not digest.startswith(what.sha256):
        _forget(what)
        more = "" if len(what.sha256) == 64 else "…"
        raise WeightsError(
            f"{what.url} has sha256 {digest}, expected {what.sha256}{more}; the file was not kept. A proxy may have "
            "put a page of its own in its place, or the publisher has replaced the file"
        )


def _transfer_with_tries(what: Download, progress: DownloadProgress) -> None:
    failures = 0
    try:
        while True:
            before = _length(what.part)
            try:
                _transfer(what, progress)
            except PassingError as err:
                failures = 1 if _length(what.part) > before else failures + 1
                if failures >= TRIES:
                    raise WeightsError(_gave_up(what, err)) from err
                pause(err, failures, progress)
            else:
                return
    finally:
        progress.finished()


def pause(err: PassingError, failures: int, progress: DownloadProgress) -> None:
    """Wait before another try, saying why: as long as the server asks for, and longer after each failure."""
    seconds = max(err.retry_after_s, PAUSE_S * 2 ** (failures - 1))
    progress.waiting(f"{err}; trying again in {seconds:.0f} s ({failures} of {TRIES - 1})")
    time.sleep(seconds)


def _transfer(what: Download, progress: DownloadProgress) -> None:
    """One request; ``.part`` grows by what it brings."""
    have = _length(what.part)
    version = _version_of_part(what) if have else ""
    if have and not version and len(what.sha256) < 64:
        # Without a version to ask for and without a digest to check, joined halves might be of two files.
        have = 0
    headers = dict(what.headers)
    if have:
        headers["Range"] = f"bytes={have}-"
        if version:
            headers["If-Range"] = version
    try:
        response = open_url(what.url, headers=headers)
    except RefusedError as err:
        if err.status == 416 and have:  # there is nothing past what we have: it is whole, or not of this file
            if have == _total_of_range(err.headers):
                return
            _forget(what)
            raise PassingError(f"{what.path.name} has changed on the server") from err
        raise WeightsError(_refusal(what, err)) from err
    with response:
        goes_on = response.status == 206
        if goes_on and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            _forget(what)
            raise PassingError(f"{urlsplit(what.url).netloc} sends another part of the file than was asked for")
        have = have if goes_on else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        _require_size(what, total)
        _require_room(what, None if total is None else total - have)
        _note_version(what, response.headers)
        progress.started(what.path.name, total=total, done=have)
        with what.part.open("ab" if goes_on else "wb") as file:
            _copy(response, file, progress)
    if total is not None and _length(what.part) < total:
        raise PassingError(f"the connection to {urlsplit(what.url).netloc} ended early")


def _copy(response: Any, file: Any, progress: DownloadProgress) -> None:
    while True:
        try:
            chunk = response.read1(CHUNK)
        except (OSError, http.client.HTTPException) as err:
            raise PassingError(f"the transfer stopped: {type(err).__name__} {err}".rstrip()) from err
        if not chunk:
            return
        file.write(chunk)
        progress.advanced(len(chunk))


def _note_version(what: Download, headers: Mapping[str, str]) -> None:
    """Remember which version of the server's file the part is of: a strong ETag, or the time of its last change."""
    tag = headers.get("ETag") or ""
    version = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified") or ""
    what.note.write_text(json.dumps({"url": _without_query(what.url), "version": version}), encoding="utf-8")


def _version_of_part(what: Download) -> str:
    try:
        note = json.loads(what.note.read_text(encoding="utf-8"))
        return str(note["version"]) if note["url"] == _without_query(what.url) else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # no note, no promise: see _transfer


def _without_query(url: str) -> str:
    return urlsplit(url)._replace(query="").geturl()


def _forget(what: Download) -> None:
    what.part.unlink(missing_ok=True)
    what.note.unlink(missing_ok=True)


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _total_of_range(headers: Mapping[str, str]) -> int | None:
    """``bytes */1234`` → 1234."""
    total = headers.get("content-range", "").rpartition("/")[2]
    return int(total) if total.isdigit() else None


def _require_size(what: Download, total: int | None) -> None:
    if what.size and total is not None and total != what.size:
        _forget(what)
        raise WeightsError(f"{what.url} has {total} bytes, expected {what.size}; nothing was downloaded")


def _require_room(what: Download, needed: int | None) -> None:
    free = shutil.disk_usage(what.path.parent).free
    if needed is not None and needed + _SPARE_BYTES > free:
        raise WeightsError(
            f"{what.path.name} needs {needed / 1e6:.0f} MB more in {what.path.parent}, which has {free / 1e6:.0f} MB "
            f"free; make room or set {places.OWN_FOLDER} to a folder elsewhere"
        )


@contextlib.contextmanager
def _readable_errors(what: Download) -> Iterator[None]:
    """The file system's complaints, in words."""
    try:
        yield
    except OSError as err:
        folder = what.path.parent
        if err.errno in (errno.ENOSPC, errno.EDQUOT):
            why = f"no room is left in {folder}; what has arrived is kept and the next try goes on from there"
        elif err.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            why = f"{folder} cannot be written"
        else:
            why = f"{folder}: {err}"
        raise WeightsError(f"{what.path.name}: {why}; or set {places.OWN_FOLDER} to a folder elsewhere") from err


def _gave_up(what: Download, err: PassingError) -> str:
    kept = _length(what.part)
    rest = f" {kept / 1e6:.1f} MB are kept and the next try goes on from there;" if kept else ""
    return (
        f"{what.path.name}: {err}, after {TRIES} tries.{rest} check the network and the proxy variables, or copy the "
        f"file from another machine to {what.path}"
    )


def _refusal(what: Download, err: RefusedError) -> str:
    page = f"; see {what.page}" if what.page else ""
    return (
        f"{what.url} answers {err.status} {err.reason}{page}. A file you have from elsewhere can be put in {what.path}"
    )
