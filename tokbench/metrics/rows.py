"""A growing table of rows that moves to a file without a name once it is large."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from typing import IO

import numpy as np

MAX_MEMORY_BYTES = 32 << 20
_CHUNK_BYTES = 8 << 20


class Rows:
    """Rows of one dtype and shape, in the order added.

    Up to ``MAX_MEMORY_BYTES`` they stay in memory; beyond, they are appended to a temporary file that vanishes with
    this object (or the process), and reading maps the file, so the features of any set take no memory. The folder is
    Python's choice (``TMPDIR``).
    """

    def __init__(self, dtype: str, shape: tuple[int, ...]) -> None:
        self._dtype = np.dtype(dtype)
        self._shape = shape
        self._held: list[np.ndarray] = []
        self._held_bytes = 0
        self._file: IO[bytes] | None = None
        self._n_filed = 0

    def append(self, rows: np.ndarray) -> None:
        """Add rows ``(m, *shape)``; kept as they are, so the caller hands them over."""
        if not len(rows):
            return
        self._held.append(rows)
        self._held_bytes += rows.nbytes
        if self._held_bytes > MAX_MEMORY_BYTES:
            self._spill()

    def extend(self, other: Rows) -> None:
        """Add another table's rows."""
        for rows in other._parts():
            self.append(rows)

    def array(self) -> np.ndarray:
        """All rows, ``(n, *shape)``: an array, or a read-only map of the file; later rows do not show in it."""
        if self._file is None:
            if len(self._held) != 1:
                self._held = [np.concatenate([np.empty((0, *self._shape), self._dtype), *self._held])]
            return self._held[0]
        self._spill()
        return self._mapped()

    def _parts(self) -> Iterator[np.ndarray]:
        """The rows there are now, in pieces that may be kept."""
        held = list(self._held)
        if self._file is not None:
            mapped = self._mapped()
            step = max(1, _CHUNK_BYTES // max(1, mapped[:1].nbytes))
            for start in range(0, len(mapped), step):
                yield np.array(mapped[start : start + step])
        yield from held

    def _mapped(self) -> np.ndarray:
        assert self._file is not None
        return np.memmap(self._file, dtype=self._dtype, mode="r", shape=(self._n_filed, *self._shape))

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="tokbench-")  # noqa: SIM115  # open as long as this object
            weakref.finalize(self, self._file.close)
        self._file.seek(0, 2)
        for rows in self._held:
            self._file.write(np.ascontiguousarray(rows).data)
            self._n_filed += len(rows)
        self._file.flush()
        self._held, self._held_bytes = [], 0
