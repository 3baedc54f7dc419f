"""Pictures: few, small, plain PNG, of samples nobody chose, and with the pixels the records speak of."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tokbench.contracts import Comparison, PairMetric
from tokbench.results import PLAIN, BranchRecord, Record
from tokbench.runfolder import PICTURES
from tokbench.runner.loading import Loaded, pixels_sha256
from tokbench.submissions.findings import Findings
from tokbench.submissions.form import MAX_PICTURES, picture_stem
from tokbench.submissions.known import Known
from tokbench.submissions.opening import Opened
from tokbench.tasks.task import Task

_CHUNKS = {b"IHDR", b"IDAT", b"IEND"}
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_PIXELS = 64_000_000
_TOLERANCE = 1e-6  # sums of floats on another machine


def picture_ids(ids: Iterable[str], n: int) -> list[str]:
    """The samples whose pictures a submission shows: a draw by id, the same for every tokenizer."""
    return sorted(ids, key=lambda sample: hashlib.sha256(sample.encode()).hexdigest())[:n]


def check_pictures(opened: Opened, task: Task | None, known: Known, findings: Findings) -> None:
    """Which samples, then each file; at hand of the original, its scores are measured again from the pixels."""
    assert opened.submission is not None
    pictures = opened.submission.pictures
    by_id = {record.id: record for record in opened.records}
    if len(pictures) > MAX_PICTURES:
        findings.error("pictures", "too many pictures", file=PICTURES, got=len(pictures), expected=f"≤ {MAX_PICTURES}")
    wanted = set(picture_ids(by_id, len(pictures)))
    for sample in pictures.keys() - wanted:
        findings.error(
            "picture-choice",
            "is not one of the samples whose pictures are shown",
            file=PICTURES,
            where=sample,
            expected=", ".join(sorted(wanted)),
        )
    present = {name for name in opened.digests if name.startswith(f"{PICTURES}/")}
    for name in sorted(present - set(pictures.values())):
        findings.error("extra-file", "is a picture of no sample", file=name)
    for sample, name in pictures.items():
        expected = f"{PICTURES}/{picture_stem(sample)}.png"
        if name != expected or name not in present or sample not in by_id:
            findings.error(
                "pictures",
                "names a picture that is not there",
                file=PICTURES,
                where=sample,
                got=name,
                expected=expected,
            )
            continue
        _check_picture(opened.folder / name, name, by_id[sample], task, known, findings)


def _check_picture(path: Path, name: str, record: Record, task: Task | None, known: Known, findings: Findings) -> None:
    content = path.read_bytes()
    if problem := _png_problem(content, record.size_px):
        findings.error("pictures", problem, file=name, where=record.id)
        return
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            pixels = np.asarray(image)
    except (OSError, ValueError, SyntaxError) as err:
        findings.error("pictures", f"cannot be decoded: {err}", file=name, where=record.id)
        return
    plain = record.branches.get(PLAIN)
    if plain is None or pixels_sha256(pixels) != plain.reconstruction_sha256:
        findings.error(
            "picture-pixels", "shows other pixels than the record's reconstruction_sha256", file=name, where=record.id
        )
        return
    loaded = None if task is None else known.load(task, record.id)
    if loaded is not None and task is not None and loaded.reference.shape == pixels.shape:
        _measure_again(loaded, pixels, plain, task, known, name, findings)


def _png_problem(content: bytes, size_px: tuple[int, int] | None) -> str:
    """What is wrong before anything is decoded: the kind, the size, or chunks that could carry something else."""
    if not content.startswith(_SIGNATURE) or content[12:16] != b"IHDR":
        return "is no PNG file"
    width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    if width * height > _MAX_PIXELS:
        return f"is {width}×{height}, over {_MAX_PIXELS} pixels"
    if size_px is None or (width, height) != tuple(size_px):
        return f"is {width}×{height}, not of the size {size_px} that was compared"
    if content[24:26] != bytes([8, 2]):
        return "is not 8-bit RGB"
    at = len(_SIGNATURE)
    while at + 12 <= len(content):
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        if kind not in _CHUNKS:
            return f"holds a chunk {kind!r} besides the pixels"
        at += 12 + length
        if kind == b"IEND":
            return "" if at == len(content) else "holds data after its end"
    return "is truncated"


def _measure_again(
    loaded: Loaded,
    pixels: np.ndarray,
    branch: BranchRecord,
    task: Task,
    known: Known,
    name: str,
    findings: Findings,
) -> None:
    """The scores of a picture that need nothing but pixels."""
    import torch

    def batch(image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]

    comparison = Comparison(
        samples=(loaded.sample,),
        reference=batch(loaded.reference),
        reconstruction=batch(pixels),
        regions=(loaded.regions,),
        encoding=None,
        task=task,
        features={},
        reconstruction_features={},
    )
    for key, claimed in branch.values.items():
        metric = known.metrics.get(key)
        if not isinstance(metric, PairMetric) or metric.card.group != "pixel" or metric.features:
            continue
        (again,) = metric.measure(comparison)
        if again is None or not math.isclose(claimed, again, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
            findings.error(
                "picture-values",
                f"{key} is not what the picture's pixels give",
                file=name,
                where=loaded.sample.id,
                got=claimed,
                expected=again,
            )
