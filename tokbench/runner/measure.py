"""Measuring: a reconstructed batch → values per sample and region, and what stateful metrics need.

Runs on worker threads; holds no state but the reference cache and the list of metrics that broke.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tokbench.branches import Branch
from tokbench.cache import ReferenceCache, feature_key
from tokbench.contracts import Comparison, Feature, FeatureRows, PairMetric, RegionMetric, RegionValue
from tokbench.errors import SampleError
from tokbench.placement import restore
from tokbench.results import PLAIN, BranchRecord, Record, RegionRecord
from tokbench.runner.loading import Failure, Loaded, pixels_sha256
from tokbench.runner.recode import recode_as_source
from tokbench.runner.reconstruct import Reconstructed
from tokbench.tasks.task import Task

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """A batch after the metrics.

    Attributes:
        records: one a sample, in order.
        comparisons: by branch, for the stateful metrics; samples of one compared size each.
        failures: samples whose reconstruction could not be brought to the compared grid.
        pictures: per sample, reference and reconstruction by branch that keeps pictures: uint8 ``(h, w, 3)``.
    """

    records: tuple[Record, ...]
    comparisons: Mapping[str, tuple[Comparison, ...]]
    pictures: tuple[tuple[np.ndarray, Mapping[str, np.ndarray]], ...]
    failures: tuple[Failure, ...] = ()


class Measurer:
    """Applies pair and region metrics to batches; safe to call from several threads."""

    def __init__(
        self, metrics: Sequence[Any], branches: Sequence[Branch], *, task: Task, cache: ReferenceCache
    ) -> None:
        self._metrics = {
            PLAIN: tuple(metrics),
            **{branch.name: tuple(m for m in metrics if feeds(branch, m.card.key)) for branch in branches},
        }
        self._pictured = {PLAIN, *(branch.name for branch in branches if branch.keeps_pictures)}
        self._task = task
        self._cache = cache
        self._broken: dict[str, str] = {}
        self._lock = threading.Lock()

    def __call__(self, batch: Reconstructed) -> Measured:
        batch, restored, failures = self._restore(batch)
        comparisons = {name: self._comparisons(batch, name, pixels) for name, pixels in restored.items()}
        branch_records = {
            name: self._measure_branch(batch, name, restored[name], comparisons[name]) for name in restored
        }
        records = tuple(
            Record(
                id=item.sample.id,
                cluster=item.sample.cluster_id,
                status="ok",
                reference_sha256=item.reference_sha256,
                size_px=(item.reference.shape[1], item.reference.shape[0]),
                branches={name: rows[index] for name, rows in branch_records.items()},
            )
            for index, item in enumerate(batch.loaded)
        )
        pictures = tuple(
            (item.reference, {name: restored[name][index] for name in restored if name in self._pictured})
            for index, item in enumerate(batch.loaded)
        )
        return Measured(
            records=records,
            comparisons={name: tuple(c for _, c in groups) for name, groups in comparisons.items()},
            pictures=pictures,
            failures=failures,
        )

    def _restore(self, batch: Reconstructed) -> tuple[Reconstructed, dict[str, list[np.ndarray]], tuple[Failure, ...]]:
        """Reconstructions on the compared grid by branch; samples that cannot be brought there leave the batch."""
        kept: list[int] = []
        failures: list[Failure] = []
        restored: dict[str, list[np.ndarray]] = {name: [] for name in batch.branches}
        for row, item in enumerate(batch.loaded):
            try:
                pixels = {name: self._restored(batch, name, row) for name in batch.branches}
            except SampleError as err:
                failures.append(Failure(sample=item.sample, stage="restore", error=str(err)))
                continue
            kept.append(row)
            for name, image in pixels.items():
                restored[name].append(image)
        return batch.select(kept) if failures else batch, restored, tuple(failures)

    def _restored(self, batch: Reconstructed, name: str, row: int) -> np.ndarray:
        item = batch.loaded[row]
        pixels: np.ndarray = batch.branches[name].pixels[row]
        if not batch.is_compared_grid:
            pixels = restore(pixels, item.placement, compare_on=self._task.compare_on)
            if self._task.recode == "source_type" and not item.is_source:
                pixels = recode_as_source(pixels, item.sample.source)
        if pixels.shape != item.reference.shape:
            raise SampleError(f"reconstruction of shape {pixels.shape}, expected {item.reference.shape}")
        return pixels

    def _comparisons(
        self, batch: Reconstructed, name: str, pixels: Sequence[np.ndarray]
    ) -> list[tuple[list[int], Comparison]]:
        """Rows of the batch grouped by compared size, and what metrics see of them."""
        rows_by_shape: dict[tuple[int, ...], list[int]] = {}
        for row, item in enumerate(batch.loaded):
            rows_by_shape.setdefault(item.reference.shape, []).append(row)
        encoding = batch.branches[name].encoding
        groups = []
        for rows in rows_by_shape.values():
            items = [batch.loaded[row] for row in rows]
            reference = _stack([item.reference for item in items])
            reconstruction = _stack([pixels[row] for row in rows])
            features, reconstruction_features = self._features(name, items, reference, reconstruction)
            whole = len(rows) == len(batch.loaded)
            comparison = Comparison(
                samples=tuple(item.sample for item in items),
                reference=reference,
                reconstruction=reconstruction,
                regions=tuple(item.regions for item in items),
                encoding=encoding if encoding is None or whole else encoding.select(rows),
                task=self._task,
                features=features,
                reconstruction_features=reconstruction_features,
            )
            groups.append((rows, comparison))
        return groups

    def _features(
        self, branch: str, items: Sequence[Loaded], reference: torch.Tensor, reconstruction: torch.Tensor
    ) -> tuple[dict[str, FeatureRows], dict[str, FeatureRows]]:
        """Features of the references (from the cache where it has them) and of the reconstructions."""
        of_reference: dict[str, FeatureRows] = {}
        of_reconstruction: dict[str, FeatureRows] = {}
        for metric in self._metrics[branch]:
            for feature in metric.features:
                if feature.name in of_reference or metric.card.key in self._broken:
                    continue
                try:
                    rows = self._cached(feature, items, reference)
                    if feature.sides == "both":
                        regions = [item.regions for item in items]
                        of_reconstruction[feature.name] = feature.compute(reconstruction, regions)
                    of_reference[feature.name] = rows
                except Exception as err:  # as in _apply: the metric that wants it is reported as failed
                    self.report_broken(metric.card.key, branch, err)
        return of_reference, of_reconstruction

    def _cached(self, feature: Feature, items: Sequence[Loaded], reference: torch.Tensor) -> FeatureRows:
        keys = [feature_key(feature, reference_sha256=item.reference_sha256, regions=item.regions) for item in items]
        found = [self._cache.get(key) for key in keys]
        missing = [row for row, arrays in enumerate(found) if arrays is None]
        if missing:
            computed = feature.compute(reference[missing], [items[row].regions for row in missing])
            for row, arrays in zip(missing, computed, strict=True):
                found[row] = arrays
                self._cache.put(keys[row], arrays)
        return [arrays for arrays in found if arrays is not None]

    def _measure_branch(
        self,
        batch: Reconstructed,
        name: str,
        pixels: Sequence[np.ndarray],
        comparisons: Sequence[tuple[list[int], Comparison]],
    ) -> list[BranchRecord]:
        n = len(batch.loaded)
        values: list[dict[str, float]] = [{} for _ in range(n)]
        answers: list[dict[int, dict[str, RegionValue]]] = [{} for _ in range(n)]
        for rows, comparison in comparisons:
            for metric in self._metrics[name]:
                self._apply(metric, name, rows, comparison, values, answers)
        output = batch.branches[name]
        bits = None if output.encoding is None else output.encoding.bits()
        tokens = None if output.encoding is None else output.encoding.token_counts()
        return [
            BranchRecord(
                reconstruction_sha256=pixels_sha256(pixels[row]),
                encoding_bits=None if bits is None else float(bits[row]),
                n_tokens=None if tokens is None else int(tokens[row]),
                clamped=output.clamped[row],
                values=values[row],
                regions=self._region_records(batch.loaded[row], answers[row]),
            )
            for row in range(n)
        ]

    def _apply(
        self,
        metric: Any,
        branch: str,
        rows: Sequence[int],
        comparison: Comparison,
        values: Sequence[dict[str, float]],
        answers: Sequence[dict[int, dict[str, RegionValue]]],
    ) -> None:
        key = metric.card.key
        if key in self._broken:
            return
        try:
            if isinstance(metric, PairMetric):
                for row, value in zip(rows, metric.measure(comparison), strict=True):
                    if value is not None:
                        values[row][key] = value
            elif isinstance(metric, RegionMetric):
                for row, by_index in zip(rows, metric.measure_regions(comparison), strict=True):
                    for index, answer in by_index.items():
                        answers[row].setdefault(index, {})[key] = answer
        except Exception as err:  # one broken metric must not cost the others their run; it is reported as failed
            self.report_broken(key, branch, err)

    def report_broken(self, key: str, branch: str, err: Exception) -> None:
        """Note that a metric raised; it is left out from here on and its value becomes ``failed``."""
        where = f" on branch {branch}" if branch else ""
        logger.error("metric %s failed%s", key, where, exc_info=err)
        with self._lock:
            self._broken.setdefault(key, f"{type(err).__name__}: {err}{where}")

    @property
    def broken(self) -> Mapping[str, str]:
        return self._broken

    def _region_records(self, item: Loaded, answers: Mapping[int, dict[str, RegionValue]]) -> tuple[RegionRecord, ...]:
        records = []
        for index in sorted(answers):
            region = item.regions[index]
            groups = self._task.size_groups.get(region.kind)
            records.append(
                RegionRecord(
                    kind=region.kind,
                    index=index,
                    label=region.label,
                    box=region.box,
                    group=None if groups is None else groups.group_of(region),
                    values={key: a.value for key, a in answers[index].items() if a.value is not None},
                    reasons={key: a.reason for key, a in answers[index].items() if a.reason},
                    seen={key: dict(a.seen) for key, a in answers[index].items() if a.seen},
                )
            )
        return tuple(records)


def feeds(branch: Branch, key: str) -> bool:
    """Whether a branch feeds the metric of that key."""
    return branch.metrics is None or key in branch.metrics


def _stack(pixels: Sequence[np.ndarray]) -> torch.Tensor:
    """n uint8 ``(h, w, 3)`` → contiguous uint8 ``(n, 3, h, w)``."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(np.stack(pixels).transpose(0, 3, 1, 2)))
