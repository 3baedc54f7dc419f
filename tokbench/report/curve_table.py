"""A sweep's points and deltas for terminals."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TextIO

from rich.cells import cell_len

from tokbench.aggregation import value_key
from tokbench.curves import Comparison, RateDistortion, distortion_metrics, point_label, rate_of
from tokbench.report.format import MISSING, format_change, format_interval, format_value, shorten
from tokbench.report.table import emit
from tokbench.results import RunResult

RATE_WORDS = {
    "bpp": "nominal",
    "bpp_order0": "entropy-coded",
    "bpp_adaptive0": "coded, order 0",
    "bpp_adaptive1": "coded, order 1",
}


def curves_table(result: RunResult, found: RateDistortion) -> str:
    """Every point with its rates and values, then every delta, as aligned columns."""
    task = result.spec.task
    counts = ", ".join(f"{result.counts.get(name, 0):,} {name}" for name in ("ok", "failed"))
    title = f"{result.spec.tokenizer.name} on {task.get('name', '?')} v{task.get('version', '?')}: rate and distortion"
    lines = [title, f"{result.status} · samples: {counts}", ""]
    lines += _aligned(_point_rows(result, found), n_text=2)
    if any(row.endswith("*") or "* " in row for row in lines[3:]):
        lines.append("* a cheaper point of the same curve is as good")
    if found.comparisons:
        lines += ["", f"against other curves, test minus anchor; a negative BD-rate saves bits ({found.library})"]
        lines += _aligned(_delta_rows(result, found.comparisons), n_text=3)
        lines += [f"{_about(one)}: {one.reason}" for one in found.comparisons if one.reason]
        missing = dict.fromkeys(one.interval_reason for one in found.comparisons if one.interval_reason)
        lines += [f"no interval: {reason}" for reason in missing]
        lines.append(f"intervals: {found.covers}; {found.n_clusters:,} sources, {found.replicates:,} draws")
    return "\n".join(shorten(line.rstrip(), 600) for line in lines) + "\n"


def print_curves(result: RunResult, found: RateDistortion, *, file: TextIO | None = None) -> None:
    """Print :func:`curves_table` to ``file`` (stdout)."""
    emit(curves_table(result, found), file or sys.stdout)


def _point_rows(result: RunResult, found: RateDistortion) -> list[list[str]]:
    metrics = distortion_metrics([result])
    beaten = {
        (metric, point.branch)
        for metric, by_rate in found.points.items()
        for curves in by_rate.values()
        for points in curves.values()
        for point in points
        if point.is_beaten
    }
    rows = [["curve", "point", *found.rates, *(metric.metric for metric in metrics)]]
    for curve, branches in result.spec.curves.items():
        for branch in sorted(branches, key=lambda branch: _rate(result, branch)):
            row = [curve, point_label(result, curve, branch)]
            row += [_number(result, rate_of(result, branches, rate), branch) for rate in found.rates]
            row += [
                _number(result, metric.metric, branch) + ("*" if (metric.metric, branch) in beaten else "")
                for metric in metrics
            ]
            rows.append(row)
    return rows


def _rate(result: RunResult, branch: str) -> float:
    """A point's nominal rate, so that a curve is listed from its cheapest point on."""
    found = result.values.get(value_key("bpp", branch))
    return math.inf if found is None or found.value is None else found.value


def _number(result: RunResult, metric: str, branch: str) -> str:
    value = result.values.get(value_key(metric, branch))
    return format_value(value.value, value.unit, value.ci95).split(" ")[0] if value is not None else MISSING


def _delta_rows(result: RunResult, comparisons: Sequence[Comparison]) -> list[list[str]]:
    units = {value.metric: value.unit for value in result.values.values()}
    rows = [["metric", "rate", "against", "BD-rate", "95 % interval", "BD-metric", "95 % interval", "overlap"]]
    for one in comparisons:
        if one.bd_rate is None or one.bd_metric is None or one.overlap is None:
            continue
        unit = units.get(one.metric, "")
        rows.append(
            [
                one.metric, RATE_WORDS.get(one.rate, one.rate), one.anchor,
                format_change(one.bd_rate, "%", one.bd_rate_ci95),
                format_interval(one.bd_rate, "%", one.bd_rate_ci95) or MISSING,
                format_change(one.bd_metric, unit, one.bd_metric_ci95),
                format_interval(one.bd_metric, unit, one.bd_metric_ci95) or MISSING,
                f"{100 * one.overlap:.0f} %",
            ]
        )  # fmt: skip
    return rows if len(rows) > 1 else []


def _about(one: Comparison) -> str:
    return f"no delta of {one.metric} ({RATE_WORDS.get(one.rate, one.rate)}) against {one.anchor}"


def _aligned(rows: Sequence[Sequence[str]], *, n_text: int) -> list[str]:
    """Text columns left, numbers right."""
    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    lines = []
    for row in rows:
        cells = []
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
            pad = " " * (width - cell_len(cell))
            cells.append(cell + pad if column < n_text else pad + cell)
        lines.append("  ".join(cells))
    return lines
