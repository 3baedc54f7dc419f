"""Any object with encode and decode as a tokenizer: where others' conventions are brought to tokbench's."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tokbench.cards import TokenizerCard
from tokbench.encodings import BitCodes, Encoding, Latents, Payloads, Tokens, TokenStream
from tokbench.errors import BadOutputError, UsageError

if TYPE_CHECKING:
    import torch


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
    Such a model keeps the whole contract and is handed float32 whatever a run's type is, to round after scaling; others
    are handed images in the run's type.
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
    image_dtype = None if isinstance(card, TokenizerCard) else "float32"
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
    return Wrapped(model, card, pixel_range, image_dtype=image_dtype)


class Wrapped:
    """A tokenizer as the runner calls it."""

    def __init__(
        self, model: Any, card: TokenizerCard, pixel_range: tuple[float, float], *, image_dtype: str | None
    ) -> None:
        low, high = pixel_range
        if not low < high:
            raise UsageError(f"pixel_range must rise, got {pixel_range}")
        self.card = card
        self.model = model
        self._low, self._span = low, high - low
        self._range = pixel_range
        self._image_dtype = image_dtype
        self._encode_seeds = _takes_seeds(model.encode)
        self._decode_seeds = _takes_seeds(model.decode)
        self._to_raw: Callable[[Encoding], Any] = _keep

    def passing(self, dtype: str) -> Wrapped:
        """The same, with images handed to it in that type; unless it casts them itself."""
        if self._image_dtype in (None, dtype):
            return self
        return Wrapped(self.model, self.card, self._range, image_dtype=dtype)

    def encode(self, images: torch.Tensor, *, seeds: Sequence[int] | None = None) -> Encoding:
        """float32 ``(n, 3, h, w)`` in [0, 1] → encoding of n samples; see :class:`tokbench.contracts.Tokenizer`."""
        import torch

        if (self._low, self._span) != (0.0, 1.0):
            images = images * self._span + self._low
        if self._image_dtype not in (None, "float32"):
            images = images.to(getattr(torch, self._image_dtype))
        raw = self.model.encode(images, seeds=seeds) if self._encode_seeds else self.model.encode(images)
        self._to_raw = _raw_form(raw)
        return as_encoding(raw, self.card)

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:
        """Encoding of n samples → float ``(n, 3, h, w)``, nominally in [0, 1]."""
        raw = self._to_raw(encoding)
        images: torch.Tensor = self.model.decode(raw, seeds=seeds) if self._decode_seeds else self.model.decode(raw)
        if (self._low, self._span) != (0.0, 1.0) and hasattr(images, "is_floating_point"):
            images = (images.float() - self._low) / self._span
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
