"""One thing the gate looks at: a difference, what is tolerated of it, and whether that was kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from tokbench.comparison.differences import Difference, GroupDifference
from tokbench.comparison.verdicts import LEVEL
from tokbench.comparison.words import interval_words, signed
from tokbench.estimates import holm
from tokbench.gate.config import Direction, GateConfig, Rule
from tokbench.report.format import format_value, style_of

_TOO_FEW = "too few independent clusters differ for an interval"

Status = Literal["fail", "inconclusive", "better", "pass", "not compared"]


class Evidence(Protocol):
    """A difference that can be tested: an :class:`~tokbench.estimates.Estimate`, or signed ranks."""

    @property
    def value(self) -> float: ...

    def interval(self) -> tuple[float, float] | None: ...

    def p_value(self, null: float = 0.0) -> float | None: ...


@dataclass(frozen=True, kw_only=True)
class GateItem:
    """One metric, size group, time, or the samples themselves.

    Attributes:
        name: the value key; ``key / group`` for a size group.
        first, second, difference, ci95: as in :class:`~tokbench.comparison.differences.Difference`.
        tolerance: how much worse it may be, in the metric's unit.
        direction: what is better; ``either`` gates changes both ways; None where nothing is gated.
        p_value: two-sided, of the difference being exactly at the tolerance; 1 on its good side; None untested.
        p_corrected: corrected for everything the gate tests (Holm).
        estimate: the difference with its error, on the scale that is tested; ``null`` is the tolerance there.
    """

    name: str
    unit: str = ""
    status: Status = "not compared"
    reason: str = ""
    first: float | None = None
    second: float | None = None
    difference: float | None = None
    ci95: tuple[float, float] | None = None
    tolerance: float | None = None
    direction: Direction | None = None
    p_value: float | None = None
    p_corrected: float | None = None
    n: int = 0
    n_unit: str = ""
    n_clusters: int = 0
    estimate: Evidence | None = None
    null: float = 0.0

    @property
    def tolerated(self) -> str:
        """The tolerance with its unit; "" where nothing is gated."""
        if not self.tolerance:
            return "" if self.tolerance is None else "0"
        style = style_of(self.tolerance, self.unit)
        return f"{self.tolerance * style.factor:.3g} {style.unit}".rstrip()

    @property
    def sentence(self) -> str:
        """What happened, in one line without the name."""
        words = [f"{format_value(self.first, self.unit)} → {format_value(self.second, self.unit)}"]
        if self.difference is not None:
            words.append(signed(self.difference, self.unit, self.ci95))
        if interval := interval_words(self.difference, self.unit, self.ci95):
            words.append(f"95 % interval {interval}")
        if self.tolerance is not None:
            words.append(f"tolerated {self.tolerated}")
        if self.first is None and self.second is None:
            words = []
        return "; ".join([*words, *([self.reason] if self.reason else [])])


def items_of(difference: Difference, config: GateConfig, *, was_asked: bool = True) -> Iterator[GateItem]:
    """What the gate looks at in one metric: the number itself and the size groups that were asked for.

    ``was_asked`` says whether the candidate was asked for the metric at all: a number it should have, but lacks, is
    inconclusive.
    """
    value = difference.value
    rule = config.rules.get(value.key) or config.rules.get(value.metric) or Rule()
    direction = rule.direction or (None if value.better == "neither" else value.better)
    item = GateItem(
        name=difference.key,
        unit=value.unit,
        first=difference.first,
        second=difference.second,
        difference=difference.difference,
        n=difference.n,
        n_unit=value.n_unit,
        n_clusters=difference.n_clusters,
        direction=direction,
    )
    yield _required(rule, _item(item, difference, rule, config, was_asked=was_asked))
    for name in rule.groups:
        part = difference.groups.get(name)
        inside = replace(item, name=f"{difference.key} / {name}", first=None, second=None, difference=None, n=0)
        yield _required(rule, _group(inside, part, rule, config, known=list(difference.groups)))


def _required(rule: Rule, item: GateItem) -> GateItem:
    """A required item that was not compared has failed."""
    if rule.required and item.status in ("not compared", "inconclusive") and item.estimate is None:
        return replace(item, status="fail", reason=f"required, but not compared: {item.reason}")
    return item


def _item(item: GateItem, difference: Difference, rule: Rule, config: GateConfig, *, was_asked: bool) -> GateItem:
    if difference.difference is None or item.first is None:
        lost = was_asked and difference.second is None and difference.value.kind != "cost"
        return replace(item, status="inconclusive" if lost else "not compared", reason=difference.reason)
    if item.direction is None:
        return replace(item, reason="no direction is better; a rule with a direction would gate it")
    tolerance = (rule.tolerance or config.tolerance).around(item.first)
    item = replace(item, tolerance=tolerance)
    if difference.estimate is not None and difference.estimate.error is None:
        return replace(item, status="inconclusive", reason=_TOO_FEW)
    if difference.estimate is None:
        if rule.tolerance is None:
            return replace(item, tolerance=None, reason=f"{difference.reason}; a rule with a tolerance would gate it")
        return _as_numbers(item, difference.reason)
    return tested(item, difference.estimate, tolerance)


def _group(
    item: GateItem, part: GroupDifference | None, rule: Rule, config: GateConfig, *, known: Sequence[str]
) -> GateItem:
    if part is None:
        return replace(item, reason=f"no values in that group; groups: {', '.join(known) or 'none'}")
    tolerance = (rule.tolerance or config.tolerance).around(part.first)
    item = replace(
        item, first=part.first, second=part.second, difference=part.difference, n=part.n, n_clusters=part.n_clusters
    )
    if item.direction is None:
        return replace(item, reason="no direction is better; a rule with a direction would gate it")
    if part.estimate.error is None:
        return replace(item, status="inconclusive", reason=_TOO_FEW)
    return tested(replace(item, tolerance=tolerance), part.estimate, tolerance)


def _as_numbers(item: GateItem, why: str) -> GateItem:
    """Without an interval the two numbers are compared as they are, where a tolerance was given for this metric."""
    assert item.difference is not None
    assert item.tolerance is not None
    kept = _loss(item.direction, item.difference) <= item.tolerance
    return replace(item, status="pass" if kept else "fail", reason=f"compared as plain numbers: {why}")


def tested(item: GateItem, estimate: Evidence, tolerance: float) -> GateItem:
    """The item with its interval and the p-value of having lost no more than the tolerance; no status yet.

    ``tolerance`` is on the estimate's scale.
    """
    worse = -1.0 if item.direction == "higher" else 1.0
    if item.direction == "either":
        worse = math.copysign(1.0, estimate.value)
    beyond = _loss(item.direction, estimate.value) > tolerance
    p_value = estimate.p_value(worse * tolerance) if beyond else 1.0
    ci95 = item.ci95 or estimate.interval()
    return replace(item, ci95=ci95, p_value=p_value, estimate=estimate, null=tolerance)


def judged(items: Sequence[GateItem]) -> list[GateItem]:
    """Every tested item with its corrected p-value and status.

    ``fail``: worse than tolerated with corrected p < 0.05, so that all gates together raise a false alarm in at most
    5 % of runs where nothing has changed; then the whole 95 % interval is beyond the tolerance, too. ``pass``: the
    whole interval keeps the tolerance; ``better`` if it is all on the good side. ``inconclusive``: anything between.
    """
    p_values = [item.p_value for item in items if item.p_value is not None]
    corrected = iter(holm(p_values))
    return [
        item if item.p_value is None else _judged(replace(item, p_corrected=next(corrected)), len(p_values))
        for item in items
    ]


def _judged(item: GateItem, n_tested: int) -> GateItem:
    assert item.estimate is not None
    assert item.p_corrected is not None
    interval = item.estimate.interval()
    assert interval is not None
    if item.p_corrected < LEVEL:
        return replace(item, status="fail", reason=item.reason or "worse than tolerated")
    losses = [_loss(item.direction, end) for end in interval]
    if max(losses) <= item.null:
        return replace(item, status="better" if max(losses) < 0 else "pass")
    if item.p_value is not None and item.p_value < LEVEL:
        reason = f"beyond the tolerance by itself, but not as one of {n_tested} tested"
    else:
        reason = "the interval reaches beyond the tolerance"
    return replace(item, status="inconclusive", reason=reason)


def _loss(direction: Direction | None, difference: float) -> float:
    """How much worse a difference is; for ``either`` every change is a loss."""
    if direction == "either":
        return abs(difference)
    return -difference if direction == "higher" else difference
