"""Systems that people name and tokbench does not run: their cards say why, and where the system is."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NoReturn

from tokbench.cards import TokenizerCard
from tokbench.errors import ReservedError

_TABLE = tomllib.loads(Path(__file__).with_name("reserved.toml").read_text(encoding="utf-8"))
REASONS: dict[str, str] = _TABLE["reasons"]


def _card(facts: dict[str, object]) -> TokenizerCard:
    said = {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items() if key != "because"}
    return TokenizerCard(**said, reserved=REASONS[str(facts["because"])])  # type: ignore[arg-type]


CARDS = tuple(_card(facts) for facts in _TABLE["system"])


def load(card: TokenizerCard, *, device: str, dtype: str) -> NoReturn:  # noqa: ARG001
    """Raise ReservedError with the reason; nothing here can be built."""
    raise ReservedError(f"{card.name} cannot be run: {card.reserved}")
