"""Rate–distortion curves and Bjøntegaard deltas: pure functions of rates and values.

A delta compares two curves where they overlap: BD-rate is the mean difference in log rate at equal quality, as a
percentage; BD-metric the mean difference in quality at equal log rate, in the metric's own unit. Both are test minus
anchor, so a negative BD-rate means that the test needs fewer bits.

Between points the curves are monotone piecewise cubics (PCHIP), which never overshoot; the single cubic of VCEG-M33
does, once there are more points than four. The package ``bjontegaard`` integrates. For resampled curves, of which there
are thousands, :func:`replicated_deltas` does the same with arrays; tests hold the two together.

Source: Bjøntegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001; Herglotz et al., "The
Bjøntegaard Bible", IEEE TIP 2024, on the interpolation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tokbench.cards import Better
from tokbench.errors import MetricError
from tokbench.estimates import CONFIDENCE

METHOD = "pchip"
MIN_POINTS = 4
MAX_UNDEFINED = 0.05  # of the resampled curves may have no delta; beyond, the rest is a choice and no interval


@dataclass(frozen=True, kw_only=True)
class Curve:
    """n points of one tokenizer, in any order.

    Attributes:
        name: for messages.
        rates: bits per pixel, positive and finite.
        values: of one metric, finite.
        labels: what each point is called.

    Raises:
        MetricError: lengths that differ, or a number that is not allowed.
    """

    name: str
    rates: tuple[float, ...]
    values: tuple[float, ...]
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.rates) == len(self.values) == len(self.labels):
            counts = f"{len(self.rates)} rates, {len(self.values)} values and {len(self.labels)} labels"
            raise MetricError(f"curve {self.name}: got {counts}; every point needs one of each")
        for label, rate, value in zip(self.labels, self.rates, self.values, strict=True):
            if not (math.isfinite(rate) and rate > 0):
                raise MetricError(f"curve {self.name}, point {label}: got the rate {rate}; it must be above 0 bits")
            if not math.isfinite(value):
                raise MetricError(f"curve {self.name}, point {label}: got the value {value}; it must be finite")

    def by_rate(self) -> Curve:
        """The same points, cheapest first; of equally cheap ones, as they came."""
        order = sorted(range(len(self.rates)), key=self.rates.__getitem__)
        rates, values, labels = (tuple(seq[i] for i in order) for seq in (self.rates, self.values, self.labels))
        return Curve(name=self.name, rates=rates, values=values, labels=labels)  # type: ignore[arg-type]


class Deltas(NamedTuple):
    """A curve against another, in percent and in the metric's unit; ``overlap`` is the share of both ranges of values
    that they have in common, in (0, 1]: what the BD-rate rests on.
    """

    bd_rate: float
    bd_metric: float
    overlap: float


def deltas(*, anchor: Curve, test: Curve, better: Better) -> Deltas:
    """BD-rate in percent and BD-metric in the metric's unit, test minus anchor.

    Args:
        anchor, test: at least four points each, whose values get strictly better as the rate rises.
        better: the metric's direction.

    Raises:
        MetricError: the metric has no direction; a curve has too few points or is not monotone; the curves share no
            range of values, or none of rates.
    """
    sign = _sign(better)
    lines = []
    for curve in (anchor, test):
        curve = curve.by_rate()
        if reason := why_unusable(curve, better):
            raise MetricError(reason)
        lines.append((np.array(curve.rates), sign * np.array(curve.values)))
    (anchor_rates, anchor_values), (test_rates, test_values) = lines
    overlap = _overlap(anchor_values, test_values)
    if overlap <= 0:
        raise MetricError(f"{_no_overlap(anchor, test)} no value in common, so there is nothing to compare")
    if _overlap(anchor_rates, test_rates) <= 0:
        raise MetricError(
            f"{_no_overlap(anchor, test, is_rate=True)} no rate in common, so there is nothing to compare"
        )

    import bjontegaard  # loads matplotlib, so only here

    points = (anchor_rates, anchor_values, test_rates, test_values)
    options = {"method": METHOD, "require_matching_points": False, "min_overlap": 0}
    bd_rate = float(bjontegaard.bd_rate(*points, **options))
    bd_metric = sign * float(bjontegaard.bd_psnr(*points, **options))
    if not (math.isfinite(bd_rate) and math.isfinite(bd_metric)):
        raise MetricError(f"{test.name} against {anchor.name}: the range in common is too narrow to integrate over")
    return Deltas(bd_rate=bd_rate, bd_metric=bd_metric, overlap=overlap)


def why_unusable(curve: Curve, better: Better) -> str:
    """Why no delta can be had of a curve sorted by rate; "" if it can."""
    if len(curve.rates) < MIN_POINTS:
        return f"{curve.name} has {_points(len(curve.rates))}, a delta needs at least {MIN_POINTS}"
    sign = _sign(better)
    pairs = zip(curve.labels, curve.labels[1:], strict=False)
    for place, (first, second) in enumerate(pairs):
        step = sign * (curve.values[place + 1] - curve.values[place])
        if curve.rates[place] == curve.rates[place + 1]:
            return f"{curve.name} is not a curve: {first} and {second} have the same rate"
        if step == 0:
            value = curve.values[place]
            return f"{curve.name} is saturated: {first} and {second} both have the value {value:.6g}"
        if step < 0:
            return f"{curve.name} is not monotone: {second} costs more than {first} and is worse"
    return ""


def beaten_points(curve: Curve, better: Better) -> tuple[bool, ...]:
    """For each point of a curve sorted by rate, whether a cheaper one is as good: it is kept, but flagged."""
    if better == "neither":
        return (False,) * len(curve.values)
    sign, best, beaten = _sign(better), -math.inf, []
    for value in curve.values:
        beaten.append(sign * value <= best)
        best = max(best, sign * value)
    return tuple(beaten)


def replicated_deltas(
    *,
    anchor: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    better: Better,
) -> tuple[np.ndarray, np.ndarray]:
    """BD-rate and BD-metric of b pairs of curves at once, as :func:`deltas` has them; NaN where it would refuse.

    Args:
        anchor, test: rates and values, float64 ``(b, p)`` each, sorted by the rate of the curves they were drawn from.
        better: the metric's direction.

    Returns:
        Percent and metric's unit, float64 ``(b,)`` each.
    """
    sign = _sign(better)
    (anchor_rates, anchor_values), (test_rates, test_values) = anchor, test
    anchor_values, test_values = sign * anchor_values, sign * test_values
    usable = _rising(anchor_rates) & _rising(test_rates) & _rising(anchor_values) & _rising(test_values)
    usable &= (np.minimum(anchor_rates[:, 0], test_rates[:, 0]) > 0) & _meet(anchor_rates, test_rates)
    usable &= _meet(anchor_values, test_values)
    bd_rate, bd_metric = np.full(usable.shape, np.nan), np.full(usable.shape, np.nan)
    if usable.any():
        x, y = np.log10(anchor_rates[usable]), np.log10(test_rates[usable])
        u, v = anchor_values[usable], test_values[usable]
        bd_rate[usable] = 100 * np.expm1(math.log(10) * _mean_difference((u, x), (v, y)))
        bd_metric[usable] = sign * _mean_difference((x, u), (y, v))
    return bd_rate, bd_metric


def interval(replicates: np.ndarray) -> tuple[float, float] | None:
    """The 95 % percentile interval of resampled deltas; None if over 5 % of them are undefined."""
    found = replicates[np.isfinite(replicates)]
    if found.size < (1 - MAX_UNDEFINED) * replicates.size or found.size == 0:
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)


def pchip_mean(x: np.ndarray, y: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Mean of the monotone piecewise cubics through b sets of points, each over its own range.

    Args:
        x, y: float64 ``(b, p)``, p at least 3; x strictly rising in each row.
        low, high: float64 ``(b,)``, within the row's x.

    Source: Fritsch and Butland, "A method for constructing local monotone piecewise cubic interpolants", SIAM J. Sci.
    Stat. Comput. 5, 1984, with the three-point ends of scipy's PchipInterpolator, with which it agrees.
    """
    h, slope = np.diff(x), np.diff(y) / np.diff(x)
    d = _slopes(h, slope)
    second = (3 * slope - 2 * d[:, :-1] - d[:, 1:]) / h
    third = (d[:, :-1] + d[:, 1:] - 2 * slope) / h**2
    start, end = (np.clip(place[:, None], x[:, :-1], x[:, 1:]) - x[:, :-1] for place in (low, high))
    total = np.zeros_like(slope)
    for power, factor in enumerate((y[:, :-1], d[:, :-1], second, third), start=1):
        total += factor * (end**power - start**power) / power
    return np.asarray(total.sum(axis=1) / (high - low))


