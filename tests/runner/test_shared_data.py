"""Whole runs of two real networks and the built-in tokenizers on real labelled images, where ../shared is present."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SHARED
from tokbench.evaluation import evaluate
from tokbench.results import RunResult
from tokbench.runfolder import read_records
from tokbench.samples import Manifest, Region, Sample
from tokbench.tasks.task import Fit, SizeGroups, Task

REAL_MINI = SHARED / "data" / "real_mini"
WEIGHTS = SHARED / "weights"

needs_data = pytest.mark.skipif(not REAL_MINI.is_dir(), reason="../shared/data/real_mini is not beside the repository")
needs_weights = pytest.mark.skipif(not WEIGHTS.is_dir(), reason="../shared/weights is not beside the repository")

TASK = Task(
    name="real_mini",
    version=1,
    title="",
    description="",
    manifest="real_mini",
    fit=Fit(mode="pad", size_px=256),
    compare_on="model",
    size_groups={
        "word": SizeGroups(by="height_px", edges=(1, 12, 24, 256)),
        "face": SizeGroups(by="height_px", edges=(1, 60, 120, 257)),
    },
)


def real_mini(*kinds: str, limit: int) -> Manifest:
    rows = [json.loads(line) for line in (REAL_MINI / "manifest.jsonl").read_text().splitlines()]
    samples = [sample(row) for row in rows if row["kind"] in kinds][:limit]
    return Manifest(
        name="real_mini", version=1, title="", licence="", citation="", samples=tuple(samples), root=str(REAL_MINI)
    )


def sample(row: dict[str, Any]) -> Sample:
    words = [
        Region(kind="word", box=tuple(word["box"]), label=word["text"]) for word in row.get("words", ()) if word["text"]
    ]
    faces = [
        Region(kind="face", box=tuple(face["box"]), keypoints=tuple((x, y) for x, y in face.get("kps5") or ()))
        for face in row.get("faces", ())
    ]
    return Sample(
        id=row["file"].rpartition(".")[0],
        source=row["file"],
        sha256=row["sha256"],
        width_px=row["width"],
        height_px=row["height"],
        regions=(*words, *faces),
    )


def run(tokenizer: Any, manifest: Manifest, monkeypatch: pytest.MonkeyPatch, **options: Any) -> RunResult:
    monkeypatch.setattr("tokbench.evaluation.find_manifest", lambda name: manifest)
    return evaluate(tokenizer, TASK, options.pop("metrics", "pixel,psnr_word,psnr_face,bpp,codebook"), **options)


@needs_data
def test_quality_falls_in_the_expected_order(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = real_mini("scene_text", "face", limit=24)
    names = ["identity", "webp/q90", "jpeg/q75", "jpeg/q10", "lbg/d1"]
    results = {name: run(name, manifest, monkeypatch) for name in names}
    for key in ("psnr", "ssim", "ms_ssim", "psnr_word"):
        values = [results[name][key] or 0 for name in names]
        assert values == sorted(values, reverse=True), key
    assert results["identity"]["psnr"] == 100
    assert results["identity"]["ssim"] == 1
    groups = results["jpeg/q75"].values["psnr_word"].groups
    assert sum(group.n for group in groups.values()) == results["jpeg/q75"].values["psnr_word"].n > 20


@needs_data
@needs_weights
def test_a_real_discrete_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKBENCH_WEIGHTS", str(WEIGHTS))
    manifest = real_mini("natural", limit=12)
    result = run("vqvae_explore", manifest, monkeypatch, out=tmp_path)
    assert result.counts == {"ok": 12, "failed": 0}
    assert result["bpp"] == pytest.approx(9 / 16 * 256 * 256 / compared_pixels(result), rel=0.35)
    assert 24 < (result["psnr"] or 0) < 31
    assert 0.2 < (result["codebook_usage"] or 0) < 0.7
    assert 40 < (result["codebook_perplexity"] or 0) < 260


def compared_pixels(result: RunResult) -> float:
    """Mean pixels of the compared grid."""
    sizes = [record.size_px or (0, 0) for record in read_records(Path(result.path or ""))]
    return sum(width * height for width, height in sizes) / len(sizes)


@needs_data
@needs_weights
def test_a_real_continuous_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKBENCH_WEIGHTS", str(WEIGHTS))
    manifest = real_mini("natural", limit=3)
    result = run("taef2", manifest, monkeypatch, batch_size=2)
    assert 27 < (result["psnr"] or 0) < 36
    assert result.values["bpp"].status == "undefined"
    assert "no size in bits" in result.values["bpp"].reason
    assert result.values["codebook_usage"].status == "skipped"
    assert result.values["codebook_usage"].reason == "continuous latents have no codebook"
