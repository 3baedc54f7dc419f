"""Reading files of weights without running what is in them.

safetensors and npz hold arrays only. A torch file is read with ``weights_only``, a numpy pickle by an unpickler that
knows nothing but arrays. TorchScript and ONNX are programs: they are read where their digest is pinned and right.
Everything else is refused, unless the user names the very file as trusted (see :mod:`tokbench.weights.trust`).
"""

from __future__ import annotations

import pickle
import re
import tarfile
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokbench.errors import WeightsError
from tokbench.weights import trust
from tokbench.weights.digests import sha256_of
from tokbench.weights.files import Format, WeightsFile, require_weights
from tokbench.weights.pickles import arrays_from_pickle, unexpected_imports

if TYPE_CHECKING:
    import numpy as np
    import torch

_NOT_ALLOWED = re.compile(r"GLOBAL (\S+) was not an allowed global")
"""How torch names what ``weights_only`` refuses to import."""


def load_state_dict(weights: WeightsFile, *, inside: Sequence[str] = ()) -> dict[str, torch.Tensor]:
    """The tensors of a known file, on the CPU; the file must be here and be the pinned one.

    Raises:
        WeightsError: see :func:`tokbench.weights.files.require_weights` and :func:`read_state_dict`.
    """
    return read_state_dict(require_weights(weights), weights.format, sha256=weights.sha256, inside=inside)


def load_numpy_pickle(weights: WeightsFile) -> Any:
    """What a known file of format ``numpy_pickle`` holds: containers of arrays, as they were pickled."""
    return arrays_from_pickle(require_weights(weights))


