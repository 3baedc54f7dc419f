"""The library's front door: names and objects in, a result out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tokbench.branches import Branch, length_branches
from tokbench.cache import ReferenceCache
from tokbench.cards import TokenizerCard
from tokbench.contracts import BranchedMetric, DeviceBound, TaskBound
from tokbench.data.folder import folder_manifest
from tokbench.data.prepare import find_manifest
from tokbench.environment import environment
from tokbench.errors import NotApplicableError, TokbenchError, UsageError
from tokbench.registry import select_metrics
from tokbench.requirements import why_unavailable
from tokbench.results import RunResult
from tokbench.runfolder import folder_name
from tokbench.runner.collect import NO_ENCODING
from tokbench.runner.folder import FolderReconstructor
from tokbench.runner.progress import Progress, Silent
from tokbench.runner.reconstruct import Reconstructor, TokenizerReconstructor
from tokbench.runner.run import RunPlan, run
from tokbench.runner.sink import DigestSink, FolderSink
from tokbench.samples import Manifest
from tokbench.tasks.catalogue import FOLDER, find_task
from tokbench.tasks.task import Task
from tokbench.tokenizers import load_tokenizer, resolve_device
from tokbench.wrapping import Wrapped, wrap

DEFAULT_BATCH_SIZE = 8


def evaluate(
    tokenizer: Any,
    task: str | Task = "quick",
    metrics: str | Iterable[Any] = "all",
    *,
    data: str | Path | None = None,
    lengths: Sequence[int] = (),
    branches: Sequence[Branch] = (),
    curves: Mapping[str, Sequence[str]] | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    dtype: str = "float32",
    batch_size: int = DEFAULT_BATCH_SIZE,
    workers: int | None = None,
    seed: int = 0,
    limit: int | None = None,
    cache: ReferenceCache | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Measure a tokenizer on a task.

    Args:
        tokenizer: a name (see :func:`tokbench.load_tokenizer`) or any object with ``encode`` and ``decode``.
        task: a task's name, or a :class:`~tokbench.Task`.
        metrics: ``all``, group names, keys, metric objects of your own, or a mix.
        data: for the task ``folder``: a directory, tar or parquet file of images.
        lengths: for variable-length tokenizers, further prefix lengths to decode in the same pass.
        branches: further reconstructions in the same pass.
        curves: which branches are points of one rate–distortion curve, by the curve's name (see :mod:`tokbench.sweep`).
        out: folder to write ``<task>/<family>__<variant>/`` into; None writes nothing.
        device, dtype: where and in what precision the tokenizer runs (an object you built yourself must be there).
        batch_size, workers: affect speed, not values; workers None means one per core, at most 8.
        seed: of everything random, together with each sample's id.
        limit: run on that many samples, spread over the set; the result is then ``partial``.
        cache: of reference features; None uses the user's cache folder.
        progress: callbacks while it runs.

    Returns:
        The result; ``result["psnr"]`` is a value, ``result.to_frame()`` the table. With failed samples its
        ``counts["failed"]`` is above 0 and the records say why.

    Raises:
        UsageError: an unknown name or a contradictory request, before anything runs.
        TokenizerError: the tokenizer cannot be loaded, or fails on everything it is given.
        ResultsError: results cannot be written.
    """
    resolved = resolve_device(device)
    model = load_tokenizer(tokenizer, device=resolved, dtype=dtype) if isinstance(tokenizer, str) else wrap(tokenizer)
    branches = (*(length_branches(model.card, lengths) if lengths else ()), *branches)
    names = [branch.name for branch in branches]
    if len(set(names)) != len(names):
        raise UsageError(f"branch names must differ, got {names}")
    return _run(
        model.card,
        model,
        lambda every: TokenizerReconstructor(model, branches=every, device=resolved, dtype=dtype, seed=seed),
        _find(task),
        select_metrics(metrics),
        _Settings(
            data=data,
            branches=branches,
            curves={name: tuple(points) for name, points in (curves or {}).items()},
            out=out,
            device=resolved,
            dtype=dtype,
            batch_size=batch_size,
            workers=workers,
            seed=seed,
            limit=limit,
            cache=cache,
            progress=progress,
        ),
    )


