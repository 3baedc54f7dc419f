"""A stored run's question asked again: the same task, metrics and settings, of another tokenizer."""

from __future__ import annotations

from pathlib import Path

from tokbench.contracts import Timing
from tokbench.errors import ResultsError, TokenizerError, UsageError
from tokbench.evaluation import evaluate, run_folder, task_manifest
from tokbench.gate.speed import Round
from tokbench.results import RunResult
from tokbench.runner.loading import Loaded, load_sample
from tokbench.runner.progress import Progress
from tokbench.runner.reconstruct import TokenizerReconstructor
from tokbench.samples import Manifest
from tokbench.tasks.catalogue import FOLDER
from tokbench.tasks.stored import task_from_json
from tokbench.tasks.task import Task
from tokbench.tokenizers import load_tokenizer, resolve_device
from tokbench.wrapping import Wrapped

_LENGTH = "length="


def rerun(
    tokenizer: str,
    stored: RunResult,
    *,
    out: Path,
    data: Path | None = None,
    device: str = "auto",
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Measure a tokenizer as the stored run was measured, and return the new run's folder below ``out``.

    Task, metrics, prefix lengths, seed, precision, batch size and limit are the stored run's.

    Raises:
        UsageError: the data are not those of the stored run, or the folder would be the stored run's own.
        ResultsError: the stored task cannot be used.
        TokenizerError: the tokenizer cannot be loaded, or fails on everything.
    """
    spec = stored.spec
    task = _task(stored)
    _require_same_data(stored, _manifest(task, stored, data))
    made = load_tokenizer(tokenizer, device=resolve_device(device), dtype=spec.dtype)
    folder = run_folder(out, task=task.name, tokenizer=made.card.name)
    if stored.path is not None and folder.resolve() == Path(stored.path).resolve():
        raise UsageError(f"the new run would replace its baseline in {folder}; pass another --out")
    evaluate(
        made,
        task,
        list(spec.metrics),
        data=data,
        lengths=[int(name.removeprefix(_LENGTH)) for name in spec.branches if name.startswith(_LENGTH)],
        out=out,
        device=device,
        dtype=spec.dtype,
        batch_size=spec.batch_size,
        workers=workers,
        seed=spec.seed,
        limit=spec.limit,
        progress=progress,
    )
    return folder


def time_side_by_side(
    baseline: str,
    candidate: str,
    stored: RunResult,
    *,
    rounds: int,
    data: Path | None = None,
    device: str = "auto",
) -> list[Round]:
    """Time two tokenizers turn by turn on the first batch of a stored run's task, in this process.

    Rounds go A B, B A, A B, …, so that a machine that slows down or heats up slows both; each turn has one pass to
    warm up and one that counts.

    Raises:
        TokenizerError: one of them fails on the batch.
    """
    spec, resolved = stored.spec, resolve_device(device)
    task = _task(stored)
    manifest = _manifest(task, stored, data)
    timed = []
    for name in (baseline, candidate):
        model = load_tokenizer(name, device=resolved, dtype=spec.dtype)
        reconstructor = TokenizerReconstructor(model, branches=(), device=resolved, dtype=spec.dtype, seed=spec.seed)
        timed.append((reconstructor, _first_batch(manifest, task, model, batch_size=spec.batch_size), name))
    made = []
    for number in range(rounds):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        turns = {place: _turn(*timed[place]) for place in order}
        seconds = [(turns[place].encode_s / turns[place].n, turns[place].decode_s / turns[place].n) for place in (0, 1)]
        made.append(Round(encode_s=(seconds[0][0], seconds[1][0]), decode_s=(seconds[0][1], seconds[1][1])))
    return made


def _turn(reconstructor: TokenizerReconstructor, batch: list[Loaded], name: str) -> Timing:
    """The last of two passes."""
    timings = reconstructor.time(batch, budget_s=0.0)
    if not timings:
        raise TokenizerError(f"{name} could not be timed: it fails on the first batch")
    return timings[-1]


def _first_batch(manifest: Manifest, task: Task, model: Wrapped, *, batch_size: int) -> list[Loaded]:
    """The readable ones of the first samples, of the first one's size."""
    batch: list[Loaded] = []
    for sample in manifest.samples[:batch_size]:
        item = load_sample(sample, root=manifest.root, task=task, card=model.card)
        if isinstance(item, Loaded) and (not batch or item.model_pixels.shape == batch[0].model_pixels.shape):
            batch.append(item)
    if not batch:
        raise ResultsError(f"none of the first {batch_size} samples of {manifest.name} can be read")
    return batch


def _task(stored: RunResult) -> Task:
    return task_from_json(stored.spec.task, where=stored.path or "the baseline")


def _manifest(task: Task, stored: RunResult, data: Path | None) -> Manifest:
    if task.manifest == FOLDER and data is None:
        raise UsageError("the baseline was measured on a folder of images: pass it again with --data")
    return task_manifest(task, data=data, limit=stored.spec.limit)


def _require_same_data(stored: RunResult, manifest: Manifest) -> None:
    """Before anything runs: hours on other images would be lost."""
    if manifest.digest != stored.spec.manifest_digest:
        raise UsageError(
            f"the data are not the baseline's: {manifest.name} has digest {manifest.digest}, "
            f"the baseline {stored.spec.manifest_digest}"
        )
