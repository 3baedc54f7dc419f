"""Finding, loading and wrapping tokenizers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tokbench.cards import TokenizerCard
from tokbench.encodings import Latents, Tokens
from tokbench.errors import BadOutputError, MissingExtraError, UnknownNameError, UsageError
from tokbench.registry import TokenizerEntry, find_tokenizer
from tokbench.tokenizers import load_tokenizer, resolve_device
from tokbench.wrapping import wrap

IMAGES = torch.rand(2, 3, 8, 8)

MODULE = """
import torch

class Mine:
    codebook_size = 256
    size_multiple = 4

    def encode(self, images):
        return (images.mean(1) * 255).round().long()

    def decode(self, codes):
        return (codes.float() / 255)[:, None].expand(-1, 3, -1, -1)

made = Mine()
def make():
    return Mine()
def needs_argument(path):
    return Mine()
number = 7
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mine_for_test.py"
    path.write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mine_for_test", raising=False)
    return path


@pytest.mark.parametrize("attribute", ["Mine", "made", "make"])
def test_module_attr_takes_a_class_an_object_or_a_function(module: Path, attribute: str) -> None:
    for name in (f"mine_for_test:{attribute}", f"{module}:{attribute}"):
        tokenizer = load_tokenizer(name)
        assert tokenizer.card.name == "mine"
        assert tokenizer.card.codebook_sizes == (256,)
        assert tokenizer.card.size_multiple == 4
        encoding = tokenizer.encode(IMAGES)
        assert isinstance(encoding, Tokens)
        assert encoding.bits().tolist() == [8 * 64, 8 * 64]
        assert tokenizer.decode(encoding, seeds=[0, 1]).shape == IMAGES.shape


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("mine_for_test:Mien", UnknownNameError, "has no attribute 'Mien'; it has .*Mine"),
        ("no_such_module_at_all:Mine", UnknownNameError, "cannot import"),
        ("nowhere/at/all.py:Mine", UnknownNameError, "no file"),
        ("mine_for_test:number", UsageError, "no method 'encode'"),
        ("mine_for_test:needs_argument", UsageError, "without arguments"),
        ("mine_for_test:", UsageError, "not of the form"),
    ],
)
def test_what_cannot_be_imported_says_why(module: Path, name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_tokenizer(name)


@pytest.mark.parametrize(
    ("name", "near"), [("lgb", "lbg"), ("jpg", "jpeg"), ("lbg/d99", "lbg/d"), ("idendity", "identity")]
)
def test_unknown_names_get_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=f"did you mean .*{near}"):
        find_tokenizer(name)


def test_a_family_means_its_first_variant() -> None:
    assert find_tokenizer("jpeg").card.family == "jpeg"
    assert find_tokenizer("jpeg/q10").card.name == "jpeg/q10"


def test_a_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    card = TokenizerCard(name="far/away", requires=("package_that_is_not_there",), extra="far")
    entry = TokenizerEntry(card=card, module=sys)
    monkeypatch.setattr("tokbench.tokenizers.find_tokenizer", lambda name: entry)
    with pytest.raises(MissingExtraError, match=r"needs package_that_is_not_there: pip install 'tokbench\[far\]'"):
        load_tokenizer("far/away")


def test_pixel_range_is_converted_both_ways() -> None:
    class Signed:
        def encode(self, images: torch.Tensor) -> torch.Tensor:
            assert float(images.min()) < -0.5
            return images

        def decode(self, latents: torch.Tensor) -> torch.Tensor:
            return latents

    tokenizer = wrap(Signed(), pixel_range=(-1, 1))
    decoded = tokenizer.decode(tokenizer.encode(IMAGES), seeds=[0, 0])
    assert torch.allclose(decoded, IMAGES, atol=1e-6)
    with pytest.raises(UsageError, match="must rise"):
        wrap(Signed(), pixel_range=(1, -1))


