"""Lets tokbench measure a tokenizer that lives in an environment of its own. Python 3.8 or newer, numpy, nothing else.

::

    import tokbench_external

    model = ...  # load weights here, once; tokbench_external.DEVICE is what `tokbench run --device` said

    def encode(images):  # float32 (n, 3, h, w) in the card's pixel_range
        return model.encode(images)  # see write_encoding for what it may be

    def decode(codes):  # what encode returned
        return model.decode(codes)  # float (n, 3, h, w) in the card's pixel_range, neither clamped nor rounded

    tokbench_external.serve(encode=encode, decode=decode)

This file is whole by itself and may be copied anywhere. MIT licence, part of tokbench.
"""

import inspect
import json
import os
import platform
import queue
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np

PROTOCOL = 1
MARK = b"@tokbench "
DEVICE = os.environ.get("TOKBENCH_DEVICE", "cpu")
"""Where tokbench was asked to run the tokenizer: ``cpu``, ``cuda``, ``cuda:1``, ``mps``."""
DTYPE = os.environ.get("TOKBENCH_DTYPE", "float32")
"""What it was asked to compute in: ``float32``, ``float16`` or ``bfloat16``. Images cross as float32 all the same."""

_ORPHAN_GRACE_S = 5.0
_MAP = None if os.name == "nt" else "c"  # Windows cannot delete what is mapped
_VERSIONS = ("numpy", "torch", "jax", "tensorflow", "transformers", "diffusers")


def serve(*, encode, decode, codebooks=None):
    """Answer tokbench's requests until it hangs up; never returns before.

    Whatever is printed from here on goes to stderr (and so to tokbench's log), by C libraries and child processes too.
    If torch is loaded, gradients are off.

    Args:
        encode: images → encoding (see :func:`write_encoding`); numpy array in, numpy array or torch tensor out.
        decode: encoding, in the form that ``encode`` gives it → float images ``(n, 3, h, w)``. Either is passed
            ``seeds`` too, a list of n integers, if it has a parameter of that name: all randomness comes from them.
        codebooks: where codes are looked up, the entries ``(K, d)`` as they are compared with the vectors that
            ``encode`` attaches; one, or one a stream. Only robustness metrics want them.
    """
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    requests = os.fdopen(os.dup(0), "rb")
    sys.stdout.flush()
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    if "torch" in sys.modules:
        sys.modules["torch"].set_grad_enabled(False)
    waiting = queue.Queue()
    threading.Thread(target=_listen, args=(requests, waiting), daemon=True).start()
    tasks = {
        "hello": lambda _: _hello(codebooks),
        "codebooks": lambda request: _write_codebooks(request["output"], codebooks),
        "encode": lambda request: _encode(encode, Path(request["input"]), Path(request["output"])),
        "decode": lambda request: _decode(decode, Path(request["input"]), Path(request["output"])),
    }
    while True:
        line = waiting.get()
        if line is None:
            return
        request = json.loads(line)
        try:
            reply = tasks[request["do"]](request) or {}
        except Exception as err:
            traceback.print_exc()
            sys.stderr.flush()
            last = traceback.extract_tb(err.__traceback__)[-1]
            reply = {"error": f"{type(err).__name__}: {err} ({Path(last.filename).name}, line {last.lineno})"}
        reply["id"] = request["id"]
        sys.stdout.flush()
        # One write, on lines of its own whatever a child process left unfinished.
        replies.write(b"\n" + MARK + json.dumps(reply).encode() + b"\n")


