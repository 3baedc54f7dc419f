"""The count of a run's samples, and what is handed on as each is done."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future

from tokbench.results import Record
from tokbench.runner.collect import Collector
from tokbench.runner.interrupts import held_back
from tokbench.runner.loading import Failure
from tokbench.runner.measure import Measured
from tokbench.runner.progress import Progress
from tokbench.runner.sink import Sink

GIVE_UP_AFTER = 16


class HopelessError(Exception):
    """The tokenizer fails on everything."""


class Tally:
    """Counts samples and hands finished ones on; used from the run's own thread only."""

    def __init__(self, sink: Sink, progress: Progress, collector: Collector) -> None:
        self._sink = sink
        self._progress = progress
        self._collector = collector
        self.done = self.ok = self._tokenizer_failures = 0
        self.first_error = ""

    def take_first(self, in_flight: deque[Future[Measured]]) -> None:
        """Wait for the first and count it; an interrupt leaves it whole, in flight or taken."""
        measured = in_flight[0].result()
        with held_back():
            self._take(measured)
            in_flight.popleft()

    def _take(self, measured: Measured) -> None:
        self._collector.add(measured)
        for record, (reference, reconstructions) in zip(measured.records, measured.pictures, strict=True):
            self._sink.record(record)
            self._sink.pictures(record, reference, reconstructions)
        for failure in measured.failures:
            self._fail(failure)
        self.ok += len(measured.records)
        self.done += len(measured.records)
        self._progress.advanced(len(measured.records))

    def fail(self, failure: Failure) -> None:
        """Count a sample that could not be measured."""
        with held_back():
            self._fail(failure)

    def _fail(self, failure: Failure) -> None:
        self.done += 1
        self.first_error = self.first_error or failure.error
        self._sink.record(
            Record(
                id=failure.sample.id,
                cluster=failure.sample.cluster_id,
                status="failed",
                stage=failure.stage,
                error=failure.error,
            )
        )
        self._progress.failed(failure)
        self._progress.advanced(1)
        self._tokenizer_failures += failure.stage in ("encode", "decode")

    def give_up_if_hopeless(self, *, in_flight: int) -> None:
        if self._tokenizer_failures >= GIVE_UP_AFTER and self.ok == 0 and in_flight == 0:
            raise HopelessError(
                f"the tokenizer failed on the first {self._tokenizer_failures} samples: {self.first_error}"
            )
