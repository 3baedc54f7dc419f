"""What ``make_tokenizer_golden.py`` runs: an official network and what is kept of it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Job:
    """One variant.

    Attributes:
        build: makes the official network (called on the device ``meta``), and says what configuration it has.
        run: gives what is kept of the network once it is filled.
    """

    build: Callable[[], tuple[nn.Module, dict[str, Any]]]
    run: Callable[[Any], dict[str, Any]]


def module_at(file: Path) -> Any:
    """A file of a checkout, imported by itself."""
    spec = importlib.util.spec_from_file_location(f"upstream_{file.stem}_{abs(hash(file))}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def smallest_gap(vectors: Tensor, entries: Tensor, *, cosine: bool = False, dot: bool = False) -> float:
    """How much better the best code is than the second best, over all vectors ``(m, d)``: what an index hangs on."""
    flat, book = vectors.double(), entries.double()
    if cosine:
        flat, book = F.normalize(flat, dim=-1), F.normalize(book, dim=-1)
    gaps = []
    for part in flat.split(64):
        best = (part @ book.T if dot else -torch.cdist(part, book).square()).topk(2).values
        gaps.append(float((best[:, 0] - best[:, 1]).min()))
    return min(gaps)


def plain(value: Any) -> Any:
    """A configuration of any kind as what JSON holds."""
    if hasattr(value, "items"):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
