"""Validation: submissions as folders, archives or all of ``results/``, each with everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tokbench.errors import ResultsError, UsageError
from tokbench.published import FOLDER as PUBLISHED
from tokbench.published import read_published
from tokbench.results import PLAIN
from tokbench.runfolder import folder_name
from tokbench.submissions.archive import is_archive, unpacked
from tokbench.submissions.checks import consistency, identity, names, pictures, ranges, samples, values
from tokbench.submissions.findings import Finding, Findings, shown
from tokbench.submissions.form import SUBMISSION
from tokbench.submissions.known import Known
from tokbench.submissions.opening import Opened, open_folder
from tokbench.tasks.task import Task

MAX_FINDINGS_SHOWN = 5
_BESIDE = ("README.md", ".gitattributes")  # what results/ holds besides tasks

# A further check of an opened submission: the spot check, which runs the tokenizer.
Further = Callable[[Opened, Task, Findings], None]


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """What two submissions must not have in common."""

    task: str
    tokenizer: str
    latent: str
    records_sha256: str
    reconstructions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found out about one path.

    Attributes:
        path: as given, or below the folder that was given.
        task, tokenizer: "" where they could not be read.
        n_records: records that could be read.
        findings: errors and notes, in the order of the checks.
        fingerprint: for comparing submissions with each other.
    """

    path: str
    task: str
    tokenizer: str
    n_records: int
    findings: tuple[Finding, ...]
    fingerprint: Fingerprint | None = None

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(item for item in self.findings if item.level == "error")

    @property
    def is_valid(self) -> bool:
        return not self.errors


def validate(paths: Sequence[Path], *, known: Known | None = None, further: Further | None = None) -> list[Verdict]:
    """A verdict a submission, in order; a folder of results gives one for each of its submissions.

    Args:
        paths: submissions (folders, .zip, .tar), or folders laid out as ``results/``.
        known: what to hold them against; None for what is registered.
        further: a further check of each submission whose own checks found no error.

    Raises:
        UsageError: a path that does not exist or is neither.
    """
    known = Known() if known is None else known
    verdicts: list[Verdict] = []
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path} does not exist; pass a submission's folder or archive, or a folder of results")
        if path.is_file() and not is_archive(path):
            raise UsageError(f"{path} is neither a folder nor a .zip or .tar file")
        if path.is_file() or (path / SUBMISSION).exists() or not _is_root(path):
            verdicts.append(_validate_one(path, known, further))
        else:
            verdicts += _validate_root(path, known, further)
    return _with_repeats(verdicts)


def _is_root(path: Path) -> bool:
    """Whether this is laid out as ``results/``; a submission that lost its submission.json still has files."""
    return path.is_dir() and not any((path / name).exists() for name in ("result.json", "records.jsonl.gz"))


def _validate_one(path: Path, known: Known, further: Further | None) -> Verdict:
    findings = Findings()
    with unpacked(path, findings) if path.is_file() else nullcontext(path) as folder:
        if folder is None:
            return _verdict(path, Opened(folder=path), findings)
        opened = open_folder(folder, findings)
        task = _check(opened, known, findings)
        if further is not None and task is not None and not findings.errors:
            further(opened, task, findings)
        return _verdict(path, opened, findings)


def _check(opened: Opened, known: Known, findings: Findings) -> Task | None:
    """Every check that what could be read allows."""
    result = opened.result
    task = identity.check_run(opened, known, findings)
    names.check_texts(result, opened.submission, findings)
    names.check_record_texts(opened.records, findings)
    if result is None:
        return None
    identity.check_tokenizer(result.spec.tokenizer, known, findings)
    identity.check_metrics(result, task, known, findings)
    identity.check_environment(result.environment, findings)
    samples.check_samples(result, opened.records, task, known, findings)
    values.check_values(result, opened.records, task, known, findings)
    values.check_set_values(opened, known, findings)
    ranges.check_ranges(result, opened.records, known, findings)
    ranges.check_rate(result, opened.records, findings)
    consistency.check_consistency(result, opened.records, known, findings)
    if opened.submission is not None:
        pictures.check_pictures(opened, task, known, findings)
    return task


