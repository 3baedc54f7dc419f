"""TokBench's own annotations (arXiv 2505.18142): eight sets of words and one of faces.

The official layout, below one root::

    annotations/text_{set}.json    [{file_name, height, width, annotations: [{rec, bbox, ratio}]}]
    annotations/face_meta.json     [{image_name, img_height, img_width, faces: [{kps, ratio, box, gt}]}]
    images/text_data/{set}/        ic13 ic15 tt textocr cord sroie infograph docvqa
    images/face_data/wflw/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tokbench.data.converters.annotated import Annotated, finite, member, merged, numbers, read_json
from tokbench.errors import ManifestError
from tokbench.samples import Region

TEXT_SETS = ("ic13", "ic15", "tt", "textocr", "cord", "sroie", "infograph", "docvqa")
FACE_SET = "wflw"
BATCH = 64
CAP = "published_cap"

PUBLISHED_COUNTS = {
    "ic13": (213, 882),
    "ic15": (421, 1347),
    "tt": (247, 1168),
    "cord": (100, 1880),
    "sroie": (347, 6258),
    "infograph": (1300, 19106),
    "docvqa": (678, 5446),
}
"""Images and words of each set in the official release's own logs, as far as those are stored."""


def word_set(rows: object, *, name: str, where: str) -> list[Annotated]:
    """The parsed ``text_{name}.json`` as annotated images, one a file.

    Each word gets the attribute ``published_cap``: the longest label of the 64 words it was batched with, in the
    order of the file, which bounds what the published evaluation lets the recogniser read (:func:`published_caps`).

    Raises:
        ManifestError: naming ``where``, the entry and the word, counted from 1.
    """
    images = []
    for number, row in enumerate(_list(rows, where), start=1):
        at = f"{where} entry {number}"
        words = [
            _word(word, where=f"{at}, word {n}") for n, word in enumerate(member(row, "annotations", list, where=at), 1)
        ]
        size = (member(row, "width", int, where=at), member(row, "height", int, where=at))
        file = member(row, "file_name", str, where=at)
        images.append(Annotated(file=file, where=at, regions=tuple(words), size_px=size, tags=(name,)))
    return merged(_with_caps(images))


def face_set(rows: object, *, where: str) -> list[Annotated]:
    """The parsed ``face_meta.json`` as annotated images, one a file; a face's ``gt`` is kept where it is text.

    Raises:
        ManifestError: naming ``where``, the entry and the face, counted from 1.
    """
    images = []
    for number, row in enumerate(_list(rows, where), start=1):
        at = f"{where} entry {number}"
        faces = [_face(face, where=f"{at}, face {n}") for n, face in enumerate(member(row, "faces", list, where=at), 1)]
        size = (member(row, "img_width", int, where=at), member(row, "img_height", int, where=at))
        file = member(row, "image_name", str, where=at)
        images.append(Annotated(file=file, where=at, regions=tuple(faces), size_px=size, tags=(FACE_SET,)))
    return merged(images)


def published_caps(labels: Sequence[str], *, batch: int = BATCH) -> list[int]:
    """For each label, the length of the longest in its batch, the labels being batched in order."""
    caps: list[int] = []
    for start in range(0, len(labels), batch):
        part = labels[start : start + batch]
        caps += [max(len(label) for label in part)] * len(part)
    return caps


def read_sets(root: Path) -> dict[str, list[Annotated]]:
    """Every set whose annotation file is below ``root``, by name, in the published order.

    Raises:
        ManifestError: there is none, or one is malformed.
    """
    folder = root / "annotations"
    sets = {}
    for name in TEXT_SETS:
        path = folder / f"text_{name}.json"
        if path.is_file():
            sets[name] = word_set(read_json(path), name=name, where=path.name)
    path = folder / "face_meta.json"
    if path.is_file():
        sets[FACE_SET] = face_set(read_json(path), where=path.name)
    if not sets:
        raise ManifestError(
            f"{root} is no copy of TokBench: expected annotations/text_ic13.json and its siblings, "
            f"annotations/face_meta.json and images/ in it; give the folder that holds these with --root"
        )
    return sets


def image_folder(root: Path, name: str) -> Path:
    """Where the images of a set are below ``root``; ManifestError, naming archives to unpack, if nowhere."""
    kind = "face_data" if name == FACE_SET else "text_data"
    for folder in (root / "images" / kind / name, root / kind / name):
        if folder.is_dir():
            return folder
    archives = sorted(
        path.relative_to(root).as_posix() for path in root.rglob("*") if path.suffix in (".zip", ".tar", ".gz")
    )
    hint = (
        f"it holds {', '.join(archives[:10])}: unpack them, then give the folder with --root"
        if archives
        else "get it again"
    )
    raise ManifestError(f"{root} has annotations of the set {name}, but no images/{kind}/{name}; {hint}")


def count_notes(sets: Mapping[str, Sequence[Annotated]]) -> list[str]:
    """What differs from the official release: sets that are missing, and other numbers of images or words."""
    notes = []
    missing = [name for name in (*TEXT_SETS, FACE_SET) if name not in sets]
    if missing:
        notes.append(f"without the sets {', '.join(missing)}: not comparable with published numbers")
    for name, expected in PUBLISHED_COUNTS.items():
        if name in sets:
            got = (len(sets[name]), sum(len(image.regions) for image in sets[name]))
            if got != expected:
                n_images, n_words = expected
                notes.append(f"{name} has {got[0]} images, {got[1]} words; the published logs {n_images} and {n_words}")
    return notes


def _word(row: object, *, where: str) -> Region:
    label = member(row, "rec", str, where=where)
    x0, y0, x1, y1 = numbers(member(row, "bbox", list, where=where), n=4, where=where, what="bbox")
    ratio = finite(member(row, "ratio", object, where=where), where=where, what="ratio")
    return Region(kind="word", box=(x0, y0, x1, y1), label=label, ratio=ratio)


def _face(row: object, *, where: str) -> Region:
    points = member(row, "kps", list, where=where)
    if len(points) != 5:
        raise ManifestError(f"{where}: kps has {len(points)} points, expected 5")
    keypoints = []
    for point in points:
        x, y = numbers(point, n=2, where=where, what="a point of kps")
        keypoints.append((x, y))
    x0, y0, x1, y1 = numbers(member(row, "box", list, where=where)[:4], n=4, where=where, what="box")
    ratio = finite(member(row, "ratio", object, where=where), where=where, what="ratio")
    label = row.get("gt", "") if isinstance(row, dict) else ""
    return Region(
        kind="face",
        box=(x0, y0, x1, y1),
        label=label if isinstance(label, str) else "",
        keypoints=tuple(keypoints),
        ratio=ratio,
    )


def _with_caps(images: Sequence[Annotated]) -> list[Annotated]:
    caps = iter(published_caps([region.label for image in images for region in image.regions]))
    return [
        replace(image, regions=tuple(replace(region, attributes={CAP: next(caps)}) for region in image.regions))
        for image in images
    ]


def _list(rows: object, where: str) -> list[object]:
    if not isinstance(rows, list):
        raise ManifestError(f"{where} holds {type(rows).__name__}, expected a list of images")
    return rows
