"""Runs against a baseline: read, checked for likeness, compared and judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tokbench.comparison.differences import Difference, Interval, differences
from tokbench.comparison.escape import terminal
from tokbench.comparison.likeness import environment_notes, require_alike
from tokbench.comparison.margins import Margin
from tokbench.comparison.measured import MeasuredRun, Units, read_measured
from tokbench.comparison.verdicts import verdict
from tokbench.errors import UnknownNameError, UsageError
from tokbench.estimates import holm
from tokbench.registry import did_you_mean
from tokbench.results import Value


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A run against the baseline: one difference a metric, and what else to know."""

    baseline: str
    candidate: str
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()


def compare_runs(
    folders: Sequence[Path],
    *,
    metrics: Iterable[str] = ("all",),
    common: bool = False,
    interval: Interval | None = None,
    margins: Mapping[str, Margin] | None = None,
) -> list[Comparison]:
    """Compare runs with the first of them.

    Args:
        folders: the baseline's run folder, then the others'.
        metrics: ``all``, groups, metric keys or value keys.
        common: pair what both runs have, where samples failed, a run is partial or a metric has other regions.
        interval: how intervals are made.
        margins: by metric or value key, the equivalence margin.

    Raises:
        UnlikeRunsError: the runs differ in more than the tokenizer.
        UsageError: fewer than two runs, or a metric that no run has.
        ResultsError: a run cannot be read.
    """
    if len(folders) < 2:
        raise UsageError("a comparison needs at least two runs: the baseline, then the others")
    units = Units()
    runs = label_runs([read_measured(Path(folder), units) for folder in folders])
    keys = select_keys(runs, metrics)
    known = {name for key in keys for name in (key, key.partition("@")[0])}
    for name in margins or {}:
        if name not in known:
            raise UnknownNameError(f"a margin for {name!r}, which is not compared{nearest(name, known)}")
    for run in runs[1:]:
        require_alike(runs[0], run, keys, common=common, regrouped=units.regrouped)
    made = [
        Comparison(
            baseline=runs[0].label,
            candidate=run.label,
            differences=tuple(differences(runs[0], run, units, keys, interval=interval or Interval())),
            notes=tuple(environment_notes(runs[0], run)),
        )
        for run in runs[1:]
    ]
    return judge(made, margins or {})


def label_runs(runs: Sequence[MeasuredRun]) -> list[MeasuredRun]:
    """The same runs; those of equal tokenizer names are told apart by their folders, or by their number."""
    names = [run.label for run in runs]
    labels: list[str] = []
    for number, run in enumerate(runs, start=1):
        label = run.label
        if names.count(label) > 1:
            folders = [Path(other.result.path or "").resolve().parts for other in runs if other.label == label]
            own = Path(run.result.path or "").resolve().parts
            depth = next(
                (n for n in range(1, len(own) + 1) if sum(parts[-n:] == own[-n:] for parts in folders) == 1), 0
            )
            label = f"{label} ({Path(*own[-depth:]).as_posix()})" if depth else f"{label} #{number}"
        labels.append(label)
    return [replace(run, label=label) for run, label in zip(runs, labels, strict=True)]


def select_keys(runs: Sequence[MeasuredRun], metrics: Iterable[str]) -> list[str]:
    """Value keys that were asked for, in the order of the runs; UnknownNameError for a word that names none."""
    values: dict[str, Value] = {}
    for run in runs:
        for key, value in run.result.values.items():
            values.setdefault(key, value)
    names = {name: {key for key, value in values.items() if name in _names(value)} for name in metrics}
    for name, found in names.items():
        if not found:
            known = {word for value in values.values() for word in _names(value)} - {"all"}
            raise UnknownNameError(f"no run has a metric or group {name!r}{nearest(name, known)}")
    return [key for key in values if any(key in found for found in names.values())]


def nearest(name: str, known: Iterable[str]) -> str:
    """The names of result files that are nearest to one that is not there, safe to print."""
    return did_you_mean(name, sorted(map(terminal, known)))


def _names(value: Value) -> tuple[str, ...]:
    return "all", value.key, value.metric, value.group


def judge(comparisons: Sequence[Comparison], margins: Mapping[str, Margin]) -> list[Comparison]:
    """Correct all p-values together and say what each difference means."""
    tested = [item.p_value for made in comparisons for item in made.differences if item.p_value is not None]
    corrected = iter(holm(tested))

    def judged(item: Difference) -> Difference:
        if item.p_value is None:
            return item
        margin = margins.get(item.key) or margins.get(item.value.metric)
        around = None if margin is None or item.first is None else margin.around(item.first)
        item = replace(item, p_corrected=next(corrected), margin=around)
        return replace(item, verdict=verdict(item.value.better, item.ci95, item.p_corrected, margin=around))

    return [replace(made, differences=tuple(map(judged, made.differences))) for made in comparisons]
