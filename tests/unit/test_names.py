"""Opened names: how they are taken apart, and what the loader makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from tests.toys import Quantiser
from tokbench import registry
from tokbench.cards import TokenizerCard
from tokbench.contracts import Tokenizer
from tokbench.errors import DuplicateNameError, MissingExtraError, ReservedError, UnknownNameError, UsageError
from tokbench.names import Opening, OpenName
from tokbench.registry import find_tokenizer, openings
from tokbench.tokenizers import load_tokenizer


@pytest.mark.parametrize(
    ("text", "prefix", "target", "options"),
    [
        ("diffusers:ORG/REPO", "diffusers", "ORG/REPO", {}),
        ("quantised:flux1_vae?bits=4&range=3.5", "quantised", "flux1_vae", {"bits": "4", "range": "3.5"}),
        ("quantised:mine:Model", "quantised", "mine:Model", {}),
        ("quantised:mine:Model?bits=2", "quantised", "mine:Model", {"bits": "2"}),
        ("quantised:{a:b?c=d}?bits=2", "quantised", "a:b?c=d", {"bits": "2"}),
        ("quantised:{a:{b:c?d=e}?f=g}", "quantised", "a:{b:c?d=e}?f=g", {}),
        ("external:C:/tok.toml", "external", "C:/tok.toml", {}),
    ],
)
def test_a_name_is_taken_apart(text: str, prefix: str, target: str, options: dict[str, str]) -> None:
    assert OpenName.parse(text) == OpenName(prefix=prefix, target=target, options=options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("quantised:", "not of the form"),
        ("quantised:?bits=2", "not of the form"),
        ("quantised:pca?bits", "got 'bits'"),
        ("quantised:pca?bits=", "got 'bits='"),
        ("quantised:pca?bits=2&bits=3", "each option once"),
        ("quantised:{pca?bits=2", "brace"),
        ("quantised:{pca}bits=2", "brace"),
    ],
)
def test_what_cannot_be_taken_apart_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        OpenName.parse(text)


def test_options_are_converted_or_refused() -> None:
    name = OpenName.parse("toy:x?bits=3")
    assert name.only(bits=int, range=float) == {"bits": 3}
    with pytest.raises(UsageError, match="toy: has no option bits; it has range"):
        name.only(range=float)
    with pytest.raises(UsageError, match="toy: bits=x cannot be used: invalid literal"):
        OpenName.parse("toy:x?bits=x").only(bits=int)


class ToyModule(ModuleType):
    """Opens ``toy:LEVELS``, and ``toy:wrap-NAME`` for another tokenizer."""

    OPENS = Opening(prefix="toy", usage="toy:LEVELS", title="a toy")
    CARDS = (TokenizerCard(name="kept", reserved="no weights were released"),)

    def open_name(self, name: OpenName, *, device: str, dtype: str, load: Callable[[str], Tokenizer]) -> Tokenizer:
        assert (device, dtype) == ("cpu", "float16")
        return (
            load(name.target.removeprefix("wrap-")) if name.target.startswith("wrap-") else Quantiser(int(name.target))
        )


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[ToyModule]:
    module = ToyModule("toy_module")
    own = registry._modules

    def with_toy(package: str, group: str) -> tuple[list[ModuleType], dict[str, str]]:
        modules, broken = own(package, group)
        return [*modules, module], broken

    monkeypatch.setattr(registry, "_modules", with_toy)
    registry.tokenizers.cache_clear()
    openings.cache_clear()
    yield module
    registry.tokenizers.cache_clear()
    openings.cache_clear()


def opened(name: str) -> Tokenizer:
    return load_tokenizer(name, device="cpu", dtype="float16")


@pytest.mark.usefixtures("toy")
def test_a_prefix_opens_what_its_module_makes_and_the_card_says_how() -> None:
    assert opened("toy:4").card.opened_as == "toy:4"
    inner = opened("toy:wrap-toy:8").card
    assert inner.opened_as == "toy:wrap-toy:8"
    assert opened("identity").card.opened_as == ""


@pytest.mark.usefixtures("toy")
def test_a_prefix_alone_says_how_it_is_used() -> None:
    with pytest.raises(UnknownNameError, match="toy needs to know what to open: toy:LEVELS"):
        find_tokenizer("toy")


@pytest.mark.usefixtures("toy")
def test_a_reserved_name_says_why() -> None:
    with pytest.raises(ReservedError, match="kept cannot be run: no weights were released"):
        opened("kept")


def test_what_a_prefix_requires_is_named(toy: ToyModule, monkeypatch: pytest.MonkeyPatch) -> None:
    needs = Opening(prefix="toy", usage="toy:LEVELS", title="a toy", requires=("not_a_module",), extra="toys")
    monkeypatch.setattr(toy, "OPENS", needs, raising=False)
    with pytest.raises(MissingExtraError, match=r"toy: needs not_a_module: pip install 'tokbench\[toys\]'"):
        opened("toy:4")


def test_a_prefix_belongs_to_one_module(toy: ToyModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "OPENS", Opening(prefix="lbg", usage="", title=""), raising=False)
    openings.cache_clear()
    with pytest.raises(DuplicateNameError, match="lbg: is declared twice"):
        openings()
