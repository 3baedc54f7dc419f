"""How a download tells how far it is: a bar on a terminal, nothing in a log."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class DownloadProgress(Protocol):
    """Told about one file after the other; every ``started`` is followed by a ``finished``."""

    def started(self, name: str, *, total: int | None, done: int) -> None:
        """Bytes in all (None if the server does not say) and bytes already here from an earlier try."""
        ...

    def advanced(self, n: int) -> None:
        """n more bytes are on disk."""
        ...

    def waiting(self, why: str) -> None:
        """Nothing moves for a while, and why: another try, another process."""
        ...

    def finished(self) -> None: ...


class Silent:
    """Says nothing."""

    def started(self, name: str, *, total: int | None, done: int) -> None: ...

    def advanced(self, n: int) -> None: ...

    def waiting(self, why: str) -> None: ...

    def finished(self) -> None: ...


class Bar:
    """rich's progress bar on stderr."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._bar: RichProgress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
        )
        self._task: TaskID | None = None

    def started(self, name: str, *, total: int | None, done: int) -> None:
        for task in list(self._bar.task_ids):  # the file before, or another try at this one
            self._bar.remove_task(task)
        self._bar.start()
        self._task = self._bar.add_task(name, total=total, completed=done)

    def advanced(self, n: int) -> None:
        if self._task is not None:
            self._bar.update(self._task, advance=n)

    def waiting(self, why: str) -> None:
        self._bar.console.print(why, markup=False, highlight=False)

    def finished(self) -> None:
        self._bar.stop()
        self._task = None


def terminal_progress() -> DownloadProgress:
    """A bar if stderr is a terminal, nothing otherwise."""
    return Bar() if sys.stderr.isatty() else Silent()
