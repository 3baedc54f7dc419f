"""Files on the hub: found and stored in the cache that every library of the hub shares.

The layout is ``huggingface_hub``'s (``models--ORG--REPO/blobs``, ``snapshots``, ``refs``), so what one has fetched the
other finds. The transfer is our own: theirs begins anew after an interruption.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from tokbench.errors import UsageError, WeightsError
from tokbench.weights import download as transfer
from tokbench.weights import places
from tokbench.weights.digests import sha256_of
from tokbench.weights.progress import DownloadProgress, terminal_progress
from tokbench.weights.web import PassingError, RefusedError, head

_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


class NoSuchFileError(WeightsError):
    """The repository or folder is there and has no such file."""


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file of a model repository on the hub, at a revision: a commit, or a branch or tag, which may move."""

    repo: str
    path: str
    revision: str

    def __post_init__(self) -> None:
        is_inside = all(_is_inside(text) for text in (self.revision, self.path))
        if not _NAME.fullmatch(self.repo) or not is_inside:
            raise UsageError(f"expected ORG/REPO@REVISION:PATH on the hub, got {self}")

    @classmethod
    def parse(cls, text: str) -> HubFile:
        """``ORG/REPO@REVISION:PATH``."""
        repo, _, rest = text.partition("@")
        revision, _, path = rest.partition(":")
        return cls(repo=repo, path=path, revision=revision)

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}:{self.path}"

    @property
    def page(self) -> str:
        return f"{places.hub_endpoint()}/{self.repo}"

    @property
    def url(self) -> str:
        return f"{self.page}/resolve/{quote(self.revision, safe='')}/{quote(self.path)}"

    @property
    def is_pinned(self) -> bool:
        return _COMMIT.fullmatch(self.revision) is not None

    @property
    def folder(self) -> Path:
        """Its repository's folder in the hub's cache."""
        return places.hub_cache() / f"models--{self.repo.replace('/', '--')}"


@dataclass(frozen=True, kw_only=True)
class _Version:
    """What the hub has under a name at this moment; ``etag`` is the SHA-256 of a large file."""

    commit: str
    etag: str
    size: int


def find_hub_file(file: HubFile) -> Path | None:
    """Where the file is on this machine, or None: ``$TOKBENCH_WEIGHTS/ORG/REPO/PATH``, else the hub's cache."""
    if (own := places.own_folder()) is not None and (path := own / file.repo / file.path).is_file():
        return path
    commit = file.revision
    if not file.is_pinned:
        ref = file.folder / "refs" / file.revision
        commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else ""
    path = file.folder / "snapshots" / commit / file.path
    return path if commit and path.is_file() else None


def is_repository_here(repo: str) -> bool:
    """Whether a file of ``ORG/REPO``, or of ``ORG/REPO@REVISION``, is on this machine; nothing is read."""
    repo, _, revision = repo.partition("@")
    file = HubFile(repo=repo, path="any", revision=revision or "main")
    own = places.own_folder()
    folders = [file.folder / "snapshots" / (revision if file.is_pinned else "*"), *([own / repo] if own else [])]
    return any(True for folder in folders for _ in folder.parent.glob(f"{folder.name}/*"))


def fetch(
    repo: str,
    path: str,
    revision: str,
    sha256: str = "",
    *,
    size: int = 0,
    progress: DownloadProgress | None = None,
) -> Path:
    """A file of the hub, downloaded if it is not here; what tokenizers load their weights with.

    A file at a commit is asked for once and for ever. At a branch or tag the hub is asked each time whether it has
    moved, unless an offline switch is on.

    Args:
        repo, path, revision: see :class:`HubFile`.
        sha256: of its bytes, or the first digits; "" trusts the hub's own digest.
        size: in bytes, if known.
        progress: told about a download; a bar on a terminal if None.

    Raises:
        WeightsError: missing, gated, unreachable, offline, or not the pinned file.
    """
    file = HubFile(repo=repo, path=path, revision=revision)
    here = find_hub_file(file)
    own = places.own_folder()
    is_own = here is not None and own is not None and here.is_relative_to(own)
    if here is not None and (file.is_pinned or is_own or places.offline_switch()):
        require_digest(here, sha256)
        return here
    target = None if own is None else own / file.repo / file.path
    return fetch_hub_file(file, sha256=sha256, size=size, target=target, progress=progress)


