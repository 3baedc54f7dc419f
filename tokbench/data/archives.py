"""What is in an archive, found once a process and again when the file changes; shared by threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

Member = TypeVar("Member")


class ArchiveIndexes(Generic[Member]):
    """The members of archives by name, those of the last few archives kept.

    Args:
        scan: an archive → its members.
        most: how many archives are kept.
    """

    def __init__(self, scan: Callable[[Path], Mapping[str, Member]], *, most: int) -> None:
        self._scan = scan
        self._most = most
        self._kept: OrderedDict[tuple[str, int, int], Mapping[str, Member]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, path: Path) -> Mapping[str, Member]:
        stat = path.stat()
        key = (str(path), stat.st_mtime_ns, stat.st_size)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._scan(path)
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]
