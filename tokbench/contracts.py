"""The interfaces plug-ins implement. Everything here is structural: nothing needs to be inherited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from tokbench.cards import MetricCard, TokenizerCard
from tokbench.encodings import Encoding
from tokbench.errors import MetricError
from tokbench.samples import Region, RegionKind, Sample

if TYPE_CHECKING:
    import numpy as np
    import torch

    from tokbench.branches import Branch
    from tokbench.metrics.cost import Footprint
    from tokbench.metrics.state import State
    from tokbench.tasks.task import Task

FeatureRows: TypeAlias = "Sequence[Mapping[str, np.ndarray]]"


class Tokenizer(Protocol):
    """What tokbench measures.

    Contract: order and number of samples are kept; images are float ``(n, 3, h, w)`` RGB in [0, 1] both ways, float32
    on the way in (a network in another type is given them scaled first and rounded after); the tokenizer neither
    resizes nor rounds nor clamps its output (tokbench does, once, in the open), and never writes to its input. A
    sample's result does not depend on what else is in the batch.
    """

    card: TokenizerCard

    def encode(self, images: torch.Tensor) -> Encoding:
        """float32 ``(n, 3, h, w)`` in [0, 1] → encoding of n samples."""
        ...

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:
        """Encoding of n samples → float ``(n, 3, h, w)``, nominally in [0, 1].

        ``seeds`` holds one integer a sample; a decoder that draws random numbers derives them from these alone.
        """
        ...


class AdapterModule(Protocol):
    """A module in ``adapters/`` (or behind an entry point): exactly these two names, and a light import."""

    CARDS: tuple[TokenizerCard, ...]

    def load(self, card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
        """Build what ``card`` describes; heavy imports, weights and devices belong here."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """What metrics see: n samples of one size, on the compared grid.

    Attributes:
        samples: the n samples.
        reference, reconstruction: uint8 ``(n, 3, h, w)`` RGB.
        regions: per sample, its annotated regions in pixels of this grid.
        encoding: what the reconstruction was decoded from; None when only reconstructions were given.
        task: the protocol: how regions are cropped, refined and grouped.
        features: the references' features by name, one mapping a sample (see :class:`Feature`).
        reconstruction_features: the reconstructions', for features of both sides.
    """

    samples: tuple[Sample, ...]
    reference: torch.Tensor
    reconstruction: torch.Tensor
    regions: tuple[tuple[Region, ...], ...]
    encoding: Encoding | None
    task: Task
    features: Mapping[str, FeatureRows]
    reconstruction_features: Mapping[str, FeatureRows]


@runtime_checkable
class Feature(Protocol):
    """Something computed from an image that metrics share: a recognition, an embedding, a coded size.

    Of the reference it is computed once and cached on disk, for every tokenizer to come. With ``sides`` equal to
    ``both`` it is also computed of each reconstruction, once for all the metrics that want it.

    ``identity`` names everything but the pixels the feature depends on: its own version, weights digest,
    preprocessing, library versions. A feature that also reads the regions says so in ``uses_regions``. An image's
    feature may not depend on which other images are in the call.
    """

    @property
    def name(self) -> str: ...

    @property
    def sides(self) -> Literal["reference", "both"]: ...

    @property
    def uses_regions(self) -> bool: ...

    def identity(self) -> Mapping[str, str | int | float]: ...

    def compute(self, images: torch.Tensor, regions: Sequence[Sequence[Region]]) -> list[dict[str, np.ndarray]]:
        """uint8 ``(n, 3, h, w)`` → n mappings of arrays (no object dtype)."""
        ...


class Metric(Protocol):
    """The part all metrics share. ``features`` are the ones it wants, usually none."""

    @property
    def card(self) -> MetricCard: ...

    @property
    def features(self) -> tuple[Feature, ...]: ...


@runtime_checkable
class NeedsWeights(Protocol):
    """A metric whose weights may be absent."""

    def unavailable(self) -> str:
        """Why it cannot run, with the command or place that changes it; "" if it can. Loads nothing."""
        ...


@runtime_checkable
class TaskBound(Protocol):
    """A metric that follows the task's protocol (how regions are cropped, which words count)."""

    def for_task(self, task: Task) -> Metric:
        """The metric as this task wants it; the same key."""
        ...


@runtime_checkable
class DeviceBound(Protocol):
    """A metric that runs a network, which belongs on the run's device."""

    def on_device(self, device: str) -> Metric:
        """The metric computing there; the same key."""
        ...


