"""Names of tokenizers that are opened rather than looked up: ``prefix:target?option=value&option=value``.

A card's name (``titok/l32``) names one known tokenizer. An opened name says how to make one: any autoencoder of a
library (``diffusers:ORG/REPO``), a wrapper around another tokenizer (``quantised:flux1_vae?bits=4``), a program
(``external:tokenizer.toml``). Each prefix belongs to one module in ``adapters/``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tokbench.errors import UsageError

if TYPE_CHECKING:
    from tokbench.contracts import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Opening:
    """A prefix and what it opens, for `tokbench list` and for errors.

    Attributes:
        prefix: what stands before the colon, also the family of the tokenizers it makes.
        usage: the form of its names, with its options.
        title: what it opens, one line.
        wraps: its targets are names of other tokenizers, not files, programs or repositories.
        requires, extra: as on a :class:`~tokbench.cards.TokenizerCard`.
    """

    prefix: str
    usage: str
    title: str
    wraps: bool = False
    requires: tuple[str, ...] = ()
    extra: str = ""

    @property
    def name(self) -> str:
        return f"{self.prefix}:"


@dataclass(frozen=True, kw_only=True)
class OpenName:
    """A name, taken apart; options are checked by the module that the prefix belongs to."""

    prefix: str
    target: str
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, name: str) -> OpenName:
        """``prefix:target?option=value&option=value``; the target may hold colons, and question marks in braces.

        ``quantised:{diffusers:ORG/REPO?posterior=sample}?bits=4`` has the braced name as its target.

        Raises:
            UsageError: no target, an unclosed brace, an option without a value or twice.
        """
        prefix, colon, rest = name.partition(":")
        if rest.startswith("{"):
            target, brace, query = rest[1:].rpartition("}")
            if not brace or (query and not query.startswith("?")):
                raise UsageError(f"{name!r}: expected {prefix}:{{NAME}}?option=value after the opening brace")
            query = query.removeprefix("?")
        else:
            target, _, query = rest.partition("?")
        if not prefix or not colon or not target:
            raise UsageError(f"{name!r} is not of the form prefix:target?option=value")
        options: dict[str, str] = {}
        for part in query.split("&") if query else ():
            key, equals, value = part.partition("=")
            if not key or not equals or not value or key in options:
                raise UsageError(f"{name!r}: expected each option once, as option=value, got {part!r}")
            options[key] = value
        return cls(prefix=prefix, target=target, options=options)

    def only(self, **converters: Callable[[str], object]) -> dict[str, object]:
        """The options, converted; one that is not among the converters, or that one refuses, is an error.

        Raises:
            UsageError: names the options there are.
        """
        if unknown := [key for key in self.options if key not in converters]:
            known = ", ".join(converters) or "none"
            raise UsageError(f"{self.prefix}: has no option {', '.join(unknown)}; it has {known}")
        found: dict[str, object] = {}
        for key, text in self.options.items():
            try:
                found[key] = converters[key](text)
            except ValueError as err:
                raise UsageError(f"{self.prefix}: {key}={text} cannot be used: {err}") from err
        return found


class OpeningModule(Protocol):
    """A module in ``adapters/`` (or behind an entry point) that makes tokenizers it has no card for.

    It may have ``CARDS`` and ``load`` too; the tokenizers it opens are of the family ``OPENS.prefix``.
    """

    OPENS: Opening

    def open_name(self, name: OpenName, *, device: str, dtype: str, load: Callable[[str], Tokenizer]) -> Tokenizer:
        """What the name says; ``load`` makes another tokenizer by its name, on the same device and in the same type."""
        ...
