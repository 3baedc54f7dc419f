"""Files whose code the user lets run: each named by itself, with ``--trust`` or in ``$TOKBENCH_TRUST``.

Reading a pickle can run anything, and so can TorchScript. Such a file is refused unless the user names that very file:
by its path (links are followed), or by the sha256 of its bytes, which holds on every machine. A name that fits another
file changes nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from tokbench.weights.digests import sha256_of

SWITCH = "--trust"
VARIABLE = "TOKBENCH_TRUST"
_DIGEST = re.compile(r"[0-9a-f]{64}")

_named: ContextVar[tuple[str, ...]] = ContextVar("files that may run their code", default=())
_noted: ContextVar[list[TrustedFile] | None] = ContextVar("files whose code was let run", default=None)


@dataclass(frozen=True, kw_only=True)
class TrustedFile:
    """A file whose code was let run."""

    name: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} (sha256 {self.sha256})"


@contextmanager
def trusting(*files: str | Path) -> Iterator[None]:
    """Within it, these files may run their code: paths, or the sha256 of their bytes. In this thread alone."""
    before = _named.set((*_named.get(), *map(str, files)))
    try:
        yield
    finally:
        _named.reset(before)


@contextmanager
def noting() -> Iterator[list[TrustedFile]]:
    """The files whose code is let run within it, as they are read."""
    inner: list[TrustedFile] = []
    outer = _noted.get()
    before = _noted.set(inner)
    try:
        yield inner
    finally:
        _noted.reset(before)
        if outer is not None:
            outer.extend(file for file in inner if file not in outer)


def named() -> tuple[str, ...]:
    """What the user trusts: paths and digests, as they were written."""
    written = os.environ.get(VARIABLE, "").split(os.pathsep)
    return tuple(dict.fromkeys((*_named.get(), *(name for name in written if name))))


def is_trusted(path: Path) -> bool:
    """Whether the user has named this very file."""
    return any(
        sha256_of(path) == name if _DIGEST.fullmatch(name) else _resolved(name) == path.resolve() for name in named()
    )


def _resolved(name: str) -> Path:
    return Path(os.path.expanduser(name)).resolve()  # noqa: PTH111 - leaves a ~ that means nobody, where Path raises


def note(path: Path) -> None:
    """Say that the code of this file is let run."""
    noted, file = _noted.get(), TrustedFile(name=path.name, sha256=sha256_of(path))
    if noted is not None and file not in noted:
        noted.append(file)


def how_to_trust(path: Path) -> str:
    """For refusals: what to type where the user trusts the file."""
    others = f" (what is trusted now is another file: {', '.join(named())})" if named() else ""
    return f"if you trust this very file with your account, name it: {SWITCH} {path}, or set {VARIABLE}={path}{others}"
