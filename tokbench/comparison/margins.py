"""A margin around "no change": a number in the metric's unit, or a share of the baseline's value."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from tokbench.errors import UsageError

_PERCENT = re.compile(r"^\s*([0-9.]+(?:[eE][-+]?[0-9]+)?)\s*%\s*$")


@dataclass(frozen=True, kw_only=True)
class Margin:
    """``amount`` in the metric's unit or, if ``is_relative``, as a share of the baseline's absolute value."""

    amount: float
    is_relative: bool = False

    def around(self, baseline: float) -> float:
        """The margin in the metric's unit."""
        return self.amount * abs(baseline) if self.is_relative else self.amount

    def __str__(self) -> str:
        return f"{self.amount * 100:g} %" if self.is_relative else f"{self.amount:g}"


def parse_margin(raw: Any, *, where: str) -> Margin:
    """``0.1`` or ``"0.1"`` (the metric's unit), ``"1%"`` (of the baseline's value); never negative.

    Raises:
        UsageError: anything else, naming ``where``.
    """
    percent = _PERCENT.match(raw) if isinstance(raw, str) else None
    try:
        amount = math.nan if isinstance(raw, bool) else float(percent[1]) / 100 if percent else float(raw)
    except (TypeError, ValueError):
        amount = math.nan
    if not (0 <= amount < math.inf):
        raise UsageError(f'{where} is {raw!r}; expected a number of at least 0 in the metric\'s unit, or "1%"')
    return Margin(amount=amount, is_relative=percent is not None)
