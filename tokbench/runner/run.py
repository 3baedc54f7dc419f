"""The run: one streaming pass from manifest to result. The only module that knows every stage."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tokbench.branches import Branch
from tokbench.cache import ReferenceCache
from tokbench.cards import TokenizerCard
from tokbench.contracts import CostMetric
from tokbench.errors import TokenizerError
from tokbench.requirements import why_unavailable
from tokbench.results import PLAIN, RunResult, RunSpec, RunStatus
from tokbench.runner.collect import Collector
from tokbench.runner.loading import Failure, Loaded, batches, load_all, load_sample
from tokbench.runner.measure import Measured, Measurer
from tokbench.runner.progress import Progress
from tokbench.runner.reconstruct import Reconstructor
from tokbench.runner.sink import Sink
from tokbench.runner.tally import HopelessError, Tally
from tokbench.samples import Manifest
from tokbench.tasks.task import Task

# A tokenizer that fails on this many samples and succeeds on none is broken, not unlucky.
TIMING_BUDGET_S = 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class RunPlan:
    """Everything a run needs, resolved. ``workers`` is the number of loading and of metric threads each.

    ``asked_by`` names, by metric key, the branches a metric asked for itself; ``not_applicable`` says, by metric key,
    why one has nothing to say of this tokenizer; ``broken``, by metric key, what went wrong when it was asked.
    """

    task: Task
    manifest: Manifest
    card: TokenizerCard
    reconstructor: Reconstructor
    metrics: Sequence[Any]
    branches: Sequence[Branch]
    seed: int
    device: str
    dtype: str
    batch_size: int
    workers: int
    limit: int | None
    cache: ReferenceCache
    environment: Mapping[str, Any]
    has_tokenizer: bool = True
    asked_by: Mapping[str, Sequence[str]] = field(default_factory=dict)
    not_applicable: Mapping[str, str] = field(default_factory=dict)
    broken: Mapping[str, Exception] = field(default_factory=dict)
    curves: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def spec(self) -> RunSpec:
        return RunSpec(
            task=json.loads(json.dumps(dataclasses.asdict(self.task), allow_nan=False)),
            tokenizer=self.card,
            metrics={metric.card.key: metric.card.version for metric in self.metrics},
            branches=tuple(branch.name for branch in self.branches),
            manifest_digest=self.manifest.digest,
            seed=self.seed,
            dtype=self.dtype,
            device=self.device,
            batch_size=self.batch_size,
            limit=self.limit,
            curves=self.curves,
        )


def run(plan: RunPlan, *, sink: Sink, progress: Progress) -> RunResult:
    """Measure; an interrupt (Ctrl-C) ends the run early and keeps what is done, with status ``partial``.

    Raises:
        TokenizerError: the tokenizer failed on the first samples it was given, all of them. The result is written
            with status ``failed`` first.
        ResultsError: the disk is full or not writable; everything written before stays.
    """
    spec = plan.spec()
    outline = _outline(plan, spec)
    runnable = [
        metric for metric in plan.metrics if metric.card.key not in plan.not_applicable and not why_unavailable(metric)
    ]
    measurer = Measurer(runnable, plan.branches, task=plan.task, cache=plan.cache)
    collector = Collector(
        plan.metrics,
        plan.branches,
        task=plan.task,
        measurer=measurer,
        has_tokenizer=plan.has_tokenizer,
        asked_by=plan.asked_by,
        not_applicable=plan.not_applicable,
    )
    for key, error in plan.broken.items():
        measurer.report_broken(key, PLAIN, error)
    sink.begin(outline)
    progress.started(task=plan.task.name, tokenizer=plan.card.name, total=len(plan.manifest.samples))
    tally = Tally(sink, progress, collector)
    status, reason, give_up = _limit_status(plan)
    try:
        first = _first_batch(plan) if any(isinstance(metric, CostMetric) for metric in runnable) else []
        if first:
            # Before anything else runs: beside loading and metrics, times would say little.
            collector.timings = plan.reconstructor.time(first, budget_s=TIMING_BUDGET_S)
            for timing in collector.timings:
                sink.timing(timing)
        if any(branch.survey is not None for branch in plan.branches):
            _survey(plan)
        _stream(plan, measurer, tally)
        if collector.timings:
            collector.footprint = plan.reconstructor.footprint(first[0])
    except KeyboardInterrupt:
        status, reason = "partial", f"interrupted after {tally.done} of {len(plan.manifest.samples)} samples"
    except HopelessError as err:
        status, reason, give_up = "failed", str(err), err
    finally:
        progress.finished()
    if status == "complete" and tally.ok == 0:
        status, reason = "failed", f"all {tally.done} samples failed; the first: {tally.first_error}"
    for branch, error in plan.reconstructor.broken_branches.items():
        for key, names in plan.asked_by.items():
            if branch in names:
                measurer.report_broken(key, branch, error)
    values = collector.values()
    influences = collector.influences()
    if influences.by_key:
        sink.influences(influences.ids, influences.by_key)
    result = dataclasses.replace(
        outline,
        status=status,
        reason=reason,
        finished=_now(),
        counts={"ok": tally.ok, "failed": tally.done - tally.ok},
        values=values,
        records=sink.summary(),
    )
    sink.end(result)
    if give_up is not None:
        raise TokenizerError(reason) from give_up
    return result


def _survey(plan: RunPlan) -> None:
    """Show the encodings of the whole set, in order, to the branches that must see it first."""
    loaded = load_all(
        plan.manifest.samples,
        root=plan.manifest.root,
        task=plan.task,
        card=plan.card,
        workers=plan.workers,
        ahead=2 * plan.batch_size + plan.workers,
    )
    try:
        for item in batches(loaded, batch_size=plan.batch_size):
            if not isinstance(item, Failure):
                plan.reconstructor.survey(item)
    finally:
        loaded.close()
    plan.reconstructor.end_survey()


def _stream(plan: RunPlan, measurer: Measurer, tally: Tally) -> None:
    """Load, reconstruct and measure at the same time; take results in batch order."""
    loaded = load_all(
        plan.manifest.samples,
        root=plan.manifest.root,
        task=plan.task,
        card=plan.card,
        workers=plan.workers,
        ahead=2 * plan.batch_size + plan.workers,
    )
    in_flight: deque[Future[Measured]] = deque()
    with ThreadPoolExecutor(plan.workers, thread_name_prefix="tokbench-measure", initializer=_one_thread) as pool:
        try:
            for item in batches(loaded, batch_size=plan.batch_size):
                for part in [item] if isinstance(item, Failure) else plan.reconstructor(item):
                    if isinstance(part, Failure):
                        tally.fail(part)
                    else:
                        in_flight.append(pool.submit(measurer, part))
                while in_flight and (len(in_flight) > plan.workers or in_flight[0].done()):
                    tally.take_first(in_flight)
                tally.give_up_if_hopeless(in_flight=len(in_flight))
            while in_flight:
                tally.take_first(in_flight)
            tally.give_up_if_hopeless(in_flight=0)
        except KeyboardInterrupt:
            while in_flight:  # what was decoded before the interrupt still counts
                tally.take_first(in_flight)
            raise
        finally:
            loaded.close()


def _first_batch(plan: RunPlan) -> list[Loaded]:
    """The readable ones of the first samples, of the commonest size."""
    first = [
        load_sample(sample, root=plan.manifest.root, task=plan.task, card=plan.card)
        for sample in plan.manifest.samples[: plan.batch_size]
    ]
    sizes: dict[tuple[int, ...], list[Loaded]] = {}
    for item in first:
        if isinstance(item, Loaded):
            sizes.setdefault(item.model_pixels.shape, []).append(item)
    return max(sizes.values(), key=len, default=[])


def _one_thread() -> None:
    """Metric threads work on an image each; letting each of them use every core would only make them wait."""
    import torch

    torch.set_num_threads(1)


def _outline(plan: RunPlan, spec: RunSpec) -> RunResult:
    manifest = plan.manifest
    return RunResult(
        status="started",
        run_id=run_id(spec),
        started=_now(),
        finished="",
        spec=spec,
        manifest={
            "name": manifest.name,
            "version": manifest.version,
            "digest": spec.manifest_digest,
            "n_samples": len(manifest.samples),
            "licence": manifest.licence,
            "citation": manifest.citation,
            "notes": list(manifest.notes),
        },
        environment=plan.environment,
        counts={"ok": 0, "failed": 0},
        values={},
        records={"n": 0, "sha256": ""},
    )


def run_id(spec: RunSpec) -> str:
    """A short hash of everything asked for."""
    text = json.dumps(dataclasses.asdict(spec), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _limit_status(plan: RunPlan) -> tuple[RunStatus, str, Exception | None]:
    n = len(plan.manifest.samples)
    if plan.limit is not None:
        return "partial", f"--limit {plan.limit}: {n} samples, not the whole set", None
    if plan.task.n_samples is not None and n != plan.task.n_samples:
        return "partial", f"{plan.manifest.name} has {n} samples here, the whole set {plan.task.n_samples}", None
    return "complete", "", None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
