"""One part of a checkpoint in several files: what is read, what is never opened, and what each fault is called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.adapters.library_cases import as_shards
from tokbench.cards import TokenizerCard
from tokbench.errors import WeightsError
from tokbench.weights.digests import sha256_of
from tokbench_adapters._reading.places import Place
from tokbench_adapters._reading.shards import read_prefixed

CHECKPOINT: dict[str, Tensor] = {
    **{f"lm.{number}": torch.full((3,), float(number)) for number in range(6)},
    "vq.a": torch.tensor([1.0, 2.0]),
    "vq.b": torch.tensor([[3.0]]),
    "vqx": torch.zeros(1),
}
"""In three files: ``lm.0`` to ``lm.2``, then ``lm.3`` to ``lm.5``, then the rest."""


def place(folder: Path) -> Place:
    return Place(card=TokenizerCard(name="big"), folder=folder)


@pytest.mark.parametrize(("format", "suffix"), [("safetensors", "safetensors"), ("state_dict", "bin")])
def test_only_the_part_is_read_and_only_its_files_are_opened(
    format: Literal["safetensors", "state_dict"],  # noqa: A002
    suffix: str,
    tmp_path: Path,
) -> None:
    weight_map = as_shards(CHECKPOINT, 3, tmp_path, suffix=suffix)
    last = weight_map["vq.a"]
    for file in set(weight_map.values()) - {last}:
        (tmp_path / file).write_bytes(b"never opened")
    card, tensors = read_prefixed(place(tmp_path), ("model.vq.", "vq."), format=format)
    assert tensors.keys() == {"a", "b"}
    assert torch.equal(tensors["a"], CHECKPOINT["vq.a"])
    assert torch.equal(tensors["b"], CHECKPOINT["vq.b"])
    assert card.weights == ((last, sha256_of(tmp_path / last)),)


def test_a_part_in_several_files_is_put_together(tmp_path: Path) -> None:
    weight_map = as_shards(CHECKPOINT, 3, tmp_path)
    card, tensors = read_prefixed(place(tmp_path), ("lm.",))
    assert [tensors[str(number)][0].item() for number in range(6)] == [0, 1, 2, 3, 4, 5]
    assert [name for name, _ in card.weights] == sorted({weight_map[f"lm.{number}"] for number in range(6)})


def test_a_checkpoint_in_one_file_needs_no_index(tmp_path: Path) -> None:
    save_file(CHECKPOINT, tmp_path / "model.safetensors")
    card, tensors = read_prefixed(place(tmp_path), ("vq.", "lm."))
    assert tensors.keys() == {"a", "b"}, "the first prefix that is there"
    assert [name for name, _ in card.weights] == ["model.safetensors"]
    assert read_prefixed(place(tmp_path), ("",))[1].keys() == CHECKPOINT.keys()


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"has no file model\.safetensors"):
        read_prefixed(place(tmp_path), ("vq.",))
    weight_map = as_shards(CHECKPOINT, 3, tmp_path)
    index = r"model\.safetensors\.index\.json of .*"
    with pytest.raises(WeightsError, match=index + r" has nothing that begins with 'v\.' or 'w\.'; it has lm\.0, "):
        read_prefixed(place(tmp_path), ("v.", "w."))
    save_file({"vq.b": CHECKPOINT["vq.b"]}, tmp_path / weight_map["vq.a"])
    with pytest.raises(WeightsError, match=rf"{weight_map['vq.a']} of .* lacks vq\.a, which the index says it has"):
        read_prefixed(place(tmp_path), ("vq.",))
    (tmp_path / weight_map["vq.a"]).write_bytes(b"cut off")
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        read_prefixed(place(tmp_path), ("vq.",))
    (tmp_path / weight_map["vq.a"]).unlink()
    with pytest.raises(WeightsError, match=rf"has no file {weight_map['vq.a']}"):
        read_prefixed(place(tmp_path), ("vq.",))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is no JSON"),
        ("[]", "holds a list, expected an object"),
        ("{}", "has no weight_map"),
        ('{"weight_map": {}}', "has no weight_map"),
        (
            '{"weight_map": {"vq.a": "../model.safetensors"}}',
            r"names '\.\./model\.safetensors', expected files",
        ),
        ('{"weight_map": {"vq.a": 3}}', "names 3, expected files beside it"),
    ],
)
def test_a_damaged_index_is_refused(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(WeightsError, match=words):
        read_prefixed(place(tmp_path), ("vq.",))


def test_an_index_in_a_subfolder_names_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    as_shards(CHECKPOINT, 3, tmp_path / "deep")
    inside = Place(card=TokenizerCard(name="big"), folder=tmp_path, subfolder="deep")
    card, tensors = read_prefixed(inside, ("vq.",))
    assert tensors.keys() == {"a", "b"}
    assert [name for name, _ in card.weights] == ["deep/model-00003-of-00003.safetensors"]
    assert json.loads((tmp_path / "deep/model.safetensors.index.json").read_text())["weight_map"]["vq.a"]


def test_the_rest_of_a_torch_file_stays_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(CHECKPOINT, tmp_path / "pytorch_model.bin")
    load, given = torch.load, []
    monkeypatch.setattr(torch, "load", lambda *parts, **rest: given.append(rest) or load(*parts, **rest))
    _, tensors = read_prefixed(place(tmp_path), ("vq.",), format="state_dict")
    assert [(rest["mmap"], rest["weights_only"]) for rest in given] == [(True, True)]
    (tmp_path / "pytorch_model.bin").write_bytes(b"another file")
    assert torch.equal(tensors["a"], CHECKPOINT["vq.a"]), "and what was read does not hang on the file"


def test_a_torch_file_without_tensors_by_name_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": CHECKPOINT}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="holds something but tensors by name"):
        read_prefixed(place(tmp_path), ("vq.",), format="state_dict")


def test_copies_of_the_users_own_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards in ``$TOKBENCH_WEIGHTS/ORG/REPO``, only those that are needed, and a hub that nobody reaches."""
    folder = tmp_path / "org" / "big"
    folder.mkdir(parents=True)
    weight_map = as_shards(CHECKPOINT, 3, folder)
    for file in set(weight_map.values()) - {weight_map["vq.a"]}:
        (folder / file).unlink()
    monkeypatch.setenv("TOKBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    _, tensors = read_prefixed(Place(card=TokenizerCard(name="big", hub="org/big")), ("vq.",))
    assert tensors.keys() == {"a", "b"}
