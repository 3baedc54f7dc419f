"""External: a tokenizer in an environment of its own, driven by a command; ``external:path/to/tokenizer.toml``."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokbench.cards import TokenizerCard
from tokbench.encodings import Encoding
from tokbench.errors import BadOutputError, TokenizerError, UsageError
from tokbench.names import Opening, OpenName
from tokbench.quantisers import Quantiser
from tokbench_adapters._external.arrays import (
    Folder,
    to_unit_range,
    versions_note,
    write_encoding,
    write_images,
    write_seeds,
)
from tokbench_adapters._external.batch import BatchProgram
from tokbench_adapters._external.description import FAMILY, Description, read_description
from tokbench_adapters._external.pipe import PipeProgram
from tokbench_adapters._external.process import HELPER, variables
from tokbench_adapters._external.source import checkout_note, digests
from tokbench_adapters._inputs import check_images

if TYPE_CHECKING:
    import torch

    from tokbench.contracts import Tokenizer

OPENS = Opening(
    prefix=FAMILY,
    usage="external:path/to/tokenizer.toml",
    title="A tokenizer in an environment of its own, run by the command in the file (docs/external.md)",
)
_UNSEEN = "Parameters, operations and memory of the program are not counted."
STARTER = HELPER.parent / "starter"


def open_name(name: OpenName, *, device: str, dtype: str, load: Callable[[str], Tokenizer]) -> Tokenizer:  # noqa: ARG001
    """Read the description and start its program."""
    name.only()
    description = read_description(Path(name.target))
    return (QuantisedExternal if description.quantiser else External)(description, device=device, dtype=dtype)


def write_starter(folder: Path) -> list[Path]:
    """Write a tokenizer that runs as it is, to be changed into one's own; returns the files.

    Raises:
        UsageError: a file of that name is there already.
    """
    sources = [*sorted(STARTER.glob("*.*")), *HELPER.glob("*.py")]
    targets = [folder / source.name for source in sources]
    if there := [str(path) for path in targets if path.exists()]:
        raise UsageError(f"{', '.join(there)} would be overwritten; choose another folder, or move what is there away")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source, target in zip(sources, targets, strict=True):
            shutil.copyfile(source, target)
    except OSError as err:
        raise UsageError(f"cannot write into {folder}: {err.strerror or err}") from err
    return targets


class External:
    """Arrays go to the program by file and come back by file; the program computes where and as it likes."""

    def __init__(self, description: Description, *, device: str, dtype: str) -> None:
        program, name = description.program, description.card.name
        # Before the program is started: these are read where the user can still mend them at once.
        weights, checkout = digests(description), checkout_note(description)
        environment = variables(program, device=device, dtype=dtype)
        self._program: PipeProgram | BatchProgram
        self._program = (PipeProgram if program.serve else BatchProgram)(name, program, environment)
        notes = [*description.card.notes, checkout, versions_note(self._program.about), _UNSEEN]
        self.card = replace(description.card, weights=weights, notes=tuple(note for note in notes if note))

    def encode(self, images: torch.Tensor, *, seeds: Sequence[int] | None = None) -> Encoding:
        """Float ``(n, 3, h, w)`` in [0, 1] → what the program's encode gives; without seeds all of them are 0.

        Raises:
            UnsupportedInputError: a size the description does not allow.
            TokenizerError: the program failed, with its last lines.
            BadOutputError: what it wrote is not an encoding of n samples.
        """
        check_images(self.card, images)
        n = len(images)
        with self._program.exchange() as folder:
            source, target = _two(folder)
            write_images(source, images, self.card)
            write_seeds(source, [0] * n if seeds is None else seeds)
            self._program.run("encode", source, target)
            encoding = Folder(path=target, card=self.card, n=n).encoding()
        _require_kind(encoding, self.card)
        return encoding

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:
        """What encode gave, or a prefix of it → float ``(n, 3, h, w)``, as the program gives it; errors as above."""
        with self._program.exchange() as folder:
            source, target = _two(folder)
            write_encoding(source, encoding, self.card)
            write_seeds(source, seeds)
            self._program.run("decode", source, target)
            images = Folder(path=target, card=self.card, n=encoding.n).images()
        return to_unit_range(images, self.card)

    def close(self) -> None:
        """End the program now, rather than when this object is collected or Python exits."""
        self._program.close()


class QuantisedExternal(External):
    """One whose program shows its codebooks, so that its codes can be perturbed."""

    def __init__(self, description: Description, *, device: str, dtype: str) -> None:
        super().__init__(description, device=device, dtype=dtype)
        self._facts: dict[str, Any] = {"composition": "single", **description.quantiser}
        self._codebooks: dict[str, torch.Tensor] = {}
        if self._facts.get("kind", "lookup") == "lookup":
            self._codebooks = self._fetch_codebooks()

    def quantiser(self) -> Quantiser:
        """How codes are looked up, for perturbations."""
        return Quantiser(**{"kind": "lookup", **self._facts}, codebooks=self._codebooks)

    def _fetch_codebooks(self) -> dict[str, torch.Tensor]:
        if not self._program.about.get("codebooks"):
            raise TokenizerError(
                f"{self.card.name}: [quantiser] is of kind lookup, and the program shows no codebooks; pass them to "
                "tokbench_external.serve(codebooks=…), or leave [quantiser] out"
            )
        with self._program.exchange() as folder:
            source, target = _two(folder)
            self._program.run("codebooks", source, target)
            return Folder(path=target, card=self.card, n=0).codebooks()


def _two(folder: str) -> tuple[Path, Path]:
    source, target = Path(folder, "input"), Path(folder, "output")
    source.mkdir()
    target.mkdir()
    return source, target


def _require_kind(encoding: Encoding, card: TokenizerCard) -> None:
    """What came must be what the description announced: metrics are chosen by it."""
    kinds = {"Tokens": "discrete", "BitCodes": "discrete", "Latents": "continuous", "Payloads": "codec"}
    kind = type(encoding).__name__
    if kinds[kind] != card.latent:
        raise BadOutputError(f"{card.name}: the description says latent = {card.latent!r}, and encode wrote {kind}")
