"""Optional packages: what a card needs, and the command that gets it."""

from __future__ import annotations

from importlib.util import find_spec

from tokbench.cards import MetricCard, TokenizerCard
from tokbench.contracts import Metric, NeedsWeights
from tokbench.names import Opening


def missing_modules(card: MetricCard | TokenizerCard | Opening) -> list[str]:
    """The required modules that cannot be found; nothing is imported."""
    return [name for name in card.requires if find_spec(name) is None]


def install_command(card: MetricCard | TokenizerCard | Opening) -> str:
    """What to type to get what the card needs."""
    if isinstance(card, TokenizerCard) and card.install:
        return card.install
    return f"pip install 'tokbench[{card.extra}]'" if card.extra else f"pip install {' '.join(missing_modules(card))}"


def why_unavailable(metric: Metric) -> str:
    """Why a metric cannot run here (a package or weights are missing), with what to do; "" if it can."""
    if reason := missing_requirement(metric.card):
        return reason
    return metric.unavailable() if isinstance(metric, NeedsWeights) else ""


def missing_requirement(card: MetricCard | TokenizerCard | Opening) -> str:
    """Why this cannot run in this installation, with the command that changes it; "" if it can."""
    missing = missing_modules(card)
    return f"needs {', '.join(missing)}: {install_command(card)}" if missing else ""
