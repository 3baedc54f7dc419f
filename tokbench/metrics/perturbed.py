"""Metrics of other metrics on perturbed encodings: which further reconstructions they ask for, and their mean."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tokbench.branches import Branch
from tokbench.cards import MetricCard
from tokbench.contracts import DeviceBound, Feature, Summary, TaskBound, Tokenizer
from tokbench.encodings import Encoding
from tokbench.errors import NotApplicableError, UsageError
from tokbench.perturbation.draws import Draws
from tokbench.perturbation.facts import quantiser_of
from tokbench.perturbation.interpolation import SHORTLIST, LatentBank
from tokbench.perturbation.noise import ChannelSpread, add_noise, latents_of
from tokbench.perturbation.points import OPERATORS, Point, derivation, points_for
from tokbench.requirements import why_unavailable
from tokbench.results import PLAIN

SEEDS = "one an image and point, from the run's seed, the image's id and the branch's name"


@dataclass(frozen=True, kw_only=True)
class _Branched:
    """What the metrics here share: a card of their own, and the metric that is measured on each branch."""

    card: MetricCard
    inner: Any
    features: tuple[Feature, ...] = ()

    def unavailable(self) -> str:
        """Why the inner metric cannot run here, with what to do; "" if it can."""
        return why_unavailable(self.inner)

    def for_task(self, task: Any) -> Any:
        """With the inner metric as this task wants it."""
        return replace(self, inner=self.inner.for_task(task)) if isinstance(self.inner, TaskBound) else self

    def on_device(self, device: str) -> Any:
        """With the inner metric computing there."""
        return replace(self, inner=self.inner.on_device(device)) if isinstance(self.inner, DeviceBound) else self

    def _branch(self, name: str, derive: Callable[[Encoding, Sequence[int]], Encoding], **options: Any) -> Branch:
        key = self.inner.card.key
        return Branch(name=name, derive=derive, metrics=(key,), keeps_pictures=False, is_perturbed=True, **options)


@dataclass(frozen=True, kw_only=True)
class PerturbedMetric(_Branched):
    """The mean of a metric over a grid of perturbations of discrete codes: a ``BranchedMetric``.

    Attributes:
        alphas, deltas: the grid (see :class:`~tokbench.perturbation.points.Point`).
        is_pfid: only for tokenizers to which the published operator applies: nearest-code lookup in one codebook.
        instead: key that other tokenizers are referred to.
    """

    alphas: tuple[float, ...]
    deltas: tuple[int, ...]
    is_pfid: bool = False
    instead: str = ""

    def branches(self, tokenizer: Tokenizer) -> tuple[Branch, ...]:
        """See :class:`~tokbench.contracts.BranchedMetric`; raises also BadOutputError, for a broken codebook."""
        quantiser = quantiser_of(tokenizer)
        if self.is_pfid and (quantiser.kind, quantiser.composition) != ("lookup", "single"):
            raise NotApplicableError(
                f"pFID's operator is published for nearest-code lookup in one codebook, and these codes are "
                f"{quantiser.composition} {quantiser.kind}; {self.instead} measures them with an operator of ours"
            )
        points = points_for(quantiser, alphas=self.alphas, deltas=self.deltas)
        widest = max(point.delta or 0 for point in points)
        return tuple(self._branch(point.name, derivation(point, quantiser, widest=widest)) for point in points)

    def combine(self, summaries: Mapping[str, Summary]) -> Summary:
        """The mean over the grid, with a curve over alpha for each delta."""
        points = {name: Point.of_name(name) for name in summaries if name != PLAIN}
        shares = [point.expected_share for point in points.values()]
        operators = dict.fromkeys(point.operator for point in points.values())
        plain = summaries[PLAIN].value
        series = dict.fromkeys(point.series for point in points.values())
        at_zero = [_point(0.0, name, summaries[PLAIN]) for name in series if plain is not None]
        curve = [_point(point.alpha, point.series, summaries[name]) for name, point in points.items()]
        return _mean(
            summaries,
            {
                "operator": "; ".join(OPERATORS[operator] for operator in operators),
                "alpha": _listed(point.alpha for point in points.values()),
                "delta": _listed(point.delta for point in points.values() if point.delta is not None) or "none",
                "images_perturbed": "all (beta = 1)",
                "seeds": SEEDS,
                "unperturbed": plain,
                **({} if None in shares else {"expected_share_replaced": sum(filter(None, shares)) / len(shares)}),
                **_series_means(points, summaries),
                "perturbed_curve": _curve_text("share of tokens selected (α)", self.card, [*at_zero, *curve]),
            },
        )


@dataclass(frozen=True, kw_only=True)
class NoisedMetric(_Branched):
    """The mean of a metric over additive Gaussian noise of several strengths: a ``BranchedMetric``."""

    sigmas: tuple[float, ...]

    def branches(self, tokenizer: Tokenizer) -> tuple[Branch, ...]:
        """See :class:`~tokbench.contracts.BranchedMetric`."""
        _need_latents(tokenizer, "noise is added")
        spread = ChannelSpread()
        return tuple(
            self._branch(f"noise.sigma={sigma:g}", functools.partial(_noised, spread, sigma), survey=spread)
            for sigma in self.sigmas
        )

    def combine(self, summaries: Mapping[str, Summary]) -> Summary:
        """The mean over the strengths, with the curve."""
        found = {name: float(name.rpartition("=")[2]) for name in summaries if name != PLAIN}
        plain = summaries[PLAIN]
        points = [_point(0.0, "noise", plain)] if plain.value is not None else []
        points += [_point(sigma, "noise", summaries[name]) for name, sigma in found.items()]
        return _mean(
            summaries,
            {
                "operator": "z + sigma * s * N(0, 1), s each channel's standard deviation over the set (ours)",
                "sigma": _listed(found.values()),
                "seeds": SEEDS,
                "unperturbed": plain.value,
                "noised_curve": _curve_text("noise (σ, channel standard deviations)", self.card, points),
            },
        )


@dataclass(frozen=True, kw_only=True)
class InterpolatedMetric(_Branched):
    """A metric on latents mixed half and half with a neighbour's, found within the set: a ``BranchedMetric``."""

    def branches(self, tokenizer: Tokenizer) -> tuple[Branch, ...]:
        """See :class:`~tokbench.contracts.BranchedMetric`."""
        _need_latents(tokenizer, "neighbours are mixed")
        bank = LatentBank()
        return (self._branch("interpolation.within", bank.derive, survey=bank),)

    def combine(self, summaries: Mapping[str, Summary]) -> Summary:
        """The value on the mixed latents."""
        details = {
            "operator": f"slerp 0.5 with one of the {SHORTLIST} most similar latents, one drawn by nearness",
            "neighbours": "the other images of the evaluated set; iFID takes training images",
            "seeds": SEEDS,
            "unperturbed": summaries[PLAIN].value,
        }
        return _mean(summaries, details)


