"""Words and faces through the whole run, with the recognisers whose weights come inside packages."""

from __future__ import annotations

from typing import Any

import pytest

from tokbench.data.manifests import load_manifest
from tokbench.evaluation import evaluate
from tokbench.results import RunResult
from tokbench.samples import Manifest

KEYS = "t_acc.rapidocr,t_ned.rapidocr,f_sim.dlib,psnr"


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """Eight scenes and the photographs of two people, of `quick`."""
    whole = load_manifest("quick")
    scenes = [sample for sample in whole.samples if sample.id.startswith("scene/")][:8]
    people = [s for s in whole.samples if s.cluster in ("astronaut", "hopper") and s.regions and "scene" not in s.tags]
    chosen = {sample.id: sample for sample in (*scenes, *people)}
    manifest = Manifest(**{**vars(whole), "samples": tuple(chosen.values())})
    monkeypatch.setattr("tokbench.evaluation.find_manifest", lambda name: manifest)
    return manifest


def run(name: Any) -> RunResult:
    return evaluate(name, "quick", KEYS)


def test_the_untouched_image_is_read_and_recognised_perfectly() -> None:
    result = run("identity")
    words, faces = result.values["t_acc.rapidocr"], result.values["f_sim.dlib"]
    assert words.value == 1
    assert result["t_ned.rapidocr"] == 1
    assert faces.value == pytest.approx(1, abs=1e-6)
    assert words.n > 100
    assert faces.n >= 5
    assert {"small", "medium", "large"} == set(words.groups)
    assert sum(group.n for group in words.groups.values()) == words.n


def test_less_is_read_as_less_is_kept() -> None:
    results = [run(name) for name in ("identity", "webp/q90", "webp/q10", "resize/f4", "lbg/d1")]
    for key in KEYS.split(","):
        values = [result[key] or 0.0 for result in results]
        assert values[0] >= values[1] >= values[2] > max(values[3:]), (key, values)
    small = [result.values["t_acc.rapidocr"].groups["small"].value or 0.0 for result in results]
    assert small[-1] < 0.2 < 0.9 < small[1]
