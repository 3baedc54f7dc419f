"""Rate against quality: a point a submission, each a link, with its interval and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tokbench.cards import Better
from tokbench.leaderboard.board import Board, Metric
from tokbench.leaderboard.collect import RATE
from tokbench.leaderboard.pareto import pareto_front
from tokbench.report.format import ARROWS, DIRECTIONS, clean, format_interval, format_value, shorten
from tokbench.report.svg import Scale, element, line, number, text
from tokbench.report.xyplot import Axis, axis_marks, axis_scale, is_wide

LATENTS = ("discrete", "continuous", "codec")  # each with a colour and a shape of its own
SHAPES = {
    "discrete": "M-4.2 0a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0 -8.4 0z",
    "continuous": "M-4 -4h8v8h-8z",
    "codec": "M0 -5.2L4.9 3.4H-4.9z",
}
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640.0, 340.0, 58.0, 16.0, 16.0, 44.0
_LETTER, _LINE = 6.1, 13.0  # about what a character of a label takes, px
_MAX_LABELS = 12
_NO_QUALITY = ("rate", "codebook", "efficiency", "robustness")
_MAX_LABEL = 26


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A submission on the chart."""

    place: int
    name: str
    href: str
    latent: str
    rate: float
    value: float
    ci95: tuple[float, float] | None
    words: str


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """A chart of one metric. ``front`` names the submissions on the Pareto front, by rising rate."""

    metric: Metric
    arrow: str
    direction: str
    svg: Markup
    latents: tuple[str, ...]
    front: tuple[Spot, ...]
    n_left_out: int


def scatters(board: Board) -> list[Scatter]:
    """A chart a metric of the board's table that has a direction and two points of different rates or values."""
    metrics = [metric for metric in board.metrics if metric.better != "neither"]
    made = [_scatter(board, metric) for metric in metrics if metric.group not in _NO_QUALITY]
    return [chart for chart in made if chart is not None]


def _scatter(board: Board, metric: Metric) -> Scatter | None:
    rate_version = next((one.version for one in board.metrics if one.key == RATE), None)
    spots, n_left_out = [], 0
    for place, entry in enumerate(board.entries):
        if entry.is_reference:
            continue
        value, rate = entry.value(metric.key, metric.version), entry.value(RATE, rate_version)
        if value is None or value.value is None or rate is None or not rate.value or rate.value <= 0:
            n_left_out += 1
            continue
        interval = format_interval(value.value, value.unit, value.ci95)
        words = f"{format_value(rate.value, rate.unit)}, {format_value(value.value, value.unit, value.ci95)}"
        spots.append(
            Spot(
                place=place, name=entry.name, href=f"../tokenizers/{entry.stem}.html", rate=rate.value,
                latent=entry.result.spec.tokenizer.latent, value=value.value, ci95=value.ci95,
                words=f"{words} ({interval})" if interval else words,
            )
        )  # fmt: skip
    if len({(spot.rate, spot.value) for spot in spots}) < 2:
        return None
    front = pareto_front([spot.rate for spot in spots], [spot.value for spot in spots], metric.better)
    on_front = tuple(spots[index] for index in front)
    return Scatter(
        metric=metric, arrow=ARROWS[metric.better], direction=DIRECTIONS[metric.better],
        svg=_draw(metric, spots, on_front), front=on_front, n_left_out=n_left_out,
        latents=tuple(kind for kind in LATENTS if any(spot.latent == kind for spot in spots)),
    )  # fmt: skip


def _draw(metric: Metric, spots: Sequence[Spot], front: Sequence[Spot]) -> Markup:
    rates = [spot.rate for spot in spots]
    x = axis_scale(rates, _LEFT, _WIDTH - _RIGHT, is_log=is_wide(rates))
    y = axis_scale(
        [end for spot in spots for end in (spot.value, *(spot.ci95 or ()))], _HEIGHT - _BOTTOM, _TOP, is_log=False
    )  # fmt: skip
    label = f"{shorten(metric.title, 120)} by bits per pixel, {len(spots)} submissions; on the Pareto front: "
    label += ", ".join(shorten(spot.name, 60) for spot in front[:20]) or "none"
    parts = [
        *_axes(x, y, metric),
        element("path", d=_steps(front, x, y, metric.better), class_="front"),
        *(_spot(spot, x, y, is_front=spot in front) for spot in spots),
        *_labels(front, spots, x, y),
    ]
    # No role img: its content would be hidden from those who cannot see it, and these points are links.
    return element(
        "svg", *parts, viewBox=f"0 0 {number(_WIDTH)} {number(_HEIGHT)}", class_="chart scatter", role="group",
        aria_label=label,
    )  # fmt: skip


