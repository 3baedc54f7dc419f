"""The shell of every metric that compares two sets of features: pure statistics in, metric objects out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from tokbench.cards import MetricCard
from tokbench.contracts import Comparison, Feature, Summary
from tokbench.metrics.features import NetworkFeature, stacked
from tokbench.metrics.state import Field, State

PairedStatistic: TypeAlias = Callable[[np.ndarray, np.ndarray], Summary]

REFERENCE = "reference"
RECONSTRUCTION = "reconstruction"


@dataclass(frozen=True, kw_only=True)
class FeatureSetMetric:
    """A :class:`~tokbench.contracts.StatefulMetric` over the rows of one feature, of both sides, in order.

    All metrics of one feature read one state (``state_name``), so a run keeps each row once. Rows are never compared
    across features: a state holds those of one.

    Attributes:
        card: its facts.
        feature: what is computed of each image, on both sides.
        statistic: reference rows, reconstruction rows: float32 ``(n, d)`` each, paired → the summary.
    """

    card: MetricCard
    feature: NetworkFeature
    statistic: PairedStatistic

    @property
    def features(self) -> tuple[Feature, ...]:
        return (self.feature,)

    @property
    def state_name(self) -> str:
        return f"{self.feature.name}: paired rows"

    def new_state(self) -> State:
        rows = Field(reduction="cat", dtype="float32", shape=(self.feature.network.card.dimensions,))
        return State({REFERENCE: rows, RECONSTRUCTION: rows})

    def update(self, state: State, comparison: Comparison) -> None:
        # Both are read before either is added, so that a comparison without them leaves the state whole.
        reference = stacked(comparison.features[self.feature.name])
        reconstruction = stacked(comparison.reconstruction_features[self.feature.name])
        state.add(REFERENCE, reference)
        state.add(RECONSTRUCTION, reconstruction)

    def compute(self, state: State) -> Summary:
        return self.statistic(state[REFERENCE], state[RECONSTRUCTION])

    def unavailable(self) -> str:
        return self.feature.network.unavailable()

    def on_device(self, device: str) -> FeatureSetMetric:
        return replace(self, feature=self.feature.on_device(device))
