"""Pickles without running them: what one would import, and arrays from one that holds nothing else."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tokbench.errors import WeightsError

_TENSORS_NEED = ("torch.", "collections.OrderedDict", "_codecs.encode")
_MOST_PICKLES = 16


def unexpected_imports(path: Path) -> list[str]:
    """What a file's pickles would import besides what tensors need, as ``module.name`` in order.

    The pickle machine runs with inert stand-ins for everything it asks for, so nothing is imported and nothing called.
    Finds pickles in torch's zip files, in its older files (several pickles in a row) and in tar files.
    """
    names: list[str] = []
    for stream in _pickle_streams(path):
        machine = _Inert(stream, names)
        for _ in range(_MOST_PICKLES):
            if not machine.runs():
                break
    return [name for name in dict.fromkeys(names) if not name.startswith(_TENSORS_NEED)]


def arrays_from_pickle(path: Path) -> Any:
    """What a pickle of numpy arrays holds: containers, text, numbers and arrays of numbers.

    Raises:
        WeightsError: it asks for anything but numpy's ``dtype``, ``ndarray`` and ``_reconstruct``, or is damaged.
    """
    try:
        with path.open("rb") as file:
            found = _NumpyOnly(file, encoding="latin1").load()
    except _Refused as err:
        raise WeightsError(
            f"{path} is refused: its pickle would import {err}, and only numpy's dtype, ndarray and _reconstruct are "
            "allowed. Delete it and get it again from its publisher"
        ) from err
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError) as err:
        raise WeightsError(f"{path} cannot be read as a pickle of numpy arrays: {err}") from err
    _require_numbers(found, path)
    return found


class _Refused(Exception):  # noqa: N818
    """Carries ``module.name``."""


class _NumpyOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        import numpy as np

        allowed = {"dtype": np.dtype, "ndarray": np.ndarray}
        if module == "numpy" and name in allowed:
            return allowed[name]
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.zeros(0).__reduce__()[0]
        raise _Refused(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused(f"a persistent object ({pid!r})")


def _require_numbers(found: Any, path: Path) -> None:
    import numpy as np

    if isinstance(found, dict):
        for value in found.values():
            _require_numbers(value, path)
    elif isinstance(found, (list, tuple)):
        for value in found:
            _require_numbers(value, path)
    elif isinstance(found, np.ndarray):
        if found.dtype.hasobject:
            raise WeightsError(f"{path} is refused: it holds an array of Python objects")
    elif not isinstance(found, (str, bytes, int, float, type(None))):
        raise WeightsError(f"{path} is refused: it holds a {type(found).__name__}")


def _pickle_streams(path: Path) -> Iterator[IO[bytes]]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith((".pkl", ".pickle")):
                    yield io.BytesIO(archive.read(name))
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as tape:
            for member in tape:
                if (file := tape.extractfile(member)) is not None:
                    yield io.BytesIO(file.read())
    else:
        with path.open("rb") as file:
            yield file


class _Stand:
    """Stands in for whatever a pickle asks for, and lets anything be done to it."""

    def __new__(cls, *_: Any, **__: Any) -> _Stand:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __call__(self, *_: Any, **__: Any) -> _Stand:
        return _Stand()

    def __setstate__(self, _: Any) -> None: ...

    def __setitem__(self, _: Any, __: Any) -> None: ...

    def append(self, _: Any) -> None: ...

    def extend(self, _: Any) -> None: ...

    def add(self, _: Any) -> None: ...


class _Inert(pickle.Unpickler):
    """Writes down what is asked for."""

    def __init__(self, file: IO[bytes], names: list[str]) -> None:
        super().__init__(file, encoding="latin1")
        self._names = names

    def find_class(self, module: str, name: str) -> Any:
        self._names.append(f"{module}.{name}")
        return _Stand

    def persistent_load(self, _: Any) -> Any:
        return _Stand()

    def runs(self) -> bool:
        """Run one pickle; False where there is none (any more)."""
        try:
            self.load()
        except Exception:  # whatever stops it, damage or numbers that follow the pickles, its names are written down
            return False
        return True
