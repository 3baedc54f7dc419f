"""Recomputing: every number that follows from the records is made again, by the functions the run used."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from tokbench.aggregation import Columns, image_summary, region_summary, to_value, with_interval
from tokbench.contracts import PairMetric, RegionMetric, Summary
from tokbench.results import PLAIN, Record, RunResult, Value
from tokbench.runfolder import INFLUENCES, RESULT
from tokbench.submissions.checks.consistency import FOLLOWING
from tokbench.submissions.findings import Findings, same
from tokbench.submissions.form import RECORDS_GZ
from tokbench.submissions.known import Known
from tokbench.submissions.opening import Opened
from tokbench.tasks.task import Task

# Everything a value holds but the metric's facts, which identity.py compares.
_RECOMPUTED = ("value", "n", "n_unit", "ci95", "status", "aggregate")
_SUM_TOLERANCE = 1e-6


def check_values(
    result: RunResult, records: Sequence[Record], task: Task | None, known: Known, findings: Findings
) -> None:
    """Means, intervals, counts, groups and macro means of pair and region metrics, from the records alone."""
    columns = _columns(records)
    for key, again in from_records(result, records, task, known).items():
        _compare(result.values[key], again, findings)
    for key, value in result.values.items():
        if value.status in ("skipped", "failed") and (columns[key].values or columns[key].left_out):
            findings.error(
                "hidden-value",
                f"is {value.status} in the result, but the records hold it",
                file=RESULT,
                where=f"values/{key}",
                got=value.status,
                expected=f"{len(columns[key].values)} values",
            )
    _check_no_strangers(result, records, findings)
    truths = {} if task is None else known.truths(task)
    labels = {name: truth.label for name, truth in truths.items()}
    _check_dropped(result, records, labels, known, findings)


def from_records(result: RunResult, records: Sequence[Record], task: Task | None, known: Known) -> dict[str, Value]:
    """By key, the values of this result that follow from its records, made again.

    Left out are what was not measured, metrics in another version than today's (identity.py says so), and regions where
    the task is unknown.
    """
    columns = _columns(records)
    again: dict[str, Value] = {}
    for key, value in result.values.items():
        metric = known.metrics.get(value.metric)
        if metric is None or value.version != metric.card.version or value.status in ("skipped", "failed"):
            continue
        if isinstance(metric, PairMetric):
            again[key] = to_value(metric.card, value.branch, image_summary(metric.card, columns[key]))
        elif isinstance(metric, RegionMetric) and task is not None:
            summary, groups, card = region_summary(metric.card, metric.region_kind, columns[key], task)
            again[key] = to_value(card, value.branch, summary, groups=groups)
    return again


def from_influences(opened: Opened, known: Known) -> dict[str, Summary]:
    """By key, a number over the set as claimed, with the interval that its influences give."""
    assert opened.result is not None
    cluster_of = {record.id: record.cluster for record in opened.records}
    clusters = [cluster_of[name] for name in opened.influence_ids]
    again = {}
    for key, influences in opened.influences.items():
        value = opened.result.values.get(key)
        metric = None if value is None else known.metrics.get(value.metric)
        if value is not None and metric is not None and value.status == "ok":
            claimed = Summary(value=value.value, n=value.n, influences=influences, details=value.details)
            again[key] = with_interval(metric.card, claimed, clusters)
    return again


def _columns(records: Sequence[Record]) -> Columns:
    columns = Columns()
    for record in records:
        columns.add(record)
    return columns


def _compare(got: Value, expected: Value, findings: Findings) -> None:
    where = f"values/{got.key}"
    for field in _RECOMPUTED:
        a, b = getattr(got, field), getattr(expected, field)
        if not same(a, b):
            name = {"ci95": "interval (ci95)"}.get(field, field)
            findings.error(
                "recomputed",
                f"{name} is not what the records give",
                file=RESULT,
                where=f"{where}/{field}",
                got=a,
                expected=b,
            )
    for name in sorted(got.groups.keys() | expected.groups.keys()):
        a, b = got.groups.get(name), expected.groups.get(name)
        if a is None or b is None or not same(dataclasses.asdict(a), dataclasses.asdict(b)):
            findings.error(
                "recomputed-group",
                f"group {name!r} is not what the records give",
                file=RESULT,
                where=f"{where}/groups/{name}",
                got=a,
                expected=b,
            )
    if not same(dict(got.details), dict(expected.details)):
        findings.error(
            "recomputed-details",
            "details are not what the records give",
            file=RESULT,
            where=f"{where}/details",
            got=dict(got.details),
            expected=dict(expected.details),
        )


def _check_no_strangers(result: RunResult, records: Sequence[Record], findings: Findings) -> None:
    """Values in the records that no value of the result comes from."""
    found: dict[tuple[str, str], str] = {}
    for record in records:
        for name, branch in record.branches.items():
            for key in branch.values:
                found.setdefault((key, name), record.id)
    for (key, name), sample in found.items():
        if (key if name == PLAIN else f"{key}@{name}") not in result.values:
            findings.error(
                "unknown-metric",
                f"has values of {key!r}, which the result does not have",
                file=RECORDS_GZ,
                where=sample,
            )


def _check_dropped(
    result: RunResult, records: Sequence[Record], labels: Mapping[str, str], known: Known, findings: Findings
) -> None:
    """A metric over images has a value for every image.

    One that may be undefined says so on its card, and what that depends on is the image: its size, or whether its class
    is known. Of images alike in both, all have a value or none.
    """

    def likeness(record: Record) -> tuple[object, bool]:
        return record.size_px, bool(labels.get(record.id))

    for value in result.values.values():
        metric = known.metrics.get(value.metric)
        if not isinstance(metric, PairMetric) or value.status not in ("ok", "undefined"):
            continue
        rows = [(record, record.branches[value.branch]) for record in records if value.branch in record.branches]
        measured = {likeness(record) for record, branch in rows if value.metric in branch.values}
        for record, branch in rows:
            if value.metric in branch.values or (metric.card.undefined and likeness(record) not in measured):
                continue
            findings.error(
                "dropped-value",
                f"has no value of {value.key}, which images like it have",
                file=RECORDS_GZ,
                where=record.id,
            )


def check_set_values(opened: Opened, known: Known, findings: Findings) -> None:
    """Numbers over the set do not follow from the records: intervals follow from influences, the rest is noted."""
    result = opened.result
    assert result is not None
    ids = [record.id for record in opened.records]
    promised = result.records.get("influences_sha256")
    if promised is not None or INFLUENCES in opened.digests:
        findings.differs(
            "influences-digest",
            "digest of the influences",
            opened.digests.get(INFLUENCES, "no file"),
            promised,
            file=INFLUENCES,
        )
    if opened.influences and sorted(opened.influence_ids) != sorted(ids):
        findings.error(
            "influences-ids",
            "holds other samples than the records",
            file=INFLUENCES,
            got=len(opened.influence_ids),
            expected=len(ids),
        )
        return
    for key in opened.influences.keys() - result.values.keys():
        findings.error("influences-ids", "is of a value the result does not have", file=INFLUENCES, where=key)
    for key, value in result.values.items():
        metric = known.metrics.get(value.metric)
        if value.status != "ok" or metric is None or isinstance(metric, PairMetric | RegionMetric):
            continue
        if value.kind == "cost":
            findings.note("machine-dependent", "depends on the machine: shown, never ranked", file=RESULT, where=key)
        elif value.metric not in FOLLOWING or "psnr" not in result.spec.metrics:
            findings.note(
                "not-recomputable", "does not follow from the records, so it was not checked", file=RESULT, where=key
            )
    for key, again in from_influences(opened, known).items():
        _check_influences(result.values[key], again, findings)


def _check_influences(value: Value, again: Summary, findings: Findings) -> None:
    """The sum of the influences, and the interval they give."""
    assert again.influences is not None
    total = math.fsum(again.influences)
    scale = math.fsum(abs(item) for item in again.influences)
    if abs(total) > _SUM_TOLERANCE * max(scale, 1e-12):
        findings.error(
            "influences-sum", "influences must add up to zero", file=INFLUENCES, where=value.key, got=total, expected=0
        )
    if not same(value.ci95, again.ci95):
        findings.error(
            "influences-interval",
            "interval (ci95) is not what the influences give",
            file=RESULT,
            where=f"values/{value.key}/ci95",
            got=value.ci95,
            expected=again.ci95,
        )
