"""Runs to report on, and a headless browser to look at the pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.report.chromium import find_chromium
from tests.report.synthetic import HOSTILE, TASK, make_run, value_of

_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


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
        },
        status="failed",
        reason=everything,
        environment={text: {text: [text]} for text in HOSTILE} | {"argv": ["tokbench", "run", *HOSTILE]},
        manifest={"name": everything, "citation": everything},
        spec_changes={"task": {**TASK, "title": everything, "description": everything, "name": HOSTILE[0]}},
    )


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    found = find_chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=_FLAGS)
        yield started
        started.close()
