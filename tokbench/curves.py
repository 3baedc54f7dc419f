"""The rate–distortion curves of a run: their points, how they compare, and the file that keeps it.

A run's spec says which branches are points of one curve. A point's rate and value are plain numbers of the result; what
:mod:`tokbench.rate_distortion` makes of two curves is kept beside it in ``rate_distortion.json``.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokbench.aggregation import value_key
from tokbench.cards import Better
from tokbench.errors import ResultsError, SchemaTooNewError
from tokbench.rate_distortion import Curve, beaten_points
from tokbench.results import PLAIN, RunResult, Value
from tokbench.runfolder import write_text
from tokbench.schema import dump_json

RATE_DISTORTION = "rate_distortion.json"
RATES = ("bpp", "bpp_order0", "bpp_adaptive0", "bpp_adaptive1")
SCHEMA = 1
_NOT_DISTORTION = ("rate", "codebook", "efficiency", "robustness")


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One branch as a point of a curve.

    Attributes:
        branch, label: the branch, and what to call it.
        rate, value: bits per pixel of the compared grid, and the metric; with their 95 % intervals.
        n, n_unit: what the value rests on.
        is_beaten: a cheaper point of the curve is as good.
    """

    branch: str
    label: str
    rate: float
    rate_ci95: tuple[float, float] | None
    value: float
    ci95: tuple[float, float] | None
    n: int
    n_unit: str
    is_beaten: bool


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A curve against another, or why there is no delta.

    Attributes:
        metric, rate: metric keys; ``anchor_rate`` is the anchor's, which for a coded file is its true size.
        test, anchor: the curves' names.
        bd_rate: percent; ``bd_metric`` in the metric's unit; test minus anchor.
        overlap: share of both ranges of values that they have in common.
        reason: why there is no delta; ``interval_reason``: why there is one without an interval.
    """

    metric: str
    rate: str
    test: str
    anchor: str
    anchor_rate: str
    bd_rate: float | None = None
    bd_rate_ci95: tuple[float, float] | None = None
    bd_metric: float | None = None
    bd_metric_ci95: tuple[float, float] | None = None
    overlap: float | None = None
    reason: str = ""
    interval_reason: str = ""


@dataclass(frozen=True, kw_only=True)
class RateDistortion:
    """What ``rate_distortion.json`` holds; ``run_id`` is that of the run it was made from."""

    run_id: str
    method: str
    library: str
    replicates: int
    seed: int
    n_clusters: int
    covers: str
    rates: tuple[str, ...]
    points: Mapping[str, Mapping[str, Mapping[str, tuple[CurvePoint, ...]]]]  # by metric, rate and curve
    comparisons: tuple[Comparison, ...]


def distortion_metrics(results: Iterable[RunResult]) -> list[Value]:
    """The metrics a curve can be drawn of, as their first value describes them: numbers of the images, not of codes."""
    found: dict[str, Value] = {}
    for result in results:
        for value in result.values.values():
            if value.kind in ("pair", "region", "set") and value.group not in _NOT_DISTORTION:
                found.setdefault(value.metric, value)
    return list(found.values())


def point_label(result: RunResult, curve: str, branch: str) -> str:
    """``length 4`` or ``q30``: what a point of a curve is called."""
    if branch == PLAIN:
        card = result.spec.tokenizer
        lengths = any(other.startswith("length=") for other in result.spec.curves.get(curve, ()))
        return f"length {card.max_length}" if lengths and card.max_length else card.variant or card.name
    return branch.removeprefix(f"{curve}-").replace("length=", "length ")


def curve_points(
    result: RunResult, *, curve: str, branches: Sequence[str], metric: str, rate: str
) -> tuple[CurvePoint, ...]:
    """The points of a curve that have both numbers, cheapest first."""
    found = []
    for branch in branches:
        value, cost = (result.values.get(value_key(key, branch)) for key in (metric, rate))
        if value is None or cost is None or value.value is None or cost.value is None:
            continue
        if not (math.isfinite(value.value) and 0 < cost.value < math.inf):  # a result of someone else's making
            continue
        found.append(
            CurvePoint(
                branch=branch, label=point_label(result, curve, branch), rate=cost.value, rate_ci95=cost.ci95,
                value=value.value, ci95=value.ci95, n=value.n, n_unit=value.n_unit, is_beaten=False,
            )
        )  # fmt: skip
    found.sort(key=lambda point: point.rate)
    better: Better = next((value.better for value in result.values.values() if value.metric == metric), "neither")
    beaten = beaten_points(as_curve(curve, found), better)
    return tuple(dataclasses.replace(point, is_beaten=flag) for point, flag in zip(found, beaten, strict=True))


def as_curve(name: str, points: Sequence[CurvePoint]) -> Curve:
    """The points as :mod:`tokbench.rate_distortion` takes them."""
    return Curve(
        name=name, rates=tuple(p.rate for p in points), values=tuple(p.value for p in points),
        labels=tuple(p.label for p in points),
    )  # fmt: skip


def rate_of(result: RunResult, branches: Sequence[str], rate: str) -> str:
    """The rate key a curve is drawn over: ``rate``, or ``bpp`` where a point lacks it (a coded file has no codes)."""
    found = [result.values.get(value_key(rate, branch)) for branch in branches]
    return rate if all(value is not None and value.value is not None for value in found) else "bpp"


# ---- the file ----------------------------------------------------------------------------------------------------


def to_json(found: RateDistortion) -> dict[str, Any]:
    """``schema_version`` first, then the fields in order."""
    return {"schema_version": SCHEMA, **dataclasses.asdict(found)}


def write_rate_distortion(folder: Path, found: RateDistortion) -> Path:
    """Write ``rate_distortion.json`` into the run's folder."""
    path = folder / RATE_DISTORTION
    write_text(path, dump_json(to_json(found)))
    return path


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a report needs of ``rate_distortion.json``: the points' numbers are in the result."""

    rates: tuple[str, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    covers: str = ""


def read_rate_distortion(folder: Path, *, run_id: str) -> Kept:
    """What a run's folder keeps of its curves; nothing if there is no such file, or it is of another run.

    Raises:
        ResultsError: the file is not what :func:`write_rate_distortion` writes, or is newer than this tokbench.
    """
    path = folder / RATE_DISTORTION
    if not path.exists():
        return Kept()
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        if row["schema_version"] > SCHEMA:
            raise SchemaTooNewError(
                f"{path} has schema version {row['schema_version']}, this tokbench reads up to {SCHEMA}"
            )
        if row["run_id"] != run_id:
            return Kept()
        covers = f"{row['covers']}; {row['n_clusters']:,} sources, {row['replicates']:,} draws; {row['library']}"
        comparisons = tuple(_comparison(item) for item in row["comparisons"])
        return Kept(rates=tuple(map(str, row["rates"])), comparisons=comparisons, covers=covers)
    except (json.JSONDecodeError, UnicodeDecodeError, OSError, KeyError, TypeError, ValueError) as err:
        raise ResultsError(f"{path} is malformed: {err!r}; run `tokbench sweep` again") from err


def _comparison(row: Mapping[str, Any]) -> Comparison:
    fields = dict(row)
    for name in ("bd_rate_ci95", "bd_metric_ci95"):
        fields[name] = None if fields[name] is None else (float(fields[name][0]), float(fields[name][1]))
    made = Comparison(**fields)
    numbers = [made.bd_rate, made.bd_metric, made.overlap, *(made.bd_rate_ci95 or ()), *(made.bd_metric_ci95 or ())]
    if any(number is not None and not math.isfinite(number) for number in numbers):
        raise ValueError("a delta is not finite")
    texts = (made.metric, made.rate, made.test, made.anchor, made.anchor_rate, made.reason, made.interval_reason)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a name or reason is not text")
    return made