def test_decode_gets_back_what_encode_returned() -> None:
    given: list[Any] = []

    class Plain:
        codebook_size = 4

        def __init__(self, raw: Any) -> None:
            self.raw = raw

        def encode(self, images: torch.Tensor) -> Any:
            return self.raw

        def decode(self, raw: Any) -> torch.Tensor:
            given.append(raw)
            return IMAGES

    scales = [torch.zeros(2, 1, dtype=torch.int64), torch.ones(2, 4, dtype=torch.int32)]
    for raw in (torch.zeros(2, 3, 3, dtype=torch.int64), torch.rand(2, 4, 2, 2), scales):
        tokenizer = wrap(Plain(raw))
        tokenizer.decode(tokenizer.encode(IMAGES), seeds=[0, 0])
    assert isinstance(given[0], torch.Tensor)
    assert given[1].is_floating_point()
    assert [grid.tolist() for grid in given[2]] == [grid.tolist() for grid in scales]


def test_seeds_are_passed_to_those_who_take_them() -> None:
    class Seeded:
        def encode(self, images: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
            return torch.tensor(seeds, dtype=torch.float32)[:, None]

        def decode(self, latents: torch.Tensor, *, seeds: Sequence[int]) -> torch.Tensor:
            assert list(seeds) == [7, 8]
            return IMAGES

    tokenizer = wrap(Seeded())
    encoding = tokenizer.encode(IMAGES, seeds=[5, 6])
    assert isinstance(encoding, Latents)
    assert encoding.values.flatten().tolist() == [5, 6]
    tokenizer.decode(encoding, seeds=[7, 8])


def test_indices_without_a_codebook_size_are_refused() -> None:
    class Sizeless:
        def encode(self, images: torch.Tensor) -> torch.Tensor:
            return torch.zeros(2, 4, dtype=torch.int64)

        def decode(self, codes: torch.Tensor) -> torch.Tensor:
            return IMAGES

    with pytest.raises(BadOutputError, match="set `codebook_size`"):
        wrap(Sizeless()).encode(IMAGES)
    assert wrap(Sizeless(), codebook_size=9).encode(IMAGES).bits() is not None


def test_class_names_become_card_names() -> None:
    class MyVQGANv2:
        encode = decode = staticmethod(lambda images: images)

    assert wrap(MyVQGANv2()).card.name == "my_vqganv2"
    assert wrap(MyVQGANv2(), name="Lab/Step 40k").card.name == "lab/step_40k"


def test_devices() -> None:
    assert resolve_device("cpu") == "cpu"
    with pytest.raises(UsageError, match="unknown device"):
        resolve_device("toaster")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="not available"):
            resolve_device("cuda:3")


class Listens:
    """Notes the type and the values it is handed."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images)
        return images

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents


def test_images_are_scaled_before_they_are_rounded_to_the_type_of_the_run() -> None:
    """bfloat16 has eight bits: rounding in [0, 1] first would move most values in [-1, 1]."""
    model, images = Listens(), torch.linspace(0, 1, 3 * 256).view(1, 3, 16, 16)
    tokenizer = wrap(model, pixel_range=(-1.0, 1.0)).passing("bfloat16")
    decoded = tokenizer.decode(tokenizer.encode(images), seeds=[0])
    assert torch.equal(model.seen[0], (images * 2 - 1).bfloat16())
    assert not torch.equal(model.seen[0], images.bfloat16() * 2 - 1)
    assert torch.equal(decoded, (model.seen[0].float() + 1) / 2)


def test_an_adapter_is_handed_float32_whatever_the_type_of_the_run() -> None:
    class Adapter(Listens):
        card = TokenizerCard(name="listens", latent="continuous")

    own, adapter, images = Listens(), Adapter(), torch.rand(1, 3, 8, 8)
    for model in (own, adapter):
        wrap(model).passing("float16").encode(images)
    assert own.seen[0].dtype == torch.float16
    assert adapter.seen[0] is images
