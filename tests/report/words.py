"""Synthetic runs in which recognisers say what they read, and why they left words out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.report.synthetic import value_of
from tokbench.report.runs import PLAIN, ReportRun, load_run
from tokbench.results import GroupValue, Record, RegionRecord, Value

NOT_READ = "not read on the original"
NO_LABEL = "it has no label"
_GROUPS = ("small", "medium", "large")


def read_run(
    folder: Path,
    *,
    engines: Sequence[str] = ("rapidocr",),
    labels: Sequence[str] = ("Sharp", "Country", "Z4", "Rope"),
    readings: Sequence[str] = ("Starp", "", "Z4", "Rop"),
    values: Mapping[str, Value] | None = None,
    **changes: Any,
) -> ReportRun:
    """A run on disk, with every word labelled and read in turn, every seventh word and every fifth face left out.

    ``changes`` go into every word: ``group``, ``box``.
    """
    run = load_run(folder)
    counter = iter(range(10**6))

    def word(region: RegionRecord) -> RegionRecord:
        number = next(counter)
        label, read = labels[number % len(labels)], readings[number % len(readings)]
        right = float(label == read)
        numbers = {f"{key}.{engine}": right for engine in engines for key in ("t_acc", "t_ned")}
        seen = {metric: {"reference": label, "reconstruction": read} for metric in numbers}
        if number % 7 == 6:
            reason = NO_LABEL if number % 2 else NOT_READ
            return replace(region, label=label, values={}, reasons=dict.fromkeys(numbers, reason), seen=seen, **changes)
        return replace(region, label=label, values=numbers, seen=seen, **changes)

    def face(region: RegionRecord) -> RegionRecord:
        number = next(counter)
        if number % 5 == 4:
            return replace(region, values={}, reasons={"f_sim.dlib": "it has no five key points"})
        similar = region.values["f_sim"]
        return replace(region, label="poker_4", values={"f_sim.dlib": similar, "f_ver.dlib": float(similar > 0.9)})

    def changed(record: Record) -> Record:
        made = record.branches.get(PLAIN)
        if made is None:
            return record
        regions = tuple(word(region) if region.kind == "word" else face(region) for region in made.regions)
        return replace(record, branches={**record.branches, PLAIN: replace(made, regions=regions)})

    kept = {key: value for key, value in run.result.values.items() if value.group not in ("text", "face")}
    known = {value.key: value for engine in engines for value in word_values(engine)}
    known |= {value.key: value for value in face_values()}
    result = replace(run.result, values={**kept, **known, **(values or {})})
    return replace(run, result=result, records=tuple(map(changed, run.records)))


def word_values(engine: str) -> tuple[Value, ...]:
    """What a run says of a recogniser's two metrics of words."""
    groups = {"small": GroupValue(value=0.5, n=9), "medium": GroupValue(value=0.8, n=4, ci95=(0.7, 0.9))}
    empty = {"large": GroupValue(value=None, n=0)}
    return tuple(
        value_of("t_acc.parseq", 0.7, key=f"{key}.{engine}", metric=f"{key}.{engine}", title=f"{title} ({engine} 2.0)",
                 groups={**groups, **empty}, details={"n_images": 12, "left out: " + NOT_READ: 3, "n_clusters": 1})
        for key, title in (("t_ned", "Edit similarity"), ("t_acc", "Words read"))
    )  # fmt: skip


def face_values() -> tuple[Value, ...]:
    """What a run says of dlib's two metrics of faces."""
    groups = {name: GroupValue(value=0.6, n=3) for name in _GROUPS}
    return tuple(
        value_of("f_sim", 0.6, key=key, metric=key, title=f"{title} (dlib)", groups=groups)
        for key, title in (("f_ver.dlib", "Faces still recognised"), ("f_sim.dlib", "Face similarity"))
    )
