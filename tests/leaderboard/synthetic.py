"""Submissions written as `tokbench submit pack` lays them out, with numbers that follow from their records."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tokbench.cards import TokenizerCard
from tokbench.results import BranchRecord, GroupValue, Record, RegionRecord, RunResult, RunSpec, Value
from tokbench.runfolder import folder_name, json_line, write_influences
from tokbench.samples import RegionKind
from tokbench.schema import dump_json, record_to_json, result_to_json
from tokbench.stats import macro_mean_interval, mean_interval
from tokbench.submissions.form import (
    RECORDS_GZ,
    SUBMISSION,
    FileFacts,
    Submission,
    compress_records,
    picture_stem,
    submission_to_json,
)
from tokbench.tasks.task import Fit, SizeGroups, Task

WORDS = ("small", "large")
DIGEST = "sha256:" + "ab" * 32
_GROUPS: dict[RegionKind, SizeGroups] = {"word": SizeGroups(by="height_px", edges=(1, 8, 64), names=WORDS)}
_CARDS: Mapping[str, Mapping[str, Any]] = {
    "psnr": {"title": "PSNR", "group": "pixel", "unit": "dB", "better": "higher"},
    "lpips": {"title": "LPIPS", "group": "perception", "better": "lower", "low": 0.0},
    "bpp": {"title": "Bits per pixel", "group": "rate", "unit": "bit/px", "better": "lower", "low": 0.0},
}


def make_task(name: str = "board", *, version: int = 1, rank_by: Sequence[str] = ("psnr",), **changes: Any) -> Task:
    fields: dict[str, Any] = {
        "title": f"The {name} task", "description": "Synthetic.", "manifest": name, "size_groups": _GROUPS,
        "fit": Fit(mode="crop", size_px=256), "region_mean": "macro", "rank_by": tuple(rank_by),
    }  # fmt: skip
    return Task(name=name, version=version, **{**fields, **changes})


def value_of(metric: str, /, **changes: Any) -> Value:
    fields: dict[str, Any] = {
        "key": metric, "metric": metric, "version": 1, "title": metric, "group": "pixel", "kind": "pair", "unit": "",
        "better": "higher", "n": 10, **_CARDS.get(metric, {}),
    }  # fmt: skip
    return Value(**{**fields, **changes})


def write_submission(
    root: Path,
    name: str,
    *,
    task: Task | None = None,
    images: Mapping[str, Sequence[float]] | None = None,
    words: Sequence[Sequence[float]] | None = None,
    clusters: Sequence[str] = (),
    influences: np.ndarray | None = None,
    values: Mapping[str, Value] | None = None,
    pictures: Mapping[str, np.ndarray] | None = None,
    card: Mapping[str, Any] | None = None,
    digest: str = DIGEST,
    folder: str = "",
    originals: bool = False,
    submission: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Write one submission and return its folder.

    Args:
        images: per-image values of pair metrics, by key; all of one length.
        words: per image, the values of the region metric ``t_acc`` of its words, which are small and large in turn.
        clusters: of the images; each its own by default.
        influences: of the set metric ``rfid``, by image; its value is in ``values``.
        originals: reconstructions are the references.
    """
    task = task or make_task()
    images = images if images is not None else {"psnr": (30.0, 31.0, 32.0), "bpp": (1.0, 1.0, 1.0)}
    n = len(next(iter(images.values())))
    pictures = pictures or {}
    ids = [f"image/{place:05d}" for place in range(n)]
    strange = [sample for sample in pictures if sample not in ids]
    ids[: len(strange)] = strange
    clusters = clusters or ids
    records = [
        _record(ids[place], clusters[place], {key: row[place] for key, row in images.items()},
                () if words is None else words[place], is_original=originals)
        for place in range(n)
    ]  # fmt: skip
    found = {key: _mean(key, row, clusters) for key, row in images.items()}
    if words is not None:
        found["t_acc"] = _words(words, clusters)
    target = root / (folder or f"{task.name}/{folder_name(name)}")
    (target / "pictures").mkdir(parents=True)
    content = b"".join(json_line(record_to_json(record)) for record in records)
    result = _result(name, task, {**found, **(values or {})}, n=n, digest=digest, content=content, card=card or {})
    result = dataclasses.replace(result, **changes)
    (target / RECORDS_GZ).write_bytes(compress_records(content))
    (target / "result.json").write_text(dump_json(result_to_json(result)), encoding="utf-8")
    if influences is not None:
        write_influences(target, ids, {"rfid": influences})
    names = {sample: f"pictures/{picture_stem(sample)}.png" for sample in pictures}
    for sample, pixels in pictures.items():
        Image.fromarray(pixels).save(target / names[sample])
    seal(target, name, task.name, names, **(submission or {}))
    return target


