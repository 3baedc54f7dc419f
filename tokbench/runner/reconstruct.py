"""Reconstruction: a batch of placed images → encoding and decoded 8-bit images of every branch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from tokbench.branches import Branch
from tokbench.contracts import Timing
from tokbench.encodings import BitCodes, Encoding, Latents, Tokens
from tokbench.errors import SampleError, TokbenchError, TokenizerError
from tokbench.images import decode_image, to_float, to_uint8
from tokbench.metrics.cost import Footprint, measure_footprint
from tokbench.placement import check_size
from tokbench.results import PLAIN
from tokbench.runner.checks import check_encoding, check_images, clamped_share
from tokbench.runner.loading import Failure, Loaded
from tokbench.seeds import sample_seed
from tokbench.tokenizers import Wrapped, wrap

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class BranchOutput:
    """One branch of one batch.

    Attributes:
        pixels: uint8 ``(n, h, w, 3)``, on the model grid unless the batch says ``is_compared_grid``.
        encoding: on the CPU; None when only reconstructions were given.
        clamped: per sample, the fraction of decoded values outside [0, 1].
    """

    pixels: np.ndarray
    encoding: Encoding | None
    clamped: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reconstructed:
    """A batch after the tokenizer."""

    loaded: tuple[Loaded, ...]
    branches: Mapping[str, BranchOutput]
    is_compared_grid: bool = False

    def select(self, rows: Sequence[int]) -> Reconstructed:
        """Some of the samples, in the given order."""
        return replace(
            self,
            loaded=tuple(self.loaded[row] for row in rows),
            branches={
                name: BranchOutput(
                    pixels=output.pixels[list(rows)],
                    encoding=None if output.encoding is None else output.encoding.select(rows),
                    clamped=tuple(output.clamped[row] for row in rows),
                )
                for name, output in self.branches.items()
            },
        )


class Reconstructor(Protocol):
    """Where reconstructions come from: a tokenizer, or files someone else made."""

    def __call__(self, loaded: Sequence[Loaded]) -> list[Reconstructed | Failure]:
        """Every sample of the batch is in one of the results, in order."""
        ...

    def time(self, loaded: Sequence[Loaded], *, budget_s: float) -> list[Timing]:
        """Encode and decode the batch again and again, for about that long; empty where there is nothing to time."""
        ...

    def footprint(self, loaded: Loaded) -> Footprint | None:
        """What the tokenizer takes besides time, measured on one image; None where there is no tokenizer."""
        ...


class TokenizerReconstructor:
    """Encodes and decodes with a tokenizer; a batch that fails is tried again sample by sample."""

    def __init__(self, tokenizer: Wrapped, *, branches: Sequence[Branch], device: str, dtype: str, seed: int) -> None:
        self._tokenizer = tokenizer
        self._branches = tuple(branches)
        self._device = device
        self._dtype = dtype
        self._seed = seed
        self._input_is_safe = False

    def __call__(self, loaded: Sequence[Loaded]) -> list[Reconstructed | Failure]:
        try:
            return [self._reconstruct(loaded)]
        except _StageError as err:
            if len(loaded) == 1:
                return [Failure(sample=loaded[0].sample, stage=err.stage, error=str(err))]
        # Outside the handler, so that the batch's tensors are free before the samples are tried alone.
        return [result for item in loaded for result in self([item])]

    def _reconstruct(self, loaded: Sequence[Loaded]) -> Reconstructed:
        import torch

        images = self._images(loaded)
        ids = [item.sample.id for item in loaded]
        with torch.inference_mode():
            encoding = self._encode(self._tokenizer, images, ids)
            outputs = {PLAIN: self._decode(self._tokenizer, encoding, images, ids)}
            for branch in self._branches:
                outputs[branch.name] = self._branch(branch, encoding, images, ids)
        return Reconstructed(loaded=tuple(loaded), branches=outputs)

    def time(self, loaded: Sequence[Loaded], *, budget_s: float) -> list[Timing]:
        """The first pass is the warm-up; at least one more follows, at most 50."""
        import torch

        timings: list[Timing] = []
        spent = 0.0
        try:
            images = self._images(loaded)
            seeds = [sample_seed(self._seed, item.sample.id) for item in loaded]
            with torch.inference_mode():
                while len(timings) < 2 or (spent < budget_s and len(timings) <= 50):
                    start = self._clock()
                    encoding = self._tokenizer.encode(images, seeds=seeds)
                    middle = self._clock()
                    self._tokenizer.decode(encoding, seeds=seeds)
                    end = self._clock()
                    spent += end - start
                    timings.append(
                        Timing(n=len(loaded), encode_s=middle - start, decode_s=end - middle, is_warm_up=not timings)
                    )
        except Exception as err:  # the stream meets the same failure and records it, sample by sample
            logger.info("%s could not be timed: %s", self._tokenizer.card.name, err)
            return []
        return timings

    def footprint(self, loaded: Loaded) -> Footprint | None:
        """See :func:`tokbench.metrics.cost.measure_footprint`; call it after the run."""
        return measure_footprint(self._tokenizer, self._images([loaded]), seed=self._seed)

    def _images(self, loaded: Sequence[Loaded]) -> torch.Tensor:
        """The batch as the tokenizer takes it: float ``(n, 3, h, w)`` in [0, 1]."""
        import torch

        card = self._tokenizer.card
        height, width = loaded[0].model_pixels.shape[:2]
        _staged("encode", card.name, lambda: check_size(card, (width, height)))
        stacked = torch.from_numpy(np.stack([item.model_pixels for item in loaded]))
        images = to_float(stacked.to(self._device).permute(0, 3, 1, 2).contiguous())
        return images.to(getattr(torch, self._dtype))

    def _branch(self, branch: Branch, encoding: Encoding, images: torch.Tensor, ids: Sequence[str]) -> BranchOutput:
        tokenizer = self._tokenizer if branch.tokenizer is None else wrap(branch.tokenizer)
        if branch.tokenizer is not None:
            encoding = self._encode(tokenizer, images, ids)
        derive = branch.derive
        if derive is not None:
            seeds = [sample_seed(self._seed, sample_id, branch.name) for sample_id in ids]
            encoding = _staged("encode", branch.name, lambda: derive(encoding, seeds))
            _staged("encode", branch.name, lambda: check_encoding(encoding, n=len(ids), card=tokenizer.card))
        return self._decode(tokenizer, encoding, images, ids)

    def _encode(self, tokenizer: Wrapped, images: torch.Tensor, ids: Sequence[str]) -> Encoding:
        import torch

        seeds = [sample_seed(self._seed, sample_id, "encode") for sample_id in ids]
        before = None if self._input_is_safe else images.clone()
        encoding = _staged("encode", tokenizer.card.name, lambda: tokenizer.encode(images, seeds=seeds))
        if before is not None and not torch.equal(before, images):
            raise _StageError("encode", f"{tokenizer.card.name}: encode wrote to its input images; work on a copy")
        self._input_is_safe = not self._branches  # with several tokenizers each call is checked
        _staged("encode", tokenizer.card.name, lambda: check_encoding(encoding, n=len(ids), card=tokenizer.card))
        return encoding

    def _decode(self, tokenizer: Wrapped, encoding: Encoding, images: torch.Tensor, ids: Sequence[str]) -> BranchOutput:
        seeds = [sample_seed(self._seed, sample_id) for sample_id in ids]
        decoded = _staged("decode", tokenizer.card.name, lambda: tokenizer.decode(encoding, seeds=seeds))
        n, _, height, width = images.shape
        checked = _staged(
            "decode",
            tokenizer.card.name,
            lambda: check_images(decoded, shape=(n, 3, height, width), card=tokenizer.card),
        ).float()
        return BranchOutput(
            pixels=to_uint8(checked).permute(0, 2, 3, 1).contiguous().cpu().numpy(),
            encoding=_to_cpu(encoding),
            clamped=tuple(clamped_share(checked).tolist()),
        )

    def _clock(self) -> float:
        import torch

        if self._device.startswith("cuda"):
            torch.cuda.synchronize(self._device)
        elif self._device == "mps":
            torch.mps.synchronize()
        return time.perf_counter()


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


class _StageError(TokenizerError):
    """A tokenizer failed while encoding or decoding."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


def _staged(stage: str, name: str, call: Callable[[], T]) -> T:
    """Run third-party code; whatever it raises becomes an error that names the stage."""
    try:
        return call()
    except TokbenchError as err:
        raise _StageError(stage, str(err)) from err
    except Exception as err:  # third-party code may raise anything; it is recorded with its type, never dropped
        raise _StageError(stage, f"{name}: {stage} raised {type(err).__name__}: {err}") from err


def _to_cpu(encoding: Encoding) -> Encoding:
    """What metrics see: on the CPU, and without the vectors, which are large and for perturbations only."""
    if isinstance(encoding, Tokens):
        streams = tuple(
            replace(
                stream,
                indices=stream.indices.cpu(),
                lengths=None if stream.lengths is None else stream.lengths.cpu(),
                vectors=None,
                replaced=None if stream.replaced is None else stream.replaced.cpu(),
            )
            for stream in encoding.streams
        )
        return Tokens(streams=streams)
    if isinstance(encoding, BitCodes):
        replaced = None if encoding.replaced is None else encoding.replaced.cpu()
        return BitCodes(values=encoding.values.cpu(), replaced=replaced)
    if isinstance(encoding, Latents):
        return replace(encoding, values=encoding.values.cpu())
    return encoding
