"""Running a program of the user's: started in a group of its own, ended with its children, its last lines kept."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from tokbench.errors import TokenizerError, UsageError
from tokbench_adapters._external.description import Program

logger = logging.getLogger(__name__)

HELPER = Path(__file__).resolve().parent / "helper"

GRACE_S = 5.0
_LAST_LINES = 20
_LAST_BYTES = 16_384


class Workplace:
    """A private folder for arrays and the log, gone with the object or at exit."""

    def __init__(self, program: Program) -> None:
        try:
            if program.scratch is not None:
                program.scratch.mkdir(parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix="tokbench-external-", dir=program.scratch))
            weakref.finalize(self, _remove, self.folder, os.getpid())
            self.log = program.log or self.folder / "log.txt"
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self.log.touch()
        except OSError as err:
            raise UsageError(f"{err.filename} cannot be written ({err.strerror}); change `scratch` or `log`") from err
        self._begin = 0
        self.begin()

    def begin(self) -> None:
        """From here on the log is of another start."""
        self._begin = self.log.stat().st_size

    def exchange(self) -> tempfile.TemporaryDirectory[str]:
        """A fresh folder for one batch."""
        return tempfile.TemporaryDirectory(dir=self.folder, ignore_cleanup_errors=True)

    def last_lines(self) -> str:
        """The end of the log, to stand under an error."""
        with self.log.open("rb") as file:
            file.seek(max(self._begin, file.seek(0, os.SEEK_END) - _LAST_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        shown = [line for line in lines if line.strip()][-_LAST_LINES:]
        if not shown:
            return "\nIt wrote nothing."
        hint = ""
        if any("ModuleNotFoundError" in line or "No module named" in line for line in shown):
            hint = "\nIs the command's first word the Python of the tokenizer's own environment?"
        return "\nThe last it wrote:\n" + "\n".join(f"    {line}" for line in shown) + hint


def variables(program: Program, *, device: str, dtype: str) -> dict[str, str]:
    """The program's environment: ours, what it is asked for, and what its description sets."""
    found = {**os.environ, "TOKBENCH_DEVICE": device, "TOKBENCH_DTYPE": dtype, **program.environment}
    path = [str(HELPER), str(program.folder), found.get("PYTHONPATH", "")]
    return {**found, "PYTHONPATH": os.pathsep.join(part for part in path if part)}


def start(
    words: Sequence[str],
    program: Program,
    *,
    environment: Mapping[str, str],
    stdin: int,
    stdout: int | IO[bytes],
    log: Path,
) -> subprocess.Popen[bytes]:
    """Start a command; what it writes to stderr is appended to the log.

    Raises:
        TokenizerError: there is no such command, or it may not be run.
    """
    # A group of its own: Ctrl-C in the terminal reaches tokbench alone, which then ends the whole group.
    group: dict[str, Any] = {"start_new_session": True}
    if os.name == "nt":
        group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}  # type: ignore[attr-defined]
    try:
        with log.open("ab") as errors:
            return subprocess.Popen(
                list(words),
                cwd=program.folder,
                env=dict(environment),
                stdin=stdin,
                stdout=stdout,
                stderr=errors,
                **group,
            )
    except OSError as err:
        raise TokenizerError(
            f"`{shlex.join(words)}` cannot be started in {program.folder}: {err.strerror or err}; the first word must "
            "be a program on PATH, or a path from the description's folder"
        ) from err


def end(process: subprocess.Popen[bytes], owner: int, *, grace_s: float = GRACE_S) -> None:
    """Hang up, give it a moment to leave, then end it and every process it started.

    Windows has no groups of this kind: there only the process itself is ended. A fork of tokbench, which is not the
    ``owner``, touches nothing.
    """
    if os.getpid() != owner:
        return
    if process.stdin is not None:
        try:
            process.stdin.close()
        except OSError:
            logger.debug("%d was gone before it was hung up on", process.pid)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=grace_s)
    if hasattr(os, "killpg"):
        # Nobody of the group may be left; macOS says of zombies that they may not be killed.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        process.kill()
    process.wait()


def describe_exit(code: int) -> str:
    """``exit code 1``, or the signal that ended it."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
