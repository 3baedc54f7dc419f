"""A tokenizer tried on a few drawn images, before a run: the checks behind ``tokbench doctor --tokenizer``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tokbench.diagnosis import Check
from tokbench.encodings import BitCodes, Encoding, Latents, Payloads, Tokens
from tokbench.errors import TokbenchError
from tokbench.runner.checks import check_encoding, check_images
from tokbench.tokenizers import load_tokenizer, resolve_device
from tokbench.wrapping import Wrapped

if TYPE_CHECKING:
    import torch

    from tokbench.cards import TokenizerCard

_SIDE_PX = 256
_LEVELS = (0.1, 0.5, 0.9)
_FAR = 0.1  # a flat image this far from its level points to a wrong range, not to a poor tokenizer


def try_tokenizer(name: str, *, device: str = "auto", dtype: str = "float32") -> Iterator[Check]:
    """Load a tokenizer and look whether it keeps the contract on images of its size; each check as it is done.

    A check that fails ends the trial, except where the tokenizer can be measured all the same.
    """
    try:
        started = time.perf_counter()
        resolved = resolve_device(device)
        tokenizer = load_tokenizer(name, device=resolved, dtype=dtype)
        card = tokenizer.card
        yield _ok("loads", f"{card.name}: {card.title}; {time.perf_counter() - started:.1f} s")
        yield from _round_trip(tokenizer, drawn_images(card).to(resolved))
    except TokbenchError as err:
        yield Check(name="contract", status="broken", found=str(err), fix="mend the tokenizer, or its description")
    except Exception as err:  # third-party code may raise anything; the report names the type
        yield Check(name="contract", status="broken", found=f"{type(err).__name__}: {err}", fix="mend the tokenizer")


def drawn_images(card: TokenizerCard) -> torch.Tensor:
    """Three flat greys and a ramp with texture, float ``(4, 3, side, side)`` in [0, 1], of a size the card allows."""
    import torch

    side = card.fixed_size_px or max(1, round(_SIDE_PX / card.size_multiple)) * card.size_multiple
    flat = torch.tensor(_LEVELS)[:, None, None, None].expand(-1, 3, side, side)
    across = torch.linspace(0, 1, side)
    ramp = torch.stack([across.expand(side, side), across[:, None].expand(side, side), 1 - across.expand(side, side)])
    waves = 0.1 * torch.sin(across * 60)[:, None] * torch.sin(across * 45)
    return torch.cat([flat, (0.8 * ramp + 0.1 + waves)[None]]).contiguous()


def _round_trip(tokenizer: Wrapped, images: torch.Tensor) -> Iterator[Check]:
    import torch

    card, n = tokenizer.card, len(images)
    with torch.inference_mode():
        untouched = images.clone()
        started = time.perf_counter()
        encoding = tokenizer.encode(images, seeds=range(n))
        check_encoding(encoding, n=n, card=card)
        encoded = time.perf_counter()
        decoded = _decode(tokenizer, encoding, images, range(n))
        ended = time.perf_counter()
        yield _ok("encodes", f"{n} images to {_describe(encoding)}; {encoded - started:.2f} s")
        yield _ok("decodes", f"images of {images.shape[-1]} px; {ended - encoded:.2f} s")
        if not torch.equal(images, untouched):
            yield Check(name="input", status="broken", found="encode wrote to its images", fix="work on a copy")
        yield _levels(decoded)
        again = _decode(tokenizer, tokenizer.encode(images, seeds=range(n)), images, range(n))
        what = "the same seeds give the same images" if not card.deterministic else "it gives the same images again"
        yield _agreement(
            "repeats", what, decoded, again, "a run is not reproducible; draw random numbers from the seeds"
        )
        alone = [
            _decode(tokenizer, tokenizer.encode(images[row : row + 1], seeds=[row]), images[row : row + 1], [row])
            for row in range(n)
        ]
        why = "an image's result depends on its batch; on a GPU differences in the last digits are usual"
        yield _agreement("batches", "an image alone is as in a batch", decoded, torch.cat(alone), why)


def _decode(tokenizer: Wrapped, encoding: Encoding, images: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
    decoded: Any = tokenizer.decode(encoding, seeds=seeds)
    n, channels, height, width = images.shape
    return check_images(decoded, shape=(n, channels, height, width), card=tokenizer.card).float().cpu()


def _levels(decoded: torch.Tensor) -> Check:
    """Flat greys come back near their level from any tokenizer whose range is as it says."""
    means = decoded[: len(_LEVELS)].mean((1, 2, 3)).tolist()
    found = ", ".join(f"{level} → {mean:.2f}" for level, mean in zip(_LEVELS, means, strict=True))
    if max(abs(mean - level) for level, mean in zip(_LEVELS, means, strict=True)) <= _FAR:
        return _ok("levels", f"flat greys come back as {found}")
    fix = "is pixel_range what the network takes and gives, in that order of channels, and are weights loaded?"
    return Check(name="levels", status="missing", found=f"flat greys come back as {found}", fix=fix)


def _agreement(name: str, what: str, first: torch.Tensor, second: torch.Tensor, fix: str) -> Check:
    difference = float((first - second).abs().max())
    if difference == 0:
        return _ok(name, f"{what}, to the last bit")
    return Check(name=name, status="missing", found=f"{what} only within {difference:.2g}", fix=fix)


def _describe(encoding: Encoding) -> str:
    if isinstance(encoding, Tokens):
        kinds = Counter((_grid(item.indices), item.codebook_size) for item in encoding.streams)
        streams = [f"{count} × {grid} of {size:,} codes" for (grid, size), count in kinds.items()]
        return f"tokens: {', '.join(streams)}"
    if isinstance(encoding, Payloads):
        return f"files of {min(map(len, encoding.files)):,} to {max(map(len, encoding.files)):,} bytes"
    assert isinstance(encoding, BitCodes | Latents)
    kind = "bits" if isinstance(encoding, BitCodes) else "latents"
    return f"{kind}: {_grid(encoding.values)}"


def _grid(values: torch.Tensor) -> str:
    return "×".join(map(str, values.shape[1:]))


def _ok(name: str, found: str) -> Check:
    return Check(name=name, status="ok", found=found)
