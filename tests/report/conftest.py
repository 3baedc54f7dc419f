"""Runs to report on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.report.synthetic import HOSTILE, TASK, make_run, value_of
from tokbench.curve_comparison import compare_curves
from tokbench.curves import write_rate_distortion
from tokbench.runfolder import read_records, read_result


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """``plain`` and ``other`` measured the same thing; ``lengths`` too, with branches; ``elsewhere`` did not."""
    root = tmp_path_factory.mktemp("runs")
    missing = {
        "rfid": value_of("rfid", None, status="undefined", n=0, reason="needs 2,048 images, got 12"),
        "code_usage": value_of("code_usage", None, status="failed", n=0, reason="division by zero"),
        "bpp": value_of("bpp", None, status="skipped", n=0, reason="encodings have no size"),
    }
    failed = [("broken/1", "load", "image file is truncated"), ("broken/2", "decode", "out of memory")]
    return {
        "plain": make_run(root / "plain"),
        "other": make_run(root / "other", name="toy/quantise_3bit", quality=0.5, values=missing, failures=failed),
        "lengths": make_run(
            root / "lengths", name="vary/length", lengths=(4, 16), card={"prefix_axis": "positions", "max_length": 64}
        ),
        "elsewhere": make_run(root / "elsewhere", name="toy/elsewhere", digest="sha256:" + "cd" * 32, n=3),
    }


def hostile_curves() -> dict[str, str]:
    """Curves that cannot be read, and one that can, with hostile words."""
    points = [{"x": i, "y": i, "series": text, "label": text} for i, text in enumerate(HOSTILE)]
    good = {"x_title": HOSTILE[1], "y_title": HOSTILE[0], "points": points}
    bad = {f"bad{i}_curve": text for i, text in enumerate((*HOSTILE, "[[1, NaN]]", "[" * 3000, "{}"))}
    return {f"{HOSTILE[0]}_curve": json.dumps(good), **bad}


@pytest.fixture(scope="session")
def sweep_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a curve by length and one to compare it with."""
    anchors = {"jpeg-q5": 1, "jpeg-q15": 2, "jpeg-q35": 3, "jpeg-q60": 4, "jpeg-q85": 6}
    folder = make_run(
        tmp_path_factory.mktemp("sweep") / "run", name="vary/length", lengths=(1, 2, 3), anchors=anchors,
        card={"prefix_axis": "positions", "max_length": 64},
        spec_changes={"curves": {"vary": ("length=1", "length=2", "length=3", ""), "jpeg": tuple(anchors)}},
    )  # fmt: skip
    found = compare_curves(read_result(folder), list(read_records(folder)), rates=("bpp",))
    write_rate_distortion(folder, found)
    return folder


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which every text that comes from outside tries to break the page."""
    import numpy as np

    from tests.report.synthetic import _image

    everything = " ".join(HOSTILE)
    rng = np.random.default_rng(1)
    ids = [*HOSTILE, everything]
    changes = {"title": everything, "unit": HOSTILE[0], "n_unit": HOSTILE[1], "group": HOSTILE[2]}
    return make_run(
        tmp_path_factory.mktemp("hostile") / "run",
        pictures={sample_id: _image(rng, 32) for sample_id in ids},
        words=HOSTILE,
        card={"title": everything, "licence": everything, "paper": "javascript:alert(4)", "notes": HOSTILE},
        failures=[(text, text, text) for text in HOSTILE],
        values={
            "psnr": value_of("psnr", 31.2, **changes, details={HOSTILE[0]: HOSTILE[1]}),
            "bad": value_of("rfid", None, key=HOSTILE[0], n=0, status="failed", reason=everything),
            HOSTILE[3]: value_of(
                "rfid", 3.0, key=HOSTILE[3], metric=HOSTILE[3], group="robustness", details=hostile_curves()
            ),
        },
        status="failed",
        reason=everything,
        environment={text: {text: [text]} for text in HOSTILE} | {"argv": ["tokbench", "run", *HOSTILE]},
        manifest={"name": everything, "citation": everything},
        spec_changes={"task": {**TASK, "title": everything, "description": everything, "name": HOSTILE[0]}},
    )
