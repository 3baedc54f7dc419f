"""Branches of perturbed encodings: the pass before the run, and what their failures cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from tests.toys import broken
from tokbench.branches import Branch
from tokbench.cards import MetricCard, TokenizerCard
from tokbench.contracts import Comparison, Summary, Tokenizer
from tokbench.encodings import Encoding, Latents, Tokens, TokenStream
from tokbench.errors import MetricError, UsageError
from tokbench.evaluation import evaluate
from tokbench.metrics.pixel import METRICS as PIXEL
from tokbench.results import RunResult
from tokbench.tasks.catalogue import folder_task

TASK = folder_task(size_px=64)
PSNR = next(metric for metric in PIXEL if metric.card.key == "psnr")


@dataclass
class Seen:
    """A survey that notes what it was shown."""

    refuses_after: int = 10**6
    seeds: list[int] = field(default_factory=list)
    is_finished: bool = False

    def see(self, encoding: Encoding, seeds: Sequence[int]) -> None:
        assert encoding.n == len(seeds)
        self.seeds += seeds
        if len(self.seeds) > self.refuses_after:
            raise MetricError("too many to remember")

    def finish(self) -> None:
        self.is_finished = True


@dataclass(frozen=True)
class Asking:
    """A metric that asks for the branches it is given."""

    asked: tuple[Branch, ...]
    inner: Any = PSNR
    features = ()

    @property
    def card(self) -> MetricCard:
        return MetricCard(key="asking", version=1, kind="set", group="robustness", title="asking", better="higher")

    def branches(self, tokenizer: Tokenizer) -> tuple[Branch, ...]:
        return self.asked

    def combine(self, summaries: Mapping[str, Summary]) -> Summary:
        return summaries[self.asked[0].name]


def branch(name: str, derive: Any, **options: Any) -> Branch:
    return Branch(name=name, derive=derive, metrics=("psnr",), **{"is_perturbed": True, **options})


def run(metrics: list[Any], photos: Path, tokenizer: Any = None, **options: Any) -> RunResult:
    settings = {"workers": 2, "batch_size": 4, **options}
    return evaluate(tokenizer or broken(), TASK, metrics, data=photos, **settings)


def test_a_survey_sees_every_sample_once_before_any_branch_is_derived(photos: Path) -> None:
    seen = Seen()
    derived: list[int] = []

    def derive(encoding: Encoding, seeds: Sequence[int]) -> Encoding:
        assert seen.is_finished
        assert len(seen.seeds) == 10
        derived.extend(seeds)
        return encoding

    shared = [branch("a", derive, survey=seen), branch("b", lambda encoding, _: encoding, survey=seen)]
    result = run([Asking(tuple(shared))], photos)
    assert result.values["asking"].status == "ok", result.values["asking"].reason
    assert len(set(seen.seeds)) == 10
    assert sorted(seen.seeds) == sorted(derived)  # the seeds of the first branch that has it


def test_a_survey_that_gives_up_costs_its_metric_only(photos: Path) -> None:
    result = run([PSNR, Asking((branch("a", lambda encoding, _: encoding, survey=Seen(refuses_after=5)),))], photos)
    assert result.values["asking"].status == "failed"
    assert "too many to remember" in result.values["asking"].reason
    assert result.values["psnr"].n == 10


def test_a_sample_that_cannot_be_encoded_is_left_out_of_the_survey(photos: Path) -> None:
    def encode(images: torch.Tensor) -> Latents:
        if bool((images.mean((1, 2, 3)) > 0.6).any()):
            raise ValueError("too bright")
        return Latents(values=images)

    seen = Seen()
    result = run([Asking((branch("a", lambda e, _: e, survey=seen),))], photos, broken(encode=encode))
    assert result.counts["failed"] > 0
    assert len(seen.seeds) == result.counts["ok"]
    assert result.values["asking"].status == "ok"


def test_a_perturbed_branch_that_fails_costs_no_sample_and_any_other_does(photos: Path) -> None:
    def fails(encoding: Encoding, seeds: Sequence[int]) -> Encoding:
        raise UsageError("cannot be bent that far")

    result = run([PSNR, Asking((branch("bent", fails),))], photos)
    assert result.counts == {"ok": 10, "failed": 0}
    assert result.values["psnr"].n == 10
    assert result.values["asking"].status == "failed"
    assert result.values["asking"].reason.startswith("UsageError: cannot be bent that far")
    strict = run([PSNR, Asking((branch("bent", fails, is_perturbed=False),))], photos)
    assert strict.counts == {"ok": 0, "failed": 10}
    assert "cannot be bent" in strict.reason


def test_what_is_decoded_from_perturbed_codes_may_leave_the_range(photos: Path) -> None:
    far = branch("far", lambda encoding, _: Latents(values=6 * encoding.values - 2))
    result = run([Asking((far,))], photos)
    assert result.values["asking"].status == "ok"
    assert "expected [0, 1]" in run([Asking((replace(far, is_perturbed=False),))], photos).reason
    nowhere = branch("nowhere", lambda encoding, _: Latents(values=encoding.values / 0.0))
    assert "NaN or infinite" in run([Asking((nowhere,))], photos).values["asking"].reason


def test_metrics_never_see_the_vectors(photos: Path) -> None:
    class Shows:
        card = TokenizerCard(name="toy/shows", codebook_sizes=(256,))

        def encode(self, images: torch.Tensor) -> Tokens:
            indices = (images * 255).round().long()
            return Tokens(streams=(TokenStream(indices=indices, codebook_size=256, vectors=images[..., None].clone()),))

        def decode(self, encoding: Tokens, *, seeds: Sequence[int]) -> torch.Tensor:
            assert encoding.streams[0].vectors is not None
            return encoding.streams[0].indices / 255

    seen = []

    class Looks:
        card = MetricCard(key="looks", version=1, kind="pair", group="pixel", title="looks", better="higher")
        features = ()

        def measure(self, comparison: Comparison) -> list[float | None]:
            assert isinstance(comparison.encoding, Tokens)
            seen.append(comparison.encoding.streams[0].vectors)
            return [0.0] * len(comparison.samples)

    result = run([Looks()], photos, Shows())
    assert result.values["looks"].status == "ok"
    assert seen
    assert all(vectors is None for vectors in seen)
