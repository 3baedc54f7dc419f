"""Real images from many sources, where the shared data lies beside the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tokbench.data.folder import folder_manifest
from tokbench.data.manifests import load_pixels

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "real_mini"

pytestmark = pytest.mark.skipif(
    not (FOLDER / "manifest.jsonl").is_file(), reason="../shared/data/real_mini is not beside the repository"
)


def test_all_images_have_the_digests_and_sizes_their_manifest_says() -> None:
    rows: list[dict[str, Any]] = [json.loads(line) for line in (FOLDER / "manifest.jsonl").read_text().splitlines()]
    manifest = folder_manifest(FOLDER)
    samples = {sample.source: sample for sample in manifest.samples}
    images = [row for row in rows if row["file"] in samples]
    assert len(images) == len(samples) > 200
    for row in images:
        sample = samples[row["file"]]
        assert sample.sha256 == row["sha256"]
        assert (sample.width_px, sample.height_px) == (row["width"], row["height"])
        assert load_pixels(sample, manifest.root).shape == (row["height"], row["width"], 3)
