"""Progress on a terminal (a bar with images/s and time left) or as plain lines, always on stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from tokbench.runner.loading import Failure
    from tokbench.runner.progress import Progress

_SHOWN_FAILURES = 5
_SECONDS_BETWEEN_LINES = 5.0


def make_progress() -> Progress:
    """A bar if stderr is a terminal, plain lines otherwise."""
    return Bar() if sys.stderr.isatty() else Lines()


class _Failures:
    """Shows the first few failed samples and says where the rest are."""

    def __init__(self) -> None:
        self.n = 0

    def line(self, failure: Failure) -> str | None:
        self.n += 1
        if self.n <= _SHOWN_FAILURES:
            return f"failed: {printable(failure.sample.id)} ({failure.stage}): {printable(failure.error)}"
        if self.n == _SHOWN_FAILURES + 1:
            return "more samples failed; records.jsonl has all of them"
        return None


class Bar:
    """rich's progress bar."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar: RichProgress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
        )
        self._failures = _Failures()
        self._task: TaskID | None = None

    def started(self, *, task: str, tokenizer: str, total: int) -> None:
        self._bar.start()
        self._task = self._bar.add_task(f"{tokenizer} on {task}", total=total, speed="")
        self._start, self._done = time.monotonic(), 0

    def advanced(self, n: int) -> None:
        if self._task is not None:
            self._done += n
            speed = self._done / max(time.monotonic() - self._start, 1e-9)
            self._bar.update(self._task, advance=n, speed=f"{speed:.1f} images/s")

    def failed(self, failure: Failure) -> None:
        if line := self._failures.line(failure):
            self._bar.console.print(line, style="yellow", markup=False, highlight=False)

    def finished(self) -> None:
        self._bar.stop()


class Lines:
    """A line now and then, for logs."""

    def __init__(self) -> None:
        self._failures = _Failures()

    def started(self, *, task: str, tokenizer: str, total: int) -> None:
        self._total, self._done = total, 0
        self._start = self._last = time.monotonic()
        click.echo(f"{tokenizer} on {task}: {total} images", err=True)

    def advanced(self, n: int) -> None:
        self._done += n
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_LINES or self._done == self._total:
            self._last = now
            speed = self._done / max(now - self._start, 1e-9)
            left = (self._total - self._done) / speed
            click.echo(f"{self._done}/{self._total} images, {speed:.1f} images/s, {left:.0f} s left", err=True)

    def failed(self, failure: Failure) -> None:
        if line := self._failures.line(failure):
            click.echo(line, err=True)

    def finished(self) -> None:
        sys.stderr.flush()


def printable(text: str) -> str:
    """Other people's text for a terminal: control characters (escape codes among them) shown, not obeyed."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def share_the_cores() -> None:
    """Let idle OpenMP threads sleep instead of spin; must be called before torch is imported.

    A tokenizer on the CPU and the metrics share the cores. By default a thread that waits for the others burns its core
    for a while, which a metric could have used: on two cores a run took a fifth longer.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """A cluster's SIGTERM ends a run as Ctrl-C does: what is done is kept."""
    import signal
    import threading

    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
