"""Folders of arrays that a program reads and writes, and the encodings they are. docs/external.md has the names.

The other half, for the program's side, is ``_external/helper/tokbench_external.py``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from tokbench.cards import TokenizerCard
from tokbench.encodings import BitCodes, Encoding, Latents, Payloads, Tokens, TokenStream
from tokbench.errors import BadOutputError

if TYPE_CHECKING:
    import torch

_MAP: Literal["c"] | None = None if os.name == "nt" else "c"  # Windows cannot delete what is mapped
_KINDS = {"i": "integers", "u": "integers", "b": "bool", "f": "floating point"}


@dataclass(frozen=True, kw_only=True)
class Folder:
    """What a program left for n samples of the card's tokenizer."""

    path: Path
    card: TokenizerCard
    n: int

    def encoding(self) -> Encoding:
        """Raises BadOutputError naming the file, what it holds and what was expected."""
        payloads = sorted(self.path.glob("payload_*.bin"), key=_number)
        found = [name for name in ("tokens", "bits", "latents") if self._files(name)] + ["payload"] * bool(payloads)
        if len(found) != 1:
            here = ", ".join(sorted(path.name for path in self.path.iterdir())) or "nothing"
            raise BadOutputError(
                f"{self.card.name}: encode wrote {here}; expected tokens.npy, tokens_0.npy …, bits.npy, latents.npy or "
                "payload_0.bin …, one kind of them"
            )
        if payloads:
            if len(payloads) != self.n:
                raise BadOutputError(
                    f"{self.card.name}: encode was given {self.n} images and wrote {len(payloads)} files"
                )
            return Payloads(files=tuple(path.read_bytes() for path in payloads))
        if found == ["bits"]:
            (vectors,) = self._beside("vectors", 1, "f")
            return BitCodes(values=self._tensor(self.path / "bits.npy", "b"), vectors=vectors)
        if found == ["latents"]:
            return Latents(values=self._tensor(self.path / "latents.npy", "f"))
        return self._tokens()

    def images(self) -> torch.Tensor:
        """Float ``(n, 3, h, w)`` in the card's range, as the program gave them."""
        images = self._tensor(self.path / "images.npy", "f", is_mapped=True)
        if images.ndim != 4 or images.shape[1] != 3:
            raise BadOutputError(
                f"{self.card.name}: decode wrote images of shape {tuple(images.shape)}, expected ({self.n}, 3, h, w)"
            )
        return images

    def codebooks(self) -> dict[str, torch.Tensor]:
        """A stream's codebook name → its entries."""
        paths = sorted(self.path.glob("codebook_*.npy"), key=_number)
        if len(paths) != len(self.card.codebook_sizes):
            raise BadOutputError(
                f"{self.card.name}: the program has {len(paths)} codebooks, and codebook_sizes in its description has "
                f"{len(self.card.codebook_sizes)} entries"
            )
        return {str(number): self._tensor(path, "f", is_batch=False) for number, path in enumerate(paths)}

    def _tokens(self) -> Tokens:
        import torch

        paths, sizes = self._files("tokens"), self.card.codebook_sizes
        if len(sizes) not in (1, len(paths)):
            raise BadOutputError(
                f"{self.card.name}: encode wrote {len(paths)} streams of tokens, and codebook_sizes in the description "
                f"has {len(sizes)} entries; expected one, or one a stream"
            )
        lengths = self._beside("lengths", len(paths), "iu")
        vectors = self._beside("vectors", len(paths), "f", may_be_first_only=True)
        streams = []
        for number, path in enumerate(paths):
            length = lengths[number]
            streams.append(
                TokenStream(
                    indices=self._tensor(path, "iu").to(torch.int64),
                    codebook_size=sizes[0] if len(sizes) == 1 else sizes[number],
                    codebook="0" if len(sizes) == 1 else str(number),
                    lengths=None if length is None else length.to(torch.int64),
                    vectors=vectors[number],
                )
            )
        return Tokens(streams=tuple(streams))

    def _beside(
        self, name: str, n_streams: int, kinds: str, *, may_be_first_only: bool = False
    ) -> list[torch.Tensor | None]:
        """Lengths or vectors by stream; None where there are none."""
        files = self._files(name)
        if len(files) not in (0, n_streams) and not (may_be_first_only and len(files) == 1):
            raise BadOutputError(
                f"{self.card.name}: encode wrote {name} for {len(files)} streams, and there are {n_streams}"
            )
        return [self._tensor(path, kinds) for path in files] + [None] * (n_streams - len(files))

    def _files(self, name: str) -> list[Path]:
        single = self.path / f"{name}.npy"
        return [single] if single.exists() else sorted(self.path.glob(f"{name}_*.npy"), key=_number)

    def _tensor(self, path: Path, kinds: str, *, is_batch: bool = True, is_mapped: bool = False) -> torch.Tensor:
        """The file's array, read; or mapped, for what is not kept: a mapping holds on to the file."""
        import torch

        if not path.exists():
            raise BadOutputError(f"{self.card.name}: the program ended its work without writing {path.name}")
        try:
            array = np.asarray(np.load(path, allow_pickle=False, mmap_mode=_MAP if is_mapped else None))
        except (ValueError, OSError, EOFError) as err:
            raise BadOutputError(f"{self.card.name}: {path.name} is not a whole .npy file of numbers: {err}") from err
        if array.dtype.kind not in kinds:
            raise BadOutputError(
                f"{self.card.name}: {path.name} holds {array.dtype} {array.shape}, expected {_KINDS[kinds[0]]}"
            )
        if is_batch and (array.ndim == 0 or array.shape[0] != self.n):
            raise BadOutputError(
                f"{self.card.name}: {path.name} has shape {array.shape}, expected {self.n} samples along the first axis"
            )
        return torch.from_numpy(_plain(array))


