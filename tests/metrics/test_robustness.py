"""Metrics on perturbed encodings: what they ask for, what they make of it, and that a run keeps their promises."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from metric_inputs import blank

from tests.toys import Quantiser as Bits
from tokbench.branches import Branch
from tokbench.cards import MetricCard, TokenizerCard
from tokbench.contracts import BranchedMetric, Comparison, Summary
from tokbench.encodings import BitCodes, Encoding, Latents, Tokens, TokenStream
from tokbench.errors import NotApplicableError
from tokbench.evaluation import evaluate
from tokbench.metrics import robustness
from tokbench.metrics.perturbed import InterpolatedMetric, NoisedMetric, PerturbedMetric
from tokbench.metrics.pixel import METRICS as PIXEL
from tokbench.metrics.replaced import ReplacedShare, replaced_counts
from tokbench.metrics.state import Field, State
from tokbench.quantisers import Quantiser
from tokbench.results import RunResult
from tokbench.tasks.catalogue import folder_task
from tokbench.tokenizers import load_tokenizer
from tokbench.wrapping import wrap

TASK = folder_task(size_px=64)
PSNR = next(metric for metric in PIXEL if metric.card.key == "psnr")
PFID_POINTS = 15


class Colours:
    """One code a pixel: the nearest of 27 colours."""

    card = TokenizerCard(name="toy/colours", codebook_sizes=(27,), size_multiple=1)

    def __init__(self, *, is_broken: bool = False) -> None:
        steps = torch.arange(3) / 2
        self.colours = torch.cartesian_prod(steps, steps, steps)
        self.shown = self.colours.clone()
        if is_broken:
            self.shown[4:6] = torch.nan

    def encode(self, images: torch.Tensor) -> Tokens:
        pixels = images.permute(0, 2, 3, 1).contiguous()
        indices = torch.stack([torch.cdist(image.reshape(-1, 3), self.colours).argmin(1) for image in pixels])
        return Tokens(
            streams=(TokenStream(indices=indices.reshape(pixels.shape[:-1]), codebook_size=27, vectors=pixels),)
        )

    def decode(self, encoding: Tokens, *, seeds: Sequence[int]) -> torch.Tensor:
        return self.colours[encoding.streams[0].indices].permute(0, 3, 1, 2)

    def quantiser(self) -> Quantiser:
        return Quantiser(kind="lookup", composition="single", codebooks={"0": self.shown})


class Smooth:
    """The image itself as a latent."""

    card = TokenizerCard(name="toy/smooth", latent="continuous")

    def encode(self, images: torch.Tensor) -> Latents:
        return Latents(values=images)

    def decode(self, encoding: Latents, *, seeds: Sequence[int]) -> torch.Tensor:
        return encoding.values


class Spread:
    """√ of the mean squared error over the set: a function of a mean, so a set metric with influences."""

    features = ()
    card = MetricCard(
        key="rms", version=1, kind="set", group="distribution", title="RMS", better="lower", low=0.0, perfect=0.0
    )

    def new_state(self) -> State:
        return State({"squares": Field(reduction="cat", dtype="float64")})

    def update(self, state: State, comparison: Comparison) -> None:
        error = comparison.reference.double() - comparison.reconstruction.double()
        state.add("squares", error.square().mean(dim=(1, 2, 3)).numpy())

    def compute(self, state: State) -> Summary:
        squares = state["squares"]
        value = float(np.sqrt(squares.mean()))
        return Summary(value=value, n=len(squares), influences=(squares - squares.mean()) / (2 * value or 1))


def card(key: str) -> MetricCard:
    return MetricCard(key=key, version=1, kind="set", group="robustness", title=key, better="neither")


def perturbed(inner: Any = PSNR, **options: Any) -> PerturbedMetric:
    settings = {"alphas": (0.1, 0.9), "deltas": (2, 8), **options}
    return PerturbedMetric(card=card(f"{inner.card.key}_perturbed"), inner=inner, **settings)


def run(metrics: list[Any], photos: Path, tokenizer: Any = None, **options: Any) -> RunResult:
    settings = {"workers": 2, "batch_size": 3, **options}
    return evaluate(tokenizer or Colours(), TASK, metrics, data=photos, **settings)


REPLACED = ReplacedShare(
    card=MetricCard(key="replaced", version=1, kind="code", group="robustness", title="replaced", better="neither")
)


# ---- what a run makes of them ------------------------------------------------------------------------------------


def test_a_run_measures_every_point_and_their_mean(photos: Path) -> None:
    result = run([perturbed(), perturbed(Spread()), perturbed(REPLACED)], photos)
    points = [f"alpha={alpha}.delta={delta}" for delta in (2, 8) for alpha in (0.1, 0.9)]
    assert result.spec.branches == tuple(points)
    for key in ("psnr", "rms", "replaced"):
        value = result.values[f"{key}_perturbed"]
        assert value.status == "ok", value.reason
        assert value.value == pytest.approx(np.mean([result[f"{key}@{point}"] for point in points]))
        assert value.ci95 is not None
        assert value.ci95[0] <= value.value <= value.ci95[1]  # type: ignore[operator]
        curve = json.loads(str(value.details["perturbed_curve"]))
        assert [point["x"] for point in curve["points"]] == [0, 0, 0.1, 0.9, 0.1, 0.9]
        assert {point["series"] for point in curve["points"]} == {"δ = 2", "δ = 8"}
        assert curve["points"][2]["y"] == result[f"{key}@{points[0]}"]
        assert [curve["points"][2]["low"], curve["points"][2]["high"]] == list(
            result.values[f"{key}@{points[0]}"].ci95 or ()
        )
    assert result["rms"] < result["rms@alpha=0.1.delta=2"] < result["rms@alpha=0.9.delta=8"]  # type: ignore[operator]
    assert result["replaced"] == 0
    for alpha in (0.1, 0.9):
        for delta in (2, 8):
            expected = alpha * (1 - 1 / delta)
            tokens = 10 * 64 * 64
            assert result[f"replaced@alpha={alpha}.delta={delta}"] == pytest.approx(
                expected, abs=4 * (expected * (1 - expected) / tokens) ** 0.5
            )
    details = result.values["psnr_perturbed"].details
    assert details["expected_share_replaced"] == pytest.approx(np.mean([0.05, 0.45, 0.0875, 0.7875]))
    assert (details["alpha"], details["delta"]) == ("0.1, 0.9", "2, 8")


def test_with_one_neighbour_nothing_changes(photos: Path) -> None:
    """δ = 1: the perturbed number is the plain one exactly, for numbers over a set too."""
    result = run([perturbed(metric, alphas=(1.0,), deltas=(1,)) for metric in (PSNR, Spread(), REPLACED)], photos)
    for key in ("psnr", "rms", "replaced"):
        assert result[f"{key}_perturbed"] == result[key]
        assert result.values[f"{key}_perturbed"].ci95 == pytest.approx(result.values[key].ci95)
    assert result["replaced"] == 0


def test_values_depend_on_the_seed_but_not_on_batches_or_threads(photos: Path) -> None:
    metrics = [perturbed(), perturbed(REPLACED)]
    together = run(metrics, photos, batch_size=10, workers=1)
    apart = run(metrics, photos, batch_size=1, workers=3)
    assert {key: value.value for key, value in together.values.items()} == {
        key: value.value for key, value in apart.values.items()
    }
    assert run(metrics, photos, seed=1)["psnr_perturbed"] != together["psnr_perturbed"]


def test_a_broken_codebook_fails_its_metrics_and_no_others(photos: Path) -> None:
    result = run([PSNR, perturbed()], photos, Colours(is_broken=True))
    value = result.values["psnr_perturbed"]
    assert value.status == "failed"
    assert "codebook '0': 2 of 27 entries hold NaN" in value.reason
    assert result.status == "complete"
    assert result.values["psnr"].status == "ok"


def test_vectors_that_do_not_fit_fail_the_metric_and_no_sample(photos: Path) -> None:
    class Careless(Colours):
        def encode(self, images: torch.Tensor) -> Tokens:
            stream = super().encode(images).streams[0]
            return Tokens(streams=(replace(stream, vectors=1 - images.permute(0, 2, 3, 1)),))

    result = run([PSNR, perturbed()], photos, Careless())
    assert result.counts == {"ok": 10, "failed": 0}
    value = result.values["psnr_perturbed"]
    assert value.status == "failed"
    assert "BadOutputError" in value.reason
    assert "not the codes nearest to the vectors" in value.reason
    assert result.values["psnr"].status == "ok"


def test_a_tokenizer_that_shows_no_codebook_is_skipped(photos: Path) -> None:
    result = run([PSNR, perturbed()], photos, Bits(4))
    assert result.values["psnr_perturbed"].status == "skipped"
    assert "does not show its codebook" in result.values["psnr_perturbed"].reason
    assert result.values["psnr"].status == "ok"


def test_more_noise_is_worse_and_none_depends_on_the_batch(photos: Path) -> None:
    metric = NoisedMetric(card=card("psnr_noised"), inner=PSNR, sigmas=(0.1, 0.5, 2.0))
    result = run([metric], photos, Smooth())
    levels = [result[f"psnr@noise.sigma={sigma}"] for sigma in ("0.1", "0.5", "2")]
    assert levels == sorted(levels, reverse=True)  # type: ignore[type-var]
    # 20 log10 of the strength, while little is clamped
    assert levels[0] - levels[1] == pytest.approx(20 * np.log10(5), abs=2)  # type: ignore[operator]
    assert result["psnr_noised"] == pytest.approx(np.mean(levels))  # type: ignore[arg-type]
    curve = json.loads(str(result.values["psnr_noised"].details["noised_curve"]))
    assert [point["x"] for point in curve["points"]] == [0, 0.1, 0.5, 2]
    again = run([metric], photos, Smooth(), batch_size=10, workers=1)
    assert again["psnr_noised"] == result["psnr_noised"]


def test_mixed_neighbours_are_half_way_to_another_image(photos: Path) -> None:
    metric = InterpolatedMetric(card=card("rms_within"), inner=Spread())
    result = run([metric], photos, Smooth())
    assert result["rms"] == 0
    assert result["rms_within"] == result["rms@interpolation.within"]
    assert result["rms_within"] > 20  # type: ignore[operator]
    assert run([metric], photos, Smooth(), batch_size=4)["rms_within"] == result["rms_within"]
    alone = run([metric, PSNR], photos, Smooth(), limit=1)
    assert alone.values["rms_within"].status == "failed"
    assert "no neighbour to mix" in alone.values["rms_within"].reason
    assert alone.values["psnr"].status == "ok"


def test_discrete_and_continuous_tokenizers_are_told_apart(photos: Path) -> None:
    noised = NoisedMetric(card=card("psnr_noised"), inner=PSNR, sigmas=(0.1,))
    within = InterpolatedMetric(card=card("psnr_within"), inner=PSNR)
    for metric in (noised, within):
        with pytest.raises(NotApplicableError, match="continuous latents, and this tokenizer's are discrete"):
            metric.branches(wrap(Colours()))
    with pytest.raises(NotApplicableError, match="latents are continuous"):
        perturbed().branches(wrap(Smooth()))


# ---- the registered ones -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", robustness.METRICS, ids=lambda metric: metric.card.key)
def test_cards_say_what_the_inner_metric_does(metric: Any) -> None:
    assert isinstance(metric, BranchedMetric)
    ours, inner = metric.card, metric.inner.card
    assert ours.group == "robustness"
    assert ours.kind == "set"
    assert (ours.unit, ours.better, ours.low, ours.high, ours.requires) == (
        inner.unit, inner.better, inner.low, inner.high, inner.requires,
    )  # fmt: skip
    assert ours.perfect is None
    assert ours.undefined
    assert ours.notes
    with pytest.raises(AttributeError):
        metric.card = ours


def by_key(key: str) -> Any:
    return next(metric for metric in robustness.METRICS if metric.card.key == key)


@pytest.mark.parametrize("key", ["pfid", "pfd_effnet"])
def test_pfids_grid_is_fifteen_points_of_the_published_operator(key: str) -> None:
    metric = by_key(key)
    branches = metric.branches(load_tokenizer("lbg/d1", device="cpu"))
    assert len(branches) == PFID_POINTS
    assert branches[0].name == "alpha=0.9.delta=200"
    assert branches[-1].name == "alpha=0.5.delta=360"
    inner = "rfid" if key == "pfid" else "fd_effnet"
    assert all(branch.metrics == (inner,) and not branch.keeps_pictures for branch in branches)
    for note in ("0.9, 0.8, 0.7, 0.6, 0.5", "200, 280, 360", "beta = 1", "not public", "76ddfb9"):
        assert note in metric.card.notes


def test_nothing_but_lookup_in_one_codebook_is_called_pfid() -> None:
    for metric in robustness.METRICS:
        if getattr(metric, "is_pfid", False):
            with pytest.raises(NotApplicableError, match=f"residual lookup; {metric.instead} measures them"):
                metric.branches(load_tokenizer("lbg", device="cpu"))
            assert by_key(metric.instead).branches(load_tokenizer("lbg", device="cpu"))


def test_a_small_grid_of_shared_branches_comes_with_all_metrics() -> None:
    tokenizer = load_tokenizer("lbg", device="cpu")
    asked: dict[str, Branch] = {}
    for metric in robustness.METRICS:
        try:
            asked |= {branch.name: branch for branch in metric.branches(tokenizer)}
        except NotApplicableError:
            continue
    assert sorted(asked) == [
        f"{later}.level=1.alpha={alpha}.delta=200" for later in ("frozen", "reencoded") for alpha in (0.1, 0.5, 0.9)
    ]


# ---- combining and counting --------------------------------------------------------------------------------------


def test_without_influences_the_interval_is_the_mean_of_the_limits() -> None:
    metric = perturbed(alphas=(0.5,))
    parts = {
        "": Summary(value=9.0, n=4),
        "alpha=0.5.delta=2": Summary(value=2.0, n=4, ci95=(1.0, 3.0)),
        "alpha=0.5.delta=8": Summary(value=4.0, n=4, ci95=(2.0, 8.0)),
    }
    combined = metric.combine(parts)
    assert (combined.value, combined.ci95, combined.n) == (3.0, (1.5, 5.5), 4)
    moves = [np.array([1.0, -1.0]), np.array([3.0, -3.0])]
    with_moves = {
        name: replace(part, influences=move) for (name, part), move in zip(list(parts.items())[1:], moves, strict=True)
    }
    combined = metric.combine({"": parts[""], **with_moves})
    assert combined.influences is not None
    assert combined.influences.tolist() == [2.0, -2.0]
    assert combined.ci95 is None  # the run makes it from the influences


def test_an_undefined_point_leaves_the_mean_undefined_with_its_reason() -> None:
    parts = {"": Summary(value=9.0, n=4), "alpha=0.5.delta=2": Summary(value=None, n=0, reason="too small")}
    combined = perturbed(alphas=(0.5,), deltas=(2,)).combine(parts)
    assert combined.value is None
    assert combined.reason == "undefined at alpha=0.5.delta=2: too small"


def test_replaced_tokens_are_counted_in_perturbed_streams_only() -> None:
    zeros = torch.zeros(2, 4, dtype=torch.int64)
    mask = torch.tensor([[True, False, False, False], [True, True, True, False]])
    plain = TokenStream(indices=zeros, codebook_size=4)
    both = Tokens(streams=(replace(plain, replaced=mask), plain))
    assert replaced_counts(both).tolist() == [[1, 4], [3, 4]]
    assert replaced_counts(Tokens(streams=(plain, plain))).tolist() == [[0, 8], [0, 8]]
    short = replace(plain, replaced=mask, lengths=torch.tensor([2, 3]))
    assert replaced_counts(Tokens(streams=(short,))).tolist() == [[1, 2], [3, 3]]
    bits = BitCodes(values=torch.zeros(2, 4, 7, dtype=torch.bool), replaced=mask)
    assert replaced_counts(bits).tolist() == [[1, 4], [3, 4]]


def test_the_share_replaced_has_influences_and_merges() -> None:
    def comparison(rows: list[int]) -> Comparison:
        mask = torch.tensor([[True, False], [True, True], [False, False]])[rows]
        stream = TokenStream(indices=mask.long(), codebook_size=2, replaced=mask)
        return blank(len(rows), encoding=Tokens(streams=(stream,)))

    whole, parts = REPLACED.new_state(), REPLACED.new_state()
    REPLACED.update(whole, comparison([0, 1, 2]))
    for rows in ([0], [1, 2]):
        half = REPLACED.new_state()
        REPLACED.update(half, comparison(rows))
        parts.merge(half)
    assert parts == whole
    summary = REPLACED.compute(whole)
    assert summary.value == 0.5
    assert summary.influences is not None
    np.testing.assert_allclose(summary.influences, [0.0, 0.5, -0.5])
    latents: Encoding = Latents(values=torch.zeros(1, 2, 2))
    nothing = REPLACED.new_state()
    REPLACED.update(nothing, blank(1, encoding=latents))
    assert REPLACED.compute(nothing).value is None