def _axes(x: Scale, y: Scale, metric: Metric) -> list[Markup]:
    bottom = _HEIGHT - _BOTTOM
    parts = []
    for place, label in axis_marks(y, metric.unit, 6):
        parts.append(line(_LEFT, y(place), _WIDTH - _RIGHT, y(place), "grid"))
        parts.append(text(label, _LEFT - 7, y(place) + 4, anchor="end"))
    parts.append(line(_LEFT, bottom, _WIDTH - _RIGHT, bottom, "axis"))
    for place, label in axis_marks(x, Axis().unit, 8):
        parts.append(line(x(place), bottom, x(place), bottom + 4, "axis"))
        parts.append(text(label, x(place), bottom + 16, anchor="middle"))
    title = "bits per pixel, logarithmic" if x.is_log else "bits per pixel"
    parts.append(text(title, _WIDTH - _RIGHT, _HEIGHT - 8, anchor="end", class_="axis-title"))
    return [element("g", *parts, aria_hidden="true")]


def _steps(front: Sequence[Spot], x: Scale, y: Scale, better: Better) -> str:
    """The border of what the front's points beat: level until the next one, then up or down to it."""
    if not front:
        return ""
    worst = _HEIGHT - _BOTTOM if better == "higher" else _TOP
    path = f"M{x(front[0].rate):.1f} {worst:.1f}"
    for spot in front:
        path += f"H{x(spot.rate):.1f}V{y(spot.value):.1f}"
    return f"{path}H{_WIDTH - _RIGHT:.1f}"


def _spot(spot: Spot, x: Scale, y: Scale, *, is_front: bool) -> Markup:
    across, up = x(spot.rate), y(spot.value)
    name = f"{shorten(spot.name, 80)}: {clean(spot.words)}{', on the Pareto front' if is_front else ''}"
    marks = [element("title", name)]
    if spot.ci95 is not None:
        low, high = (y(end) for end in spot.ci95)
        marks.append(line(across, low, across, high, "whisker"))
    shape = SHAPES.get(spot.latent, SHAPES["discrete"])
    place = f"translate({across:.1f} {up:.1f})"
    marks.append(element("path", d=shape, transform=place, class_="dot" if is_front else "dot open"))
    marks.append(element("circle", cx=across, cy=up, r=9, class_="target"))
    kind = LATENTS.index(spot.latent) if spot.latent in LATENTS else 0
    return element(
        "a", *marks, href=spot.href, aria_label=name, class_=f"spot run-{kind}", data_row=str(spot.place)
    )  # fmt: skip


def _labels(front: Sequence[Spot], spots: Sequence[Spot], x: Scale, y: Scale) -> list[Markup]:
    """Names beside points of the front, where they cover neither each other nor a point."""
    taken = [(x(spot.rate) - 5, y(spot.value) - 5, x(spot.rate) + 5, y(spot.value) + 5) for spot in spots]
    parts: list[Markup] = []
    for spot in front:
        words = shorten(spot.name, _MAX_LABEL)
        wide, across, up = _LETTER * len(words), x(spot.rate), y(spot.value)
        for anchor, left, base in (
            ("end", across - 8 - wide, up - 5), ("start", across + 8, up - 5), ("end", across - 8 - wide, up + 4),
            ("start", across + 8, up + 15), ("middle", across - wide / 2, up - 10),
        ):  # fmt: skip
            box = (left, base - _LINE + 3, left + wide, base + 3)
            is_inside = box[0] >= _LEFT and box[2] <= _WIDTH - 2 and box[1] >= 0 and box[3] <= _HEIGHT - _BOTTOM
            if is_inside and not any(_meet(box, other) for other in taken):
                at = {"end": left + wide, "start": left, "middle": across}[anchor]
                parts.append(text(words, at, base, anchor=anchor, class_="spot-name"))
                taken.append(box)
                break
        if len(parts) == _MAX_LABELS:
            break
    return [element("g", *parts, aria_hidden="true")]


def _meet(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
