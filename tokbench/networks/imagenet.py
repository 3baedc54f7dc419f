"""The 1,000 classes of ImageNet (ILSVRC 2012), in the order every classifier of it uses: by WordNet id."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def wordnet_ids() -> tuple[str, ...]:
    """The 1,000 ids (``n01440764`` …); an id's place is the index of its class."""
    return tuple(files(__package__).joinpath("imagenet_classes.txt").read_text(encoding="ascii").split())


def class_index(label: str) -> int | None:
    """The class a sample's label names: a WordNet id of the 1,000, or an index from 0 to 999; None for any other."""
    if label.isascii() and label.isdecimal() and len(label) <= 3:
        return int(label)
    return _indices().get(label)


@cache
def _indices() -> dict[str, int]:
    return {wordnet_id: index for index, wordnet_id in enumerate(wordnet_ids())}
