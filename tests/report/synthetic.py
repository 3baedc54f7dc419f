"""Small synthetic runs on disk: two runs of one task, with everything that can go wrong in them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tokbench.cards import Better, TokenizerCard
from tokbench.results import BranchRecord, GroupValue, Record, RegionRecord, RunResult, RunSpec, Value
from tokbench.runfolder import LineWriter, write_result
from tokbench.schema import record_to_json

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</script><script>alert(3)</script>",
    "line\u2028separator\u2029end",
    "abc\u202edcba\u2066x",
    "{{7*7}}{% raw %}",
    "x" * 3000,
    "<!--<script>",
    "\x1b[31mred\x07",
)

TASK: dict[str, Any] = {
    "name": "quick",
    "version": 1,
    "title": "Quick look, 256 px",
    "description": "Photographs and text scenes.",
    "manifest": "quick",
    "fit": {"mode": "crop", "size_px": 256, "filter": "lanczos"},
    "compare_on": "model",
    "size_groups": {
        "word": {"by": "height_px", "edges": [8, 12, 24, 65], "names": ["small", "medium", "large"]},
        "face": {"by": "height_px", "edges": [16, 40, 80, 257], "names": ["small", "medium", "large"]},
    },
    "rank_by": ["t_acc.parseq", "psnr"],
}

_CARDS: dict[str, dict[str, Any]] = {
    "psnr": {"title": "Peak signal-to-noise ratio", "group": "pixel", "unit": "dB", "better": "higher", "low": 0.0},
    "ssim": {"title": "Structural similarity", "group": "pixel", "better": "higher", "low": -1.0, "high": 1.0},
    "lpips": {"title": "LPIPS (AlexNet)", "group": "pixel", "better": "lower", "low": 0.0},
    "t_acc.parseq": {
        "title": "Words read correctly", "group": "text", "better": "higher", "kind": "region", "low": 0.0,
        "high": 1.0, "n_unit": "words", "aggregate": "macro_mean",
    },
    "f_sim": {
        "title": "Face similarity", "group": "face", "better": "higher", "kind": "region", "low": -1.0, "high": 1.0,
        "n_unit": "faces",
    },
    "rfid": {
        "title": "Fréchet inception distance", "group": "distribution", "better": "lower", "kind": "set", "low": 0.0,
    },
    "code_usage": {
        "title": "Codebook usage", "group": "codebook", "better": "higher", "kind": "code", "low": 0.0, "high": 1.0,
        "n_unit": "tokens",
    },
    "bpp": {"title": "Bits per pixel", "group": "rate", "unit": "bpp", "better": "lower", "kind": "code", "low": 0.0},
    "encode_time": {
        "title": "Encoding time per image", "group": "efficiency", "unit": "s", "better": "lower", "kind": "cost",
        "low": 0.0, "n_unit": "batches", "aggregate": "median",
    },
}  # fmt: skip
_REGION_KIND = {"t_acc.parseq": "word", "f_sim": "face"}


def value_of(metric: str, value: float | None, /, *, branch: str = "", **changes: Any) -> Value:
    """A Value with a known metric's facts."""
    card: dict[str, Any] = {"kind": "pair", "unit": "", "n_unit": "images", **_CARDS[metric]}
    better: Better = card.pop("better")
    key = f"{metric}@{branch}" if branch else metric
    fields: dict[str, Any] = {"key": key, "metric": metric, "branch": branch, "version": 1, "better": better, "n": 12}
    return Value(value=value, **{**fields, **card, **changes})


def make_card(name: str = "toy/quantise_4bit", **changes: Any) -> TokenizerCard:
    fields: dict[str, Any] = {
        "title": "Toy quantiser, four bits a channel",
        "latent": "discrete",
        "codebook_sizes": (16, 16, 16),
        "licence": "MIT",
        "weights_licence": "Apache-2.0",
        "paper": "arXiv:2505.18142",
        "repository": "https://example.org/toy",
        "notes": ("The decoder adds nothing.",),
    }
    return TokenizerCard(name=name, **{**fields, **changes})


