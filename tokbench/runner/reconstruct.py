"""Reconstruction: a batch of placed images → encoding and decoded 8-bit images of every branch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from tokbench.branches import Branch
from tokbench.contracts import Timing
from tokbench.encodings import BitCodes, Encoding, Latents, Tokens
from tokbench.errors import TokbenchError, TokenizerError
from tokbench.images import to_float, to_uint8
from tokbench.metrics.cost import Footprint, measure_footprint
from tokbench.placement import check_size
from tokbench.results import PLAIN
from tokbench.runner.checks import check_encoding, check_images, clamped_share
from tokbench.runner.loading import Failure, Loaded
from tokbench.runner.survey import Surveys
from tokbench.seeds import sample_seed
from tokbench.wrapping import Wrapped, wrap

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

    @property
    def broken_branches(self) -> Mapping[str, Exception]:
        """Perturbed branches that failed, with the error; they are left out from there on."""
        ...

    def survey(self, loaded: Sequence[Loaded]) -> None:
        """Show a batch's plain encoding to the branches that must see the whole set first."""
        ...

    def end_survey(self) -> None:
        """The whole set was shown."""
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
        self._tokenizer = tokenizer.passing(dtype)
        self._branches = tuple(branches)
        self._device = device
        self._dtype = dtype
        self._seed = seed
        self._input_is_safe = False
        self._surveys = Surveys(branches, seed=seed)
        self._broken: dict[str, Exception] = {}

    @property
    def broken_branches(self) -> Mapping[str, Exception]:
        return self._broken

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
                if branch.name in self._broken:
                    continue
                try:
                    outputs[branch.name] = self._branch(branch, encoding, images, ids)
                except _StageError as err:
                    if not branch.is_perturbed:
                        raise
                    cause = err.__cause__
                    self._broken[branch.name] = cause if isinstance(cause, TokbenchError) else err
        return Reconstructed(loaded=tuple(loaded), branches=outputs)

    def survey(self, loaded: Sequence[Loaded]) -> None:
        """A sample that cannot be encoded is left out; the run proper will say why."""
        import torch

        ids = [item.sample.id for item in loaded]
        try:
            with torch.inference_mode():
                encoding = self._encode(self._tokenizer, self._images(loaded), ids)
        except _StageError:
            for item in loaded if len(loaded) > 1 else ():
                self.survey([item])
            return
        self._broken |= self._surveys.see(encoding, ids)

    def end_survey(self) -> None:
        self._broken |= self._surveys.finish()

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
        """The batch: float32 ``(n, 3, h, w)`` in [0, 1]."""
        import torch

        card = self._tokenizer.card
        height, width = loaded[0].model_pixels.shape[:2]
        _staged("encode", card.name, lambda: check_size(card, (width, height)))
        stacked = torch.from_numpy(np.stack([item.model_pixels for item in loaded]))
        return to_float(stacked.to(self._device).permute(0, 3, 1, 2).contiguous())

    def _branch(self, branch: Branch, encoding: Encoding, images: torch.Tensor, ids: Sequence[str]) -> BranchOutput:
        tokenizer = self._tokenizer if branch.tokenizer is None else wrap(branch.tokenizer).passing(self._dtype)
        if branch.tokenizer is not None:
            encoding = self._encode(tokenizer, images, ids)
        derive = branch.derive
        if derive is not None:
            seeds = [sample_seed(self._seed, sample_id, branch.name) for sample_id in ids]
            encoding = _staged("encode", branch.name, lambda: derive(encoding, seeds))
            _staged("encode", branch.name, lambda: check_encoding(encoding, n=len(ids), card=tokenizer.card))
        return self._decode(tokenizer, encoding, images, ids, is_perturbed=branch.is_perturbed)

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

    def _decode(
        self,
        tokenizer: Wrapped,
        encoding: Encoding,
        images: torch.Tensor,
        ids: Sequence[str],
        *,
        is_perturbed: bool = False,
    ) -> BranchOutput:
        seeds = [sample_seed(self._seed, sample_id) for sample_id in ids]
        decoded = _staged("decode", tokenizer.card.name, lambda: tokenizer.decode(encoding, seeds=seeds))
        n, _, height, width = images.shape
        checked = _staged(
            "decode",
            tokenizer.card.name,
            lambda: check_images(decoded, shape=(n, 3, height, width), card=tokenizer.card, is_perturbed=is_perturbed),
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
        return replace(encoding, streams=streams)
    if isinstance(encoding, BitCodes):
        replaced = None if encoding.replaced is None else encoding.replaced.cpu()
        return BitCodes(values=encoding.values.cpu(), replaced=replaced)
    if isinstance(encoding, Latents):
        return replace(encoding, values=encoding.values.cpu())
    return encoding
