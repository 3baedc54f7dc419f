"""Loading: samples → placed images, in manifest order, a bounded number ahead, on a few threads."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tokbench.cards import TokenizerCard
from tokbench.data.manifests import load_pixels
from tokbench.errors import SampleError
from tokbench.placement import Placement, place, plan, restore
from tokbench.samples import Region, Sample
from tokbench.tasks.task import Fit, Task


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """One sample, read and placed.

    Attributes:
        model_pixels: uint8 ``(h, w, 3)``, what the tokenizer sees.
        reference: uint8 ``(h, w, 3)`` on the compared grid.
        reference_sha256: of the reference's shape and bytes.
        regions: in pixels of the compared grid.
        placement: how to bring a decoded image to the compared grid.
        is_source: the tokenizer was handed the untouched image (see ``TokenizerCard.takes_source``).
    """

    sample: Sample
    placement: Placement
    model_pixels: np.ndarray
    reference: np.ndarray
    reference_sha256: str
    regions: tuple[Region, ...]
    is_source: bool = False


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One sample that could not be measured, and where it stopped."""

    sample: Sample
    stage: str
    error: str


def pixels_sha256(pixels: np.ndarray) -> str:
    """Digest of an image's shape and bytes, hex."""
    digest = hashlib.sha256(str(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def load_sample(sample: Sample, *, root: str, task: Task, card: TokenizerCard) -> Loaded | Failure:
    """Read, verify, decode and place one sample."""
    stage = "load"
    try:
        pixels = load_pixels(sample, root)
        stage = "place"
        size = (pixels.shape[1], pixels.shape[0])
        placement = plan(size, task.fit, size_multiple=card.size_multiple)
        model_pixels = place(pixels, placement)
        if task.compare_on == "source":
            reference = pixels
            if card.takes_source:
                placement, model_pixels = plan(size, Fit(mode="none")), pixels
        else:
            reference = restore(model_pixels, placement, compare_on="model")
    except SampleError as err:
        return Failure(sample=sample, stage=stage, error=str(err))
    return Loaded(
        sample=sample,
        placement=placement,
        model_pixels=model_pixels,
        reference=reference,
        reference_sha256=pixels_sha256(reference),
        regions=placement.regions(sample.regions, compare_on=task.compare_on),
        is_source=card.takes_source,
    )


def load_all(
    samples: Sequence[Sample], *, root: str, task: Task, card: TokenizerCard, workers: int, ahead: int
) -> Generator[Loaded | Failure]:
    """Every sample in order; at most ``ahead`` are held at a time."""
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="tokbench-load") as pool:
        waiting: deque[Future[Loaded | Failure]] = deque()
        try:
            for sample in samples:
                waiting.append(pool.submit(load_sample, sample, root=root, task=task, card=card))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def batches(loaded: Iterable[Loaded | Failure], *, batch_size: int) -> Iterator[list[Loaded] | Failure]:
    """Batches of equal model size, in arrival order; failures pass through as they come.

    At most four batches' worth of images wait for company, so odd sizes cannot pile up.
    """
    buckets: dict[tuple[int, int], list[Loaded]] = {}
    held = 0
    for item in loaded:
        if isinstance(item, Failure):
            yield item
            continue
        size = (item.model_pixels.shape[1], item.model_pixels.shape[0])
        bucket = buckets.setdefault(size, [])
        bucket.append(item)
        held += 1
        if len(bucket) == batch_size:
            held -= len(bucket)
            yield buckets.pop(size)
        elif held >= 4 * batch_size:
            oldest = next(iter(buckets))
            held -= len(buckets[oldest])
            yield buckets.pop(oldest)
    yield from buckets.values()
