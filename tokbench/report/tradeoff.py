"""Rate against quality: curves of sweeps and points of other runs in one chart a metric, and what they come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tokbench.aggregation import value_key
from tokbench.curves import Comparison, CurvePoint, curve_points, distortion_metrics, point_label, rate_of
from tokbench.report.curve_table import RATE_WORDS
from tokbench.report.format import ARROWS, DIRECTIONS, format_change, format_interval, format_value
from tokbench.report.lengths import bits_per_pixel
from tokbench.report.runs import PLAIN, Section
from tokbench.report.svg import N_COLOURS
from tokbench.report.topic import Chart, Key
from tokbench.report.xyplot import Axis, Line, Point, is_wide, xy_plot
from tokbench.results import Value

_N_CHARTS = 8  # further metrics are folded away


@dataclass(frozen=True, kw_only=True)
class DeltaCell:
    """A curve against another, or why there is no number; ``tone`` is ``good`` or ``bad`` where that is sure."""

    rate: str = ""
    rate_interval: str = ""
    metric: str = ""
    metric_interval: str = ""
    overlap: str = ""
    tone: str = ""
    reason: str = ""
    no_interval: str = ""


@dataclass(frozen=True, kw_only=True)
class DeltaRow:
    """A metric over one of the tokenizer's rates, against each anchor; ``span`` is its metric's rows, at the first."""

    metric: Value
    arrow: str
    direction: str
    rate: str
    cells: tuple[DeltaCell | None, ...]
    span: int


@dataclass(frozen=True, kw_only=True)
class DeltaTable:
    """One run's deltas."""

    run: int
    test: str
    anchors: tuple[str, ...]
    rows: tuple[DeltaRow, ...]
    covers: str


@dataclass(frozen=True, kw_only=True)
class Tradeoff:
    """The whole part of the page; ``covers_lengths``: every run's lengths are among its points."""

    charts: tuple[Chart, ...]
    more: tuple[Chart, ...]
    keys: tuple[Key, ...]
    tables: tuple[DeltaTable, ...]
    has_beaten: bool
    covers_lengths: bool


@dataclass(frozen=True, kw_only=True)
class _Series:
    """What makes a line: branches of a run over a rate; without ``curve``, a run that is no sweep."""

    run: int
    label: str
    colour: int
    curve: str
    branches: tuple[str, ...]
    rate: str
    is_dashed: bool = False


def make_tradeoff(section: Section) -> Tradeoff | None:
    """The part, or None where there are not two points of different rates to show."""
    series = _all_series(section)
    is_alone = len(section.runs) == 1 and not section.results[0].spec.curves
    if is_alone or not series:
        return None
    charts, has_beaten = [], False
    for metric in distortion_metrics(section.results):
        found = [(one, points) for one in series if (points := _points(section, one, metric.metric))]
        if len({point.rate for _, points in found for point in points}) > 1:
            charts.append(_chart(metric, found))
            has_beaten |= any(point.is_beaten for _, points in found for point in points)
    if not charts:
        return None
    with_lengths = {
        run for run, r in enumerate(section.results) if any(b.startswith("length=") for b in r.spec.branches)
    }
    return Tradeoff(
        charts=tuple(charts[:_N_CHARTS]), more=tuple(charts[_N_CHARTS:]),
        keys=tuple(Key(colour=one.colour, label=one.label, is_dashed=one.is_dashed) for one in series),
        tables=tuple(_tables(section)), has_beaten=has_beaten,
        covers_lengths=with_lengths <= {one.run for one in series},
    )  # fmt: skip


def _all_series(section: Section) -> list[_Series]:
    """The runs' own curves and points in the runs' colours, then every other curve once, in the colours left."""
    own: list[_Series] = []
    others: dict[str, _Series] = {}
    for run, result in enumerate(section.results):
        label, colour = section.labels[run], run % N_COLOURS
        if not result.spec.curves:
            if series := _plain_series(section, run):
                own.append(series)
            continue
        name, *anchors = result.spec.curves
        rates = section.runs[run].curves.rates or ("bpp",)
        for number, rate in enumerate(rates):
            own.append(
                _Series(
                    run=run, label=f"{label}, {RATE_WORDS.get(rate, rate)}" if len(rates) > 1 else label,
                    colour=colour, curve=name, branches=result.spec.curves[name], rate=rate, is_dashed=number > 0,
                )
            )  # fmt: skip
        for anchor in anchors:
            colour = (len(section.runs) + len(others)) % N_COLOURS
            branches = result.spec.curves[anchor]
            others.setdefault(
                anchor,
                _Series(run=run, label=anchor, colour=colour, curve=anchor, branches=branches,
                        rate=rate_of(result, branches, rates[0])),
            )  # fmt: skip
    return [*own, *others.values()]