def fetch_hub_file(
    file: HubFile,
    *,
    sha256: str = "",
    size: int = 0,
    target: Path | None = None,
    progress: DownloadProgress | None = None,
) -> Path:
    """Ask the hub for the file and store it in the hub's cache, or as ``target``."""
    if switch := places.offline_switch():
        raise WeightsError(f"{file} is not on this machine and {switch} forbids to download it; see {file.page}")
    progress = progress or terminal_progress()
    headers = {"Authorization": f"Bearer {token}"} if (token := places.hub_token()) else {}
    version = _ask(file, headers, progress)
    if _DIGEST.fullmatch(version.etag) and not version.etag.startswith(sha256):
        more = "" if len(sha256) == 64 else "…"
        raise WeightsError(f"{file} has sha256 {version.etag} on the hub, expected {sha256}{more}; nothing downloaded")
    digest = version.etag if _DIGEST.fullmatch(version.etag) else sha256
    what = transfer.Download(
        url=replace(file, revision=version.commit).url,
        path=target or file.folder / "blobs" / version.etag,
        sha256=digest,
        size=size or version.size,
        headers=headers,
        lock=None if target else _lock(file, version),
        page=file.page,
    )
    path = transfer.download(what, progress=progress)
    require_digest(path, sha256)
    return path if target else _publish(file, version, path)


def require_digest(path: Path, sha256: str) -> None:
    """Raise WeightsError unless the file's digest begins with ``sha256``."""
    if sha256 and not (digest := sha256_of(path)).startswith(sha256):
        more = "" if len(sha256) == 64 else "…"
        raise WeightsError(
            f"{path} has sha256 {digest}, expected {sha256}{more}: delete {path.resolve()} and try again"
        )


def _ask(file: HubFile, headers: Mapping[str, str], progress: DownloadProgress) -> _Version:
    for failures in range(1, transfer.TRIES + 1):
        try:
            found = head(file.url, headers=headers)
            break
        except RefusedError as err:
            raise (NoSuchFileError if _is_absent(err) else WeightsError)(_refusal(file, err)) from err
        except PassingError as err:
            if failures == transfer.TRIES:
                here = find_hub_file(file)
                use = f", or set {places.OFFLINE_SWITCHES[1]}=1 to use the copy in {here}" if here else ""
                raise WeightsError(f"{file}: {err}, after {failures} tries; check the network{use}") from err
            transfer.pause(err, failures, progress)
    commit = found.get("x-repo-commit", "")
    etag = (found.get("x-linked-etag") or found.get("etag") or "").removeprefix("W/").strip('"')
    if not _COMMIT.fullmatch(commit) or not re.fullmatch(r"[\w-][\w.-]*", etag):
        raise WeightsError(f"{file.url} does not answer as the hub does; check HF_ENDPOINT and the proxy variables")
    size = found.get("x-linked-size") or ("" if "location" in found else found.get("content-length", ""))
    return _Version(commit=commit, etag=etag, size=int(size) if size.isdigit() else 0)


def _refusal(file: HubFile, err: RefusedError) -> str:
    code = err.headers.get("x-error-code", "")
    if code == "GatedRepo":
        return (
            f"{file.repo} is gated: accept its terms on {file.page} with your account, then set HF_TOKEN to a token of "
            "that account or type `hf auth login`"
        )
    if code == "RevisionNotFound":
        return f"{file.repo} has no revision {file.revision}; see {file.page}"
    if _is_absent(err):
        return f"{file.repo} has no file {file.path} at {file.revision}; see {file.page}"
    if code == "RepoNotFound" or err.status in (401, 403):
        why = "HF_TOKEN may be wrong or may lack access" if places.hub_token() else "if it is private, set HF_TOKEN"
        return f"no repository {file.repo} for you on the hub ({err.status}); see {file.page}; {why}"
    return f"{file.url} answers {err.status} {err.reason}; see {file.page}"


def _is_absent(err: RefusedError) -> bool:
    code = err.headers.get("x-error-code", "")
    return code == "EntryNotFound" or (err.status == 404 and not code)


def _is_inside(text: str) -> bool:
    """Whether a relative path leads nowhere but down."""
    parts = PurePosixPath(text).parts
    return bool(parts) and ".." not in parts and not text.startswith("/")


def _lock(file: HubFile, version: _Version) -> Path:
    """The lock that ``huggingface_hub`` takes for the same file."""
    return places.hub_cache() / ".locks" / file.folder.name / f"{version.etag}.lock"


def _publish(file: HubFile, version: _Version, blob: Path) -> Path:
    """Give a blob its name in the snapshot of its commit, and note which commit a branch or tag is at."""
    pointer = file.folder / "snapshots" / version.commit / file.path
    pointer.parent.mkdir(parents=True, exist_ok=True)
    if not pointer.exists():
        new = pointer.with_name(f".{pointer.name}.{os.getpid()}")
        try:
            new.symlink_to(os.path.relpath(blob, pointer.parent))
        except OSError:  # a file system without links
            shutil.copyfile(blob, new)
        new.replace(pointer)
    if file.revision != version.commit:
        ref = file.folder / "refs" / file.revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(version.commit, encoding="utf-8")
    return pointer
