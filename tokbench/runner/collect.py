"""Collecting: measured batches, in order, → the numbers of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tokbench.aggregation import Columns, image_summary, region_summary, to_value, value_key, with_interval
from tokbench.branches import Branch
from tokbench.cards import MetricCard
from tokbench.contracts import (
    BranchedMetric,
    CostMetric,
    RegionMetric,
    SharesState,
    StatefulMetric,
    Summary,
    Timing,
)
from tokbench.errors import MetricError, NotApplicableError
from tokbench.metrics.cost import Footprint
from tokbench.metrics.state import State
from tokbench.requirements import why_unavailable
from tokbench.results import PLAIN, GroupValue, Value, ValueStatus
from tokbench.runner.measure import Measured, Measurer, feeds
from tokbench.tasks.task import Task

NO_ENCODING = "only reconstructions were given, not a tokenizer"
MEAN_KINDS = ("pair", "region")


@dataclass(frozen=True, kw_only=True)
class Influences:
    """How much each image moves each number that is no mean (see :class:`~tokbench.contracts.Summary`).

    Attributes:
        ids: sample ids.
        by_key: float64 ``(n,)`` in their order, by value key.
    """

    ids: tuple[str, ...]
    by_key: Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """One metric on one branch, summarised."""

    card: MetricCard
    summary: Summary
    status: ValueStatus | None = None
    groups: Mapping[str, GroupValue] = field(default_factory=dict)


class Collector:
    """Gathers values and metric states; ``add`` must be called from one thread, in batch order.

    ``asked_by`` names, by key, the branches that each :class:`~tokbench.contracts.BranchedMetric` asked for;
    ``not_applicable`` says, by key, why a metric has nothing to say of this tokenizer.
    """

    def __init__(
        self,
        metrics: Sequence[Any],
        branches: Sequence[Branch],
        *,
        task: Task,
        measurer: Measurer,
        has_tokenizer: bool,
        asked_by: Mapping[str, Sequence[str]],
        not_applicable: Mapping[str, str],
    ) -> None:
        self._task = task
        self._measurer = measurer
        self._has_tokenizer = has_tokenizer
        self._asked_by = asked_by
        self._plan = _plan(metrics, branches)
        self._skipped = {metric.card.key: reason for metric in metrics if (reason := why_unavailable(metric))}
        self._skipped |= not_applicable
        self._columns = Columns()
        self._states: dict[str, State] = {}
        self._fed: list[tuple[str, str, Any]] = []  # (state, branch, the metric that feeds it)
        for name, metric in self._plan:
            if isinstance(metric, StatefulMetric) and metric.card.key not in self._skipped:
                state = _state_key(metric, name)
                if state not in self._states:
                    self._states[state] = metric.new_state()
                    self._fed.append((state, name, metric))
        self._order: dict[str, list[str]] = {}
        self._outcomes: dict[str, _Outcome] = {}
        self.timings: Sequence[Timing] = ()
        self.footprint: Footprint | None = None

    def add(self, measured: Measured) -> None:
        """Take in one batch."""
        for record in measured.records:
            self._columns.add(record)
        for name, comparisons in measured.comparisons.items():
            order = self._order.setdefault(name, [])
            order += [sample.id for comparison in comparisons for sample in comparison.samples]
        for state, name, metric in self._fed:
            if metric.card.key not in self._measurer.broken:
                try:
                    for comparison in measured.comparisons.get(name, ()):
                        metric.update(self._states[state], comparison)
                except Exception as err:  # as in Measurer: a broken metric is reported, the others go on
                    for other in self._readers(state):
                        self._measurer.report_broken(other, name, err)

    def values(self) -> dict[str, Value]:
        """Every metric's value on every branch it is fed by, in the order asked for."""
        self._outcomes = {}
        for name, metric in sorted(self._plan, key=lambda item: isinstance(item[1], BranchedMetric)):
            self._outcomes[value_key(metric.card.key, name)] = self._outcome(metric, name)
        values = {}
        for name, metric in self._plan:
            outcome = self._outcomes[value_key(metric.card.key, name)]
            value = to_value(outcome.card, name, outcome.summary, status=outcome.status, groups=outcome.groups)
            values[value.key] = value
        return values

    def influences(self) -> Influences:
        """Of every number that is no mean and has them; call it after :meth:`values`."""
        by_key = {}
        for key, outcome in self._outcomes.items():
            if outcome.summary.influences is not None and outcome.card.kind not in MEAN_KINDS:
                by_key[key] = outcome.summary.influences
        return Influences(ids=tuple(self._order.get(PLAIN, ())), by_key=by_key)

    def _readers(self, state: str) -> list[str]:
        return [
            metric.card.key
            for name, metric in self._plan
            if isinstance(metric, StatefulMetric) and _state_key(metric, name) == state
        ]

    def _outcome(self, metric: Any, branch: str) -> _Outcome:
        try:
            return self._measured(metric, branch)
        except NotApplicableError as err:
            return _without(metric.card, str(err), "skipped")
        except Exception as err:  # as in Measurer: a broken metric is reported, the others keep their values
            self._measurer.report_broken(metric.card.key, branch, err)
            return _without(metric.card, self._measurer.broken[metric.card.key], "failed")

    def _measured(self, metric: Any, branch: str) -> _Outcome:
        card: MetricCard = metric.card
        key = value_key(card.key, branch)
        if card.key in self._skipped:
            return _without(card, self._skipped[card.key], "skipped")
        if card.key in self._measurer.broken:
            return _without(card, self._measurer.broken[card.key], "failed")
        if isinstance(metric, CostMetric):
            if not self.timings:
                why = NO_ENCODING if not self._has_tokenizer else "no sample was reconstructed"
                return _without(card, why, "skipped")
            return _Outcome(card=card, summary=metric.summarise(self.timings, footprint=self._footprint()))
        if not self._has_tokenizer and (card.kind == "code" or card.group == "rate"):
            return _without(card, NO_ENCODING, "skipped")
        if isinstance(metric, BranchedMetric):
            return self._combined(metric)
        if isinstance(metric, StatefulMetric):
            summary = metric.compute(self._states[_state_key(metric, branch)])
            clusters = self._columns.clusters_of(self._order.get(branch, ()))
            return _Outcome(card=card, summary=with_interval(card, summary, clusters))
        column = self._columns[key]
        if isinstance(metric, RegionMetric):
            summary, groups, card = region_summary(card, metric.region_kind, column, self._task)
            return _Outcome(card=card, summary=summary, groups=groups)
        return _Outcome(card=card, summary=image_summary(card, column))

    def _combined(self, metric: BranchedMetric) -> _Outcome:
        """A metric over branches, from what its inner metric came to on each."""
        summaries = {}
        ids = self._order.get(PLAIN, [])
        for branch in (PLAIN, *self._asked_by[metric.card.key]):
            key = value_key(metric.inner.card.key, branch)
            outcome = self._outcomes[key]
            if outcome.status is not None:
                return _without(metric.card, f"{key}: {outcome.summary.reason}", outcome.status)
            if self._order.get(branch, []) != ids:
                raise MetricError(f"branch {branch!r} has other images than the plain reconstruction")
            summary = outcome.summary
            if summary.influences is None and outcome.card.kind in MEAN_KINDS:
                groups = tuple(outcome.groups) if outcome.card.aggregate == "macro_mean" else ()
                summary = replace(summary, influences=self._columns.influences(key, ids, groups=groups))
            summaries[branch] = summary
        combined = metric.combine(summaries)
        return _Outcome(card=metric.card, summary=with_interval(metric.card, combined, self._columns.clusters_of(ids)))

    def _footprint(self) -> Footprint | None:
        """The footprint with what only the run knows: how many tokens an image takes."""
        if self.footprint is None:
            return None
        if not self._columns.n_with_tokens:
            reasons = {**self.footprint.reasons, "tokens_per_image": "latents and coded files have no tokens"}
            return replace(self.footprint, reasons=reasons)
        return replace(self.footprint, tokens_per_image=self._columns.n_tokens / self._columns.n_with_tokens)


def _without(card: MetricCard, reason: str, status: ValueStatus) -> _Outcome:
    return _Outcome(card=card, summary=Summary(value=None, n=0, reason=reason), status=status)


def _state_key(metric: Any, branch: str) -> str:
    return value_key(metric.state_name if isinstance(metric, SharesState) else f"of {metric.card.key}", branch)


def _plan(metrics: Sequence[Any], branches: Sequence[Branch]) -> list[tuple[str, Any]]:
    """(branch name, metric) of every value, plain ones first; costs are measured on the plain branch only."""
    plan = [(PLAIN, metric) for metric in metrics]
    for branch in branches:
        plan += [
            (branch.name, metric)
            for metric in metrics
            if feeds(branch, metric.card.key) and not isinstance(metric, CostMetric | BranchedMetric)
        ]
    return plan
