"""Which pictures a run keeps: all of a small set; otherwise the extremes of each metric and a fixed random subset.

The choice depends on values and sample ids alone, not on order, and needs bounded memory and disk.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tokbench.images import encode_png
from tokbench.results import Record
from tokbench.runfolder import PICTURES, disk_error, write_text
from tokbench.schema import dump_json

KEEP_ALL = 128
_EXTREMES = 4
_RANDOM = 48


class PictureKeeper:
    """Writes kept pictures below ``folder/pictures`` and removes those that better candidates push out."""

    def __init__(self, folder: Path, *, n_samples: int) -> None:
        self._folder = folder / PICTURES
        self._keep_all = n_samples <= KEEP_ALL
        self._heaps: dict[tuple[str, str], list[tuple[float, str]]] = {}
        self._holders: dict[str, int] = {}
        self._kept: dict[str, list[tuple[str, Path]]] = {}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise disk_error(self._folder, err) from err

    def offer(self, record: Record, reference: np.ndarray, reconstructions: Mapping[str, np.ndarray]) -> None:
        """Consider one sample: uint8 ``(h, w, 3)`` reference and reconstructions by branch."""
        if self._keep_all:
            self._write(record.id, reference, reconstructions)
            return
        draw = int.from_bytes(hashlib.sha256(record.id.encode()).digest()[:8], "big")
        candidates = [(("", "random"), float(draw), _RANDOM)]
        for key, value in _scores(record).items():
            candidates += [((key, "low"), value, _EXTREMES), ((key, "high"), -value, _EXTREMES)]
        wanted, dropped = 0, []
        for heap_key, score, size in candidates:
            heap = self._heaps.setdefault(heap_key, [])
            entry = (-score, record.id)  # a heap of the lowest scores keeps its highest at the top, to be pushed out
            if len(heap) < size:
                heapq.heappush(heap, entry)
                wanted += 1
            elif entry > heap[0]:
                dropped.append(heapq.heapreplace(heap, entry)[1])
                wanted += 1
        if wanted:
            self._holders[record.id] = wanted
            self._write(record.id, reference, reconstructions)
        for sample_id in dropped:
            self._release(sample_id)

    def write_index(self) -> None:
        """Write ``pictures/index.json``, in sample-id order."""
        rows = []
        for sample_id in sorted(self._kept):
            files = dict(self._kept[sample_id])
            rows.append(
                {
                    "id": sample_id,
                    "reference": files.pop("reference").name,
                    "branches": {name.removeprefix("branch:"): path.name for name, path in files.items()},
                }
            )
        write_text(self._folder / "index.json", dump_json({"samples": rows}))

    def _write(self, sample_id: str, reference: np.ndarray, reconstructions: Mapping[str, np.ndarray]) -> None:
        stem = hashlib.sha256(sample_id.encode()).hexdigest()[:16]  # ids may hold anything; file names may not
        files = [("reference", self._folder / f"{stem}-reference.png", reference)]
        for number, (name, pixels) in enumerate(reconstructions.items()):
            files.append((f"branch:{name}", self._folder / f"{stem}-{number}.png", pixels))
        for _, path, pixels in files:
            try:
                path.write_bytes(encode_png(pixels))
            except OSError as err:
                raise disk_error(path, err) from err
        self._kept[sample_id] = [(name, path) for name, path, _ in files]

    def _release(self, sample_id: str) -> None:
        self._holders[sample_id] -= 1
        if self._holders[sample_id] == 0:
            del self._holders[sample_id]
            for _, path in self._kept.pop(sample_id):
                path.unlink(missing_ok=True)


def _scores(record: Record) -> dict[str, float]:
    """One number a metric: its value, or the mean over the sample's regions."""
    branch = record.branches.get("")
    if branch is None:
        return {}
    scores = dict(branch.values)
    by_key: dict[str, list[float]] = {}
    for region in branch.regions:
        for key, value in region.values.items():
            by_key.setdefault(key, []).append(value)
    return scores | {key: sum(values) / len(values) for key, values in by_key.items()}
