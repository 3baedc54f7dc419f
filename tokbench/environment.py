"""Where a run happened: versions, device, commit. Everything a reader needs to trust or refuse a comparison."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "numpy", "pillow", "torch", "torchvision", "torchmetrics", "scipy", "scikit-image", "onnxruntime",
    "insightface", "easyocr", "clean-fid", "matplotlib",
)  # fmt: skip


def environment(device: str) -> dict[str, Any]:
    """Facts of this machine and installation, as JSON-ready values."""
    from PIL import features

    return {
        "tokbench": package_version("tokbench") or "unknown",
        **_checkout(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "n_cpus": _usable_cpus(),
        "device": device,
        "device_name": device_name(device),
        "packages": {name: found for name in _PACKAGES if (found := package_version(name))},
        "codecs": {name: features.version(name) or "absent" for name in ("jpg", "webp", "avif", "zlib", "libtiff")},
        "argv": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def package_version(name: str) -> str | None:
    """Installed version of a distribution, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@lru_cache(maxsize=64)
def version_of(*distributions: str) -> str:
    """Version of the first of these distributions that is installed, "" if none is."""
    return next((found for name in distributions if (found := package_version(name))), "")


def device_name(device: str) -> str:
    """The accelerator's name, or the CPU's."""
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))
    return _cpu_name()


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _checkout() -> dict[str, Any]:
    """Commit of the checkout tokbench runs from; nulls when it runs from an installed wheel."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return {"commit": None, "is_dirty": None}
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return {"commit": commit, "is_dirty": bool(_git(root, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):  # no git on this machine, or no commit yet
        return {"commit": None, "is_dirty": None}


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
