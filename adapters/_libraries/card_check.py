"""Whether a network that was found is the one its card describes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokbench.cards import TokenizerCard
from tokbench.errors import WeightsError


def require_facts(card: TokenizerCard, found: TokenizerCard, facts: Iterable[str], **others: tuple[Any, Any]) -> None:
    """Raise WeightsError if a card says other things than what was found under its name.

    Args:
        card, found: what is said, and what follows from the network's configuration.
        facts: the fields that are compared.
        others: what no field holds, by its name: what is said, and what was found.
    """
    pairs = {fact: (getattr(card, fact), getattr(found, fact)) for fact in facts}
    pairs |= {name.replace("_", " "): pair for name, pair in others.items()}
    if wrong := [f"{fact} {got} instead of {said}" for fact, (said, got) in pairs.items() if said != got]:
        raise WeightsError(f"{card.hub or card.name} is not what the card {card.name} says: {', '.join(wrong)}")
