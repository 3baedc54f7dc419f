"""What a run tells its caller while it goes on. The library prints nothing; the command line draws these."""

from __future__ import annotations

from typing import Protocol

from tokbench.runner.loading import Failure


class Progress(Protocol):
    """Callbacks from the thread that called ``run``."""

    def started(self, *, task: str, tokenizer: str, total: int) -> None: ...

    def advanced(self, n: int) -> None:
        """n more samples are done, failed ones included."""
        ...

    def failed(self, failure: Failure) -> None: ...

    def finished(self) -> None: ...


class Silent:
    """Says nothing."""

    def started(self, *, task: str, tokenizer: str, total: int) -> None: ...

    def advanced(self, n: int) -> None: ...

    def failed(self, failure: Failure) -> None: ...

    def finished(self) -> None: ...
