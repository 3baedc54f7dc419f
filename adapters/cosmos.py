"""Cosmos image tokenizers, continuous (CI) and discrete (DI): the TorchScript programs that NVIDIA publishes.

After NVIDIA/Cosmos-Tokenizer at 3584ae7: ``image_lib.py`` for the calls, ``modules/quantizers.py`` for the codes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokbench.cards import TokenizerCard
from tokbench.encodings import Encoding, Latents, Tokens, TokenStream
from tokbench.errors import UsageError, WeightsError
from tokbench.quantisers import Quantiser
from tokbench.weights import trust
from tokbench.weights.loading import read_torchscript
from tokbench_adapters._encodings import require_grid, require_latent_grid
from tokbench_adapters._inputs import check_images, from_network_range, parts_of, to_network_range
from tokbench_adapters._reading.hub_weights import UNPINNED, fetch_hub_weights, with_digest

if TYPE_CHECKING:
    import torch

    from tokbench.contracts import Tokenizer

FILES = ("encoder.jit", "decoder.jit")
LEVELS = (8, 8, 8, 5, 5, 5)
BASIS = tuple(math.prod(LEVELS[:place]) for place in range(len(LEVELS)))
"""What one step in each of the six dimensions adds to the index: the first dimension runs fastest."""
CHANNELS = 16

NOTES = (
    "The files are TorchScript, programs without a published digest: they run only where the user trusts them.",
    "A program traced in one type runs in that type alone; NVIDIA's tool runs these in bfloat16 (--dtype bfloat16) "
    "and does not say in what type its published scores were measured.",
    "NVIDIA's tool pads images with black to multiples of 16 px and cuts the result; here such sizes are refused.",
    UNPINNED,
)


def _card(family: str, cell_px: int, **facts: Any) -> TokenizerCard:
    kind = family[-2:].upper()
    return TokenizerCard(
        name=f"{family}/{cell_px}x{cell_px}",
        size_multiple=cell_px,
        downsampling=cell_px,
        tokens=(256 // cell_px) ** 2,
        pixel_range=(-1.0, 1.0),
        hub=f"nvidia/Cosmos-0.1-Tokenizer-{kind}{cell_px}x{cell_px}",
        licence="Apache-2.0",
        weights_licence="NVIDIA Open Model License",
        paper="arXiv:2501.03575",
        repository="https://github.com/NVIDIA/Cosmos-Tokenizer",
        **facts,
    )


CARDS = (
    *(
        _card(
            "cosmos_ci",
            cell_px,
            title=f"Cosmos CI {cell_px}×{cell_px} ({CHANNELS} channels)",
            latent="continuous",
            notes=("An autoencoder without a posterior: what the encoder gives is decoded.", *NOTES),
        )
        for cell_px in (8, 16)
    ),
    *(
        _card(
            "cosmos_di",
            cell_px,
            title=f"Cosmos DI {cell_px}×{cell_px} (FSQ, 64,000 codes)",
            codebook_sizes=(math.prod(LEVELS),),
            notes=("Each of six dimensions is rounded to 8, 8, 8, 5, 5 and 5 levels.", *NOTES),
        )
        for cell_px in (8, 16)
    ),
)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch both programs and, where the user trusts them or the card pins them, read them.

    Raises:
        WeightsError: one cannot be had, is not trusted, or is not such a program.
        UsageError: they do not run in this type.
    """
    pinned = dict(card.weights)
    paths = {name: fetch_hub_weights(card, name) for name in FILES}
    _require_trust(card, paths)
    encoder, decoder = (read_torchscript(path, pinned.get(name, "")) for name, path in paths.items())
    for name, path in paths.items():
        card = with_digest(card, name, path)
    return build(card, encoder, decoder, device=device, dtype=dtype)


def build(card: TokenizerCard, encoder: Any, decoder: Any, *, device: str, dtype: str) -> Tokenizer:
    """The tokenizer from two TorchScript modules.

    Args:
        card: what it is; with codebook sizes it is discrete.
        encoder: images in [-1, 1] → a tuple that begins with latents float ``(n, 16, h, w)`` or indices
            int32 ``(n, h, w)``.
        decoder: one of those → images in [-1, 1].
        device, dtype: where and in what they compute.

    Raises:
        WeightsError: they are not such modules.
        UsageError: they do not run in this type.
    """
    kind = _Discrete if card.codebook_sizes else _Continuous
    return kind(card, encoder, decoder, device=device, dtype=dtype)


def _require_trust(card: TokenizerCard, paths: Mapping[str, Path]) -> None:
    """Refuse both files at once, so that they can be named in one go; a pinned one is checked when it is read."""
    pinned = dict(card.weights)
    refused = [path for name, path in paths.items() if not pinned.get(name) and not trust.is_trusted(path)]
    if refused:
        switches = " ".join(f"{trust.SWITCH} {path}" for path in refused)
        listed = os.pathsep.join(map(str, (*trust.named(), *refused)))
        raise WeightsError(
            f"{card.name} needs {' and '.join(path.name for path in refused)} of {card.hub}: TorchScript, programs "
            "that would run with your account, and no digest is published that would say which files are the right "
            f"ones. If you trust these very files, name them: {switches}, or set {trust.VARIABLE}={listed}"
        )


