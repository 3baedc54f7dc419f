"""What was measured, where nothing is pinned: digests of the files that ran, and the commit of their checkout."""

from __future__ import annotations

import hashlib
import logging
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tokbench.errors import WeightsError
from tokbench_adapters._external.description import Description

logger = logging.getLogger(__name__)

_SMALL = 1_000_000  # bytes up to which a file that is not committed is read
_MUCH = 100_000_000  # bytes of such files that are read
_PATIENCE_S = 60


def digests(description: Description) -> tuple[tuple[str, str], ...]:
    """File → sha256 of the description, of every file named in its commands, and of its weights.

    Raises:
        WeightsError: a file of weights is not there, or is not the one the description pins.
    """
    found = {description.path.name: _sha256(description.path)}
    for path in _scripts(description):
        _note(found, path, description)
    for path, expected in description.weights.items():
        if not path.is_file():
            raise WeightsError(f"{description.path}: [weights] names {path}, which is not there")
        digest = _note(found, path, description)
        if expected and digest != expected.lower():
            raise WeightsError(f"{path} has sha256 {digest}, expected {expected} as {description.path} says")
    return tuple(found.items())


def checkout_note(description: Description) -> str:
    """The commit of the checkout and what differs from it, in a sentence."""
    folder = description.program.checkout
    if shutil.which("git") is None:
        return f"Ran in {folder.name}, whose commit is not known: git is not installed."
    try:
        commit = _git(folder, "rev-parse", "HEAD").decode().strip()
        root = Path(_git(folder, "rev-parse", "--show-toplevel").decode().strip())
        changes = _changes(root)
    except (OSError, subprocess.SubprocessError) as err:
        logger.info("no commit of %s: %s %s", folder, err, getattr(err, "stderr", b""))
        return f"Ran in {folder.name}, of which git knows no commit: only the digests say what ran."
    if not changes:
        return f"Ran in the git checkout {root.name} at commit {commit}, clean."
    return f"Ran in the git checkout {root.name} at commit {commit} with uncommitted changes, sha256 {changes}."


def _scripts(description: Description) -> Iterator[Path]:
    """Files among the words of the commands, each once; a program from elsewhere, as an interpreter is, left out."""
    program = description.program
    own = (description.path.parent, program.folder.resolve(), program.checkout.resolve())
    seen: set[Path] = {description.path}
    for words in (program.serve, program.encode, program.decode):
        for number, word in enumerate(words):
            path = (program.folder / word).resolve()
            if path in seen or not path.is_file() or (number == 0 and not any(map(path.is_relative_to, own))):
                continue
            seen.add(path)
            yield path


def _note(found: dict[str, str], path: Path, description: Description) -> str:
    """Write down the file's digest and return it.

    Its name is the path from the description's folder where it lies below, else its last part; all of it where that is
    the name of another file.
    """
    here, digest = description.path.parent, _sha256(path)
    name = path.relative_to(here).as_posix() if path.is_relative_to(here) else path.name
    found[name if found.get(name, digest) == digest else path.as_posix()] = digest
    return digest


def _changes(root: Path) -> str:
    """A digest of everything that differs from the commit, "" if nothing does.

    Of files that git does not know, large ones and those past a certain sum count by name and size only: they are
    weights and results, not code.
    """
    difference = _git(root, "diff", "HEAD", "--binary")
    others = _git(root, "ls-files", "--others", "--exclude-standard", "-z").split(b"\0")
    digest, budget = hashlib.sha256(difference), _MUCH
    for name in sorted(filter(None, others)):
        path = root / name.decode(errors="surrogateescape")
        if not path.is_file():
            continue
        size = path.stat().st_size
        content = _sha256(path) if size <= min(_SMALL, budget) else ""
        budget -= size if content else 0
        digest.update(b"\0%b\0%d\0%b" % (name, size, content.encode()))
    return digest.hexdigest() if difference or any(others) else ""


def _git(folder: Path, *arguments: str) -> bytes:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, check=True, timeout=_PATIENCE_S).stdout


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as err:
        raise WeightsError(f"{path} cannot be read ({err.strerror}), so what is measured cannot be told") from err
