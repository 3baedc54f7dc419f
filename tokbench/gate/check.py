"""The gate: a run against its baseline, with tolerances, to a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokbench.comparison.compare import label_runs, nearest, select_keys
from tokbench.comparison.differences import Interval, differences
from tokbench.comparison.likeness import environment_notes, require_alike
from tokbench.comparison.measured import MeasuredRun, Units, read_measured
from tokbench.errors import UnknownNameError, UsageError
from tokbench.gate.config import GateConfig
from tokbench.gate.items import GateItem, Status, items_of, judged
from tokbench.report.format import format_count

_ORDER: tuple[Status, ...] = ("fail", "inconclusive", "better", "pass", "not compared")


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """What the gate found.

    Attributes:
        baseline, candidate: what the runs are called; task: name and version.
        items: what was looked at, failures first.
        notes: differences between the environments.
        inconclusive_fails: whether inconclusive items count as failures.
    """

    baseline: str
    candidate: str
    task: str
    items: tuple[GateItem, ...]
    notes: tuple[str, ...] = ()
    inconclusive_fails: bool = False

    @property
    def passed(self) -> bool:
        """No item failed, and none was inconclusive where that counts."""
        return not self.failures

    @property
    def failures(self) -> tuple[GateItem, ...]:
        counted = ("fail", "inconclusive") if self.inconclusive_fails else ("fail",)
        return tuple(item for item in self.items if item.status in counted)

    def count(self, status: Status) -> int:
        return sum(item.status == status for item in self.items)

    @property
    def summary(self) -> str:
        """``failed: 1 of 12 compared is worse than tolerated, 3 inconclusive``."""
        compared = len(self.items) - self.count("not compared")
        counts = [f"{self.count(status)} {status}" for status in _ORDER if self.count(status)]
        return f"{'passed' if self.passed else 'failed'}: {compared} compared; {', '.join(counts)}"


def check_runs(
    candidate: Path,
    baseline: Path,
    *,
    config: GateConfig | None = None,
    common: bool = False,
    speed: Sequence[GateItem] = (),
    label: str = "",
) -> GateResult:
    """Gate one run folder against another.

    A sample that fails in the candidate only is a failure of the gate; the others are then compared on the rest.

    Args:
        candidate, baseline: run folders.
        config: tolerances.
        common: as for :func:`~tokbench.comparison.compare.compare_runs`.
        speed: times taken side by side (:func:`tokbench.gate.speed.speed_items`), gated with the rest.
        label: what to call the candidate; its tokenizer's name if left out.

    Raises:
        UnlikeRunsError: the runs differ in more than the tokenizer.
        UsageError: a rule for a metric that neither run has, or nothing that could be gated.
        ResultsError: a run cannot be read.
    """
    config = config or GateConfig()
    units = Units()
    first, second = label_runs([read_measured(baseline, units), read_measured(candidate, units, label=label)])
    if second.result.status == "failed" and first.result.status == "complete":
        return _result(first, second, [_all_failed(second)], config)
    keys = select_keys([first, second], config.metrics)
    _require_known(first, second, config)
    keys += [key for key in _ruled(first, second, config) if key not in keys]
    broken = _broken_samples(first, second)
    require_alike(first, second, keys, common=common or bool(broken), regrouped=units.regrouped)
    found = differences(first, second, units, keys, interval=Interval())
    asked = second.result.values
    items = [item for made in found for item in items_of(made, config, was_asked=made.key in asked)]
    items += [item for key in config.rules if (item := _never_measured(key, keys, found, config)) is not None]
    items = judged([*broken, *items, *speed])
    if not any(item.p_value is not None or item.status in ("pass", "fail") for item in items):
        raise UsageError("nothing could be gated: no metric has an interval in both runs, and no rule has a tolerance")
    return _result(first, second, items, config)


def _result(first: MeasuredRun, second: MeasuredRun, items: Sequence[GateItem], config: GateConfig) -> GateResult:
    task = first.result.spec.task
    return GateResult(
        baseline=first.label,
        candidate=second.label,
        task=f"{task.get('name')} v{task.get('version')}",
        items=tuple(sorted(items, key=lambda item: _ORDER.index(item.status))),
        notes=tuple(environment_notes(first, second)),
        inconclusive_fails=config.inconclusive == "fail",
    )


def _all_failed(run: MeasuredRun) -> GateItem:
    return GateItem(name="samples", status="fail", reason=f"the run failed: {run.result.reason}")


def _broken_samples(first: MeasuredRun, second: MeasuredRun) -> list[GateItem]:
    """Samples that the baseline reconstructs and the candidate does not."""
    broken = [
        name
        for name, facts in second.samples.items()
        if not facts.is_ok and name in first.samples and first.samples[name].is_ok
    ]
    if not broken:
        return []
    reason = f"{format_count(len(broken), 'samples')} failed that the baseline reconstructs, {broken[0]} among them"
    return [GateItem(name="samples", status="fail", reason=reason, n=len(broken), n_unit="samples")]


def _require_known(first: MeasuredRun, second: MeasuredRun, config: GateConfig) -> None:
    known: dict[str, Any] = {}
    for run in (first, second):
        for key, value in run.result.values.items():
            known[key] = known[value.metric] = value
    for name, rule in config.rules.items():
        if name not in known and not rule.required:
            raise UnknownNameError(f"a rule for {name!r}, which neither run has{nearest(name, known)}")


def _ruled(first: MeasuredRun, second: MeasuredRun, config: GateConfig) -> list[str]:
    """Value keys that have a rule of their own; they are gated whatever ``metrics`` says."""
    keys = dict.fromkeys([*first.result.values, *second.result.values])
    return [key for key in keys if key in config.rules or key.partition("@")[0] in config.rules]


def _never_measured(name: str, keys: Sequence[str], found: Sequence[Any], config: GateConfig) -> GateItem | None:
    """A required metric that no run has a number for."""
    if not config.rules[name].required or any(name in (item.key, item.value.metric) for item in found):
        return None
    reason = "required, but " + ("neither run has a number for it" if name in keys else "neither run was asked for it")
    return GateItem(name=name, status="fail", reason=reason)


def gate_json(result: GateResult) -> Mapping[str, Any]:
    """Ready for JSON, numbers unrounded."""
    return {
        "passed": result.passed,
        "summary": result.summary,
        "baseline": result.baseline,
        "candidate": result.candidate,
        "task": result.task,
        "notes": list(result.notes),
        "items": [
            {
                "name": item.name,
                "status": item.status,
                "reason": item.reason,
                "unit": item.unit,
                "direction": item.direction,
                "baseline": item.first,
                "candidate": item.second,
                "difference": item.difference,
                "ci95": None if item.ci95 is None else list(item.ci95),
                "tolerance": item.tolerance,
                "p": item.p_value,
                "p_corrected": item.p_corrected,
                "n": item.n,
                "n_unit": item.n_unit,
                "n_clusters": item.n_clusters,
            }
            for item in result.items
        ],
    }
