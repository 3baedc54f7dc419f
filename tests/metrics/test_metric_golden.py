"""Numbers may only move together with a metric's version.

Remake with ``python tests/metrics/test_metric_golden.py --remake``; a number that moved while its version did not is
refused even then.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from metric_inputs import compare
from network_inputs import features_of, labelled

from tokbench.contracts import Comparison, CostMetric, PairMetric, RegionMetric, StatefulMetric, Summary, Timing
from tokbench.encodings import BitCodes, Tokens, TokenStream
from tokbench.metrics import (
    agreement,
    codebook,
    cost,
    efficiency,
    feature_distances,
    language,
    pixel,
    rate,
    regions,
    squeeze_distance,
    ssim,
    usage,
    vif,
)
from tokbench.metrics.features import NetworkFeature
from tokbench.requirements import why_unavailable
from tokbench.samples import Region

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "metrics.json"
FAMILIES = (
    *(pixel, ssim, regions, codebook, usage, language, rate, efficiency, cost),
    *(agreement, feature_distances, squeeze_distance, vif),
)
METRICS = {m.card.key: m for family in FAMILIES for m in family.METRICS if not why_unavailable(m)}
NETWORK_FEATURES = {f.name: f for m in METRICS.values() for f in m.features if isinstance(f, NetworkFeature)}
SIDE_PX = 181
# float32, and deep in it; everything else is integers and a few float64 steps
TOLERANCE = {
    "ssim": 1e-6,
    "ms_ssim": 1e-6,
    "feature_cosine.effnet_lite0": 1e-5,
    "fd_effnet": 1e-4,
    "squeeze_distance": 1e-5,
}


def images() -> tuple[torch.Tensor, torch.Tensor]:
    """Two smooth patterns and the same with noise, in integer arithmetic, so that they are equal everywhere."""
    x, y = np.meshgrid(np.arange(SIDE_PX), np.arange(SIDE_PX))
    planes = [(x * x + (2 + c) * y * y + 900 * c) // 210 % 512 for c in range(6)]
    reference = np.stack([np.minimum(plane, 511 - plane) for plane in planes]).reshape(2, 3, SIDE_PX, SIDE_PX)
    noise = (
        np.arange(reference.size, dtype=np.uint64).reshape(reference.shape) * np.uint64(2654435761) % np.uint64(2**32)
    )
    noise = (noise >> np.uint64(16)).astype(np.int64) % 41 - 20
    noise[1] *= 3
    reconstruction = np.clip(reference + noise, 0, 255)
    return torch.from_numpy(reference.astype(np.uint8)), torch.from_numpy(reconstruction.astype(np.uint8))


def comparison(encoding: Tokens | BitCodes) -> Comparison:
    words = [Region(kind="word", box=(10.5, 20, 60.2, 41)), Region(kind="face", box=(-3, 100, 90, 300))]
    features = {"lossless_webp": [{"bytes": np.array(5000)}, {"bytes": np.array(7000)}]}
    ours, theirs = network_features()
    given = compare(*images(), encoding=encoding, regions=[words, words[::-1]], features={**features, **ours})
    return replace(labelled(given, ["n03729826", "904"]), reconstruction_features=theirs)


@cache
def network_features() -> list[dict[str, list[dict[str, np.ndarray]]]]:
    """Of the references and of the reconstructions."""
    return [{name: features_of(feature, side) for name, feature in NETWORK_FEATURES.items()} for side in images()]


def encodings() -> dict[str, Tokens | BitCodes]:
    coarse = torch.arange(2 * 16).reshape(2, 16) ** 2 % 37
    fine = torch.arange(2 * 64).reshape(2, 8, 8) ** 3 % 1000
    streams = (
        TokenStream(indices=coarse, codebook_size=64, codebook="coarse", lengths=torch.tensor([16, 9])),
        TokenStream(indices=fine, codebook_size=1024, codebook="fine"),
    )
    bits = (torch.arange(2 * 12 * 70).reshape(2, 12, 70) ** 2 // 7) % 3 == 1
    return {
        "tokens": Tokens(streams=streams),
        "bits": BitCodes(values=bits),
        "few_bits": BitCodes(values=bits[..., :3]),
    }


def timings() -> list[Timing]:
    first = Timing(n=2, encode_s=9.0, decode_s=9.0, is_warm_up=True)
    return [first] + [
        Timing(n=2, encode_s=0.1 + 0.01 * (step * step % 5), decode_s=0.3 - 0.02 * step, is_warm_up=False)
        for step in range(8)
    ]


def plain(summary: Summary) -> dict[str, Any]:
    return {"value": summary.value, "n": summary.n, "ci95": summary.ci95 and list(summary.ci95)}


def measured(metric: object, given: Comparison) -> Any:
    if isinstance(metric, CostMetric):
        return plain(metric.summarise(timings()))
    if isinstance(metric, StatefulMetric):
        state = metric.new_state()
        metric.update(state, given)
        return plain(metric.compute(state))
    if isinstance(metric, RegionMetric):
        return [{str(index): answer.value for index, answer in row.items()} for row in metric.measure_regions(given)]
    assert isinstance(metric, PairMetric)
    return metric.measure(given)


def numbers(key: str) -> dict[str, Any]:
    metric = METRICS[key]
    reads_encodings = metric.card.group in ("codebook", "rate")
    return {
        name: measured(metric, comparison(encoding))
        for name, encoding in encodings().items()
        if reads_encodings or name == "tokens"
    }


def close(got: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, dict):
        return got.keys() == expected.keys() and all(close(got[key], expected[key], tolerance) for key in expected)
    if isinstance(expected, list):
        return len(got) == len(expected) and all(map(close, got, expected, [tolerance] * len(got)))
    return got == expected if expected is None else got == pytest.approx(expected, rel=tolerance, abs=1e-12)


@pytest.mark.parametrize("key", METRICS)
def test_numbers_move_only_with_the_version(key: str) -> None:
    golden = json.loads(GOLDEN.read_text())["metrics"]
    assert key in golden, "a new metric: remake the golden file"
    assert golden[key]["version"] == METRICS[key].card.version, "a new version: remake the golden file"
    got = numbers(key)
    moved = f"{key} gave {got}, not {golden[key]['numbers']}: undo that, or raise the card's version and remake"
    assert close(got, golden[key]["numbers"], TOLERANCE.get(key, 1e-9)), moved


def test_the_golden_file_has_no_metric_that_is_gone() -> None:
    assert set(json.loads(GOLDEN.read_text())["metrics"]) <= set(METRICS)


def test_close_tells_numbers_apart() -> None:
    assert close({"a": [1.0, None]}, {"a": [1.0 + 1e-12, None]}, 1e-9)
    assert not close({"a": [1.0, None]}, {"a": [1.1, None]}, 1e-9)
    assert not close({"a": [1.0]}, {"a": [1.0, 2.0]}, 1e-9)
    assert not close([None], [1.0], 1e-9)
    assert not close([1.0], [None], 1e-9)


def remade(old: dict[str, Any]) -> dict[str, Any]:
    """The golden metrics as they are now; a SystemExit if a number moved without its version."""
    new = {}
    for key in sorted(METRICS):
        version, got = METRICS[key].card.version, json.loads(json.dumps(numbers(key)))
        if key in old and old[key]["version"] == version:
            if not close(got, old[key]["numbers"], TOLERANCE.get(key, 1e-9)):
                raise SystemExit(f"{key} moved from {old[key]['numbers']} to {got}; raise its version first")
            got = old[key]["numbers"]
        new[key] = {"version": version, "numbers": got}
    return new


def test_remaking_keeps_what_did_not_move_and_refuses_what_did() -> None:
    golden = json.loads(GOLDEN.read_text())["metrics"]
    assert remade(golden) == golden
    golden["mae"]["numbers"]["tokens"][0] += 1
    with pytest.raises(SystemExit, match="raise its version"):
        remade(golden)
    golden["mae"]["version"] = 0
    assert remade(golden)["mae"]["version"] == METRICS["mae"].card.version


if __name__ == "__main__":
    if sys.argv[1:] != ["--remake"]:
        raise SystemExit("usage: test_metric_golden.py --remake")
    before = json.loads(GOLDEN.read_text())["metrics"] if GOLDEN.exists() else {}
    about = (
        f"Made by {Path(__file__).name}, which says how; relative tolerance 1e-9, where it is float32 as the test says."
    )
    GOLDEN.write_text(json.dumps({"about": about, "metrics": remade(before)}, indent=2, allow_nan=False) + "\n")
