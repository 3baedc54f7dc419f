"""Image codecs as they come with Pillow: JPEG, WebP and AVIF, at their true file sizes."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from tokbench.cards import TokenizerCard
from tokbench.encodings import Encoding, Payloads
from tokbench.errors import BadOutputError
from tokbench.images import decode_image, to_float, to_uint8
from tokbench_adapters._inputs import check_images

if TYPE_CHECKING:
    import numpy as np
    import torch

    from tokbench.contracts import Tokenizer

Item = TypeVar("Item")
Done = TypeVar("Done")

MAX_THREADS = 4

# Set in full, so that a Pillow with other defaults still writes what the card says.
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "jpeg": {"subsampling": "4:2:0", "optimize": True, "progressive": False},
    "webp": {"lossless": False, "method": 4, "alpha_quality": 100, "exact": False},
    "avif": {
        "subsampling": "4:2:0",
        "speed": 6,
        "codec": "aom",
        "range": "full",
        "max_threads": 1,
        "autotiling": False,
    },
}
LOSSLESS: Mapping[str, Any] = {"lossless": True, "quality": 80, "method": 4, "exact": True}
DEFAULT_QUALITY = {"jpeg": 75, "webp": 75, "avif": 50}
TITLES = {"jpeg": "JPEG", "webp": "WebP", "avif": "AVIF"}
NOTES = {
    "jpeg": "Baseline, 4:2:0 chroma subsampling at every quality, optimised Huffman tables.",
    "webp": "VP8 (4:2:0 chroma subsampling at every quality), method 4.",
    "avif": "AV1 by libaom, 4:2:0 chroma subsampling at every quality, full range, speed 6, one thread, no tiles.",
}
BITS_NOTE = "Bits are those of the whole file, headers included: at 256 px they are a few hundred bytes."
VERSIONS_NOTE = "Bytes depend on the codec library inside Pillow; the same library gives the same bytes."
PAPERS = {"jpeg": "ITU-T T.81", "webp": "RFC 9649", "avif": "AV1 Image File Format 1.1.0"}


def _card(family: str, variant: str, title: str, *notes: str) -> TokenizerCard:
    return TokenizerCard(
        name=f"{family}/{variant}",
        title=f"{TITLES[family]} {title}",
        latent="codec",
        licence="MIT",
        paper=PAPERS[family],
        notes=(*notes, BITS_NOTE, VERSIONS_NOTE),
    )


def _cards(family: str) -> tuple[TokenizerCard, ...]:
    """The default quality first, then 1 to 100."""
    default = DEFAULT_QUALITY[family]
    qualities = (default, *(quality for quality in range(1, 101) if quality != default))
    return tuple(_card(family, f"q{quality}", f"quality {quality}", NOTES[family]) for quality in qualities)


CARDS = (
    *_cards("jpeg"),
    *_cards("webp"),
    _card("webp", "lossless", "lossless", "VP8L; RGB is kept exactly."),
    *_cards("avif"),
)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Nothing to load; decoded images are put on ``device`` in ``dtype``."""
    return PillowCodec(card, device=device, dtype=dtype)


class PillowCodec:
    """Writes and reads real files in memory, a few images at a time."""

    def __init__(self, card: TokenizerCard, *, device: str, dtype: str) -> None:
        import torch

        self.card = card
        self._device = device
        self._dtype: torch.dtype = getattr(torch, dtype)
        quality = {} if card.variant == "lossless" else {"quality": int(card.variant.removeprefix("q"))}
        self._options = {**(OPTIONS[card.family] if quality else LOSSLESS), **quality}

    def encode(self, images: torch.Tensor) -> Payloads:
        """Float ``(n, 3, h, w)`` in [0, 1], rounded half to even to 8 bits → n files."""
        check_images(self.card, images)
        pixels = to_uint8(images).permute(0, 2, 3, 1).cpu().numpy()
        return Payloads(files=tuple(_each(self._write, pixels)))

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        """n files of one image size → float ``(n, 3, h, w)`` on the 8-bit grid."""
        import numpy as np
        import torch

        if not isinstance(encoding, Payloads):
            raise BadOutputError(f"{self.card.name} decodes Payloads, got {type(encoding).__name__}")
        pixels = np.stack(_each(self._read, encoding.files))
        stacked = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
        return to_float(stacked.to(self._device), self._dtype)

    def _write(self, pixels: np.ndarray) -> bytes:
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, self.card.family.upper(), **self._options)
        return buffer.getvalue()

    def _read(self, file: bytes) -> np.ndarray:
        return decode_image(file, name=f"{self.card.name} payload")


def _each(work: Callable[[Item], Done], items: Iterable[Item]) -> list[Done]:
    """Work on each item in order, on a few threads: Pillow's codecs let go of the interpreter."""
    with ThreadPoolExecutor(max_workers=min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        return list(pool.map(work, items))
