"""Eight photographs that come inside packages, and the latents a tokenizer gives for them.

They are enough to find how wide latents are spread. They are also in the task ``quick``, so nothing more than that may
be learned from them.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tokbench.encodings import Encoding, Latents
from tokbench.errors import BadOutputError, MissingExtraError
from tokbench.images import decode_image, to_float

if TYPE_CHECKING:
    import torch

    from tokbench.cards import TokenizerCard

PHOTOGRAPHS = (
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/motorcycle_left.png"),
    ("skimage", "data/rocket.jpg"),
    ("sklearn", "datasets/images/china.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
)
USUAL_SIDE_PX = 256
_PIP_NAMES = {"skimage": "scikit-image", "sklearn": "scikit-learn"}


class Continuous(Protocol):
    """A tokenizer as `load` gives it: ``encode`` may always be passed seeds."""

    card: TokenizerCard

    def encode(self, images: torch.Tensor, *, seeds: Sequence[int] | None = None) -> Encoding: ...

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor: ...


def side_of(card: TokenizerCard) -> int:
    """A legal side length in pixels: the only one there is, or about 256."""
    return card.fixed_size_px or card.size_multiple * max(1, round(USUAL_SIDE_PX / card.size_multiple))


def read_photographs(side_px: int) -> tuple[torch.Tensor, str]:
    """The photographs' centre squares, float ``(8, 3, side, side)`` in [0, 1], and a digest of their files.

    Raises:
        MissingExtraError: a package they come in is not installed, or lacks the file.
    """
    pixels, digest = _read(PHOTOGRAPHS, side_px)
    return to_float(pixels), digest


def latents_of(tokenizer: Continuous, images: torch.Tensor) -> torch.Tensor:
    """What a tokenizer makes of each image by itself: float ``(n, c, *grid)`` or ``(n, l, c)``, on the CPU.

    Raises:
        BadOutputError: it gives no latents, NaN or infinite ones, or other shapes for images of one size.
    """
    import torch

    found: list[torch.Tensor] = []
    with torch.no_grad():
        for seed, image in enumerate(images.split(1)):
            encoding = tokenizer.encode(image, seeds=[seed])
            if not isinstance(encoding, Latents) or (found and encoding.values.shape != found[0].shape):
                raise BadOutputError(
                    f"{tokenizer.card.name} is to be quantised, so its encode must return latents of one shape for "
                    f"images of one size, got {type(encoding).__name__}"
                )
            found.append(encoding.values.cpu())
    latents = torch.cat(found)
    if not bool(latents.isfinite().all()):
        raise BadOutputError(f"{tokenizer.card.name}: its latents of photographs hold NaN or infinite values")
    return latents


def short_digest(*parts: bytes) -> str:
    """Of the parts in order; enough to tell two sets of them apart."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:12]


@lru_cache(maxsize=2)  # a sweep loads the same tokenizer at several bits
def _read(photographs: tuple[tuple[str, str], ...], side_px: int) -> tuple[torch.Tensor, str]:
    """uint8 ``(n, 3, side, side)``, not to be written to."""
    import numpy as np
    import torch
    from PIL import Image

    files = [_file_in(package, path).read_bytes() for package, path in photographs]
    squares = []
    for (_, path), data in zip(photographs, files, strict=True):
        image = Image.fromarray(decode_image(data, name=path))
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side))
        squares.append(np.array(square.resize((side_px, side_px), Image.Resampling.BICUBIC)))
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).contiguous(), short_digest(*files)


def _file_in(package: str, path: str) -> Path:
    spec = importlib.util.find_spec(package)  # of a top-level name: finds, but executes nothing
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    for place in places:
        if (file := Path(place) / path).is_file():
            return file
    raise MissingExtraError(
        f"latents are measured on photographs inside packages, and {_PIP_NAMES.get(package, package)} has no {path} "
        "here; install it again"
    )
