"""The lists of official names: written, read back, held against the digests, and what a wrong network is told."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.adapters.key_lists import FOLDER, key_problems, official_keys, read, shapes_of, state_of, written
from tests.adapters.seeding import golden, keys_facts

LISTS = {path.stem: read(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.txt"))}


@pytest.mark.parametrize("family", LISTS)
def test_a_list_is_the_one_the_figures_were_made_with(family: str) -> None:
    """Every variant has one, edited by nobody: its digest was taken from the official network when it ran."""
    runs = golden(family)["variants"]
    assert LISTS[family].keys() == runs.keys()
    for variant, shapes in LISTS[family].items():
        assert keys_facts(state_of(shapes)) == runs[variant]["keys"], variant


@pytest.mark.parametrize("family", LISTS)
def test_a_list_is_written_as_it_is_read(family: str) -> None:
    assert written(LISTS[family]) == (FOLDER / f"{family}.txt").read_text(encoding="utf-8")


def test_all_lists_together_stay_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 300_000


def test_numbers_are_written_together() -> None:
    shapes = {f"up.{level}.block.{block}.bias": (8,) for level in (0, 1, 3) for block in (0, 1)}
    shapes |= {"up.2.block.0.bias": (8,), "up.2.block.10.bias": (16,), "scale": (), "0.weight": (2, 3)}
    smaller = {**shapes, "up.2.block.10.bias": (4,), "more.0.x": (1,)}
    del smaller["scale"], smaller["up.3.block.1.bias"]
    text = written({"a": shapes, "b": smaller})
    assert text.split("\n\n")[1:] == [
        "[a]\n0.weight (2, 3)\nscale ()\nup.2.block.0.bias (8,)\nup.2.block.10.bias (16,)\n"
        "up.{0..1,3}.block.{0..1}.bias (8,)",
        "[b]\n" + "\n".join(text.split("[b]\n")[1].splitlines()) + "\n",
    ]
    assert read(text) == {"a": shapes, "b": smaller}


def test_a_variant_that_differs_little_is_written_so() -> None:
    shapes = {f"part{letter}.{number}.weight": (4, 4) for letter in "abcdefgh" for number in range(3)}
    other = {**shapes, "parta.1.weight": (4, 8), "new": (1,)}
    del other["partb.2.weight"]
    text = written({"a": shapes, "b": other})
    assert text.endswith("[b] is [a] with\nnew (1,)\nparta.1.weight (4, 8)\n- partb.2.weight\n")
    assert read(text) == {"a": shapes, "b": other}


@pytest.mark.parametrize(
    "text",
    ["a (1,)", "[x]\na (1,)\na (2,)", "[x]\na.{0..2} (1,)\na.1 (1,)", "[x]\na (1,)\n\n[y] is [x] with\n- b"],
)
def test_a_list_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"belongs to no variant|is given twice"):
        read(text)


# What a network that is not the official one is told.


def entries() -> dict[str, Tensor]:
    return state_of(official_keys("taming", "reduced"))


def test_the_official_network_has_no_problems() -> None:
    assert key_problems(entries(), official_keys("taming", "reduced")) == []


def test_a_renamed_key_is_named() -> None:
    state = entries()
    state["encoder.mid.attn_1.out.weight"] = state.pop("encoder.mid.attn_1.proj_out.weight")
    assert key_problems(state, official_keys("taming", "reduced")) == [
        "encoder.mid.attn_1.out.weight (64, 64, 1, 1) is not official",
        "encoder.mid.attn_1.proj_out.weight (64, 64, 1, 1) is missing",
    ]


def test_a_transposed_shape_is_named() -> None:
    state = entries()
    state["quantize.embedding.weight"] = state["quantize.embedding.weight"].T
    assert key_problems(state, official_keys("taming", "reduced")) == [
        "quantize.embedding.weight is (24, 512), officially (512, 24)"
    ]


def test_a_missing_key_is_named() -> None:
    state = entries()
    del state["decoder.up.0.block.2.norm1.bias"]
    assert key_problems(state, official_keys("taming", "reduced")) == [
        "decoder.up.0.block.2.norm1.bias (32,) is missing"
    ]


def test_shapes_are_those_of_a_network() -> None:
    assert shapes_of(nn.Linear(2, 3).state_dict()) == {"weight": (3, 2), "bias": (3,)}
    assert {key: tuple(entry.shape) for key, entry in state_of({"a": (2,), "b": ()}).items()} == {"a": (2,), "b": ()}
    assert all(entry.device == torch.device("meta") for entry in state_of({"a": (2,)}).values())
