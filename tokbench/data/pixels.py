"""Samples as pixels: what a run's loader threads call."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np

from tokbench.data.scenes import draw_scene
from tokbench.data.sources import locate, read_verified
from tokbench.errors import SampleError
from tokbench.images import decode_image
from tokbench.samples import Sample

CACHE_BYTES = 128 * 2**20

_Key = tuple[str, str, int, int]


def load_pixels(sample: Sample, root: str | Path) -> np.ndarray:
    """Read, verify, decode, cut and draw one sample.

    Safe to call from several threads. Photographs that several samples are cut from stay decoded for a while
    (``CACHE_BYTES`` in all), as long as their files do not change.

    Returns:
        uint8 ``(height_px, width_px, 3)`` RGB, writable, the caller's own.

    Raises:
        SampleError: anything about this sample that is not as its manifest says.
    """
    pixels = _source_pixels(sample, root)
    if sample.crop is not None:
        pixels = _cut(pixels, sample)
    if sample.scene is not None:
        pixels = draw_scene(pixels, sample.scene)
    height, width = pixels.shape[:2]
    if (width, height) != (sample.width_px, sample.height_px):
        raise SampleError(
            f"{sample.id}: the image is {width}×{height} px, the manifest says {sample.width_px}×{sample.height_px}; "
            f"restore the original file, or make a new manifest for this one"
        )
    return pixels


class _Cache:
    """Decoded sources, the least recently used one forgotten first; bounded in bytes."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._bytes = 0
        self._items: OrderedDict[_Key, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: _Key) -> np.ndarray | None:
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: _Key, pixels: np.ndarray) -> None:
        with self._lock:
            if key in self._items or pixels.nbytes > self._limit:
                return
            self._items[key] = pixels
            self._bytes += pixels.nbytes
            while self._bytes > self._limit:
                _, oldest = self._items.popitem(last=False)
                self._bytes -= oldest.nbytes


_cache = _Cache(CACHE_BYTES)


def _source_pixels(sample: Sample, root: str | Path) -> np.ndarray:
    """The whole source image; read-only where it may be shared."""
    if sample.crop is None and sample.scene is None:
        return decode_image(read_verified(sample, root), name=sample.id)
    path = locate(sample.source, root).path
    stat = path.stat()
    key = (f"{path}!{sample.source}", sample.sha256, stat.st_mtime_ns, stat.st_size)
    pixels = _cache.get(key)
    if pixels is None:
        pixels = decode_image(read_verified(sample, root), name=sample.id)
        pixels.setflags(write=False)
        _cache.put(key, pixels)
    return pixels


def _cut(pixels: np.ndarray, sample: Sample) -> np.ndarray:
    assert sample.crop is not None
    x0, y0, x1, y1 = sample.crop
    height, width = pixels.shape[:2]
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise SampleError(
            f"{sample.id}: the crop {list(sample.crop)} does not lie in its source of {width}×{height} px; "
            f"restore the original file, or make a new manifest for this one"
        )
    return pixels[y0:y1, x0:x1].copy()