def seal(folder: Path, name: str, task: str, pictures: Mapping[str, str], **changes: Any) -> None:
    """Write submission.json, with the digests of what is in the folder."""
    files = {
        path.relative_to(folder).as_posix(): FileFacts(
            bytes=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest()
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != SUBMISSION
    }
    fields: dict[str, Any] = {
        "task": task, "tokenizer": name, "submitted": "2026-01-02T03:04:05Z", "packed_with": "0.1.0",
        "submitter": "A lab", "licence": "CC0-1.0", "command": f"tokbench run --tokenizer {name}", "files": files,
        "pictures": pictures,
    }  # fmt: skip
    made = Submission(**{**fields, **changes})
    (folder / SUBMISSION).write_text(json.dumps(submission_to_json(made)), encoding="utf-8")


def edit(folder: Path, name: str, change: Any) -> None:
    """Change a JSON file of a submission by ``change(row)``, digests included."""
    path = folder / name
    row = json.loads(path.read_text(encoding="utf-8"))
    change(row)
    path.write_text(json.dumps(row), encoding="utf-8")
    if name == SUBMISSION:
        return
    about = json.loads((folder / SUBMISSION).read_text(encoding="utf-8"))
    content = path.read_bytes()
    about["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / SUBMISSION).write_text(json.dumps(about), encoding="utf-8")


def _record(
    sample: str, cluster: str, values: Mapping[str, float], words: Sequence[float], *, is_original: bool
) -> Record:
    regions = tuple(
        RegionRecord(
            kind="word", index=index, label="word", box=(0.0, 0.0, 9.0, 9.0), group=WORDS[index % 2],
            values={"t_acc": float(value)},
        )
        for index, value in enumerate(words)
    )  # fmt: skip
    reference = hashlib.sha256(sample.encode("utf-8", "replace")).hexdigest()
    branch = BranchRecord(
        reconstruction_sha256=reference if is_original else hashlib.sha256(repr(values).encode()).hexdigest(),
        encoding_bits=65536.0, n_tokens=1024, clamped=0.0, values={k: float(v) for k, v in values.items()},
        regions=regions,
    )  # fmt: skip
    return Record(
        id=sample, cluster=cluster, status="ok", reference_sha256=reference, size_px=(256, 256), branches={"": branch}
    )


def _mean(key: str, row: Sequence[float], clusters: Sequence[str]) -> Value:
    made = mean_interval([float(value) for value in row], clusters)
    return value_of(key, value=made.mean, n=made.n, ci95=made.ci95)


def _words(words: Sequence[Sequence[float]], clusters: Sequence[str]) -> Value:
    flat = [(float(v), clusters[i], WORDS[k % 2]) for i, row in enumerate(words) for k, v in enumerate(row)]
    numbers, owners, groups = (list(column) for column in zip(*flat, strict=True))
    made = macro_mean_interval(numbers, owners, groups, names=WORDS, low=0.0, high=1.0)
    assert made is not None
    means = {
        name: [value for value, group in zip(numbers, groups, strict=True) if group == name] for name in WORDS
    }  # fmt: skip
    return value_of(
        "t_acc", title="Words read", group="text", kind="region", n_unit="words", aggregate="macro_mean", low=0.0,
        high=1.0, value=made.mean, n=made.n, ci95=made.ci95,
        groups={name: GroupValue(value=float(np.mean(part)), n=len(part)) for name, part in means.items()},
    )  # fmt: skip


def _result(
    name: str, task: Task, values: Mapping[str, Value], *, n: int, digest: str, content: bytes, card: Mapping[str, Any]
) -> RunResult:
    fields: dict[str, Any] = {"title": f"Tokenizer {name}", "latent": "discrete", "licence": "MIT"}
    spec = RunSpec(
        task=json.loads(json.dumps(dataclasses.asdict(task))), tokenizer=TokenizerCard(name=name, **{**fields, **card}),
        metrics={key: value.version for key, value in values.items()}, branches=(), manifest_digest=digest, seed=0,
        dtype="float32", device="cpu", batch_size=8, limit=None,
    )  # fmt: skip
    manifest = {
        "name": task.manifest,
        "version": 1,
        "digest": digest,
        "n_samples": n,
        "licence": "x",
        "citation": "A book",
    }
    return RunResult(
        status="complete", run_id=hashlib.sha256(name.encode()).hexdigest()[:16], started="2026-01-02T03:04:05Z",
        finished="2026-01-02T03:05:47Z", spec=spec, manifest=manifest, environment={"tokbench": "0.1.0"},
        counts={"ok": n, "failed": 0}, values=values,
        records={"n": n, "sha256": hashlib.sha256(content).hexdigest()},
    )  # fmt: skip
