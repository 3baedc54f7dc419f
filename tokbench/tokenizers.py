"""Getting a tokenizer to measure: by name, opened, or from ``module:attr``."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tokbench.cards import TokenizerCard
from tokbench.contracts import Tokenizer
from tokbench.errors import (
    MissingExtraError,
    ReservedError,
    TokbenchError,
    UnknownNameError,
    UsageError,
)
from tokbench.names import Opening, OpenName
from tokbench.registry import find_tokenizer, openings
from tokbench.requirements import missing_requirement
from tokbench.weights.trust import noting
from tokbench.wrapping import Wrapped, wrap


def load_tokenizer(name: str, *, device: str = "auto", dtype: str = "float32") -> Wrapped:
    """Load a tokenizer by name.

    Args:
        name: ``family``, ``family/variant``; an opened name (see :mod:`tokbench.names`); or ``module:attr``
            (``path/to/file.py:attr`` works too) for an object with ``encode`` and ``decode``, or a class or function
            that makes one when called without arguments.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        dtype: ``float32``, ``float16`` or ``bfloat16``; what it computes in. An object of yours gets images in that
            type; an adapter gets float32 and rounds after scaling them to its network's range.

    Raises:
        UnknownNameError: no such tokenizer, with the nearest names.
        ReservedError: the name is kept for a system that cannot be run here, with the reason.
        MissingExtraError, WeightsError: something it needs is not there, with the command that gets it.

    Where files run their code because the user trusts them (see :mod:`tokbench.weights.trust`), the card says so.
    """
    with noting() as ran:
        wrapped = _load(name, device=device, dtype=dtype)
    notes = (f"The code in {file} was let run: whoever measured trusted that very file." for file in ran)
    wrapped.card = replace(wrapped.card, notes=tuple(dict.fromkeys((*wrapped.card.notes, *notes))))
    return wrapped


def _load(name: str, *, device: str, dtype: str) -> Wrapped:
    if name.partition(":")[0] in openings().items and ":" in name:
        return _open(OpenName.parse(name), name, device=resolve_device(device), dtype=dtype)
    if ":" in name:
        return wrap(_import_object(name), origin=name).passing(dtype)
    entry = find_tokenizer(name)
    _require(entry.card)
    if entry.card.reserved:
        raise ReservedError(f"{entry.card.name} cannot be run: {entry.card.reserved}")
    tokenizer: Tokenizer = entry.module.load(entry.card, device=resolve_device(device), dtype=dtype)
    return wrap(tokenizer)


def _open(name: OpenName, text: str, *, device: str, dtype: str) -> Wrapped:
    module = openings().items[name.prefix]
    _require(module.OPENS)
    tokenizer = module.open_name(
        name, device=device, dtype=dtype, load=partial(load_tokenizer, device=device, dtype=dtype)
    )
    wrapped = wrap(tokenizer)
    wrapped.card = replace(wrapped.card, opened_as=text)
    return wrapped


def _require(card: TokenizerCard | Opening) -> None:
    if reason := missing_requirement(card):
        raise MissingExtraError(f"{card.name} {reason}")


def resolve_device(device: str) -> str:
    """``auto`` → the accelerator if there is one, else ``cpu``; anything else is checked and returned."""
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError as err:
        raise UsageError(f"unknown device {device!r}; use auto, cpu, cuda, cuda:1 or mps") from err
    if (kind == "cuda" and not torch.cuda.is_available()) or (kind == "mps" and not torch.backends.mps.is_available()):
        raise UsageError(f"device {device!r} is not available here; `tokbench doctor` shows what is")
    return device


def _import_object(name: str) -> Any:
    """``module:attr`` or ``file.py:attr`` → the object, called if it is a class or function."""
    where, _, attribute = name.rpartition(":")
    if not where or not attribute:
        raise UsageError(f"{name!r} is not of the form module:attr")
    try:
        module = _import_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except ModuleNotFoundError as err:
        raise UnknownNameError(
            f"cannot import {where!r} ({err}); run from the folder it is in, or pass path/to/file.py:{attribute}"
        ) from err
    target: Any = module
    for part in attribute.split("."):
        if not hasattr(target, part):
            public = [key for key in vars(module) if not key.startswith("_")]
            raise UnknownNameError(f"{where} has no attribute {part!r}; it has {', '.join(public) or 'nothing'}")
        target = getattr(target, part)
    if inspect.isclass(target) or inspect.isroutine(target):
        try:
            target = target()
        except TokbenchError:
            raise
        except TypeError as err:
            raise UsageError(f"{name} could not be called without arguments: {err}") from err
    return target


def _import_file(path: Path) -> Any:
    if not path.is_file():
        raise UnknownNameError(f"no file {path}")
    spec = importlib.util.spec_from_file_location(f"tokbench_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module
