"""Numbers over a whole set: shared states, influences, and metrics with branches of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.toys import Quantiser
from tokbench.branches import Branch
from tokbench.cards import MetricCard, MetricKind
from tokbench.contracts import Comparison, Summary, Tokenizer
from tokbench.encodings import Encoding, Tokens
from tokbench.errors import NotApplicableError, ResultsError
from tokbench.evaluation import evaluate, score
from tokbench.metrics.pixel import METRICS as PIXEL
from tokbench.metrics.state import Field, State
from tokbench.results import RunResult
from tokbench.runfolder import read_influences, read_records
from tokbench.stats import mean_interval
from tokbench.tasks.catalogue import folder_task

TASK = folder_task(size_px=64)
PSNR = next(metric for metric in PIXEL if metric.card.key == "psnr")


def card(key: str, kind: MetricKind = "set") -> MetricCard:
    return MetricCard(key=key, version=1, kind=kind, group="distribution", title=key, better="lower", low=0.0)


@dataclass(frozen=True)
class RootOfMeanSquare:
    """√ of the mean squared error: a function of a mean, with a known influence."""

    key: str = "rms"
    updates: list[int] = field(default_factory=list)
    state_name: str = "squares"
    features = ()

    @property
    def card(self) -> MetricCard:
        return card(self.key)

    def new_state(self) -> State:
        return State({"squares": Field(reduction="cat", dtype="float64")})

    def update(self, state: State, comparison: Comparison) -> None:
        self.updates.append(len(comparison.samples))
        error = (comparison.reference.double() - comparison.reconstruction.double()) ** 2
        state.add("squares", error.mean(dim=(1, 2, 3)).numpy())

    def compute(self, state: State) -> Summary:
        squares = state["squares"]
        value = float(np.sqrt(squares.mean()))
        return Summary(value=value, n=len(squares), influences=(squares - squares.mean()) / (2 * value))


def shifted(step: int) -> Callable[[Encoding, Sequence[int]], Encoding]:
    def derive(encoding: Encoding, seeds: Sequence[int]) -> Encoding:
        assert isinstance(encoding, Tokens)
        size = encoding.streams[0].codebook_size
        return Tokens.grid((encoding.streams[0].indices + step) % size, codebook_size=size)

    return derive


@dataclass(frozen=True)
class Shifted:
    """The mean of another metric over encodings with every index moved on."""

    key: str
    inner: Any
    steps: tuple[int, ...] = (1, 2)
    features = ()

    @property
    def card(self) -> MetricCard:
        return card(self.key)

    def branches(self, tokenizer: Tokenizer) -> tuple[Branch, ...]:
        if not tokenizer.card.codebook_sizes:
            raise NotApplicableError(f"{tokenizer.card.name} has no codebook to move in")
        key = self.inner.card.key
        return tuple(Branch(name=f"step={step}", derive=shifted(step), metrics=(key,)) for step in self.steps)

    def combine(self, summaries: Mapping[str, Summary]) -> Summary:
        assert "" in summaries
        moved = [summaries[f"step={step}"] for step in self.steps]
        values = [summary.value for summary in moved if summary.value is not None]
        influences = np.mean([summary.influences for summary in moved], axis=0)
        return Summary(value=float(np.mean(values)), n=moved[0].n, influences=influences)


def run(metrics: list[Any], data: Path, out: Path | None = None, **options: Any) -> RunResult:
    tokenizer = options.pop("tokenizer", Quantiser(4))
    return evaluate(tokenizer, TASK, metrics, data=data, out=out, workers=2, batch_size=3, **options)


def test_metrics_of_one_state_name_share_one_state(photos: Path) -> None:
    first = RootOfMeanSquare("first")
    second = RootOfMeanSquare("second", updates=first.updates)
    apart = RootOfMeanSquare("apart", state_name="alone")
    result = run([first, second, apart], photos)
    assert result["first"] == result["second"] == result["apart"]
    assert sum(first.updates) == 10
    assert sum(apart.updates) == 10


def test_the_interval_of_a_set_metric_follows_from_its_influences(photos: Path, tmp_path: Path) -> None:
    result = run([RootOfMeanSquare()], photos, tmp_path)
    ids, influences = read_influences(Path(result.path or ""))
    records = {record.id: record for record in read_records(Path(result.path or ""))}
    assert sorted(ids) == sorted(records)
    assert list(influences) == ["rms"]
    assert influences["rms"].sum() == pytest.approx(0, abs=1e-9)
    value = result.values["rms"]
    clusters = [records[sample].cluster for sample in ids]
    assert value.ci95 == mean_interval((value.value + influences["rms"]).tolist(), clusters, low=0.0).ci95  # type: ignore[operator]
    assert value.details["n_clusters"] == 10


def test_influences_are_written_alike_every_time_and_taken_away_by_a_run_without(photos: Path, tmp_path: Path) -> None:
    first = run([RootOfMeanSquare()], photos, tmp_path)
    written = (Path(first.path or "") / "influences.npz").read_bytes()
    again = run([RootOfMeanSquare()], photos, tmp_path)
    assert (Path(again.path or "") / "influences.npz").read_bytes() == written
    assert first.records["influences_sha256"] == again.records["influences_sha256"]
    without = run([PSNR], photos, tmp_path)
    assert read_influences(Path(without.path or "")) == ([], {})
    assert "influences_sha256" not in without.records


def test_a_wrong_number_of_influences_is_a_failed_metric(photos: Path) -> None:
    class Short(RootOfMeanSquare):
        def compute(self, state: State) -> Summary:
            return Summary(value=1.0, n=10, influences=np.zeros(3))

    value = run([Short()], photos).values["rms"]
    assert value.status == "failed"
    assert "one an image" in value.reason


def test_damaged_influences_are_refused(photos: Path, tmp_path: Path) -> None:
    result = run([RootOfMeanSquare()], photos, tmp_path)
    path = Path(result.path or "") / "influences.npz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ResultsError, match="malformed"):
        read_influences(path.parent)
    np.savez(path, ids=np.array(["a", "b"]), rms=np.array([1.0, np.nan]))
    with pytest.raises(ResultsError, match="2 finite float64"):
        read_influences(path.parent)


def test_a_metric_brings_its_own_branches(photos: Path) -> None:
    result = run([Shifted("moved", RootOfMeanSquare())], photos)
    assert set(result.values) == {"moved", "rms", "rms@step=1", "rms@step=2"}
    assert result["moved"] == pytest.approx((result["rms@step=1"] + result["rms@step=2"]) / 2)  # type: ignore[operator]
    assert result["rms"] < result["rms@step=1"] < result["rms@step=2"]  # type: ignore[operator]
    assert result.values["moved"].ci95 is not None
    assert result.spec.branches == ("step=1", "step=2")


def test_metrics_that_ask_for_the_same_branch_share_it(photos: Path) -> None:
    metrics = [Shifted("moved_rms", RootOfMeanSquare()), Shifted("moved_psnr", PSNR, steps=(2,))]
    result = run(metrics, photos)
    assert result.spec.branches == ("step=1", "step=2")
    assert "psnr@step=2" in result.values
    assert "psnr@step=1" not in result.values
    assert result["moved_psnr"] == pytest.approx(result["psnr@step=2"])
    assert result.values["moved_psnr"].ci95 == pytest.approx(result.values["psnr@step=2"].ci95)


def test_a_metric_without_branches_for_this_tokenizer_is_skipped(photos: Path, tmp_path: Path) -> None:
    class Smooth:
        size_multiple = 1

        def encode(self, images: torch.Tensor) -> torch.Tensor:
            return images

        def decode(self, latents: torch.Tensor) -> torch.Tensor:
            return latents

    value = run([Shifted("moved", PSNR)], photos, tokenizer=Smooth()).values["moved"]
    assert value.status == "skipped"
    assert "no codebook" in value.reason


def test_scored_files_have_no_branches(photos: Path) -> None:
    value = score(photos, TASK, [Shifted("moved", PSNR)], data=photos).values["moved"]
    assert value.status == "skipped"
    assert "not a tokenizer" in value.reason


def test_what_fails_the_inner_metric_fails_the_outer_one(photos: Path) -> None:
    class Broken(RootOfMeanSquare):
        def update(self, state: State, comparison: Comparison) -> None:
            raise ValueError("out of ideas")

    value = run([Shifted("moved", Broken())], photos).values["moved"]
    assert value.status == "failed"
    assert "out of ideas" in value.reason