@runtime_checkable
class PairMetric(Protocol):
    """A number per image (card kind ``pair``)."""

    @property
    def card(self) -> MetricCard: ...

    @property
    def features(self) -> tuple[Feature, ...]: ...

    def measure(self, comparison: Comparison) -> list[float | None]:
        """n values; None where the metric is undefined for that image."""
        ...


@dataclass(frozen=True, kw_only=True)
class RegionValue:
    """A region metric's answer for one word or face.

    Attributes:
        value: None if it was left out.
        reason: why it was left out; equal reasons are counted together, so they hold no numbers of their own.
        seen: what a reader of the report wants beside the number (the text that was read, by side).
    """

    value: float | None
    reason: str = ""
    seen: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.value is None) != bool(self.reason):
            raise MetricError(f"a region has a value or a reason, got value {self.value} and reason {self.reason!r}")


@runtime_checkable
class RegionMetric(Protocol):
    """A number per annotated word or face (card kind ``region``)."""

    @property
    def card(self) -> MetricCard: ...

    @property
    def features(self) -> tuple[Feature, ...]: ...

    @property
    def region_kind(self) -> RegionKind: ...

    def measure_regions(self, comparison: Comparison) -> list[dict[int, RegionValue]]:
        """Per sample, an answer for each of its regions of this kind, by index into all its regions."""
        ...


@runtime_checkable
class StatefulMetric(Protocol):
    """A number over the whole set (card kinds ``set`` and ``code``).

    All it remembers is in a :class:`~tokbench.metrics.state.State` of declared, mergeable fields, so a run can be
    split over processes or resumed without the metric knowing.
    """

    @property
    def card(self) -> MetricCard: ...

    @property
    def features(self) -> tuple[Feature, ...]: ...

    def new_state(self) -> State: ...

    def update(self, state: State, comparison: Comparison) -> None: ...

    def compute(self, state: State) -> Summary:
        """The number; raises NotApplicableError if there is no such number for this kind of tokenizer."""
        ...


@runtime_checkable
class SharesState(Protocol):
    """A stateful metric that reads the same state as others.

    Equal names mean equal fields and equal updates, so a run keeps and feeds one state for all of them.
    """

    @property
    def state_name(self) -> str: ...


@runtime_checkable
class BranchedMetric(Protocol):
    """A number over further reconstructions the metric itself asks for: perturbed encodings, say (card kind ``set``).

    ``inner`` is measured on each of its branches (and on the plain reconstruction, which is the natural baseline).
    """

    @property
    def card(self) -> MetricCard: ...

    @property
    def features(self) -> tuple[Feature, ...]: ...

    @property
    def inner(self) -> Metric: ...

    def branches(self, tokenizer: Tokenizer) -> tuple[Branch, ...]:
        """What to reconstruct besides; each must name ``inner``'s key among the metrics it feeds.

        Raises:
            NotApplicableError: this tokenizer has nothing to branch on; the metric is skipped with that reason.
        """
        ...

    def combine(self, summaries: Mapping[str, Summary]) -> Summary:
        """``inner``'s summaries by branch name (``""`` is the plain reconstruction) → the metric's own."""
        ...


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Wall-clock seconds of encoding and decoding one batch, device synchronised before and after each part.

    Taken before the run proper, while nothing else is going on. ``is_warm_up`` marks the first, which cost metrics
    leave out.
    """

    n: int
    encode_s: float
    decode_s: float
    is_warm_up: bool


@runtime_checkable
class CostMetric(Protocol):
    """A number over the tokenizer's timings and footprint (card kind ``cost``)."""

    @property
    def card(self) -> MetricCard: ...

    @property
    def features(self) -> tuple[Feature, ...]: ...

    def summarise(self, timings: Sequence[Timing], *, footprint: Footprint | None = None) -> Summary:
        """``footprint``: what the tokenizer takes besides time; None when it was not measured."""
        ...


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a metric's numbers come down to.

    Attributes:
        value: None needs a ``reason``.
        details: further numbers that belong to it. Text under a key that ends in ``_curve`` is a plot: JSON of at most
            64 points.
        influences: for a number over the set that is no mean, float64 ``(n,)``, one an image in the order of updates
            and adding up to zero: to first order, the value over a resampled set is ``value`` plus the mean of the
            resampled images' influences. The interval and every paired comparison come from them (the infinitesimal
            jackknife: Efron, "Nonparametric Estimates of Standard Error", 1981).
    """

    value: float | None
    n: int
    n_unit: str = "images"
    ci95: tuple[float, float] | None = None
    reason: str = ""
    details: Mapping[str, Any] | None = None
    influences: np.ndarray | None = None
