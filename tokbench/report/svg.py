"""A little SVG: elements with escaped attributes, linear and logarithmic scales, round ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from tokbench.report.format import clean

N_COLOURS = 9  # run colours in report.css


def element(name: str, *children: str | Markup, **attributes: str | float | None) -> Markup:
    """An element; ``class_`` is ``class``, other underscores are hyphens, None leaves an attribute out."""
    parts = [
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), number(value))
        for key, value in attributes.items()
        if value is not None
    ]
    return Markup("<{0}{1}>{2}</{0}>").format(
        Markup(name), Markup("").join(parts), Markup("").join(map(_escape, children))
    )


def number(value: str | float) -> str:
    """A coordinate, to a hundredth."""
    return clean(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def _escape(child: str | Markup) -> Markup:
    return child if isinstance(child, Markup) else escape(clean(child))


def text(content: str, x: float, y: float, *, anchor: str = "start", class_: str | None = None) -> Markup:
    """A line of text."""
    return element("text", content, x=x, y=y, text_anchor=None if anchor == "start" else anchor, class_=class_)


def line(x0: float, y0: float, x1: float, y1: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x0, y1=y0, x2=x1, y2=y1, class_=class_)


def figure(width: float, height: float, label: str, *children: Markup, id_: str | None = None) -> Markup:
    """A chart of its own, scaled to the width it is given; ``label`` tells its content to those who do not see it."""
    return element(
        "svg", *children, viewBox=f"0 0 {number(width)} {number(height)}", class_="chart", role="img",
        aria_label=label, id_=id_,
    )  # fmt: skip


def colour(run: int) -> str:
    """The class that gives a run its colour."""
    return f"run-{run % N_COLOURS}"


@dataclass(frozen=True)
class Scale:
    """Values from ``low`` to ``high`` as positions from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        value = min(max(value, self.low), self.high)
        if self.is_log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def hull(numbers: Sequence[float], *, padding: float = 0.08) -> tuple[float, float]:
    """The range of the numbers, with room on both sides; never empty."""
    low, high = min(numbers), max(numbers)
    room = (high - low) * padding or abs(high) * 0.05 or 0.5
    return low - room, high + room


def nice_ceiling(value: float) -> float:
    """The first of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten that is not below ``value``."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((factor * power for factor in (1, 1.5, 2, 3, 4, 5, 6, 8) if factor * power >= value), 10 * power)


def ticks(low: float, high: float, n: int = 5) -> tuple[list[float], float]:
    """About ``n`` round numbers within the range, and the step between them."""
    power = 10.0 ** math.floor(math.log10((high - low) / n))
    step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda size: abs((high - low) / size - n))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [place * step for place in range(first, last + 1)], step