def write_images(folder: Path, images: torch.Tensor, card: TokenizerCard) -> None:
    """Images in [0, 1] as ``images.npy``, float32 in the card's range."""
    low, high = card.pixel_range
    wide = images.detach().float().cpu()
    if (low, high) != (0.0, 1.0):
        wide = wide * (high - low) + low
    np.save(folder / "images.npy", wide.contiguous().numpy())


def write_seeds(folder: Path, seeds: Sequence[int]) -> None:
    """One int64 a sample."""
    np.save(folder / "seeds.npy", np.asarray(list(seeds), dtype=np.int64))


def write_encoding(folder: Path, encoding: Encoding, card: TokenizerCard) -> None:
    """What decode needs, in the form that encode gives it."""
    if isinstance(encoding, Payloads):
        for number, file in enumerate(encoding.files):
            (folder / f"payload_{number}.bin").write_bytes(file)
    elif isinstance(encoding, BitCodes):
        _save(folder / "bits.npy", encoding.values)
    elif isinstance(encoding, Latents):
        _save(folder / "latents.npy", encoding.values)
    else:
        # A tokenizer of several streams gets a list even where a prefix left it one.
        is_list = len(encoding.streams) > 1 or len(card.codebook_sizes) > 1 or card.prefix_axis == "streams"
        for number, stream in enumerate(encoding.streams):
            ending = f"_{number}" if is_list else ""
            _save(folder / f"tokens{ending}.npy", stream.indices)
            if stream.lengths is not None:
                _save(folder / f"lengths{ending}.npy", stream.lengths)


def to_unit_range(images: torch.Tensor, card: TokenizerCard) -> torch.Tensor:
    """Images of the card's range in [0, 1], at least float32."""
    import torch

    low, high = card.pixel_range
    wide = images.float() if images.dtype == torch.float16 else images
    return wide if (low, high) == (0.0, 1.0) else (wide - low) / (high - low)


def versions_note(about: Mapping[str, object]) -> str:
    """What the program said of its environment, in a sentence; "" if nothing."""
    versions = about.get("versions")
    parts = [f"Python {about['python']}"] if isinstance(about.get("python"), str) else []
    parts += [f"{name} {version}" for name, version in versions.items()] if isinstance(versions, dict) else []
    return f"The program ran under {', '.join(parts)}." if parts else ""


def _save(path: Path, tensor: torch.Tensor) -> None:
    import torch

    plain = tensor.detach().cpu()
    np.save(path, (plain.float() if plain.dtype == torch.bfloat16 else plain).contiguous().numpy())


def _plain(array: np.ndarray) -> np.ndarray:
    """In this machine's byte order, in one piece, and of a type torch knows."""
    if array.dtype == np.longdouble and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _number(path: Path) -> int:
    digits = path.stem.rpartition("_")[2]
    return int(digits) if digits.isdigit() else -1
