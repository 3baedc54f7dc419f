"""Where files of weights live on this machine, and whether the network may be asked: the usual variables, read late."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from tokbench.cache import cache_folder

OWN_FOLDER = "TOKBENCH_WEIGHTS"
OFFLINE_SWITCHES = ("TOKBENCH_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def own_folder() -> Path | None:
    """The user's own folder of weights (``$TOKBENCH_WEIGHTS``), looked in first and stored in if it is set."""
    chosen = os.environ.get(OWN_FOLDER)
    return Path(chosen).expanduser() if chosen else None


def store_folder(name: str) -> Path:
    """Where downloads go that have no better place: ``weights/<name>`` in tokbench's cache folder."""
    return cache_folder() / "weights" / name


def torch_home() -> Path:
    """As ``torch.hub`` reads it: ``$TORCH_HOME``, else ``$XDG_CACHE_HOME/torch``, else ``~/.cache/torch``."""
    chosen = os.environ.get("TORCH_HOME") or str(user_cache() / "torch")
    return Path(os.path.expandvars(chosen)).expanduser()


def hub_cache() -> Path:
    """As ``huggingface_hub`` reads it: ``$HF_HUB_CACHE`` (or its old name), else ``$HF_HOME/hub``."""
    chosen = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or str(hub_home() / "hub")
    return Path(os.path.expandvars(chosen)).expanduser()


def hub_home() -> Path:
    """``$HF_HOME``, else ``$XDG_CACHE_HOME/huggingface``, else ``~/.cache/huggingface``."""
    chosen = os.environ.get("HF_HOME") or str(user_cache() / "huggingface")
    return Path(os.path.expandvars(chosen)).expanduser()


def hub_endpoint() -> str:
    """The hub's address: ``$HF_ENDPOINT`` or the public one."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def hub_token() -> str:
    """``$HF_TOKEN``, else what ``hf auth login`` has saved, else ""."""
    if token := os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN"):
        return token.strip()
    path = Path(os.environ.get("HF_TOKEN_PATH") or hub_home() / "token").expanduser()
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def user_cache() -> Path:
    """``$XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()


def offline_switch() -> str:
    """The switch that forbids network access, as ``NAME=value``, or ""."""
    for name in OFFLINE_SWITCHES:
        if os.environ.get(name, "").strip().lower() in ("1", "true", "yes", "on"):
            return f"{name}={os.environ[name]}"
    return ""


def expand(folder: str) -> Path | None:
    """A folder as the catalogue writes it → where it is here, or None if this machine has no such place.

    ``package:MODULE/path`` is inside an installed package (which is not imported), ``torch:path`` inside
    :func:`torch_home`; anything else is a path with ``~`` and ``$VARIABLE`` in it, no place while one is not set.
    """
    kind, colon, rest = folder.partition(":")
    if colon and kind == "torch":
        return torch_home() / rest
    if colon and kind == "package":
        module, _, inside = rest.partition("/")
        spec = find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            return None
        return Path(next(iter(spec.submodule_search_locations))) / inside
    path = os.path.expandvars(folder)
    return None if "$" in path else Path(path).expanduser()


def may_store(folder: str) -> bool:
    """Whether a download may be put there: anywhere but inside an installed package."""
    return not folder.startswith("package:") and expand(folder) is not None
