"""What a submission is held against: the registered tasks, their data, the metrics and the tokenizers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tokbench.cards import TokenizerCard
from tokbench.contracts import BranchedMetric
from tokbench.data.prepare import find_manifest
from tokbench.errors import ManifestError, UnknownNameError
from tokbench.registry import metrics, tokenizers
from tokbench.runner.loading import Failure, Loaded, load_sample
from tokbench.samples import Manifest, Region, Sample
from tokbench.tasks.catalogue import tasks
from tokbench.tasks.task import Task

# A reference does not depend on who reconstructs it; loading wants a card all the same.
_NOBODY = TokenizerCard(name="validation", latent="none")
_WORKERS = 4


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What a sample's record must say: facts of the manifest and the task, not of the tokenizer.

    ``reference_sha256`` is "" and ``size_px`` None where the pixels are not at hand; regions are then not either.
    """

    cluster: str
    label: str
    reference_sha256: str = ""
    size_px: tuple[int, int] | None = None
    regions: tuple[Region, ...] = ()


@dataclass(eq=False, kw_only=True)
class Known:
    """The registered things, with what was read of them kept for the next submission.

    Tests pass their own tasks and manifests; everyone else uses the defaults.
    """

    tasks: Mapping[str, Task] = field(default_factory=tasks)
    find_manifest: Callable[[str], Manifest] = find_manifest
    metrics: Mapping[str, Any] = field(default_factory=lambda: with_inner(metrics().items))
    tokenizer_cards: Mapping[str, TokenizerCard] = field(
        default_factory=lambda: {
            name: entry.card for name, entry in tokenizers().items.items() if not entry.card.reserved
        }
    )
    _manifests: dict[str, Manifest | str] = field(default_factory=dict)
    _truths: dict[str, Mapping[str, Truth]] = field(default_factory=dict)
    _loaded: dict[tuple[str, str], Loaded | None] = field(default_factory=dict)  # of the few samples with pictures

    def manifest(self, task: Task) -> Manifest | str:
        """The task's manifest, or why it is not on this machine."""
        if task.manifest not in self._manifests:
            try:
                self._manifests[task.manifest] = self.find_manifest(task.manifest)
            except (ManifestError, UnknownNameError) as err:
                self._manifests[task.manifest] = str(err)
        return self._manifests[task.manifest]

    def truths(self, task: Task) -> Mapping[str, Truth]:
        """By sample id, in the manifest's order; empty where the manifest is not on this machine."""
        if task.name not in self._truths:
            manifest = self.manifest(task)
            self._truths[task.name] = {} if isinstance(manifest, str) else _truths(manifest, task)
        return self._truths[task.name]

    def load(self, task: Task, sample_id: str) -> Loaded | None:
        """One sample with its compared reference; None where its pixels are not at hand."""
        if (task.name, sample_id) not in self._loaded:
            manifest = self.manifest(task)
            samples = () if isinstance(manifest, str) else manifest.samples
            sample = next((sample for sample in samples if sample.id == sample_id), None)
            loaded = None if sample is None or isinstance(manifest, str) else _load(sample, manifest, task)
            self._loaded[task.name, sample_id] = loaded if isinstance(loaded, Loaded) else None
        return self._loaded[task.name, sample_id]


def with_inner(registered: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics, and those that metrics over branches have measured on each branch: they have values too."""
    inner = [metric.inner for metric in registered.values() if isinstance(metric, BranchedMetric)]
    return {**{metric.card.key: metric for metric in inner}, **registered}


def task_json(task: Task) -> dict[str, Any]:
    """A task's definition as a result's spec holds it."""
    row: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(task), allow_nan=False))
    return row


def _load(sample: Sample, manifest: Manifest, task: Task) -> Loaded | Failure:
    return load_sample(sample, root=manifest.root, task=task, card=_NOBODY)


def _truths(manifest: Manifest, task: Task) -> dict[str, Truth]:
    def truth(sample: Sample) -> Truth:
        loaded = _load(sample, manifest, task)
        if isinstance(loaded, Failure):
            return Truth(cluster=sample.cluster_id, label=sample.label)
        height, width = loaded.reference.shape[:2]
        return Truth(
            cluster=sample.cluster_id,
            label=sample.label,
            reference_sha256=loaded.reference_sha256,
            size_px=(width, height),
            regions=loaded.regions,
        )

    with ThreadPoolExecutor(_WORKERS) as pool:
        found: Iterator[Truth] = pool.map(truth, manifest.samples)
        return {sample.id: item for sample, item in zip(manifest.samples, found, strict=True)}