def _plain_series(section: Section, run: int) -> _Series | None:
    """A run that is no sweep: its plain reconstruction, with its shorter lengths if it has any."""
    branches = [b for b in section.results[run].spec.branches if b.startswith("length=")]
    if _rate(section, run, "bpp", PLAIN) is None:
        return None
    return _Series(
        run=run, label=section.labels[run], colour=run % N_COLOURS, curve="", branches=(*branches, PLAIN), rate="bpp"
    )


def _points(section: Section, one: _Series, metric: str) -> list[CurvePoint]:
    result = section.results[one.run]
    if one.curve:
        return list(curve_points(result, curve=one.curve, branches=one.branches, metric=metric, rate=one.rate))
    found: dict[float, CurvePoint] = {}
    for branch in one.branches:
        value, rate = result.values.get(value_key(metric, branch)), _rate(section, one.run, one.rate, branch)
        if value is not None and value.value is not None and rate:
            label = point_label(result, one.curve, branch)
            found.setdefault(
                rate,
                CurvePoint(branch=branch, label=label, rate=rate, rate_ci95=None, value=value.value,
                           ci95=value.ci95, n=value.n, n_unit=value.n_unit, is_beaten=False),
            )  # fmt: skip
    return [found[rate] for rate in sorted(found)]


def _rate(section: Section, run: int, rate: str, branch: str) -> float | None:
    """Bits per pixel, from the result or, where the run was not asked for them, from its records."""
    value = section.results[run].values.get(value_key(rate, branch))
    return value.value if value is not None and value.value else bits_per_pixel(section, run, branch) or None


def _chart(metric: Value, found: Sequence[tuple[_Series, Sequence[CurvePoint]]]) -> Chart:
    lines = [
        Line(
            label=one.label,
            colour=one.colour,
            is_dashed=one.is_dashed,
            points=tuple(
                Point(x=p.rate, y=p.value, ci95=p.ci95, is_open=p.is_beaten, words=_words(p, metric)) for p in points
            ),
        )
        for one, points in found
    ]
    rates = [point.rate for _, points in found for point in points]
    svg = xy_plot(
        lines, x=Axis(title="bits per pixel", is_log=is_wide(rates)), y=Axis(unit=metric.unit),
        title=f"{metric.title} by bits per pixel",
    )  # fmt: skip
    return Chart(
        title=metric.title, key=metric.metric, unit=metric.unit, arrow=ARROWS[metric.better],
        direction=DIRECTIONS[metric.better], svg=svg,
    )  # fmt: skip


def _words(point: CurvePoint, metric: Value) -> str:
    interval = format_interval(point.value, metric.unit, point.ci95)
    text = f"{point.label}, {format_value(point.rate, 'bit/px', point.rate_ci95)}: "
    text += format_value(point.value, metric.unit, point.ci95) + (f" ({interval})" if interval else "")
    return f"{text}, no better than a cheaper point" if point.is_beaten else text


def _tables(section: Section) -> Iterable[DeltaTable]:
    for number, run in enumerate(section.runs):
        comparisons = run.curves.comparisons
        if not comparisons:
            continue
        anchors = tuple(dict.fromkeys(one.anchor for one in comparisons))
        metrics = {metric.metric: metric for metric in distortion_metrics([run.result])}
        by_row: dict[tuple[str, str], dict[str, Comparison]] = {}
        for one in comparisons:
            if one.metric in metrics:
                by_row.setdefault((one.metric, one.rate), {})[one.anchor] = one
        n_rates = Counter(key for key, _ in by_row)
        rows = tuple(
            DeltaRow(
                metric=metrics[key],
                arrow=ARROWS[metrics[key].better],
                direction=DIRECTIONS[metrics[key].better],
                rate=RATE_WORDS.get(rate, rate),
                cells=tuple(_cell(cells[anchor], metrics[key]) if anchor in cells else None for anchor in anchors),
                span=n_rates[key] if rate == next(r for k, r in by_row if k == key) else 0,
            )
            for (key, rate), cells in by_row.items()
        )
        yield DeltaTable(
            run=number, test=comparisons[0].test, anchors=anchors, rows=rows, covers=run.curves.covers
        )  # fmt: skip


def _cell(one: Comparison, metric: Value) -> DeltaCell:
    if one.bd_rate is None or one.bd_metric is None:
        return DeltaCell(reason=one.reason or "no reason was recorded")
    low, high = one.bd_rate_ci95 or (0.0, 0.0)
    return DeltaCell(
        rate=format_change(one.bd_rate, "%", one.bd_rate_ci95),
        rate_interval=format_interval(one.bd_rate, "%", one.bd_rate_ci95),
        metric=format_change(one.bd_metric, metric.unit, one.bd_metric_ci95),
        metric_interval=format_interval(one.bd_metric, metric.unit, one.bd_metric_ci95),
        overlap=f"{100 * one.overlap:.0f} %" if one.overlap is not None else "",
        no_interval=one.interval_reason,
        tone="good" if high < 0 else "bad" if low > 0 else "",
    )
