"""Descriptions of the toys in ``external_toys.py``, and the same toys in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.adapters import external_toys
from tokbench.cards import TokenizerCard
from tokbench.tokenizers import load_tokenizer
from tokbench.wrapping import Wrapped

SCRIPT = Path(external_toys.__file__)

CARDS: dict[str, dict[str, Any]] = {
    "tokens": {"latent": "discrete", "codebook_sizes": [256]},
    "streams": {"latent": "discrete", "codebook_sizes": [8, 8], "prefix_axis": "streams", "max_length": 2},
    "scales": {"latent": "discrete", "codebook_sizes": [16], "size_multiple": 4},
    "positions": {
        "latent": "discrete",
        "codebook_sizes": [256],
        "fixed_size_px": 16,
        "prefix_axis": "positions",
        "max_length": 16,
    },
    "lengths": {"latent": "discrete", "codebook_sizes": [256], "fixed_size_px": 16},
    "bits": {"latent": "discrete"},
    "latents": {"latent": "continuous"},
    "noisy": {"latent": "continuous", "deterministic": False},
    "payload": {"latent": "codec"},
    "signed": {"latent": "continuous", "pixel_range": [-1, 1]},
    "lookup": {"latent": "discrete", "codebook_sizes": [5]},
}


def images(n: int = 3, side: int = 16) -> torch.Tensor:
    """Float ``(n, 3, side, side)`` on the 8-bit grid, the same ones at every call."""
    drawn = np.random.default_rng(0).integers(0, 256, (n, 3, side, side))
    return torch.from_numpy(drawn.astype(np.float32)) / 255


def describe(
    folder: Path,
    kind: str,
    wrong: str = "",
    *,
    run: Mapping[str, Any] | None = None,
    tables: Mapping[str, Mapping[str, Any]] | None = None,
    **facts: Any,
) -> Path:
    """Write a toy's description and return its path."""
    command = ["{python}", str(SCRIPT), kind, *([wrong] if wrong else [])]
    own = {"command": command, "timeout_s": 60.0, "start_timeout_s": 60.0, "scratch": str(folder / "scratch")}
    chosen = {**own, **(run or {})}
    content = {"name": kind, **CARDS[kind], **facts}
    path = folder / f"{kind}.toml"
    everything = {"run": {key: value for key, value in chosen.items() if value is not None}, **(tables or {})}
    path.write_text(_toml(content) + "".join(f"\n[{name}]\n{_toml(table)}" for name, table in everything.items()))
    return path


def opened(folder: Path, kind: str, wrong: str = "", **more: Any) -> Wrapped:
    return load_tokenizer(f"external:{describe(folder, kind, wrong, **more)}", device="cpu")


def in_process(kind: str) -> Wrapped:
    """The toy's own functions behind the plainest wrapper, taking and giving what the program does."""
    from tokbench.wrapping import wrap

    facts = {key: tuple(value) if isinstance(value, list) else value for key, value in CARDS[kind].items()}
    toy = _Here(*external_toys.TOYS[kind], TokenizerCard(name=f"external/{kind}", **facts))
    return wrap(toy)


class _Here:
    def __init__(self, encode: Any, decode: Any, card: TokenizerCard) -> None:
        self._encode, self._decode, self.card = encode, decode, card

    def encode(self, images: torch.Tensor) -> Any:
        codes = self._encode(images.numpy())
        if isinstance(codes, list):
            return [torch.from_numpy(code) for code in codes]
        return torch.from_numpy(codes)

    def decode(self, codes: Any, *, seeds: Sequence[int]) -> torch.Tensor:
        plain = [code.numpy() for code in codes] if isinstance(codes, list) else codes.numpy()
        if "seeds" in self._decode.__code__.co_varnames:
            return torch.from_numpy(self._decode(plain, seeds=list(seeds)))
        return torch.from_numpy(self._decode(plain))


def is_running(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be buried."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self").exists():
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _toml(table: Mapping[str, Any]) -> str:
    return "".join(f"{json.dumps(key)} = {_value(value)}\n" for key, value in table.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)
