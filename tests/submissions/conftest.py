"""The honest submission, run once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.submissions.forge import honest_run, known, packed, small_task
from tokbench.submissions.known import Known


@pytest.fixture(scope="session")
def shelf() -> Known:
    """The small task and its data, as if they were registered."""
    return known(*small_task())


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An honest run of the small task with `lbg/d1`."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CACHE", "DATA"):
            patch.setenv(f"TOKBENCH_{name}", str(tmp_path_factory.mktemp(name)))
        yield honest_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def honest(run: Path, shelf: Known, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its submission."""
    return packed(run, tmp_path_factory.mktemp("results"), shelf=shelf)


@pytest.fixture(scope="session")
def pictured(run: Path, shelf: Known, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its submission with two pictures."""
    return packed(run, tmp_path_factory.mktemp("pictured"), shelf=shelf, n_pictures=2)
