"""Words and faces as the page shows them: crops, readings and numbers, all written out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokbench.report.answers import Answer, answer_all, in_words
from tokbench.report.crops import CropStore, Shape
from tokbench.report.format import clean, format_count, shorten
from tokbench.report.readings import MAX_SHOWN
from tokbench.report.recognisers import (
    Found,
    Kind,
    Place,
    Recogniser,
    by_group,
    choose,
    find_regions,
    is_right,
    left_out,
    recognisers,
)
from tokbench.report.runs import PLAIN, Section
from tokbench.report.sizes import extent, group_names
from tokbench.results import RegionRecord

CROP_BUDGET = 1_500_000  # characters of data URIs for the whole page
_PLURALS: dict[Kind, str] = {"word": "words", "face": "faces"}
_WRONG: dict[Kind, str] = {"word": "misread", "face": "no longer recognised"}


@dataclass(frozen=True, kw_only=True)
class Item:
    """A word or face: the original and each run's reconstruction. ``number`` is its place in the script's list."""

    number: int
    id: str
    title: str
    size: str
    shape: Shape | None
    answers: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True)
class Group:
    """A size group. ``counts`` is what each run has wrong of it; ``shown`` says how many items follow."""

    name: str
    extent: str
    counts: tuple[tuple[int, str], ...]
    shown: str
    items: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What one recogniser says. ``left_out`` is what it did not judge: for each run, or once where all runs agree."""

    recogniser: Recogniser
    groups: tuple[Group, ...]
    left_out: tuple[tuple[int | None, tuple[str, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Panels by kind; ``items`` is what the page's script needs of each item, ``samples`` where it is from."""

    kinds: tuple[tuple[str, tuple[Panel, ...]], ...]
    items: tuple[dict[str, Any], ...]
    samples: tuple[str, ...]

    def linked(self, numbers: Mapping[str, int]) -> list[dict[str, Any]]:
        """The script's items, each with the number of its sample among the embedded pictures, or None."""
        return [{**item, "sample": numbers.get(sample)} for item, sample in zip(self.items, self.samples, strict=True)]


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """A panel before its crops are cut."""

    recogniser: Recogniser
    found: Found
    groups: Mapping[str, list[Place]]
    chosen: Mapping[str, list[Place]]


def make_regions(section: Section, store: CropStore) -> Regions:
    """The worst words and faces of each recogniser and size group, as many as there is room for."""
    builder = _Builder(section, store)
    choices = [choice for kind in _PLURALS for choice in _choices(section, kind, builder.kept)]
    # The worst of every group first, so that none goes without when there is no more room.
    queue = [
        (depth, number, group, place)
        for number, choice in enumerate(choices)
        for group, places in choice.chosen.items()
        for depth, place in enumerate(places)
    ]
    made: dict[tuple[int, str], list[Item]] = {}
    for _, number, group, place in sorted(queue, key=lambda entry: entry[0]):
        item = builder.add(choices[number], place)
        if item is not None:
            made.setdefault((number, group), []).append(item)
    panels = [_panel(section, choice, number, made, builder.kept) for number, choice in enumerate(choices)]
    by_kind = [
        (_PLURALS[kind].capitalize(), tuple(panel for panel in panels if panel.recogniser.kind == kind))
        for kind in _PLURALS
    ]
    return Regions(
        kinds=tuple(entry for entry in by_kind if entry[1]), items=tuple(builder.items), samples=tuple(builder.samples)
    )


class _Builder:
    """Cuts crops and numbers items in the order they are added."""

    def __init__(self, section: Section, store: CropStore) -> None:
        self.section = section
        self.store = store
        self.pictures = [{item.id: item for item in run.pictures} for run in section.runs]
        self.kept = {
            sample_id for kept in self.pictures for sample_id, item in kept.items() if item.reference.is_file()
        }
        self.items: list[dict[str, Any]] = []
        self.samples: list[str] = []

    def add(self, choice: _Choice, place: Place) -> Item | None:
        """The item, or None if its crops do not fit any more."""
        regions = choice.found[place]
        region = next(region for region in regions if region is not None)
        uris, shape = self._cut(place, region, choice.recogniser.kind)
        crops = self.store.add(uris)
        if crops is None:
            return None
        answers = answer_all(self.section, choice.recogniser, regions, crops)
        width, height = (region.box[2] - region.box[0], region.box[3] - region.box[1])
        item = Item(
            number=len(self.items), id=place.sample, title=shorten(region.label, MAX_SHOWN),
            size=_size(width, height, shape), shape=shape, answers=answers,
        )  # fmt: skip
        self.samples.append(place.sample)
        self.items.append({
            "id": shorten(place.sample, 200),
            "title": shorten(region.label, 80),
            "box": [round(side, 2) for side in region.box],
            "crops": crops,
            "notes": [clean(f"{choice.recogniser.title}: {in_words(answer)}") for answer in answers[1:]],
        })  # fmt: skip
        return item

    def _cut(self, place: Place, region: RegionRecord, kind: Kind) -> tuple[list[str | None], Shape | None]:
        """The original and each run's reconstruction, all of one shape; None where no picture was kept."""
        kept = [pictures.get(place.sample) for pictures in self.pictures]
        reference = next((item.reference for item in kept if item is not None and item.reference.is_file()), None)
        files = [reference, *(item.branches.get(PLAIN) if item is not None else None for item in kept)]
        parts = [
            self.store.cut(file, region.box, kind=kind) if file is not None and file.is_file() else None
            for file in files
        ]
        shapes = [part[1] for part in parts if part is not None]
        if parts[0] is None or len(set(shapes)) > 1:
            return [None] * len(parts), None
        return [None if part is None else part[0] for part in parts], shapes[0]


def _choices(section: Section, kind: Kind, kept: set[str]) -> list[_Choice]:
    found = find_regions(section, kind)
    names = group_names(section, kind)
    choices = []
    for recogniser in recognisers(section, kind):
        groups = by_group(recogniser, found, names)
        chosen = {name: choose(recogniser, places, found, available=kept) for name, places in groups.items()}
        choices.append(_Choice(recogniser=recogniser, found=found, groups=groups, chosen=chosen))
    return choices


def _panel(
    section: Section, choice: _Choice, number: int, made: Mapping[tuple[int, str], list[Item]], kept: set[str]
) -> Panel:
    counts = [left_out(choice.recogniser, choice.found, run=run) for run in range(len(section.runs))]
    unit = _PLURALS[choice.recogniser.kind]
    lines = [tuple(f"{format_count(n, unit)} ({reason})" for reason, n in count.most_common()) for count in counts]
    agree = all(line == lines[0] for line in lines)
    return Panel(
        recogniser=choice.recogniser,
        groups=tuple(
            _group(section, choice, name, places, made.get((number, name), []), kept)
            for name, places in choice.groups.items()
        ),
        left_out=tuple(
            (None if agree else run, line) for run, line in enumerate(lines[:1] if agree else lines) if line
        ),
    )


def _group(
    section: Section, choice: _Choice, name: str, places: Sequence[Place], items: Sequence[Item], kept: set[str]
) -> Group:
    recogniser = choice.recogniser
    unit = _PLURALS[recogniser.kind]
    counts = []
    for run in range(len(section.runs)):
        verdicts = [is_right(recogniser, choice.found[place][run]) for place in places]
        known = [verdict for verdict in verdicts if verdict is not None]
        if known:
            counts.append(
                (run, f"{known.count(False):,} of {format_count(len(known), unit)} {_WRONG[recogniser.kind]}")
            )
    n_kept = sum(place.sample in kept for place in places)
    shown = f"{len(items):,} of {format_count(len(places), unit)} shown"
    if 0 < n_kept < len(places):
        shown += f", of the {n_kept:,} whose pictures were kept"
    return Group(
        name=name, extent=extent(section, recogniser.kind, name), counts=tuple(counts),
        shown=shown if places else f"no {unit}", items=tuple(items),
    )  # fmt: skip


def _size(width: float, height: float, shape: Shape | None) -> str:
    size = f"{width:.0f} × {height:.0f} px"
    if shape is None or shape.scale == 1:
        return size
    return f"{size}, ×{shape.scale:.0f}" if shape.scale > 1 else f"{size}, at {shape.scale:.0%}"