def make_run(
    folder: Path,
    *,
    name: str = "toy/quantise_4bit",
    quality: float = 1.0,
    pictures: Mapping[str, np.ndarray] | None = None,
    lengths: Sequence[int] = (),
    anchors: Mapping[str, int] | None = None,
    n: int = 12,
    words: Sequence[str] = (),
    card: Mapping[str, Any] | None = None,
    size: int = 48,
    failures: Sequence[tuple[str, str, str]] = (),
    values: Mapping[str, Value] | None = None,
    digest: str = "sha256:" + "ab" * 32,
    spec_changes: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Write a run's folder: result, records and pictures, all consistent with each other.

    ``anchors`` are further branches, by bits a channel.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(7)
    images = dict(pictures or {f"scene/{index:03d}": _image(rng, size) for index in range(n)})
    branches = {"": 5 if quality >= 1 else 3} | {f"length={length}": 1 + index for index, length in enumerate(lengths)}
    branches |= anchors or {}
    records, index = [], []
    (folder / "pictures").mkdir()
    for number, (sample_id, image) in enumerate(images.items()):
        made: dict[str, BranchRecord] = {}
        files = {}
        Image.fromarray(image).save(folder / "pictures" / f"{number:04d}-reference.png")
        for place, (branch, bits) in enumerate(branches.items()):
            coded = _coded(image, bits)
            files[branch] = f"{number:04d}-{place}.png"
            Image.fromarray(coded).save(folder / "pictures" / files[branch])
            made[branch] = _branch(image, coded, bits=bits, words=words, number=number)
        index.append({"id": sample_id, "reference": f"{number:04d}-reference.png", "branches": files})
        height, width = image.shape[:2]
        records.append(Record(id=sample_id, cluster="", status="ok", size_px=(width, height), branches=made))
    (folder / "pictures" / "index.json").write_text(json.dumps({"samples": index}), encoding="utf-8")
    records += [Record(id=i, cluster="", status="failed", stage=stage, error=error) for i, stage, error in failures]
    writer = LineWriter(folder / "records.jsonl")
    for record in records:
        writer.write(record_to_json(record))
    writer.close()
    fields: dict[str, Any] = {
        "status": "complete",
        "run_id": hashlib.sha256(f"{name}{digest}".encode()).hexdigest()[:16],
        "started": "2026-01-02T03:04:05Z",
        "finished": "2026-01-02T03:05:47Z",
        "spec": RunSpec(**{
            "task": TASK, "tokenizer": make_card(name, **(card or {})), "metrics": dict.fromkeys(_CARDS, 1),
            "branches": tuple(branches), "manifest_digest": digest, "seed": 0, "dtype": "float32", "device": "cpu",
            "batch_size": 8, "limit": None, **(spec_changes or {}),
        }),
        "manifest": {
            "name": "quick", "version": 1, "digest": digest, "n_samples": len(records), "licence": "various",
            "citation": "The photographs' own authors.",
        },
        "environment": {"tokbench": "0.1.0", "python": "3.11.7", "torch": "2.4.0", "platform": {"os": "Linux"}},
        "counts": {"ok": len(images), "failed": len(failures)},
        "values": {**_values(records, branches), **(values or {})},
        "records": writer.summary(),
    }  # fmt: skip
    write_result(folder, RunResult(**{**fields, **changes}))
    return folder


def _image(rng: np.random.Generator, size: int) -> np.ndarray:
    """Smooth colour with a few hard edges, different for every draw."""
    y, x = np.mgrid[0:size, 0:size] / size
    a, b, c = rng.uniform(0, 6, 3)
    image = np.stack([np.sin(a + 5 * x), np.cos(b + 4 * y), np.sin(c + 3 * (x + y))], axis=-1) * 90 + 128
    image[size // 3 : size // 2, size // 4 : 3 * size // 4] = rng.uniform(0, 255, 3)
    return (image + rng.normal(0, rng.uniform(0, 20), image.shape)).clip(0, 255).astype(np.uint8)


def _coded(image: np.ndarray, bits: int) -> np.ndarray:
    top = 2**bits - 1
    coded: np.ndarray = (np.round(image / 255 * top) / top * 255).astype(np.uint8)
    return coded


def _branch(image: np.ndarray, coded: np.ndarray, *, bits: int, words: Sequence[str], number: int) -> BranchRecord:
    mse = float(np.mean((image.astype(float) - coded) ** 2)) + 1e-9
    height, width = image.shape[:2]
    rng = np.random.default_rng([number, bits])
    regions = []
    for place in range(1 + number % 3):
        x, y, w = width * (0.05 + 0.3 * place), height * 0.2, width * 0.25
        label = words[(number + place) % len(words)] if words else f"word{place}"
        read = {"t_acc.parseq": float(rng.random() < 1 - 1 / bits)}
        regions.append(
            RegionRecord(kind="word", index=place, label=label, box=(x, y, x + w, y + height * 0.15),
                         group=("small", "medium")[place % 2], values=read)
        )  # fmt: skip
    if number % 2:
        box = (width * 0.3, height * 0.5, width * 0.7, height * 0.95)
        similar = {"f_sim": float(1 - rng.beta(2, 6) / bits * 3)}
        regions.append(RegionRecord(kind="face", index=9, label="", box=box, group="large", values=similar))
    values = {"psnr": 10 * math.log10(255**2 / mse), "ssim": 1 - mse / 2000, "lpips": mse / 900}
    return BranchRecord(
        reconstruction_sha256="0" * 64, encoding_bits=3.0 * bits * height * width / 64, n_tokens=height * width,
        clamped=0.0, values=values, regions=tuple(regions),
    )  # fmt: skip


def _values(records: Sequence[Record], branches: Mapping[str, int]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    ok = [record for record in records if record.status == "ok"]
    for metric, card in _CARDS.items():
        for branch, bits in branches.items():
            parts = [record.branches[branch] for record in ok]
            if card.get("kind", "pair") == "pair":
                made = _mean(metric, branch, [part.values[metric] for part in parts])
            elif metric in _REGION_KIND:
                made = _region_value(metric, branch, parts)
            else:
                number = {"rfid": 40.0 / bits, "code_usage": 0.81, "bpp": 3 * bits / 64, "encode_time": 0.00421}[metric]
                made = value_of(metric, number, branch=branch, n=len(ok), details={"codes_used": 812, "rate": 0.123456})
            found[made.key] = made
    return found


def _mean(metric: str, branch: str, numbers: Sequence[float]) -> Value:
    mean, half = float(np.mean(numbers)), 1.96 * float(np.std(numbers)) / math.sqrt(len(numbers))
    return value_of(metric, mean, branch=branch, n=len(numbers), ci95=(mean - half, mean + half))


def _region_value(metric: str, branch: str, parts: Sequence[BranchRecord]) -> Value:
    groups, everything = {}, []
    for group in ("small", "medium", "large"):
        numbers = [
            region.values[metric]
            for part in parts
            for region in part.regions
            if region.kind == _REGION_KIND[metric] and region.group == group
        ]
        everything += numbers
        if numbers:
            made = _mean(metric, branch, numbers)
            groups[group] = GroupValue(value=made.value, n=made.n, ci95=made.ci95)
        else:
            groups[group] = GroupValue(value=None, n=0)
    made = _mean(metric, branch, everything)
    return value_of(metric, made.value, branch=branch, n=made.n, ci95=made.ci95, groups=groups)