class _Cosmos:
    """Both programs on their device and in their type.

    On a CPU images go through them one at a time, so that a result does not depend on the batch.
    """

    def __init__(self, card: TokenizerCard, encoder: Any, decoder: Any, *, device: str, dtype: str) -> None:
        import torch

        self.card = card
        self._device = torch.device(device)
        self._dtype: torch.dtype = getattr(torch, dtype)
        weights = [entry for half in (encoder, decoder) for entry in half.parameters()]
        written_in = {entry.dtype for entry in weights}
        for entry in weights:
            entry.requires_grad_(False)
        self._encoder, self._decoder = (half.to(self._device, self._dtype) for half in (encoder, decoder))
        self._try_out(written_in - {self._dtype})

    def _try_out(self, other_types: set[torch.dtype]) -> None:
        """Both programs once on a small grey image: whether they run in this type shows only when they do.

        ``other_types`` are those their weights were stored in.
        """
        import torch

        side = 4 * self.card.size_multiple
        grey = torch.zeros(1, 3, side, side, device=self._device, dtype=self._dtype)
        try:
            found = _run(self._decoder, self._encoded(grey))
        except RuntimeError as err:
            if other_types:
                names = " or ".join(sorted(str(kind).removeprefix("torch.") for kind in other_types))
                raise UsageError(
                    f"{self.card.name}: its programs are written in {names} and do not run in "
                    f"{str(self._dtype).removeprefix('torch.')}: use --dtype {names}"
                ) from err
            raise WeightsError(f"{self.card.name}: its programs do not run: {_last_line(err)}") from err
        if tuple(found.shape) != tuple(grey.shape):
            raise WeightsError(
                f"{self.card.name}: its programs make {_described(found)} of {tuple(grey.shape)}, expected that shape"
            )

    def _encoded(self, images: torch.Tensor) -> torch.Tensor:
        """What the decoder is given, for images in [-1, 1]."""
        found = _run(self._encoder, images)
        first: torch.Tensor = found[0] if isinstance(found, tuple | list) else found
        side_px = self.card.size_multiple
        n, height, width = len(images), images.shape[2] // side_px, images.shape[3] // side_px
        is_discrete = bool(self.card.codebook_sizes)
        shape = (n, height, width) if is_discrete else (n, CHANNELS, height, width)
        if tuple(first.shape) != shape or first.is_floating_point() == is_discrete:
            raise WeightsError(
                f"{self.card.name}: its encoder gives {_described(first)}, expected "
                f"{'indices' if is_discrete else 'latents'} of shape {shape}"
            )
        return first

    def _encode(self, images: torch.Tensor) -> torch.Tensor:
        import torch

        check_images(self.card, images)
        batch = to_network_range(images, self.card.pixel_range, device=self._device, dtype=self._dtype)
        return torch.cat([self._encoded(part) for part in parts_of(batch)])

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        import torch

        decoded = torch.cat([_run(self._decoder, part) for part in parts_of(latents)])
        return from_network_range(decoded, self.card.pixel_range)


class _Continuous(_Cosmos):
    """Latents as the encoder gives them."""

    def encode(self, images: torch.Tensor) -> Latents:
        """Float ``(n, 3, h, w)`` in [0, 1] → float32 ``(n, 16, h/cell, w/cell)``."""
        return Latents(values=self._encode(images).float())

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        """Float ``(n, 16, h, w)`` → float32 ``(n, 3, cell·h, cell·w)``, nominally in [0, 1], not clamped."""
        latents = require_latent_grid(self.card, encoding, channels=CHANNELS)
        return self._decode(latents.to(self._device, self._dtype))


class _Discrete(_Cosmos):
    """Six dimensions, each rounded to a few levels, as one index."""

    def encode(self, images: torch.Tensor) -> Tokens:
        """Float ``(n, 3, h, w)`` in [0, 1] → int64 ``(n, h/cell, w/cell)``."""
        (size,) = self.card.codebook_sizes
        return Tokens(streams=(TokenStream(indices=self._encode(images).long(), codebook_size=size),))

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        """int64 ``(n, h, w)`` → float32 ``(n, 3, cell·h, cell·w)``, nominally in [0, 1], not clamped."""
        (indices,) = require_grid(self.card, encoding, codebooks=1)
        return self._decode(indices.to(self._device).int())  # 32 bits, as the encoder gives them

    def quantiser(self) -> Quantiser:
        """The levels, for perturbations."""
        return Quantiser(kind="levels", composition="single", levels=LEVELS, basis=BASIS)


def _run(program: Any, given: torch.Tensor) -> Any:
    """What a program gives, run as it is written: once rewritten by TorchScript, it may round another way."""
    import torch

    as_written: Any = torch.jit.optimized_execution  # type: ignore[attr-defined]
    with as_written(False):
        return program(given)


def _described(found: torch.Tensor) -> str:
    return f"{str(found.dtype).removeprefix('torch.')} {tuple(found.shape)}"


def _last_line(err: BaseException) -> str:
    """What went wrong in a TorchScript program: its traceback comes first."""
    lines = [line for line in str(err).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(err).__name__
