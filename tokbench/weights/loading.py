"""Reading files of weights without running what is in them.

safetensors and npz hold arrays only. A torch file is read with ``weights_only``, a numpy pickle by an unpickler that
knows nothing but arrays. TorchScript and ONNX are programs: they are read where their digest is pinned and right.
Everything else is refused, unless the user names the very file as trusted.
"""

from __future__ import annotations

import pickle
import tarfile
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokbench.errors import WeightsError
from tokbench.weights.digests import sha256_of
from tokbench.weights.files import Format, WeightsFile, require_weights
from tokbench.weights.pickles import arrays_from_pickle, unexpected_imports

if TYPE_CHECKING:
    import numpy as np
    import torch


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
    trust: Path | None = None,
) -> dict[str, torch.Tensor]:
    """A file's tensors by name, on the CPU.

    Args:
        path: the file.
        format: decides how it is read; nothing is guessed from the name.
        sha256: the pinned digest; all of it is needed for TorchScript and ONNX.
        inside: keys that lead to the state dict in a torch file that holds more (``("state_dict",)``).
        trust: the user's own word that this very file may run its pickled code; another file's path changes nothing.

    Returns:
        TorchScript: the module's state dict. ONNX: its initialisers. Numpy pickle: arrays in nested containers under
        names joined by dots.

    Raises:
        WeightsError: the file is not the pinned one, would run code, is damaged, or holds something but tensors.
    """
    _require_file(path)
    if format in ("torchscript", "onnx"):
        require_pinned(path, sha256, what=format, trust=trust)
    elif sha256 and not (digest := sha256_of(path)).startswith(sha256):
        raise WeightsError(f"{path} has sha256 {digest}, expected {sha256}")
    if format == "safetensors":
        found: Any = _read_safetensors(path)
    elif format == "state_dict":
        found = read_checkpoint(path, trust=trust)
    elif format == "torchscript":
        found = dict(read_torchscript(path, sha256, trust=trust).state_dict())
    elif format == "onnx":
        found = _initialisers(path)
    elif format == "numpy_pickle":
        found = _as_tensors(dict(_flat(arrays_from_pickle(path))))
    elif format == "npz":
        found = _as_tensors(read_npz(path))
    else:
        raise WeightsError(f"{path}: a file of format {format} holds no state dict that can be read here")
    return _require_tensors(found, inside, path)


def read_checkpoint(path: Path, *, trust: Path | None = None) -> Any:
    """Whatever a torch file holds (tensors, containers, numbers, text), on the CPU, without running its code.

    Raises:
        WeightsError: it would run code and is not ``trust``, or is damaged.
    """
    import torch

    _require_file(path)
    if _is_same_file(path, trust):
        return torch.load(path, map_location="cpu", weights_only=False)
    # Before torch 2.6, weights_only did not hold for its oldest form, a tar file (CVE-2025-32434).
    if tarfile.is_tarfile(path):
        raise WeightsError(_refusal(path, "it is a tar file, torch's form of before 2017, which runs pickled code"))
    if _is_torchscript(path):
        raise WeightsError(f"{path} is refused: it is TorchScript, a program, and runs only by its pinned sha256")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # which it then reads or refuses
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError) as err:
        if names := unexpected_imports(path):
            raise WeightsError(_refusal(path, f"reading it would run code: it imports {', '.join(names)}")) from err
        raise WeightsError(f"{path} cannot be read as a torch file: {_first_line(err)}") from err


def read_torchscript(path: Path, sha256: str, *, trust: Path | None = None) -> Any:
    """The module of a TorchScript file, on the CPU, in evaluation mode. It is a program, so its digest is needed.

    Raises:
        WeightsError: no full digest is pinned and the file is not ``trust``; or the file has another digest, or is
            damaged.
    """
    import torch

    _require_file(path)
    require_pinned(path, sha256, what="torchscript", trust=trust)
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


def require_pinned(path: Path, sha256: str, *, what: str = "this file", trust: Path | None = None) -> Path:
    """The path, if its whole digest is pinned and right, or if none is pinned and it is the file the user trusts.

    Raises:
        WeightsError: otherwise.
    """
    if not sha256 and _is_same_file(path, trust):
        return path
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


def _is_same_file(path: Path, trust: Path | None) -> bool:
    return trust is not None and trust.resolve() == path.resolve()


def _refusal(path: Path, why: str) -> str:
    return (
        f"{path} is refused: {why}. Ask its publisher for a safetensors file, or convert it where that may happen; or, "
        "if you trust the file with your account, name this very file as trusted"
    )


def _first_line(err: BaseException) -> str:
    return f"{type(err).__name__}: {str(err).strip().splitlines()[0] if str(err).strip() else 'no message'}"