def _verdict(path: Path, opened: Opened, findings: Findings) -> Verdict:
    result = opened.result
    fingerprint = None
    if result is not None:
        fingerprint = Fingerprint(
            task=str(result.spec.task.get("name")),
            tokenizer=result.spec.tokenizer.name,
            latent=result.spec.tokenizer.latent,
            records_sha256=str(result.records.get("sha256")),
            reconstructions=tuple(
                sorted(
                    (record.id, record.branches[PLAIN].reconstruction_sha256)
                    for record in opened.records
                    if PLAIN in record.branches
                )
            ),
        )
    return Verdict(
        path=str(path),
        task="" if fingerprint is None else fingerprint.task,
        tokenizer="" if fingerprint is None else fingerprint.tokenizer,
        n_records=len(opened.records),
        findings=tuple(findings),
        fingerprint=fingerprint,
    )


def _validate_root(root: Path, known: Known, further: Further | None) -> list[Verdict]:
    """Every submission below the folder; files that belong to none are errors of the folder itself."""
    findings = Findings()
    verdicts = []
    for task in sorted(root.iterdir()):
        if task.name == PUBLISHED and task.is_dir():
            try:
                read_published(task)
            except ResultsError as err:
                findings.error("published", str(err), file=PUBLISHED)
        elif task.is_dir() and not task.is_symlink():
            for path in sorted(task.iterdir()):
                if path.is_symlink() or not path.is_dir():
                    findings.error("layout", "belongs to no submission", file=shown(path.relative_to(root).as_posix()))
                    continue
                verdicts.append(_in_its_place(_validate_one(path, known, further), path, findings, root))
        elif task.name not in _BESIDE or task.is_symlink():
            findings.error("layout", "belongs to no submission", file=shown(task.name))
    if findings.items or not verdicts:
        own = Verdict(path=str(root), task="", tokenizer="", n_records=0, findings=tuple(findings))
        return [own, *verdicts] if findings.items else verdicts
    return verdicts


def _in_its_place(verdict: Verdict, path: Path, findings: Findings, root: Path) -> Verdict:
    """A submission in a folder of another name is an error: two tokenizers would take one place."""
    expected = f"{verdict.task}/{folder_name(verdict.tokenizer)}"
    got = path.relative_to(root).as_posix()
    if verdict.tokenizer and got != expected:
        findings.error(
            "layout",
            "the folder is not named after its task and tokenizer",
            file=shown(got),
            got=got,
            expected=expected,
        )
    return verdict


def _with_repeats(verdicts: list[Verdict]) -> list[Verdict]:
    """The verdicts, with what two submissions may not have in common added to the later one."""
    seen: list[tuple[str, Fingerprint]] = []
    results = []
    for verdict in verdicts:
        findings = Findings(list(verdict.findings))
        if verdict.fingerprint is not None:
            for path, other in seen:
                _compare(verdict.fingerprint, other, path, findings)
            seen.append((verdict.path, verdict.fingerprint))
        results.append(replace(verdict, findings=tuple(findings)))
    return results


def _compare(own: Fingerprint, other: Fingerprint, path: str, findings: Findings) -> None:
    if own.task != other.task:
        return
    if own.tokenizer == other.tokenizer:
        findings.error("submitted-twice", "the same tokenizer was submitted twice for this task", got=path)
    elif own.records_sha256 == other.records_sha256 or (
        own.reconstructions and own.reconstructions == other.reconstructions
    ):
        same_thing = {own.latent, other.latent} == {"none"}  # reference rows, which may be one picture
        report = findings.note if same_thing else findings.error
        report(
            "same-records",
            f"has the same reconstructions as {other.tokenizer!r}: the same records under two names",
            got=path,
        )


def verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    """For machines: everything but the fingerprint."""
    return {
        "path": verdict.path,
        "task": verdict.task,
        "tokenizer": verdict.tokenizer,
        "n_records": verdict.n_records,
        "valid": verdict.is_valid,
        "findings": [asdict(item) for item in verdict.findings],
    }


def lines(findings: Iterable[Finding], *, limit: int | None = MAX_FINDINGS_SHOWN) -> list[str]:
    """For people: a line a finding; of a kind that occurs often the first few, and how many more there are."""
    rows: list[str] = []
    by_code: dict[str, list[Finding]] = {}
    for finding in findings:
        by_code.setdefault(finding.code, []).append(finding)
    for code, group in by_code.items():
        kept = group if limit is None or len(group) <= limit + 1 else group[:limit]
        rows += [f"{code}: {finding}" for finding in kept]
        if len(kept) < len(group):
            rows.append(f"{code}: … and {len(group) - len(kept):,} more of this kind (--json has all)")
    return rows
