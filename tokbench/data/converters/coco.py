"""The validation images of COCO 2017, as a folder or as the published zip file."""

from __future__ import annotations

import re
from pathlib import Path

from tokbench.data.converters.annotated import member, read_json
from tokbench.data.finding import Found
from tokbench.errors import ManifestError

N_IMAGES = 5_000
TITLE = "COCO val2017"
LICENCE = "the images carry their photographers' terms on Flickr; the annotations are CC-BY-4.0"
CITATION = "Lin et al., Microsoft COCO: Common Objects in Context, arXiv 1405.0312, 2014"
ANNOTATIONS_NAME = "instances_val2017.json"

_NAME = re.compile(r"\d{12}\.jpg")


def canonical_name(found: Found) -> str | None:
    """The image's file name; None for any other image."""
    return found.name if _NAME.fullmatch(found.name) else None


def annotated_sizes(path: Path) -> dict[str, tuple[int, int]]:
    """Width and height by file name, from ``instances_val2017.json`` (or another list of the same images).

    Raises:
        ManifestError: not such a file.
    """
    data = read_json(path)
    sizes = {}
    for index, row in enumerate(member(data, "images", list, where=path.name)):
        where = f"{path.name} image {index}"
        name = member(row, "file_name", str, where=where)
        sizes[name] = (member(row, "width", int, where=where), member(row, "height", int, where=where))
    if not sizes:
        raise ManifestError(f"{path.name} lists no images")
    return sizes
