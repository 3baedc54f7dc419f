"""Reconstructions someone else made, read from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tokbench.contracts import Timing
from tokbench.errors import SampleError, TokenizerError
from tokbench.images import decode_image
from tokbench.metrics.cost import Footprint
from tokbench.results import PLAIN
from tokbench.runner.loading import Failure, Loaded
from tokbench.runner.reconstruct import BranchOutput, Reconstructed


class FolderReconstructor:
    """Reads reconstructions someone else made: ``DIR/<sample id>.<any image extension>`` on the compared grid."""

    _EXTENSIONS = (".png", ".webp", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".avif", ".JPEG", ".JPG", ".PNG")

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise TokenizerError(f"{folder} is not a directory of reconstructions")
        self._folder = folder

    def __call__(self, loaded: Sequence[Loaded]) -> list[Reconstructed | Failure]:
        return [self._one(item) for item in loaded]

    def _one(self, item: Loaded) -> Reconstructed | Failure:
        try:
            pixels = self._read(item)
        except SampleError as err:
            return Failure(sample=item.sample, stage="decode", error=str(err))
        output = BranchOutput(pixels=pixels[None], encoding=None, clamped=(0.0,))
        return Reconstructed(loaded=(item,), branches={PLAIN: output}, is_compared_grid=True)

    @property
    def broken_branches(self) -> Mapping[str, Exception]:
        return {}

    def survey(self, loaded: Sequence[Loaded]) -> None:
        """Files have no encodings."""

    def end_survey(self) -> None:
        """Files have no encodings."""

    def time(self, loaded: Sequence[Loaded], *, budget_s: float) -> list[Timing]:  # noqa: ARG002
        """Files cost nothing to make."""
        return []

    def footprint(self, loaded: Loaded) -> Footprint | None:  # noqa: ARG002
        """There is no tokenizer to look at."""
        return None

    def _read(self, item: Loaded) -> np.ndarray:
        base = self._folder / item.sample.id
        found = [path for ext in self._EXTENSIONS if (path := base.with_name(base.name + ext)).is_file()]
        if not found:
            raise SampleError(f"no reconstruction {item.sample.id}.png (or .webp, .jpg, …) in {self._folder}")
        if len({path.resolve() for path in found}) > 1:
            raise SampleError(f"several reconstructions of {item.sample.id}: {', '.join(path.name for path in found)}")
        pixels = decode_image(found[0].read_bytes(), name=str(found[0]))
        if pixels.shape != item.reference.shape:
            height, width = item.reference.shape[:2]
            raise SampleError(
                f"{found[0].name} is {pixels.shape[1]}×{pixels.shape[0]}, expected {width}×{height}: "
                "`tokbench data export TASK DIR` writes the references at the size to reconstruct"
            )
        return pixels
