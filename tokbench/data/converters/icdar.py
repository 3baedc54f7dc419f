"""ICDAR-style ground truth: one text file an image, one word a line.

Understood are four corners (``x1,y1,x2,y2,x3,y3,x4,y4,word``, as in ICDAR 2015) and two (``x1, y1, x2, y2, "word"``,
as in ICDAR 2013), separated by commas or spaces. ``###`` marks a word that is not to be read; it is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tokbench.data.converters.annotated import Annotated, bounding_box, read_text
from tokbench.data.folder import IMAGE_EXTENSIONS
from tokbench.errors import ManifestError
from tokbench.samples import Region

IGNORED = "###"

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_SEPARATOR = r"(?:\s*,\s*|\s+)"
_CORNERS = {n: re.compile(rf"^\s*({_SEPARATOR.join([_NUMBER] * 2 * n)})(?:\s*,|\s)(.*)$", re.DOTALL) for n in (2, 4)}


def count_corners(texts: Iterable[str]) -> int:
    """4 if more than half of all lines of a set can be read with four corners, else 2."""
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    return 4 if sum(bool(_CORNERS[4].match(line)) for line in lines) > len(lines) / 2 else 2


def parse_words(text: str, *, n_corners: int, where: str) -> list[Region]:
    """The words of one file, ``###`` included, corners as the upright box around them.

    With two corners, quotes around the word are taken off; everything else belongs to the word, commas too.

    Raises:
        ManifestError: a line that is no such word, naming ``where`` and the line.
    """
    words = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = _CORNERS[n_corners].match(line)
        if match is None:
            form = "x1,y1,x2,y2,x3,y3,x4,y4,word" if n_corners == 4 else "x1,y1,x2,y2,word"
            raise ManifestError(f"{where} line {number} is {line[:80]!r}, expected {form} as in the rest of the set")
        values = [float(value) for value in re.split(_SEPARATOR, match[1])]
        label = match[2].strip()
        if n_corners == 2 and len(label) >= 2 and label[0] == label[-1] == '"':
            label = label[1:-1]
        box = bounding_box(list(zip(values[::2], values[1::2], strict=True)))
        words.append(Region(kind="word", box=box, label=label))
    return words


def read_icdar(annotations: Path, images: Path) -> tuple[list[Annotated], list[str]]:
    """The annotated images of a folder of ``gt_{image}.txt`` or ``{image}.txt`` files, in natural order, and notes.

    Raises:
        ManifestError: no such folder or no files in it, or a malformed line.
    """
    if not annotations.is_dir():
        raise ManifestError(f"{annotations} is no folder; expected one of gt_<image>.txt files (unpack archives first)")
    texts = {path.stem: read_text(path) for path in sorted(annotations.glob("*.txt"))}
    if not texts:
        raise ManifestError(f"{annotations} holds no .txt file; expected gt_<image>.txt, one an image")
    files = {path.stem: path.name for path in sorted(images.iterdir()) if path.suffix.lower() in IMAGE_EXTENSIONS}
    n_corners = count_corners(texts.values())
    found, n_ignored = [], 0
    for name in sorted(texts, key=lambda name: _natural(name.removeprefix("gt_"))):
        where = f"{name}.txt"
        stem = name if name in files else name.removeprefix("gt_")
        words = parse_words(texts[name], n_corners=n_corners, where=where)
        kept = tuple(word for word in words if word.label != IGNORED)
        n_ignored += len(words) - len(kept)
        found.append(Annotated(file=files.get(stem, f"{stem}.*"), where=where, regions=kept))
    n_without = len(set(files.values()) - {image.file for image in found})
    notes = [f"{n_ignored} words marked {IGNORED} are left out"] if n_ignored else []
    notes += [f"{n_without} images without an annotation file are left out"] if n_without else []
    return found, notes


def _natural(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in re.findall(r"[0-9]+|[^0-9]+", name)]