def write_encoding(folder, codes):
    """Write what ``encode`` returned as the files tokbench reads.

    ======================================  =====================================================================
    integer array ``(n, *grid)``            code indices, one stream: ``tokens.npy``
    list of integer arrays                  several streams (levels, scales, parts): ``tokens_0.npy``, …
    bool array ``(n, *grid, d)``            binary codes: ``bits.npy``
    float array ``(n, c, *grid)``           continuous latents: ``latents.npy``
    list of n bytes                         coded files: ``payload_0.bin``, …
    dict with ``tokens`` or ``bits`` …      the same with ``lengths`` (integers ``(n,)``, how many positions count; also
                                            given to ``decode``) or ``vectors`` (float ``(n, *grid, d)``, what each code
                                            was chosen for; not given to ``decode``), an array or one a stream
    ======================================  =====================================================================
    """
    if isinstance(codes, dict):
        _require(set(codes) - {"lengths", "vectors"} in ({"tokens"}, {"bits"}), codes)
        for name, value in codes.items():
            _write_streams(folder, name, value)
    elif isinstance(codes, (list, tuple)) and codes and all(isinstance(code, bytes) for code in codes):
        for number, code in enumerate(codes):
            (Path(folder) / f"payload_{number}.bin").write_bytes(code)
    elif isinstance(codes, (list, tuple)) and codes:
        _write_streams(folder, "tokens", codes)
    else:
        array = _array(codes)
        names = {"i": "tokens", "u": "tokens", "b": "bits", "f": "latents"}
        _require(array.dtype.kind in names, codes)
        _save(Path(folder) / f"{names[array.dtype.kind]}.npy", array)


def read_encoding(folder):
    """What ``decode`` is given: the files' content in the form that ``encode`` gave it."""
    folder = Path(folder)
    for name in ("bits", "latents"):
        if (folder / f"{name}.npy").exists():
            return _load(folder / f"{name}.npy")
    payloads = sorted(folder.glob("payload_*.bin"), key=_number)
    if payloads:
        return [path.read_bytes() for path in payloads]
    tokens, lengths = _read_streams(folder, "tokens"), _read_streams(folder, "lengths")
    return tokens if lengths is None else {"tokens": tokens, "lengths": lengths}


def _listen(requests, waiting):
    """Lines into the queue. If tokbench is gone while something is computed, do not compute on."""
    for line in requests:
        waiting.put(line)
    waiting.put(None)
    time.sleep(_ORPHAN_GRACE_S)
    os._exit(1)


def _hello(codebooks):
    found = {name: getattr(sys.modules.get(name), "__version__", None) for name in _VERSIONS}
    versions = {name: str(version) for name, version in found.items() if version}
    python = platform.python_version()
    return {"protocol": PROTOCOL, "python": python, "versions": versions, "codebooks": codebooks is not None}


def _encode(encode, source, target):
    write_encoding(target, _call(encode, _load(source / "images.npy"), source))


def _decode(decode, source, target):
    _save(target / "images.npy", _call(decode, read_encoding(source), source))


def _call(function, value, source):
    if "seeds" in inspect.signature(function).parameters:
        return function(value, seeds=np.load(source / "seeds.npy").tolist())
    return function(value)


def _write_codebooks(folder, codebooks):
    books = codebooks if isinstance(codebooks, (list, tuple)) else [codebooks]
    for number, book in enumerate(books):
        _save(Path(folder) / f"codebook_{number}.npy", book)


def _write_streams(folder, name, value):
    if isinstance(value, (list, tuple)):
        for number, array in enumerate(value):
            _save(Path(folder) / f"{name}_{number}.npy", array)
    else:
        _save(Path(folder) / f"{name}.npy", value)


def _read_streams(folder, name):
    """An array, a list of arrays, or None if there are no such files."""
    if (folder / f"{name}.npy").exists():
        return _load(folder / f"{name}.npy")
    paths = sorted(folder.glob(f"{name}_*.npy"), key=_number)
    return [_load(path) for path in paths] or None


def _load(path):
    """Mapped, not read: a page is copied only where it is written to."""
    return np.asarray(np.load(path, mmap_mode=_MAP))


def _save(path, value):
    np.save(path, _array(value), allow_pickle=False)


def _array(value):
    """Numpy's view of a numpy array, torch tensor or anything like them."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    return np.asarray(value)


def _number(path):
    return int(path.stem.rpartition("_")[2])


def _require(is_fine, codes):
    if not is_fine:
        raise TypeError(
            f"encode returned {_describe(codes)}, expected an integer, bool or float array, a list of integer arrays, "
            "a list of bytes, or a dict of tokens or bits with lengths or vectors"
        )


def _describe(value):
    if isinstance(value, dict):
        return "a dict of " + (", ".join(map(str, value)) or "nothing")
    return f"{type(value).__name__} {getattr(value, 'dtype', '')}".strip()
