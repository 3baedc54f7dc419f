"""Small runs on disk with known numbers: two tokenizers on the same images, words in them, and a set metric."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tokbench.cards import TokenizerCard
from tokbench.results import BranchRecord, GroupValue, Record, RegionRecord, RunResult, RunSpec, Value
from tokbench.runfolder import LineWriter, write_influences, write_result
from tokbench.schema import record_to_json

GROUPS = ("small", "large")
TASK: dict[str, Any] = {
    "name": "toy",
    "version": 1,
    "title": "Toy",
    "description": "For tests.",
    "manifest": "toy",
    "fit": {"mode": "crop", "size_px": 64, "filter": "lanczos"},
    "compare_on": "model",
    "size_groups": {"word": {"by": "height_px", "edges": [1, 8, 64], "names": list(GROUPS)}},
}
DIGEST = "sha256:" + "ab" * 32


def value_of(key: str, value: float | None, /, **changes: Any) -> Value:
    """A value with the facts of a known metric; other keys are plain numbers per image."""
    facts: dict[str, Any] = {
        "psnr": {"unit": "dB", "group": "pixel"},
        "mae": {"unit": "levels", "group": "pixel", "better": "lower"},
        "t_acc.toy": {"kind": "region", "group": "text", "n_unit": "words", "aggregate": "macro_mean"},
        "rfid": {"kind": "set", "group": "distribution", "better": "lower", "aggregate": "pooled"},
        "codebook_usage": {"kind": "code", "group": "codebook", "aggregate": "pooled"},
        "zipf_exponent": {"kind": "code", "group": "codebook", "better": "neither", "aggregate": "pooled"},
        "encode_s": {"kind": "cost", "group": "efficiency", "unit": "s", "better": "lower", "aggregate": "median"},
        "parameters": {"kind": "cost", "group": "efficiency", "better": "lower", "aggregate": "total"},
    }.get(key, {"group": "pixel"})
    fields: dict[str, Any] = {
        "key": key, "metric": key, "version": 1, "title": key, "kind": "pair", "unit": "", "better": "higher", "n": 1,
    }  # fmt: skip
    return Value(value=value, **{**fields, **facts, **changes})


def make_run(
    folder: Path,
    *,
    name: str = "toy/a",
    shift: float = 0.0,
    noise: float = 0.5,
    n: int = 40,
    words: int = 3,
    per_cluster: int = 1,
    seed: int = 1,
    failed: Mapping[str, str] | None = None,
    extra: Mapping[str, Value] | None = None,
    drop: tuple[str, ...] = (),
    spec: Mapping[str, Any] | None = None,
    card: Mapping[str, Any] | None = None,
    rename: Mapping[str, str] | None = None,
    **changes: Any,
) -> Path:
    """Write a consistent run. ``shift`` moves psnr by that much dB, and the chance of reading a word by a tenth of it.

    Images and words are the same for every run; ``seed`` makes what the tokenizer does to them.
    """
    folder.mkdir(parents=True)
    same, own = np.random.default_rng(0), np.random.default_rng(seed)
    records: list[Record] = []
    for number in range(n):
        hard, ease = same.normal(28, 4), same.random(words)
        psnr = hard + shift + own.normal(0, noise)
        sample = f"image/{number:05d}"
        regions = tuple(
            RegionRecord(
                kind="word", index=index, label=f"w{index}", box=(0.0, 0.0, 8.0, 8.0), group=GROUPS[index % 2],
                values={"t_acc.toy": float(ease[index] + own.normal(0, 0.05) < 0.85 + shift / 10)},
            )
            for index in range(words)
        )  # fmt: skip
        if failed and sample in failed:
            record = Record(id=sample, cluster=f"c{number // per_cluster}", status="failed", stage="encode",
                            error=failed[sample])  # fmt: skip
        else:
            branch = BranchRecord(
                reconstruction_sha256="0" * 64, encoding_bits=None, n_tokens=None, clamped=0.0,
                values={"psnr": psnr, "mae": 250 * 10 ** (-psnr / 20)}, regions=regions,
            )  # fmt: skip
            digest = hashlib.sha256(sample.encode()).hexdigest()
            record = Record(id=sample, cluster=f"c{number // per_cluster}", status="ok", reference_sha256=digest,
                            size_px=(64, 64), branches={"": branch})  # fmt: skip
        records.append(record)
    return write_run(
        folder, records, name=name, extra=extra, drop=drop, spec=spec, card=card, rename=rename, shift=shift,
        seed=seed, **changes,
    )  # fmt: skip


def write_run(
    folder: Path,
    records: list[Record],
    *,
    name: str = "toy/a",
    extra: Mapping[str, Value] | None = None,
    drop: tuple[str, ...] = (),
    spec: Mapping[str, Any] | None = None,
    card: Mapping[str, Any] | None = None,
    rename: Mapping[str, str] | None = None,
    shift: float = 0.0,
    seed: int = 1,
    **changes: Any,
) -> Path:
    """Write records with the result that belongs to them."""
    writer = LineWriter(folder / "records.jsonl")
    for record in records:
        row = record_to_json(record)
        for old, new in (rename or {}).items():
            for branch in row.get("branches", {}).values():
                for values in [branch["values"], *(region["values"] for region in branch.get("regions", []))]:
                    if old in values:
                        values[new] = values.pop(old)
        writer.write(row)
    writer.close()
    ok = [record for record in records if record.status == "ok"]
    values = {value.key: value for value in _values(ok, shift)}
    for old, new in (rename or {}).items():
        values[new] = replace(values.pop(old), key=new, metric=new)
    values |= dict(extra or {})
    for key in drop:
        del values[key]
    ids = [record.id for record in ok]
    moves = np.random.default_rng([seed, 9]).normal(0, 1, len(ids))
    influences = write_influences(folder, ids, {"rfid": moves - moves.mean()})
    fields: dict[str, Any] = {
        "status": "complete",
        "run_id": "0" * 16,
        "started": "2026-01-02T03:04:05Z",
        "finished": "2026-01-02T03:05:47Z",
        "spec": RunSpec(**{
            "task": TASK, "tokenizer": TokenizerCard(name=name, **(card or {})), "metrics": dict.fromkeys(values, 1),
            "branches": ("",), "manifest_digest": DIGEST, "seed": 0, "dtype": "float32", "device": "cpu",
            "batch_size": 8, "limit": None, **(spec or {}),
        }),
        "manifest": {"name": "toy", "version": 1, "digest": DIGEST, "n_samples": len(records)},
        "environment": {"tokbench": "0.1.0", "packages": {"numpy": "2.0"}},
        "counts": {"ok": len(ok), "failed": len(records) - len(ok)},
        "values": values,
        "records": {**writer.summary(), "influences_sha256": influences},
    }  # fmt: skip
    write_result(folder, RunResult(**{**fields, **changes}))
    return folder


def _values(ok: list[Record], shift: float) -> list[Value]:
    made = []
    for key in ("psnr", "mae"):
        numbers = [record.branches[""].values[key] for record in ok]
        made.append(value_of(key, float(np.mean(numbers)), n=len(numbers)))
    regions = [region for record in ok for region in record.branches[""].regions]
    groups = {}
    for group in GROUPS:
        numbers = [region.values["t_acc.toy"] for region in regions if region.group == group]
        if numbers:
            groups[group] = GroupValue(value=float(np.mean(numbers)), n=len(numbers))
    if regions:
        macro = float(np.mean([group.value for group in groups.values()]))
        made.append(value_of("t_acc.toy", macro, n=len(regions), groups=groups))
    n = len(ok)
    return [
        *made,
        value_of("rfid", 3.0 - shift, n=n),
        value_of("codebook_usage", 0.9, n=n),
        value_of("zipf_exponent", 0.8 + shift, n=n),
        value_of("encode_s", 0.01, n=5, n_unit="batches"),
        value_of("parameters", 1e6),
    ]