def score(
    reconstructions: str | Path,
    task: str | Task = "quick",
    metrics: str | Iterable[Any] = "all",
    *,
    name: str = "reconstructions",
    data: str | Path | None = None,
    out: str | Path | None = None,
    workers: int | None = None,
    limit: int | None = None,
    cache: ReferenceCache | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Measure reconstructions someone already made: ``DIR/<sample id>.png`` for every sample of the task.

    Metrics that need the encoding (rate, codebook, cost) are skipped with that reason. ``name`` becomes the tokenizer
    name in the result. The rest is as for :func:`evaluate`.
    """
    chosen = _find(task)
    folder = Path(reconstructions)
    reconstructor = FolderReconstructor(folder)
    card = TokenizerCard(name=name, title=f"reconstructions in {folder.name}", latent="none")
    return _run(
        card,
        None,
        lambda _: reconstructor,
        chosen,
        select_metrics(metrics),
        _Settings(data=data, out=out, workers=workers, limit=limit, cache=cache, progress=progress),
    )


def task_manifest(task: Task, *, data: str | Path | None = None, limit: int | None = None) -> Manifest:
    """The manifest a task runs on; ``data`` is needed by, and only by, the task ``folder``."""
    if task.manifest == FOLDER:
        if data is None:
            raise UsageError("the task `folder` needs --data: a directory, tar or parquet file of images")
        manifest = folder_manifest(Path(data))
    elif data is not None:
        raise UsageError(f"the task {task.name!r} brings its own data; --data is for the task `folder`")
    else:
        manifest = find_manifest(task.manifest)
    return manifest if limit is None else manifest.subset(limit)


def run_folder(out: str | Path, *, task: str, tokenizer: str) -> Path:
    """Where a run of this task and tokenizer goes below ``out``."""
    return Path(out) / task / folder_name(tokenizer)


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """What :func:`evaluate` and :func:`score` share, with the values that do not apply to files."""

    data: str | Path | None
    out: str | Path | None
    workers: int | None
    limit: int | None
    cache: ReferenceCache | None
    progress: Progress | None
    branches: Sequence[Branch] = ()
    curves: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    device: str = "cpu"
    dtype: str = "float32"
    batch_size: int = DEFAULT_BATCH_SIZE
    seed: int = 0


def _run(
    card: TokenizerCard,
    tokenizer: Wrapped | None,
    reconstructor_of: Callable[[Sequence[Branch]], Reconstructor],
    task: Task,
    metrics: Sequence[Any],
    settings: _Settings,
) -> RunResult:
    if settings.batch_size < 1:
        raise UsageError(f"batch size must be at least 1, got {settings.batch_size}")
    manifest = task_manifest(task, data=settings.data, limit=settings.limit)
    bound = [_bind(metric, task, settings.device) for metric in metrics]
    asked = _ask_for_branches(bound, tokenizer)
    branches = (*settings.branches, *asked.branches)
    inner = [metric for metric in asked.inner if metric.card.key not in {other.card.key for other in bound}]
    plan = RunPlan(
        task=task,
        manifest=manifest,
        card=card,
        reconstructor=reconstructor_of(branches),
        metrics=[*bound, *inner],
        branches=branches,
        asked_by=asked.by,
        not_applicable=asked.not_applicable,
        broken=asked.broken,
        seed=settings.seed,
        device=settings.device,
        dtype=settings.dtype,
        batch_size=settings.batch_size,
        workers=settings.workers or _default_workers(),
        limit=settings.limit,
        curves=settings.curves,
        cache=settings.cache or ReferenceCache.default(),
        environment=environment(settings.device),
        has_tokenizer=tokenizer is not None,
    )
    progress = settings.progress or Silent()
    if settings.out is None:
        return run(plan, sink=DigestSink(), progress=progress)
    folder = run_folder(settings.out, task=task.name, tokenizer=card.name)
    result = run(plan, sink=FolderSink(folder, n_samples=len(manifest.samples)), progress=progress)
    return replace(result, path=str(folder))


def _bind(metric: Any, task: Task, device: str) -> Any:
    """The metric as this task wants it, computing on this device."""
    if isinstance(metric, TaskBound):
        metric = metric.for_task(task)
    return metric.on_device(device) if isinstance(metric, DeviceBound) else metric


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What metrics with branches of their own ask for.

    Attributes:
        branches: each once; metrics that ask for branches of one name share them.
        inner: the metrics that are measured on them.
        by: names of the branches, by key of the metric that asked.
        not_applicable: why a metric asks for none, by its key.
        broken: what went wrong when it was asked, by its key.
    """

    branches: tuple[Branch, ...]
    inner: tuple[Any, ...]
    by: Mapping[str, tuple[str, ...]]
    not_applicable: Mapping[str, str]
    broken: Mapping[str, Exception]


def _ask_for_branches(metrics: Sequence[Any], tokenizer: Wrapped | None) -> _Asked:
    found: dict[str, Branch] = {}
    inner: dict[str, Any] = {}
    by: dict[str, tuple[str, ...]] = {}
    not_applicable: dict[str, str] = {}
    broken: dict[str, Exception] = {}
    for metric in metrics:
        if not isinstance(metric, BranchedMetric):
            continue
        key = metric.card.key
        if reason := why_unavailable(metric) or why_unavailable(metric.inner):
            not_applicable[key] = reason
            continue
        try:
            if tokenizer is None:
                raise NotApplicableError(NO_ENCODING)
            branches = metric.branches(tokenizer)
        except NotApplicableError as err:
            not_applicable[key] = str(err)
            continue
        except TokbenchError as err:  # a broken codebook, say: the other metrics can still be measured
            broken[key] = err
            continue
        inner[metric.inner.card.key] = metric.inner
        by[key] = tuple(branch.name for branch in branches)
        for branch in branches:
            known = found.get(branch.name, branch)
            fed = (*(known.metrics or ()), *(branch.metrics or ()))
            found[branch.name] = replace(known, metrics=tuple(dict.fromkeys(fed)))
    return _Asked(
        branches=tuple(found.values()),
        inner=tuple(inner.values()),
        by=by,
        not_applicable=not_applicable,
        broken=broken,
    )


def _find(task: str | Task) -> Task:
    return find_task(task) if isinstance(task, str) else task


def _default_workers() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(8, cores))
