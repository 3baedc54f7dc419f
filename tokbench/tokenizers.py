"""Getting a tokenizer to measure: by name, opened, from ``module:attr``, or by wrapping any encode and decode."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokbench.cards import TokenizerCard
from tokbench.contracts import Tokenizer
from tokbench.encodings import BitCodes, Encoding, Latents, Payloads, Tokens, TokenStream
from tokbench.errors import (
    BadOutputError,
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

if TYPE_CHECKING:
    import torch


def load_tokenizer(name: str, *, device: str = "auto", dtype: str = "float32") -> Wrapped:
    """Load a tokenizer by name.

    Args:
        name: ``family``, ``family/variant``; an opened name (see :mod:`tokbench.names`); or ``module:attr``
            (``path/to/file.py:attr`` works too) for an object with ``encode`` and ``decode``, or a class or function
            that makes one when called without arguments.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        dtype: ``float32``, ``float16`` or ``bfloat16``; what images are passed as.

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
        return wrap(_import_object(name), origin=name)
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


def wrap(
    model: Any,
    *,
    name: str | None = None,
    codebook_size: int | None = None,
    size_multiple: int | None = None,
    fixed_size_px: int | None = None,
    pixel_range: tuple[float, float] = (0.0, 1.0),
    origin: str = "",
) -> Wrapped:
    """Make any object with ``encode`` and ``decode`` a :class:`~tokbench.contracts.Tokenizer`.

    ``encode`` takes float images ``(n, 3, h, w)`` in ``pixel_range`` and may return an
    :data:`~tokbench.encodings.Encoding`; an integer tensor ``(n, *grid)`` of code indices or a list of them (then
    ``codebook_size`` must be known); or a floating-point tensor of latents. ``decode`` is given back what ``encode``
    returned. Either is passed ``seeds`` (one integer a sample) if it has a parameter of that name.

    Facts not passed here are read from attributes of the same name on the model; a model with a ``card`` needs none.
    """
    if isinstance(model, Wrapped):
        return model
    for method in ("encode", "decode"):
        if not callable(getattr(model, method, None)):
            raise UsageError(
                f"{origin or type(model).__name__} is not a tokenizer: it has no method {method!r}; "
                "tokbench needs encode(images) and decode(encoding)"
            )
    card = getattr(model, "card", None)
    if not isinstance(card, TokenizerCard):
        size = codebook_size if codebook_size is not None else getattr(model, "codebook_size", None)
        fixed = fixed_size_px if fixed_size_px is not None else getattr(model, "fixed_size_px", None)
        multiple = size_multiple if size_multiple is not None else getattr(model, "size_multiple", 1)
        card = TokenizerCard(
            name=_card_name(name or type(model).__name__),
            title=name or type(model).__name__,
            latent="continuous" if size is None else "discrete",
            codebook_sizes=() if size is None else (int(size),),
            size_multiple=int(multiple),
            fixed_size_px=fixed,
            repository=origin,
        )
    elif name is not None:
        card = replace(card, name=_card_name(name))
    return Wrapped(model, card, pixel_range)


class Wrapped:
    """A tokenizer as the runner calls it: the one place where third-party conventions are brought to tokbench's."""

    def __init__(self, model: Any, card: TokenizerCard, pixel_range: tuple[float, float]) -> None:
        low, high = pixel_range
        if not low < high:
            raise UsageError(f"pixel_range must rise, got {pixel_range}")
        self.card = card
        self.model = model
        self._low, self._span = low, high - low
        self._encode_seeds = _takes_seeds(model.encode)
        self._decode_seeds = _takes_seeds(model.decode)
        self._to_raw: Callable[[Encoding], Any] = _keep

    def encode(self, images: torch.Tensor, *, seeds: Sequence[int] | None = None) -> Encoding:
        if (self._low, self._span) != (0.0, 1.0):
            images = images * self._span + self._low
        raw = self.model.encode(images, seeds=seeds) if self._encode_seeds else self.model.encode(images)
        self._to_raw = _raw_form(raw)
        return as_encoding(raw, self.card)

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:
        raw = self._to_raw(encoding)
        images: torch.Tensor = self.model.decode(raw, seeds=seeds) if self._decode_seeds else self.model.decode(raw)
        if (self._low, self._span) != (0.0, 1.0) and hasattr(images, "is_floating_point"):
            images = (images - self._low) / self._span
        return images


def as_encoding(raw: Any, card: TokenizerCard) -> Encoding:
    """What ``encode`` returned, as an Encoding; raises BadOutputError saying what is accepted."""
    import torch

    if isinstance(raw, Tokens | BitCodes | Latents | Payloads):
        return raw
    if isinstance(raw, torch.Tensor) and raw.is_floating_point():
        return Latents(values=raw)
    grids = [raw] if isinstance(raw, torch.Tensor) else list(raw) if isinstance(raw, list | tuple) else []
    if not grids or not all(isinstance(grid, torch.Tensor) and _is_integer(grid) for grid in grids):
        raise BadOutputError(
            f"{card.name}: encode returned {_describe(raw)}; expected a tokbench Encoding, an integer tensor of code "
            "indices (or a list of them), or a floating-point tensor of latents"
        )
    sizes = card.codebook_sizes
    if len(sizes) not in (1, len(grids)):
        raise BadOutputError(
            f"{card.name}: encode returned {len(grids)} tensor(s) of code indices, but {len(sizes)} codebook sizes are "
            "known; set `codebook_size` on the object, pass it to tokbench.wrap, or return tokbench.Tokens"
        )
    streams = tuple(
        TokenStream(
            indices=grid.long(),
            codebook_size=sizes[0] if len(sizes) == 1 else sizes[number],
            codebook="0" if len(sizes) == 1 else str(number),
        )
        for number, grid in enumerate(grids)
    )
    return Tokens(streams=streams)


def _raw_form(raw: Any) -> Callable[[Encoding], Any]:
    """How to give ``decode`` an encoding in the form ``encode`` returned it."""
    if isinstance(raw, Tokens | BitCodes | Latents | Payloads):
        return _keep
    return _to_list if isinstance(raw, list | tuple) else _to_tensor


def _keep(encoding: Encoding) -> Any:
    return encoding


def _to_tensor(encoding: Encoding) -> Any:
    return encoding.streams[0].indices if isinstance(encoding, Tokens) else getattr(encoding, "values", encoding)


def _to_list(encoding: Encoding) -> Any:
    return [stream.indices for stream in encoding.streams] if isinstance(encoding, Tokens) else encoding


def _is_integer(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() and not tensor.is_complex() and str(tensor.dtype) != "torch.bool"


def _describe(value: Any) -> str:
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    if isinstance(value, list | tuple):
        return f"{kind} of ({', '.join(_describe(item) for item in value[:4])})"
    return kind if shape is None else f"{kind} {getattr(value, 'dtype', '')} {tuple(shape)}"


def _takes_seeds(method: Callable[..., Any]) -> bool:
    try:
        return "seeds" in inspect.signature(method).parameters
    except (TypeError, ValueError):  # a builtin or compiled callable without a signature
        return False


def _card_name(name: str) -> str:
    family, _, variant = name.partition("/")
    clean = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", family).lower()).strip("_") or "custom"
    rest = re.sub(r"[^a-z0-9_.-]+", "_", variant.lower()).strip("_.-")
    return f"{clean}/{rest}" if rest else clean


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