def _noised(spread: ChannelSpread, sigma: float, encoding: Encoding, seeds: Sequence[int]) -> Encoding:
    return add_noise(latents_of(encoding), spread.deviations(), [Draws(seed) for seed in seeds], sigma=sigma)


def _need_latents(tokenizer: Tokenizer, what: str) -> None:
    if tokenizer.card.latent != "continuous":
        raise NotApplicableError(f"{what} in continuous latents, and this tokenizer's are {tokenizer.card.latent}")


def _mean(summaries: Mapping[str, Summary], details: Mapping[str, Any]) -> Summary:
    """The plain mean over the branches, and of their influences.

    Without influences the interval is the mean of the limits: never too short, since the standard deviation of a mean
    is at most the mean of the standard deviations.
    """
    parts = {name: summary for name, summary in summaries.items() if name != PLAIN}
    if not parts:
        raise UsageError("a mean over branches needs branches")
    n, unit = next(iter(parts.values())).n, next(iter(parts.values())).n_unit
    for name, part in parts.items():
        if part.value is None:
            return Summary(value=None, n=0, n_unit=unit, reason=f"undefined at {name}: {part.reason}")
    value = sum(part.value for part in parts.values() if part.value is not None) / len(parts)
    influences = [part.influences for part in parts.values() if part.influences is not None]
    if len(influences) == len(parts):
        moves = np.mean(influences, axis=0)
        return Summary(value=value, n=n, n_unit=unit, influences=moves, details=details)
    intervals = [part.ci95 for part in parts.values() if part.ci95 is not None]
    ci95 = None
    if len(intervals) == len(parts):
        ci95 = sum(low for low, _ in intervals) / len(parts), sum(high for _, high in intervals) / len(parts)
    return Summary(value=value, n=n, n_unit=unit, ci95=ci95, details=details)


def _series_means(points: Mapping[str, Point], summaries: Mapping[str, Summary]) -> dict[str, float]:
    """The mean over alpha of each curve, where there are several."""
    values: dict[str, list[float]] = {}
    for name, point in points.items():
        value = summaries[name].value
        if value is not None:
            values.setdefault(point.series, []).append(value)
    return {f"mean, {series}": sum(part) / len(part) for series, part in values.items() if len(values) > 1}


def _point(x: float, series: str, summary: Summary) -> dict[str, Any]:
    low, high = summary.ci95 or (None, None)
    return {"x": x, "y": summary.value, "low": low, "high": high, "series": series}


def _curve_text(x_title: str, card: MetricCard, points: Sequence[Mapping[str, Any]]) -> str:
    y_title = f"{card.title} ({card.unit})" if card.unit else card.title
    return json.dumps({"x_title": x_title, "y_title": y_title, "points": list(points)}, allow_nan=False)


def _listed(numbers: Any) -> str:
    return ", ".join(f"{number:g}" for number in dict.fromkeys(numbers))
