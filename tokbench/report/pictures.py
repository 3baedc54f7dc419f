"""The pictures of a report: re-encoded without loss, each embedded once, as many as fit."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, features

from tokbench.errors import ResultsError
from tokbench.report.format import clean, format_value, shorten
from tokbench.report.runs import PLAIN, Section, index_records, sample_metrics
from tokbench.report.selection import Pick, by_priority, pick_samples, sample_values
from tokbench.results import BranchRecord, Record, Value
from tokbench.runfolder import Pictures

_PLACES = {"higher": ("Worst", "Best"), "lower": ("Worst", "Best"), "neither": ("Lowest", "Highest")}


@dataclass
class PictureStore:
    """Pictures as data URIs, equal files once. ``budget`` is how many characters they may take in the page."""

    budget: int
    uris: list[str] = field(default_factory=list)
    _known: dict[str, int] = field(default_factory=dict)
    _spent: int = 0

    def add(self, files: Sequence[Path]) -> list[int] | None:
        """Numbers of these pictures, or None if they do not fit any more (the first ones always do)."""
        digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
        new = {digest: file for digest, file in zip(digests, files, strict=True) if digest not in self._known}
        made = {digest: to_data_uri(file) for digest, file in new.items()}
        cost = sum(map(len, made.values()))
        if self.uris and self._spent + cost > self.budget:
            return None
        for digest, uri in made.items():
            self._known[digest] = len(self.uris)
            self.uris.append(uri)
        self._spent += cost
        return [self._known[digest] for digest in digests]


def to_data_uri(file: Path) -> str:
    """The picture's 8-bit RGB pixels without loss: WebP, or the PNG itself where that is smaller."""
    try:
        raw = file.read_bytes()
        with Image.open(BytesIO(raw)) as image:
            pixels = image.convert("RGB")
            is_tagged = bool({"icc_profile", "gamma", "exif"} & set(image.info))
            is_plain = image.format == "PNG" and image.mode == "RGB" and not is_tagged
    except (OSError, SyntaxError) as err:  # Pillow raises SyntaxError for broken PNG chunks
        raise ResultsError(f"{file} is not a readable picture ({err}); run again, or delete it") from err
    return data_uri(pixels, png=raw if is_plain else None)


def data_uri(pixels: Image.Image, *, png: bytes | None = None) -> str:
    """An RGB picture without loss: WebP, or PNG (``png`` where that is at hand) where that is smaller."""
    best, kind = png or _encoded(pixels, "PNG"), "png"
    if features.check("webp"):
        webp = _encoded(pixels, "WEBP", lossless=True, quality=70, method=4)
        if len(webp) < len(best):
            best, kind = webp, "webp"
    return f"data:image/{kind};base64,{base64.b64encode(best).decode('ascii')}"


def gallery(
    section: Section, store: PictureStore, *, also: Iterable[str] = ()
) -> tuple[dict[str, Any], dict[str, int]]:
    """What the page's script needs to show pictures: columns, metrics with their picks, samples. Text and indices only.

    A column is a run's branch. Every run ranks the samples by its own plain reconstructions. Samples in ``also`` are
    embedded too, if there is room after the picks. The second answer has each embedded sample's number by its id.
    """
    metrics, numbered = sample_metrics(section), range(len(section.runs))
    kept = [{item.id: item for item in run.pictures} for run in section.runs]
    records = [index_records(run) for run in section.runs]
    columns = [
        (run, branch)
        for run, result in enumerate(section.results)
        for branch in _branches(section, run, result.spec.branches)
    ]
    lists = {
        (metric.metric, run): pick_samples(
            sample_values(records[run], metric), better=metric.better, available=kept[run].keys() & records[run].keys()
        )
        for metric in metrics
        for run in numbered
    }
    samples = _embed([pick.id for pick in by_priority(list(lists.values()))], columns, kept, store)
    samples |= _embed((one for one in also if one not in samples), columns, kept, store, is_full_end=True)
    numbers = {sample_id: number for number, sample_id in enumerate(samples)}
    shown = [metric for metric in metrics if any(lists[metric.metric, run] for run in numbered)]
    rows = {
        "columns": [_column_name(section, run, branch) for run, branch in columns],
        "plain": [columns.index((run, PLAIN)) if (run, PLAIN) in columns else -1 for run in numbered],
        "runs": [shorten(label, 80) for label in section.labels],
        "metrics": [_metric_row(metric, [lists[metric.metric, run] for run in numbered], numbers) for metric in shown],
        "samples": [
            _sample_row(sample_id, cells, [(records[run].get(sample_id), branch) for run, branch in columns], shown)
            for sample_id, cells in samples.items()
        ],
    }
    return rows, numbers


