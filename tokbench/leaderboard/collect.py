"""Submissions read for the leaderboard, each with the place it takes or the reason why it takes none."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tokbench.errors import ResultsError, TokbenchError
from tokbench.leaderboard.names import page_stem
from tokbench.published import FOLDER as PUBLISHED
from tokbench.published import PublishedTable, read_published
from tokbench.report.format import shorten
from tokbench.results import RunResult, Value
from tokbench.runfolder import RESULT, folder_name
from tokbench.schema import result_to_json
from tokbench.schemas.check import violations
from tokbench.schemas.documents import schema_of
from tokbench.submissions.form import (
    RECORDS_GZ,
    SUBMISSION,
    Submission,
    Submitted,
    limit_bytes,
    read_submission,
    submission_to_json,
)
from tokbench.tasks.task import Task

RATE = "bpp"


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A folder that takes no place, and why; ``path`` is relative to the results."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """One valid submission.

    Attributes:
        submitted: what was read.
        stem: file stem of its tokenizer's page.
        is_reference: it passes images through (latent ``none``): a bound, no tokenizer, and never ranked.
    """

    submitted: Submitted
    stem: str

    @property
    def result(self) -> RunResult:
        return self.submitted.result

    @property
    def submission(self) -> Submission:
        return self.submitted.submission

    @property
    def name(self) -> str:
        return self.result.spec.tokenizer.name

    @property
    def is_reference(self) -> bool:
        return self.result.spec.tokenizer.latent == "none"

    @property
    def place(self) -> tuple[str, int, str]:
        """Task, version and data digest: only entries of one place are comparable."""
        task = self.result.spec.task
        return str(task["name"]), int(task["version"]), self.result.spec.manifest_digest

    def value(self, key: str, version: int | None = None) -> Value | None:
        """The value where it has a number (of that metric version)."""
        value = self.result.values.get(key)
        if value is None or value.status != "ok" or value.value is None:
            return None
        return value if version is None or value.version == version else None


@dataclass(frozen=True, kw_only=True)
class Collection:
    """All that was found in a results folder; entries by task and tokenizer name."""

    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...]
    published: tuple[PublishedTable, ...]


def collect(results: Path, *, tasks: Mapping[str, Task]) -> Collection:
    """Read every submission below ``results`` that takes a place.

    A folder is skipped, with the reason, if it cannot be read, is not named after its task and tokenizer, has files
    whose sizes or digests are not those it states, is of an unknown task or one defined otherwise, or is of a run that
    is not complete. Whether the numbers follow from the records is what `tokbench submit validate` checks.

    Args:
        results: laid out as ``results/<task>/<family>__<variant>``; nothing is found in one that does not exist.
        tasks: the known tasks by name.

    Raises:
        ResultsError: ``results`` is no folder, or a published table is malformed.
    """
    if results.exists() and not results.is_dir():
        raise ResultsError(f"{results} is no folder; pass one laid out as results/<task>/<family>__<variant>")
    entries: list[Entry] = []
    skipped: list[Skipped] = []
    for folder in _folders(results):
        try:
            entries.append(_read(folder, tasks))
        except TokbenchError as err:
            skipped.append(left_out(results, folder, str(err)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
            skipped.append(left_out(results, folder, f"malformed: {err!r}"))
    entries.sort(key=lambda entry: (entry.place, entry.name))
    return Collection(
        entries=tuple(entries), skipped=tuple(skipped), published=read_published(results / PUBLISHED)
    )  # fmt: skip


def left_out(results: Path, folder: Path, reason: str) -> Skipped:
    """The folder with its reason, in which nothing says where on this machine it is."""
    reason = reason.replace(f"{folder}/", "").replace(str(folder), "the folder")
    return Skipped(path=folder.relative_to(results).as_posix(), reason=reason)


def _folders(results: Path) -> Iterator[Path]:
    """Everything that stands where a submission should, sorted."""
    for task in sorted(results.glob("*")):
        if task.name != PUBLISHED and task.is_dir() and not task.name.startswith("."):
            yield from (path for path in sorted(task.iterdir()) if path.is_dir() and not path.name.startswith("."))


def _read(folder: Path, tasks: Mapping[str, Task]) -> Entry:
    if folder.is_symlink() or folder.parent.is_symlink():
        raise ResultsError("a link, not a folder of the results")
    for name in (SUBMISSION, RESULT):
        path = folder / name
        if path.is_file() and path.stat().st_size > limit_bytes(name):
            raise ResultsError(f"{name} is larger than a submission's may be")
    submitted = read_submission(folder)
    result = submitted.result
    _check_shape(submitted)
    _check_task(result, tasks)
    expected = f"{result.spec.task['name']}/{folder_name(result.spec.tokenizer.name)}"
    if f"{folder.parent.name}/{folder.name}" != expected:
        raise ResultsError(f"the folder is not named after its task and tokenizer: expected {expected}")
    if (submitted.submission.task, submitted.submission.tokenizer) != (
        result.spec.task["name"], result.spec.tokenizer.name,
    ):  # fmt: skip
        raise ResultsError(f"{SUBMISSION} is of another task or tokenizer than {RESULT}")
    if result.status != "complete" or result.counts.get("failed"):
        raise ResultsError(f"the run is {result.status}, {result.counts.get('failed', 0)} samples failed")
    if result.counts.get("ok") != result.manifest["n_samples"]:
        raise ResultsError(f"the run has {result.counts.get('ok')} of {result.manifest['n_samples']} samples")
    _check_files(submitted)
    return Entry(submitted=submitted, stem=page_stem(result.spec.tokenizer.name))


def _check_task(result: RunResult, tasks: Mapping[str, Task]) -> None:
    """A known task, and defined as here where it is of this version."""
    row = result.spec.task
    known = tasks.get(str(row.get("name")))
    if known is None:
        raise ResultsError(f"the task {row.get('name')!r} is unknown to this tokbench")
    version = row.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= known.version:
        raise ResultsError(f"the task {known.name} has version {version!r}; this tokbench knows 1 to {known.version}")
    if version == known.version and dict(row) != json.loads(json.dumps(dataclasses.asdict(known))):
        raise ResultsError(f"the task {known.name} is not defined as version {version} is")


def _check_files(submitted: Submitted) -> None:
    """Every file is the one the submission states: numbers, records and pictures belong together."""
    for name, facts in submitted.submission.files.items():
        path = submitted.folder / name
        if path.is_symlink() or not path.resolve().is_relative_to(submitted.folder.resolve()):
            raise ResultsError(f"names a file outside its folder: {name}")
        if not path.is_file():
            raise ResultsError(f"lacks the file {name}")
        if path.stat().st_size > limit_bytes(name):
            raise ResultsError(f"{name} is larger than a submission's may be")
        if path.stat().st_size != facts.bytes:
            raise ResultsError(f"{name} has {path.stat().st_size} bytes, {SUBMISSION} says {facts.bytes}")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != facts.sha256:
                raise ResultsError(f"{name} has another SHA-256 than {SUBMISSION} says")
    missing = {RESULT, RECORDS_GZ, *submitted.submission.pictures.values()} - set(submitted.submission.files)
    if missing:
        raise ResultsError(f"{SUBMISSION} states no digest of {', '.join(sorted(missing))}")


def _check_shape(submitted: Submitted) -> None:
    """Everything that is shown has the type and range its schema gives it; no page has to expect anything else."""
    for name, row in (
        (SUBMISSION, submission_to_json(submitted.submission)),
        (RESULT, result_to_json(submitted.result)),
    ):
        found = violations(json.loads(json.dumps(row)), schema_of(name.removesuffix(".json")))
        if found:
            place, got, expected = found[0]
            raise ResultsError(f"{name}: {place} is {shorten(repr(got), 60)}, expected {expected}")
