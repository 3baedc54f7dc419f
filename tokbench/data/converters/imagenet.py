"""The validation images of ImageNet (ILSVRC 2012), in the layouts people keep them in, with their classes.

A class is written as its WordNet id, ``n01440764``. It is taken from class folders, from names as the hub's shards
have them (``…_n01440764.JPEG``), or from a list: Kaggle's ``LOC_val_solution.csv``, any text file of image and WordNet
id a line, 50,000 WordNet ids in the images' order, Caffe's ``val.txt`` beside a list of the 1,000 ids, or the
development kit's ground truth beside its ``meta.mat``.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokbench.data.converters.annotated import read_text
from tokbench.data.finding import Copy, Found
from tokbench.errors import ManifestError

N_IMAGES = 50_000
N_CLASSES = 1_000
TITLE = "ImageNet (ILSVRC 2012), validation images"
LICENCE = "ImageNet's terms of access: non-commercial research and education"
CITATION = "Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, arXiv 1409.0575, 2015"

_NAME = re.compile(r"ILSVRC2012_val_(\d{8})(?:_(n\d{8}))?\.jpe?g", re.IGNORECASE)
_IMAGE = re.compile(r"ILSVRC2012_val_(\d{8})")
_WORDNET = re.compile(r"(?<![0-9A-Za-z])n\d{8}(?!\d)")
_TEXT = (".txt", ".csv")
_DEVKIT = "ILSVRC2012_validation_ground_truth"


def canonical_name(found: Found) -> str | None:
    """``ILSVRC2012_val_00000001.JPEG`` in everybody's copy; None for any other image."""
    match = _NAME.fullmatch(found.name)
    return image_name(int(match[1])) if match and 1 <= int(match[1]) <= N_IMAGES else None


def image_name(number: int) -> str:
    """The file name of an image, by its number from 1."""
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def expected_names() -> tuple[str, ...]:
    """All 50,000, in order."""
    return tuple(image_name(number) for number in range(1, N_IMAGES + 1))


def read_classes(copy: Copy) -> dict[str, str]:
    """WordNet ids by canonical name, from folders, names and lists; {} where the copy has none.

    Raises:
        ManifestError: two sources disagree about an image, or a list is damaged.
    """
    classes = _from_names(copy.images)
    for path, listed in _from_lists(copy.notes):
        disagreeing = [name for name in listed if classes.get(name, listed[name]) != listed[name]]
        if disagreeing:
            name = disagreeing[0]
            raise ManifestError(
                f"{path} says {listed[name]} of {name}, another source {classes[name]}; they disagree on "
                f"{len(disagreeing)} images: remove the wrong one"
            )
        classes |= listed
    return classes


def _from_names(images: Sequence[Found]) -> dict[str, str]:
    classes: dict[str, str] = {}
    for found in images:
        name, match = canonical_name(found), _NAME.fullmatch(found.name)
        if name is None or match is None:
            continue
        folder = found.folder if _WORDNET.fullmatch(found.folder) else ""
        said = [wordnet for wordnet in (match[2], folder, classes.get(name)) if wordnet]
        if len(set(said)) > 1:
            raise ManifestError(f"{found.address}: the copy says {' and '.join(sorted(set(said)))} of this image")
        if said:
            classes[name] = said[0]
    return classes


def _from_lists(notes: Sequence[Path]) -> list[tuple[Path, dict[str, str]]]:
    synsets = _synsets(notes)
    found = []
    for path in notes:
        if path.suffix.lower() not in _TEXT:
            continue
        lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
        listed = _by_line(lines, synsets)
        if not listed and path.stem == _DEVKIT:
            listed = _by_devkit(lines, notes)
        if listed:
            found.append((path, listed))
    return found


def _by_line(lines: Sequence[str], synsets: Sequence[str]) -> dict[str, str]:
    """Of lines with image and WordNet id, image and class index, or WordNet ids alone, as many as there are images."""
    if len(lines) == N_IMAGES and all(_WORDNET.fullmatch(line) for line in lines):
        return {image_name(number): line for number, line in enumerate(lines, start=1)}
    listed = {}
    for line in lines:
        image, wordnet = _IMAGE.search(line), _WORDNET.search(line)
        index = line.rpartition(" ")[2]
        if image and wordnet:
            listed[image_name(int(image[1]))] = wordnet[0]
        elif image and synsets and index.isascii() and index.isdigit() and int(index) < N_CLASSES:
            listed[image_name(int(image[1]))] = synsets[int(index)]
    return listed


def _synsets(notes: Sequence[Path]) -> tuple[str, ...]:
    """The 1,000 WordNet ids in class order, from a list of them that may have words behind; () without one."""
    for path in notes:
        if path.suffix.lower() in _TEXT:
            first = [line.split(maxsplit=1)[0] for line in read_text(path).splitlines() if line.strip()]
            if len(first) == N_CLASSES == len(set(first)) and all(_WORDNET.fullmatch(word) for word in first):
                return tuple(sorted(first))
    return ()


def _by_devkit(lines: Sequence[str], notes: Sequence[Path]) -> dict[str, str]:
    """Of the development kit's own class numbers, which ``meta.mat`` translates."""
    meta = next((path for path in notes if path.name == "meta.mat"), None)
    if meta is None or len(lines) != N_IMAGES:
        return {}
    wordnet = _read_meta(meta)
    try:
        return {image_name(number): wordnet[int(line)] for number, line in enumerate(lines, start=1)}
    except (ValueError, KeyError) as err:
        raise ManifestError(f"{_DEVKIT}.txt holds {err}, which is no class of {meta}") from err


def _read_meta(path: Path) -> dict[int, str]:
    scipy_io: Any = importlib.import_module("scipy.io")  # comes with scikit-image; runs nothing that is in the file
    try:
        rows: Any = scipy_io.loadmat(str(path), squeeze_me=True)["synsets"]
        return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows}
    except (ValueError, KeyError, TypeError, IndexError, NotImplementedError) as err:
        raise ManifestError(f"{path} cannot be read as the development kit's meta.mat: {err}") from err