def _slopes(h: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Derivatives at the points: a weighted harmonic mean inside, 0 at an extremum, one-sided at the ends."""
    before, after = slope[:, :-1], slope[:, 1:]
    w1, w2 = 2 * h[:, 1:] + h[:, :-1], h[:, 1:] + 2 * h[:, :-1]
    same = before * after > 0
    safe_before, safe_after = np.where(same, before, 1.0), np.where(same, after, 1.0)
    inside = np.where(same, (w1 + w2) / (w1 / safe_before + w2 / safe_after), 0.0)
    first = _end_slope(h[:, 0], h[:, 1], slope[:, 0], slope[:, 1])
    last = _end_slope(h[:, -1], h[:, -2], slope[:, -1], slope[:, -2])
    return np.concatenate([first[:, None], inside, last[:, None]], axis=1)


def _end_slope(h0: np.ndarray, h1: np.ndarray, s0: np.ndarray, s1: np.ndarray) -> np.ndarray:
    d = ((2 * h0 + h1) * s0 - h0 * s1) / (h0 + h1)
    d = np.where(np.sign(d) != np.sign(s0), 0.0, d)
    return np.asarray(np.where((np.sign(s0) != np.sign(s1)) & (np.abs(d) > 3 * np.abs(s0)), 3 * s0, d))


def _mean_difference(anchor: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    low = np.maximum(anchor[0][:, 0], test[0][:, 0])
    high = np.minimum(anchor[0][:, -1], test[0][:, -1])
    return np.asarray(pchip_mean(*test, low, high) - pchip_mean(*anchor, low, high))


def _rising(rows: np.ndarray) -> np.ndarray:
    return np.asarray((np.diff(rows) > 0).all(axis=1) & np.isfinite(rows).all(axis=1))


def _meet(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(a[:, 0], b[:, 0]) < np.minimum(a[:, -1], b[:, -1]))


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """The shared range over the range of both, of numbers in rising order."""
    shared = min(a[-1], b[-1]) - max(a[0], b[0])
    return float(shared / (max(a[-1], b[-1]) - min(a[0], b[0])))


def _no_overlap(anchor: Curve, test: Curve, *, is_rate: bool = False) -> str:
    ends = [
        f"{curve.name} ({min(numbers):.4g} to {max(numbers):.4g}{' bit/px' if is_rate else ''})"
        for curve in (test, anchor)
        for numbers in [curve.rates if is_rate else curve.values]
    ]
    return f"{ends[0]} and {ends[1]} have"


def _sign(better: Better) -> float:
    if better == "neither":
        raise MetricError("a delta needs a metric with a better direction, this one has none")
    return 1.0 if better == "higher" else -1.0


def _points(n: int) -> str:
    return f"{n} point" if n == 1 else f"{n} points"


def resampled_means(sums: Sequence[np.ndarray], counts: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Means over resampled clusters: of all values, or the unweighted mean of the means of several groups of them.

    Args:
        sums, counts: of the values of each of g clusters at each of p points, float64 ``(g, p)``, one a group.
        weights: how often each cluster was drawn, ``(b, g)``.

    Returns:
        float64 ``(b, p)``; NaN where a group was not drawn at all.
    """
    means = []
    for total, count in zip(sums, counts, strict=True):
        n = weights @ count
        means.append(np.divide(weights @ total, n, out=np.full(n.shape, np.nan), where=n > 0))
    return np.asarray(np.mean(means, axis=0))
