"""Is it what it says: a whole run of a registered task, with today's definitions, of the tokenizer it names?"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from typing import Any

from tokbench.cards import TokenizerCard
from tokbench.results import RunResult, Value
from tokbench.runfolder import RESULT
from tokbench.submissions.findings import Findings, same
from tokbench.submissions.form import SUBMISSION
from tokbench.submissions.known import Known, task_json
from tokbench.submissions.opening import Opened
from tokbench.tasks.catalogue import FOLDER
from tokbench.tasks.stored import with_defaults
from tokbench.tasks.task import Task

# What a metric's card says of a value; `aggregate` is the task's to change for regions, and is recomputed elsewhere.
_CARD_FIELDS = ("title", "group", "kind", "unit", "better", "low", "high", "perfect")
# What changes numbers. Titles and notes of a tokenizer may be reworded.
_TOKENIZER_FIELDS = (
    "latent",
    "codebook_sizes",
    "size_multiple",
    "fixed_size_px",
    "weights",
    "deterministic",
    "overshoots",
    "posterior",
    "takes_source",
)
_VERSION = re.compile(r"\d+\.\d+[\w.+-]*\Z")
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")


def check_run(opened: Opened, known: Known, findings: Findings) -> Task | None:
    """Status, task, data, id and names; the registered task, if it is one and defined alike."""
    result = opened.result
    if result is None:
        return None
    _check_whole(result, findings)
    text = json.dumps(opened.spec, sort_keys=True, allow_nan=False)
    findings.differs(
        "run-id",
        "the run's id (hash of its spec)",
        result.run_id,
        hashlib.sha256(text.encode()).hexdigest()[:16],
        file=RESULT,
        where="run_id",
    )
    if opened.submission is not None:
        for name, got, expected in (
            ("task", opened.submission.task, result.spec.task.get("name")),
            ("tokenizer", opened.submission.tokenizer, result.spec.tokenizer.name),
        ):
            findings.differs("submission-names", name, got, expected, file=SUBMISSION, where=name)
        if pinned := dict(result.spec.tokenizer.weights):
            findings.differs(
                "weights",
                "digests of the weights that the tokenizer's card pins",
                dict(opened.submission.weights),
                pinned,
                file=SUBMISSION,
                where="weights",
            )
    _check_times(opened, result, findings)
    return _check_task(result, known, findings)


def _check_whole(result: RunResult, findings: Findings) -> None:
    if result.status != "complete":
        findings.error(
            "not-complete",
            f"the run is not complete: {result.reason or 'it never finished'}",
            file=RESULT,
            where="status",
            got=result.status,
            expected="complete",
        )
    if result.spec.limit is not None:
        findings.error(
            "limit",
            "the run used --limit; a submission covers the whole task",
            file=RESULT,
            where="spec/limit",
            got=result.spec.limit,
        )
    if result.counts.get("failed"):
        findings.error(
            "failed-samples",
            "samples failed; every sample must be measured",
            file=RESULT,
            where="counts/failed",
            got=result.counts["failed"],
            expected=0,
        )


def _check_task(result: RunResult, known: Known, findings: Findings) -> Task | None:
    name = str(result.spec.task.get("name"))
    task = known.tasks.get(name)
    if name == FOLDER or task is None:
        why = "its images are private" if name == FOLDER else "there is no such task"
        findings.error(
            "unknown-task",
            f"the task {name!r} is not a registered one: {why}",
            file=RESULT,
            where="spec/task",
            expected=", ".join(known.tasks),
        )
        return None
    ours, theirs = task_json(task), with_defaults(result.spec.task)
    for field in sorted(ours.keys() | theirs.keys()):
        if not same(theirs.get(field), ours.get(field)):
            findings.error(
                "task-definition",
                f"the task's definition differs from the registered task {name!r}",
                file=RESULT,
                where=f"spec/task/{field}",
                got=theirs.get(field),
                expected=ours.get(field),
            )
    digest = result.spec.manifest_digest
    findings.differs("data", "manifest digest", result.manifest.get("digest"), digest, file=RESULT, where="manifest")
    if task.n_samples is not None:
        got = result.manifest.get("n_samples")
        findings.differs("data", "the number of samples", got, task.n_samples, file=RESULT, where="manifest/n_samples")
    manifest = known.manifest(task)
    if isinstance(manifest, str):
        findings.note(
            "data-not-here", f"ids, pixels and regions were not checked: {manifest}", file=RESULT, where="manifest"
        )
        return task
    for field, expected in (
        ("digest", manifest.digest),
        ("name", manifest.name),
        ("version", manifest.version),
        ("n_samples", len(manifest.samples)),
    ):
        if not same(result.manifest.get(field), expected):
            findings.error(
                "data",
                f"was measured on other data than the manifest of {name!r}",
                file=RESULT,
                where=f"manifest/{field}",
                got=result.manifest.get(field),
                expected=expected,
            )
    return task


def _check_times(opened: Opened, result: RunResult, findings: Findings) -> None:
    moments = [("started", result.started, RESULT), ("finished", result.finished, RESULT)]
    if opened.submission is not None:
        moments.append(("submitted", opened.submission.submitted, SUBMISSION))
    parsed = []
    for name, text, file in moments:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            findings.error("time", "is no time with a zone", file=file, where=name, got=text, expected="UTC, ISO 8601")
        else:
            parsed.append(moment)
    if len(parsed) == len(moments) and parsed != sorted(parsed):
        findings.error(
            "time",
            "times are out of order",
            got=", ".join(text for _, text, _ in moments),
            expected="started, finished, submitted",
        )


def check_tokenizer(card: TokenizerCard, known: Known, findings: Findings) -> None:
    """The card of a registered tokenizer must be ours where it matters."""
    ours = known.tokenizer_cards.get(card.name)
    if ours is None:
        findings.note(
            "tokenizer-not-here",
            "is not a registered tokenizer: its card was taken at its word",
            file=RESULT,
            where=card.name,
        )
        return
    for field in _TOKENIZER_FIELDS:
        if field == "weights" and (ours.hub or ours.page) and not ours.weights:
            continue  # no digest is published; the run's card says which file it measured
        findings.differs(
            "tokenizer-card",
            f"{field} of the registered tokenizer {card.name!r}",
            getattr(card, field),
            getattr(ours, field),
            file=RESULT,
            where=f"spec/tokenizer/{field}",
        )


def check_metrics(result: RunResult, task: Task | None, known: Known, findings: Findings) -> None:
    """Keys, versions and card facts of every value; no metric that matters is missing."""
    for key, value in result.values.items():
        _check_value_card(key, value, result, known, findings)
    for key in result.spec.metrics.keys() - {value.metric for value in result.values.values()}:
        findings.error("missing-value", "was asked for and has no value", file=RESULT, where=f"values/{key}")
    for key in () if task is None else task.rank_by:
        ranked = result.values.get(key)
        if ranked is None or ranked.status != "ok":
            got = "no value" if ranked is None else f"{ranked.status}: {ranked.reason}"
            findings.error(
                "rank-metric",
                "the task is ranked by it, so it must be measured",
                file=RESULT,
                where=f"values/{key}",
                got=got,
            )


def _check_value_card(key: str, value: Value, result: RunResult, known: Known, findings: Findings) -> None:
    where = f"values/{key}"
    metric = known.metrics.get(value.metric)
    if key != value.key or value.key != (value.metric if not value.branch else f"{value.metric}@{value.branch}"):
        findings.error(
            "value-key", "key, metric and branch contradict each other", file=RESULT, where=where, got=value.key
        )
    if value.branch and value.branch not in result.spec.branches:
        findings.error(
            "unknown-branch",
            "is of a branch the run does not have",
            file=RESULT,
            where=where,
            got=value.branch,
            expected=", ".join(result.spec.branches) or "none",
        )
    if metric is None:
        findings.error(
            "unknown-metric", "is a metric key tokbench does not know", file=RESULT, where=where, got=value.metric
        )
        return
    findings.differs(
        "metric-version",
        "metric version in spec and value",
        value.version,
        result.spec.metrics.get(value.metric),
        file=RESULT,
        where=where,
    )
    if value.status == "failed":
        findings.error("failed-metric", f"the metric failed: {value.reason}", file=RESULT, where=where)
    if (value.value is None) != (value.status != "ok"):
        findings.error(
            "value-status",
            "has a value or a status other than ok, not both",
            file=RESULT,
            where=where,
            got=f"{value.status}, {value.value}",
        )
    if value.version > metric.card.version:
        findings.error(
            "metric-version",
            "metric version is newer than this tokbench knows",
            file=RESULT,
            where=where,
            got=value.version,
            expected=metric.card.version,
        )
    elif value.version < metric.card.version:
        findings.note(
            "metric-outdated",
            "metric version is outdated: not comparable and not checked",
            file=RESULT,
            where=where,
            got=value.version,
            expected=metric.card.version,
        )
    else:
        for field in _CARD_FIELDS:
            findings.differs(
                "metric-card",
                f"{field} of the metric",
                getattr(value, field),
                getattr(metric.card, field),
                file=RESULT,
                where=f"{where}/{field}",
            )


def check_environment(environment: Any, findings: Findings) -> None:
    """The facts that a comparison rests on are there and look like what they claim to be."""
    where = "environment"
    for name, form, example in (("tokbench", _VERSION, "0.1.0"), ("python", _VERSION, "3.11.7")):
        if not form.match(str(environment.get(name, ""))):
            findings.error(
                "environment",
                f"{name} is no version",
                file=RESULT,
                where=f"{where}/{name}",
                got=environment.get(name),
                expected=example,
            )
    packages = environment.get("packages")
    for name in ("numpy", "torch", "pillow"):
        if not isinstance(packages, dict) or not _VERSION.match(str(packages.get(name, ""))):
            findings.error(
                "environment", f"the version of {name} is missing", file=RESULT, where=f"{where}/packages/{name}"
            )
    cpus = environment.get("n_cpus")
    if cpus is not None and not (isinstance(cpus, int) and 1 <= cpus <= 4096):
        findings.error("environment", "n_cpus is not plausible", file=RESULT, where=f"{where}/n_cpus", got=cpus)
    commit = environment.get("commit")
    if commit is not None and not _COMMIT.match(str(commit)):
        findings.error("environment", "commit is no commit", file=RESULT, where=f"{where}/commit", got=commit)
    if environment.get("is_dirty"):
        findings.note("dirty-checkout", "tokbench had local changes when this was measured", file=RESULT, where=where)
