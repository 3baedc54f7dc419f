"""Where the browser is."""

from __future__ import annotations

import os
import shutil

import pytest


def find_chromium() -> str:
    """A Chromium's path; without one the test skips, except under continuous integration, where it fails."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        message = "no Chromium on the path; on Debian: apt install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found