def load_arrays(weights: WeightsFile, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a known file of format ``npz`` (published statistics), or just those of the given names."""
    return read_npz(require_weights(weights), names)


def read_state_dict(
    path: Path,
    format: Format,  # noqa: A002
    *,
    sha256: str = "",
    inside: Sequence[str] = (),
) -> dict[str, torch.Tensor]:
    """A file's tensors by name, on the CPU.

    Args:
        path: the file.
        format: decides how it is read; nothing is guessed from the name.
        sha256: the pinned digest; TorchScript and ONNX need all of it, or the user's trust where none is pinned.
        inside: keys that lead to the state dict in a torch file that holds more (``("state_dict",)``).

    Returns:
        TorchScript: the module's state dict. ONNX: its initialisers. Numpy pickle: arrays in nested containers under
        names joined by dots.

    Raises:
        WeightsError: the file is not the pinned one, would run code, is damaged, or holds something but tensors.
    """
    _require_file(path)
    if format in ("torchscript", "onnx"):
        require_pinned(path, sha256, what=format)
    elif sha256 and not (digest := sha256_of(path)).startswith(sha256):
        raise WeightsError(f"{path} has sha256 {digest}, expected {sha256}")
    if format == "safetensors":
        found: Any = _read_safetensors(path)
    elif format == "state_dict":
        found = read_checkpoint(path)
    elif format == "torchscript":
        found = dict(read_torchscript(path, sha256).state_dict())
    elif format == "onnx":
        found = _initialisers(path)
    elif format == "numpy_pickle":
        found = _as_tensors(dict(_flat(arrays_from_pickle(path))))
    elif format == "npz":
        found = _as_tensors(read_npz(path))
    else:
        raise WeightsError(f"{path}: a file of format {format} holds no state dict that can be read here")
    return _require_tensors(found, inside, path)


def read_checkpoint(path: Path, *, mapped: bool = False) -> Any:
    """Whatever a torch file holds (tensors, containers, numbers, text), on the CPU.

    Its code runs only where it has some and the user trusts this very file.

    Args:
        path: the file.
        mapped: tensors stay in the file until they are used, where its form allows that; for parts of large files.

    Raises:
        WeightsError: it would run code and is not trusted, its code fails, or it is damaged.
    """
    import torch

    _require_file(path)
    # Before torch 2.6, weights_only did not hold for its oldest form, a tar file (CVE-2025-32434).
    if tarfile.is_tarfile(path):
        if trust.is_trusted(path):
            return _run(path)
        raise WeightsError(_refusal(path, "it is a tar file, torch's form of before 2017, which runs pickled code"))
    if _is_torchscript(path):
        raise WeightsError(f"{path} is refused: it is TorchScript, a program, where a file of tensors is expected")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # which it then reads or refuses
            mmap = mapped and zipfile.is_zipfile(path)
            return torch.load(str(path), map_location="cpu", weights_only=True, mmap=mmap)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError) as err:
        if trust.is_trusted(path):
            return _run(path)
        if names := unexpected_imports(path) or _NOT_ALLOWED.findall(str(err)):
            raise WeightsError(_refusal(path, f"reading it would run code: it imports {', '.join(names)}")) from err
        raise WeightsError(f"{path} cannot be read as a torch file: {_first_line(err)}") from err


def _run(path: Path) -> Any:
    """What a trusted torch file holds, its pickled code let run."""
    import torch

    trust.note(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except ModuleNotFoundError as err:
        raise WeightsError(
            f"{path} is trusted, but its pickle needs the module {err.name}, which is not installed"
        ) from err
    except Exception as err:  # the file's own code: any failure is its
        raise WeightsError(f"{path} is trusted, but its pickled code failed: {_first_line(err)}") from err


def read_torchscript(path: Path, sha256: str) -> Any:
    """The module of a TorchScript file, on the CPU, in evaluation mode.

    It is a program, so its whole digest must be pinned or, where none is, the user must trust this very file.

    Raises:
        WeightsError: neither is so, the file has another digest, or it is damaged.
    """
    import torch

    _require_file(path)
    require_pinned(path, sha256, what="torchscript")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"`torch\.jit")  # that TorchScript has had its day
            load: Any = torch.jit.load
            return load(str(path), map_location="cpu").eval()
    except (RuntimeError, ValueError) as err:
        raise WeightsError(f"{path} cannot be read as TorchScript: {_first_line(err)}") from err


def read_npz(path: Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an npz file, or just those of the given names, without pickles.

    Raises:
        WeightsError: a name is missing, an array holds Python objects, or the file is damaged.
    """
    import numpy as np

    _require_file(path)
    try:
        with path.open("rb") as file:
            stored = np.load(file, allow_pickle=False)
            files = list(getattr(stored, "files", ()))
            wanted = files if names is None else list(names)
            if absent := [name for name in wanted if name not in files]:
                raise WeightsError(f"{path} has no array {', '.join(absent)}; it has {', '.join(files)}")
            found = {name: stored[name] for name in wanted}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as err:
        why = "it holds Python objects, whose reading would run code" if "allow_pickle" in str(err) else str(err)
        raise WeightsError(f"{path} is refused as an npz file: {why}") from err
    if others := [name for name, value in found.items() if not isinstance(value, np.ndarray)]:
        raise WeightsError(f"{path} is refused as an npz file: {', '.join(others)} is no array")
    return found


def require_pinned(path: Path, sha256: str, *, what: str = "this file") -> Path:
    """The path of a program, if its whole digest is pinned and right, or none is pinned and the user trusts it.

    Raises:
        WeightsError: otherwise.
    """
    if not sha256:
        if trust.is_trusted(path):
            trust.note(path)
            return path
        raise WeightsError(
            f"{path} is refused: {what} is a program and runs only where its whole sha256 is pinned; none is known for "
            f"this one, which has {sha256_of(path)}; {trust.how_to_trust(path)}"
        )
    digest = sha256_of(path)
    if len(sha256) != 64:
        raise WeightsError(
            f"{path} is refused: {what} is a program and runs only where its whole sha256 is pinned; "
            f"got {sha256!r} to compare with {digest}"
        )
    if digest != sha256:
        raise WeightsError(f"{path} is refused: {what} is a program, and its sha256 is {digest}, expected {sha256}")
    return path


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path, device="cpu"))
    except SafetensorError as err:
        raise WeightsError(f"{path} cannot be read as safetensors: {err}") from err


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _initialisers(path: Path) -> dict[str, torch.Tensor]:
    import onnx
    import torch
    from google.protobuf.message import DecodeError
    from onnx import numpy_helper

    try:
        graph = onnx.load(str(path), load_external_data=False).graph
        return {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    except (DecodeError, ValueError, TypeError) as err:
        raise WeightsError(f"{path} cannot be read as ONNX: {_first_line(err)}") from err


def _flat(found: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Nested containers → (names joined by dots, leaf)."""
    if isinstance(found, Mapping):
        for name, value in found.items():
            yield from _flat(value, f"{prefix}{name}.")
    elif isinstance(found, (list, tuple)):
        for number, value in enumerate(found):
            yield from _flat(value, f"{prefix}{number}.")
    else:
        yield prefix.removesuffix("."), found


def _as_tensors(arrays: Mapping[str, Any]) -> dict[str, Any]:
    import numpy as np
    import torch

    return {
        name: torch.from_numpy(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value
        for name, value in arrays.items()
    }


def _require_tensors(found: Any, inside: Sequence[str], path: Path) -> dict[str, torch.Tensor]:
    import torch

    for key in inside:
        if not isinstance(found, Mapping) or key not in found:
            has = ", ".join(map(str, list(found)[:8])) if isinstance(found, Mapping) else type(found).__name__
            raise WeightsError(f"{path} has no {key!r}; it has {has}")
        found = found[key]
    if not isinstance(found, Mapping):
        raise WeightsError(f"{path} holds a {type(found).__name__}, expected tensors by name")
    if others := {str(name): type(value).__name__ for name, value in found.items() if not torch.is_tensor(value)}:
        shown = ", ".join(f"{name} ({kind})" for name, kind in list(others.items())[:5])
        raise WeightsError(f"{path} holds more than tensors: {shown}; the tensors may lie deeper in it")
    return {str(name): value for name, value in found.items()}


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise WeightsError(f"there is no file {path}")


def _refusal(path: Path, why: str) -> str:
    return (
        f"{path} is refused: {why}. Ask its publisher for a safetensors file, or convert it where that may happen; or, "
        f"{trust.how_to_trust(path)}"
    )


def _first_line(err: BaseException) -> str:
    return f"{type(err).__name__}: {str(err).strip().splitlines()[0] if str(err).strip() else 'no message'}"
