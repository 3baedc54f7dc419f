"""TextOCR and COCO-Text: one JSON file, ``{imgs: {id: …}, anns: {id: …}}``.

An image is ``{id, file_name, width, height}``, a word ``{image_id, bbox: [x, y, width, height], utf8_string}``.
Words that cannot be read are left out: TextOCR writes them as ``.``, COCO-Text says ``legibility: illegible``.
"""

from __future__ import annotations

from pathlib import Path

from tokbench.data.converters.annotated import Annotated, member, numbers, read_json
from tokbench.errors import ManifestError
from tokbench.samples import Region

IGNORED = ("", ".")


def parse_textocr(data: object, *, where: str) -> tuple[list[Annotated], list[str]]:
    """The images that have words to be read, in the file's order, and notes on what is left out.

    Raises:
        ManifestError: naming ``where`` and the image's or word's id.
    """
    images: dict[str, dict[str, object]] = member(data, "imgs", dict, where=where)
    words: dict[str, list[Region]] = {str(name): [] for name in images}
    n_ignored = 0
    for name, row in member(data, "anns", dict, where=where).items():
        at = f"{where} anns[{name!r}]"
        image = str(member(row, "image_id", object, where=at))
        if image not in words:
            raise ManifestError(f"{at}: image_id is {image!r}, which is not among imgs")
        word = _word(row, where=at)
        if word is None:
            n_ignored += 1
        else:
            words[image].append(word)
    found = []
    for name, row in images.items():
        at = f"{where} imgs[{name!r}]"
        size = (member(row, "width", int, where=at), member(row, "height", int, where=at))
        file = member(row, "file_name", str, where=at)
        if words[str(name)]:
            found.append(Annotated(file=file, where=at, regions=tuple(words[str(name)]), size_px=size))
    if not found:
        raise ManifestError(f"{where} has no word to be read in {len(images)} images; is it a set without labels?")
    notes = [f"{n_ignored} words marked unreadable are left out"] if n_ignored else []
    notes += [f"{len(images) - len(found)} images without words are left out"] if len(found) < len(images) else []
    return found, notes


def read_textocr(path: Path) -> tuple[list[Annotated], list[str]]:
    """:func:`parse_textocr` of a file."""
    return parse_textocr(read_json(path), where=path.name)


def _word(row: object, *, where: str) -> Region | None:
    """None for a word that is not to be read."""
    assert isinstance(row, dict)
    if row.get("legibility", "legible") != "legible" or row.get("utf8_string") is None:
        return None
    label = member(row, "utf8_string", str, where=where)
    if label in IGNORED:
        return None
    x, y, width, height = numbers(member(row, "bbox", list, where=where), n=4, where=where, what="bbox")
    return Region(kind="word", box=(x, y, x + width, y + height), label=label)
