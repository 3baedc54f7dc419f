"""Are the records those of the task's samples: each once, with its cluster, pixels, words and faces?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tokbench.contracts import RegionMetric
from tokbench.environment import environment
from tokbench.results import PLAIN, BranchRecord, Record, RegionRecord, RunResult
from tokbench.runfolder import RESULT
from tokbench.submissions.findings import Findings
from tokbench.submissions.form import RECORDS_GZ
from tokbench.submissions.known import Known, Truth
from tokbench.tasks.task import Task


def check_samples(
    result: RunResult, records: Sequence[Record], task: Task | None, known: Known, findings: Findings
) -> None:
    """Completeness first, then each record against what the manifest and the task say of it."""
    truths = {} if task is None else known.truths(task)
    _check_completeness(result, records, truths, findings)
    kinds = _region_kinds(result, known)
    there = {name for record in records for name in record.branches}  # a branch that broke is in no record
    for record in records:
        if record.status != "ok" or PLAIN not in record.branches:
            findings.error(
                "failed-samples",
                "has no measured reconstruction",
                file=RECORDS_GZ,
                where=record.id,
                got=record.error or record.status,
            )
            continue
        if extra := record.branches.keys() - {PLAIN, *result.spec.branches}:
            findings.error(
                "unknown-branch",
                "has branches the run does not have",
                file=RECORDS_GZ,
                where=record.id,
                got=", ".join(sorted(extra)),
            )
        if missing := (set(result.spec.branches) & there) - record.branches.keys():
            findings.error(
                "missing-branch",
                "lacks branches of the run",
                file=RECORDS_GZ,
                where=record.id,
                expected=", ".join(sorted(missing)),
            )
        truth = truths.get(record.id)
        if truth is not None:
            _check_truth(record, truth, findings)
            if truth.size_px is not None and task is not None:
                for name, branch in record.branches.items():
                    where = f"{record.id}, branch {name}" if name else record.id
                    _check_regions(branch, where, truth, kinds.get(name, {}), task, findings)
    _check_duplicates(result, records, findings)
    _explain_references(result, findings)


def _check_completeness(
    result: RunResult, records: Sequence[Record], truths: Mapping[str, Truth], findings: Findings
) -> None:
    seen = Counter(record.id for record in records)
    for name, n in seen.items():
        if n > 1:
            findings.error(
                "duplicate-sample", "the sample is there more than once", file=RECORDS_GZ, where=name, got=n, expected=1
            )
    ok = sum(record.status == "ok" for record in records)
    findings.differs(
        "counts", "the count of measured samples", result.counts.get("ok"), ok, file=RESULT, where="counts"
    )
    if not truths:
        promised = result.manifest.get("n_samples")
        findings.differs("missing-sample", "the number of samples", len(seen), promised, file=RECORDS_GZ)
        return
    for name in sorted(truths.keys() - seen.keys()):
        findings.error("missing-sample", "a sample of the manifest has no record", file=RECORDS_GZ, where=name)
    for name in sorted(seen.keys() - truths.keys()):
        findings.error("extra-sample", "is no sample of the manifest", file=RECORDS_GZ, where=name)


def _check_truth(record: Record, truth: Truth, findings: Findings) -> None:
    findings.differs("cluster", "cluster", record.cluster, truth.cluster, file=RECORDS_GZ, where=record.id)
    if truth.size_px is None:
        findings.note("pixels-not-here", "its reference was not at hand", file=RECORDS_GZ, where=record.id)
        return
    findings.differs(
        "reference",
        "reference_sha256 (digest of the compared original's pixels)",
        record.reference_sha256,
        truth.reference_sha256,
        file=RECORDS_GZ,
        where=record.id,
    )
    findings.differs("size", "size_px", record.size_px, truth.size_px, file=RECORDS_GZ, where=record.id)


def _region_kinds(result: RunResult, known: Known) -> dict[str, dict[str, str]]:
    """By branch, the region metrics that must have an answer: key → kind of region."""
    kinds: dict[str, dict[str, str]] = defaultdict(dict)
    for value in result.values.values():
        metric = known.metrics.get(value.metric)
        if isinstance(metric, RegionMetric) and value.status in ("ok", "undefined"):
            kinds[value.branch][value.metric] = metric.region_kind
    return kinds


def _check_regions(
    branch: BranchRecord, where: str, truth: Truth, wanted: Mapping[str, str], task: Task, findings: Findings
) -> None:
    """Every region of the manifest, as the manifest has it, with an answer of each metric that ``wanted`` its kind."""
    by_index: dict[int, RegionRecord] = {}
    for region in branch.regions:
        if region.index in by_index:
            findings.error("region", f"region {region.index} is there twice", file=RECORDS_GZ, where=where)
        by_index[region.index] = region
        if region.index >= len(truth.regions):
            findings.error(
                "region",
                "is no region of the manifest",
                file=RECORDS_GZ,
                where=where,
                got=region.index,
                expected=f"below {len(truth.regions)}",
            )
    for index, expected in enumerate(truth.regions):
        keys = sorted(key for key, kind in wanted.items() if kind == expected.kind)
        place = f"{where}, region {index}"
        found = by_index.get(index)
        if found is None:
            if keys:
                findings.error(
                    "region-missing",
                    "a region of the manifest is missing",
                    file=RECORDS_GZ,
                    where=place,
                    expected=f"{expected.kind} {expected.label!r}",
                )
            continue
        groups = task.size_groups.get(expected.kind)
        facts: list[tuple[str, Any, Any]] = [
            ("kind", found.kind, expected.kind),
            ("label", found.label, expected.label),
            ("box", found.box, expected.box),
            ("group", found.group, None if groups is None else groups.group_of(expected)),
        ]
        for field, got, want in facts:
            findings.differs(f"region-{field}", f"{field} of the region", got, want, file=RECORDS_GZ, where=place)
        for key in keys:
            if (key in found.values) == (key in found.reasons):
                findings.error(
                    "region-answer",
                    f"needs a value of {key} or a reason, one of them",
                    file=RECORDS_GZ,
                    where=place,
                    got="both" if key in found.values else "neither",
                )
        if strangers := (found.values.keys() | found.reasons.keys() | found.seen.keys()) - set(keys):
            findings.error(
                "unknown-metric",
                "has values of metrics the result does not have",
                file=RECORDS_GZ,
                where=place,
                got=", ".join(sorted(strangers)),
            )


def _explain_references(result: RunResult, findings: Findings) -> None:
    """Other pixels of every original may come from another decoder or scaler; then say so beside the errors."""
    if not any(item.code == "reference" for item in findings.errors):
        return
    here, there = _decoders(environment("cpu")), _decoders(result.environment)
    other = [
        f"{name} {there.get(name)}, here {version}" for name, version in here.items() if there.get(name) != version
    ]
    if other:
        findings.note(
            "other-decoder",
            "the originals were decoded and scaled by other versions, which may give other pixels",
            file=RESULT,
            where="environment",
            got="; ".join(other),
        )


def _decoders(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Versions of what reads and scales images, by name."""
    packages, codecs = facts.get("packages"), facts.get("codecs")
    found = dict(codecs) if isinstance(codecs, Mapping) else {}
    return {"pillow": packages.get("pillow") if isinstance(packages, Mapping) else None, **found}


def _check_duplicates(result: RunResult, records: Sequence[Record], findings: Findings) -> None:
    """Different originals that were reconstructed to the very same pixels."""
    for name in (PLAIN, *result.spec.branches):
        same: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            if name in record.branches:
                same[record.branches[name].reconstruction_sha256].append(record)
        for group in same.values():
            references = {record.reference_sha256 for record in group}
            if len(references) < 2:
                continue
            ids = ", ".join(record.id for record in group[:4])
            rows = [dict(record.branches[name].values) for record in group]
            if any(row == rows[0] and row for row in rows[1:]):
                findings.error(
                    "duplicate-reconstruction",
                    "different originals have the same reconstruction and the same values: duplicated records",
                    file=RECORDS_GZ,
                    where=ids,
                )
            else:
                findings.note(
                    "duplicate-reconstruction",
                    "different originals have the same reconstruction: a collapsed tokenizer?",
                    file=RECORDS_GZ,
                    where=ids,
                )
