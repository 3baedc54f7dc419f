"""Interrupts between two steps of a run, never inside one."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.toys import Quantiser
from tokbench import evaluate
from tokbench.results import Record
from tokbench.runfolder import read_records
from tokbench.runner.interrupts import held_back
from tokbench.runner.sink import FolderSink
from tokbench.tasks.catalogue import folder_task


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_end_and_goes_to_whoever_had_it(number: signal.Signals) -> None:
    got: list[int] = []
    before = signal.signal(number, lambda number, _frame: got.append(number))
    try:
        with held_back():
            signal.raise_signal(number)
            signal.raise_signal(number)
            assert got == []
        assert got == [number]
        assert signal.getsignal(number) is not before
    finally:
        signal.signal(number, before)


def test_an_interrupt_within_is_raised_at_the_end_once() -> None:
    done: list[str] = []

    def step() -> None:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        step()
    assert done == ["the rest"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_ends_the_process_is_left_alone() -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with held_back():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler


def test_another_thread_is_sent_none() -> None:
    seen: list[object] = []

    def look() -> None:
        with held_back():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_an_interrupt_between_a_record_and_its_picture_counts_the_sample(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = FolderSink.pictures
    seen: list[str] = []

    def pictures(
        self: FolderSink, record: Record, reference: np.ndarray, reconstructions: dict[str, np.ndarray]
    ) -> None:
        seen.append(record.id)
        if len(seen) == 2:
            signal.raise_signal(signal.SIGINT)
        own(self, record, reference, reconstructions)

    monkeypatch.setattr(FolderSink, "pictures", pictures)
    result = evaluate(Quantiser(), folder_task(size_px=64), "psnr", data=photos, out=tmp_path, batch_size=1)
    assert result.status == "partial"
    written = [record.id for record in read_records(Path(str(result.path)))]
    assert written == seen
    assert len(written) == result.counts["ok"] == result.values["psnr"].n
    assert result.reason.startswith(f"interrupted after {len(written)} of ")
