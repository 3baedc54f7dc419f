"""Pictures of submissions, copied into the site under the digest of their content; nothing else is taken for one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tokbench.errors import ResultsError
from tokbench.leaderboard.collect import Entry
from tokbench.results import PLAIN
from tokbench.runfolder import disk_error

FOLDER = "pictures"
_MAX_SIDE = 4096
_MAX_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Paths inside the site.

    Attributes:
        of: by entry (its place and name), path by sample id.
        references: by task place, path by sample id, for samples of which some reference row shows the original itself.
        size_px: by path, width and height.
    """

    of: dict[tuple[tuple[str, int, str], str], dict[str, str]] = field(default_factory=dict)
    references: dict[tuple[str, int, str], dict[str, str]] = field(default_factory=dict)
    size_px: dict[str, tuple[int, int]] = field(default_factory=dict)


def copy_pictures(entries: Sequence[Entry], site: Path) -> Pictures:
    """Copy what the entries show, at most eight pictures each.

    Raises:
        ResultsError: the site cannot be written, or what :func:`check_pictures` raises.
    """
    made = Pictures()
    for entry in entries:
        own = made.of.setdefault((entry.place, entry.name), {})
        for sample, name in list(entry.submission.pictures.items())[:_MAX_SHOWN]:
            facts = entry.submission.files[name]
            path = f"{FOLDER}/{facts.sha256[:24]}.png"
            if path not in made.size_px:
                made.size_px[path] = _copy(entry.submitted.folder / name, site / path)
            own[sample] = path
        if entry.is_reference and own:
            references = made.references.setdefault(entry.place, {})
            for sample in _originals(entry):
                if sample in own:
                    references.setdefault(sample, own[sample])
    return made


def _originals(entry: Entry) -> Iterator[str]:
    """Samples that the entry gives back unchanged."""
    for record in entry.submitted.records():
        branch = record.branches.get(PLAIN)
        if branch is not None and branch.reconstruction_sha256 == record.reference_sha256:
            yield record.id


def check_pictures(entry: Entry) -> None:
    """Refuse what cannot be shown: ResultsError for a file that is no PNG of at most 4096 pixels on a side."""
    for name in entry.submission.pictures.values():
        _size(entry.submitted.folder / name)


def _size(source: Path) -> tuple[int, int]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(source, formats=["PNG"]) as image:
            size = image.size
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as err:
        raise ResultsError(f"{source.parent.name}/{source.name} is not a PNG: {type(err).__name__}") from err
    if max(size) > _MAX_SIDE:
        raise ResultsError(
            f"{source.parent.name}/{source.name} has {size[0]} × {size[1]} pixels; at most {_MAX_SIDE} on a side"
        )
    return size


def _copy(source: Path, target: Path) -> tuple[int, int]:
    size = _size(source)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    except OSError as err:
        raise disk_error(target, err) from err
    return size
