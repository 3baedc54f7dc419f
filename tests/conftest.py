"""What every test gets: no network, a cache of its own, fixed seeds, and small real images."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.report.chromium import find_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"
_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address).startswith(("('127.", "('::1'")):
            raise AssertionError(f"tests run offline, but something connects to {address}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("TOKBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("TOKBENCH_DATA", str(tmp_path_factory.mktemp("data")))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten real 64 px crops, cut from photographs that scikit-image carries."""
    import skimage.data
    from PIL import Image

    folder = tmp_path_factory.mktemp("photos")
    for number, (name, x, y) in enumerate(
        [("astronaut", 190, 60), ("astronaut", 300, 300), ("chelsea", 120, 80), ("chelsea", 200, 150)]
        + [("coffee", 100 + 60 * step, 90 + 30 * step) for step in range(6)]
    ):
        crop = getattr(skimage.data, name)()[y : y + 64, x : x + 64]
        Image.fromarray(np.ascontiguousarray(crop)).save(folder / f"{number:02d}_{name}.png")
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium: one for all, since a process can hold no two."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs a browser: pip install playwright")
    found = find_chromium()
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=found, args=_FLAGS)
        yield started
        started.close()