def _branches(section: Section, run: int, asked: Sequence[str]) -> list[str]:
    """The branches a run kept pictures of, the plain one first."""
    kept = {branch for item in section.runs[run].pictures for branch in item.branches}
    order = [PLAIN, *(branch for branch in asked if branch != PLAIN)]
    return [branch for branch in order if branch in kept] + sorted(kept - set(order))


def _embed(
    ids: Iterable[str],
    columns: Sequence[tuple[int, str]],
    kept: Sequence[dict[str, Pictures]],
    store: PictureStore,
    *,
    is_full_end: bool = False,
) -> dict[str, list[tuple[int, int] | None]]:
    """By sample id, the numbers of reference and reconstruction in each column; None where the picture was not kept.

    With ``is_full_end`` the first sample that does not fit is the last one tried.
    """
    samples: dict[str, list[tuple[int, int] | None]] = {}
    for sample_id in dict.fromkeys(ids):
        files: list[tuple[Path, Path] | None] = []
        for run, branch in columns:
            item = kept[run].get(sample_id)
            pair = (item.reference, item.branches[branch]) if item is not None and branch in item.branches else None
            files.append(pair if pair is not None and all(file.is_file() for file in pair) else None)
        present = [pair for pair in files if pair is not None]
        numbers = store.add([file for pair in present for file in pair]) if present else None
        if numbers is None and present and is_full_end:
            break
        if numbers is None:
            continue
        pairs = iter(zip(numbers[::2], numbers[1::2], strict=True))
        samples[sample_id] = [next(pairs) if pair is not None else None for pair in files]
    return samples


def _column_name(section: Section, run: int, branch: str) -> str:
    if len(section.runs) == 1:
        return shorten(branch, 60) or "Reconstruction"
    return shorten(f"{section.labels[run]} @ {branch}" if branch else section.labels[run], 60)


def _metric_row(metric: Value, lists: Sequence[Sequence[Pick]], numbers: dict[str, int]) -> dict[str, Any]:
    worst, best = _PLACES[metric.better]
    names = {"worst": worst, "median": "Median", "best": best}
    return {
        "key": shorten(metric.metric, 80),
        "title": shorten(metric.title, 80),
        "note": "" if metric.kind == "pair" else f"mean over the sample's {clean(metric.n_unit)}",
        "lists": [
            [
                [numbers[pick.id], names[pick.place], f"rank {pick.rank:,} of {pick.n:,}"]
                for pick in picks
                if pick.id in numbers
            ]
            for picks in lists
        ],
        "left_out": sum(pick.id not in numbers for picks in lists for pick in picks),
    }


def _sample_row(
    sample_id: str,
    cells: Sequence[tuple[int, int] | None],
    sources: Sequence[tuple[Record | None, str]],
    metrics: Sequence[Value],
) -> dict[str, Any]:
    sizes = [record.size_px for record, _ in sources if record is not None and record.size_px is not None]
    return {
        "id": shorten(sample_id, 200),
        "size": list(sizes[0]) if sizes else None,
        "cells": [
            None if cell is None else {"reference": cell[0], "image": cell[1], **_measured(record, branch, metrics)}
            for cell, (record, branch) in zip(cells, sources, strict=True)
        ],
    }


def _measured(record: Record | None, branch: str, metrics: Sequence[Value]) -> dict[str, Any]:
    """A picture's values and regions, written out, by position in ``metrics``; "" where there is none."""
    made: BranchRecord | None = record.branches.get(branch) if record is not None else None
    if record is None or made is None:
        return {"values": [""] * len(metrics), "regions": []}
    found = [sample_values({record.id: record}, metric, branch=branch).get(record.id) for metric in metrics]
    regions = [
        {
            "name": shorten(f"{region.kind} “{region.label}”" if region.label else f"{region.kind} {region.index}", 80),
            "group": shorten(region.group or "", 40),
            "box": [round(side, 2) for side in region.box],
            "values": [
                format_value(region.values[m.metric], m.unit) if m.metric in region.values else "" for m in metrics
            ],
        }
        for region in made.regions
    ]
    written = [
        "" if value is None else format_value(value, metric.unit) for value, metric in zip(found, metrics, strict=True)
    ]
    return {"values": written, "regions": regions}


def _encoded(pixels: Image.Image, kind: str, **options: Any) -> bytes:
    out = BytesIO()
    pixels.save(out, kind, **options)
    return out.getvalue()
