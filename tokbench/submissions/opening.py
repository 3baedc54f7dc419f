"""Opening a submission's folder without trusting it: sizes, digests, JSON and structure first, then its objects."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tokbench.errors import ResultsError, SchemaTooNewError, UsageError
from tokbench.results import Record, RunResult
from tokbench.runfolder import INFLUENCES, PICTURES, RESULT, read_influences
from tokbench.schema import dump_json, record_from_json, result_from_json, result_to_json
from tokbench.schemas.check import violations
from tokbench.schemas.documents import schema_of
from tokbench.submissions.findings import Findings, shown
from tokbench.submissions.form import (
    MIB,
    NAMES,
    RECORDS_GZ,
    REQUIRED,
    SUBMISSION,
    Submission,
    limit_bytes,
    migrate_submission,
    submission_from_json,
)
from tokbench.submissions.strict_json import StrictJsonError, parse

MAX_RECORDS_BYTES = 2048 * MIB
MAX_LINE_BYTES = 16 * MIB
MAX_RATIO = 200
_ALWAYS_ALLOWED = 16 * MIB  # below this no ratio is asked about
_CHUNK = MIB


@dataclass(eq=False, kw_only=True)
class Opened:
    """What could be read.

    Attributes:
        submission, result: None where they could not be.
        spec: ``result.json``'s spec as written, which the run's id is the hash of.
        records: of the lines that could be read, in order.
        influence_ids, influences: as :func:`tokbench.runfolder.read_influences` gives them.
        digests: SHA-256 by file name.
    """

    folder: Path
    submission: Submission | None = None
    result: RunResult | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    influence_ids: list[str] = field(default_factory=list)
    influences: dict[str, np.ndarray] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)


def open_folder(folder: Path, findings: Findings) -> Opened:
    """Read everything in the folder that can be read; what cannot is a finding."""
    opened = Opened(folder=folder)
    names = _list(folder, findings)
    for name in names:
        with (folder / name).open("rb") as file:
            opened.digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    if SUBMISSION in names:
        opened.submission = _read_submission(folder / SUBMISSION, findings)
    if RESULT in names:
        _read_result(opened, findings)
    if RECORDS_GZ in names:
        _read_records(opened, findings)
    if INFLUENCES in names:
        try:
            opened.influence_ids, opened.influences = _read_influences(folder)
        except ResultsError as err:
            findings.error("influences-malformed", f"cannot be read: {err}", file=INFLUENCES)
    if opened.submission is not None:
        _check_files(folder, opened, findings)
    return opened


def _list(folder: Path, findings: Findings) -> list[str]:
    """The names of the files that may be read."""
    names = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            findings.error("link", "is a symbolic link; a submission holds plain files", file=shown(name))
        elif path.is_dir() and name == PICTURES:
            continue
        elif not path.is_file() or not NAMES.match(name):
            findings.error("extra-file", "does not belong in a submission: extra file", file=shown(name))
        elif path.stat().st_size > limit_bytes(name):
            findings.error(
                "file-size", "is too large", file=name, got=path.stat().st_size, expected=f"≤ {limit_bytes(name)} bytes"
            )
        else:
            names.append(name)
    for name in REQUIRED:
        if not (folder / name).exists():
            findings.error("missing-file", "is a missing file: every submission has it", file=name)
    return names


def _check_files(folder: Path, opened: Opened, findings: Findings) -> None:
    """The list in submission.json against the files that are there."""
    assert opened.submission is not None
    listed = opened.submission.files
    for name in sorted(listed.keys() - opened.digests.keys()):
        findings.error("missing-file", f"is listed in {SUBMISSION} but is a missing file", file=shown(name))
    for name, digest in opened.digests.items():
        if name == SUBMISSION:
            continue
        if name not in listed:
            findings.error("extra-file", f"is an extra file: {SUBMISSION} does not list it", file=name)
            continue
        findings.differs("file-digest", "SHA-256 digest", digest, listed[name].sha256, file=name)
        findings.differs("file-digest", "size in bytes", (folder / name).stat().st_size, listed[name].bytes, file=name)


def _read_submission(path: Path, findings: Findings) -> Submission | None:
    row = _parsed(path.read_bytes(), SUBMISSION, "", findings)
    if row is None:
        return None
    try:
        row = migrate_submission(row, where=SUBMISSION)
        if _fits(row, "submission", SUBMISSION, "", findings):
            return submission_from_json(row, where=SUBMISSION)
    except ResultsError as err:
        findings.error("schema-version", str(err), file=SUBMISSION)
    return None


def _read_result(opened: Opened, findings: Findings) -> None:
    """A file of today's schema is checked as it is, an older one as its migration leaves it."""
    row = _parsed((opened.folder / RESULT).read_bytes(), RESULT, "", findings)
    if row is None:
        return
    is_of_today = row.get("schema_version") == schema_of("result")["properties"]["schema_version"]["const"]
    if is_of_today and not _fits(row, "result", RESULT, "", findings):
        return
    try:
        result = result_from_json(row, where=RESULT)
    except SchemaTooNewError as err:
        findings.error("schema-version", str(err), file=RESULT)
        return
    except (ResultsError, UsageError) as err:
        findings.error("result-malformed", str(err), file=RESULT)
        return
    if is_of_today or _fits(json.loads(dump_json(result_to_json(result))), "result", RESULT, "", findings):
        opened.result, opened.spec = result, row["spec"]


def _read_records(opened: Opened, findings: Findings) -> None:
    digest = hashlib.sha256()
    n = 0
    try:
        for line in _lines(opened.folder / RECORDS_GZ, findings):
            n += 1
            digest.update(line)
            where = f"line {n}"
            row = _parsed(line, RECORDS_GZ, where, findings)
            if row is not None and _fits(row, "record", RECORDS_GZ, where, findings):
                opened.records.append(record_from_json(row))
    except (OSError, EOFError, zlib.error) as err:
        findings.error("records-damaged", f"is damaged or truncated: not whole gzip data ({err})", file=RECORDS_GZ)
        return
    if opened.result is not None:
        summary = opened.result.records
        findings.differs("records-digest", "the number of records", n, summary.get("n"), file=RECORDS_GZ)
        findings.differs(
            "records-digest", "the records' SHA-256 digest", digest.hexdigest(), summary.get("sha256"), file=RECORDS_GZ
        )


def _lines(path: Path, findings: Findings) -> Iterator[bytes]:
    """The lines of gzip data, unpacked a piece at a time; too many bytes end it with a finding."""
    allowed = min(MAX_RECORDS_BYTES, max(_ALWAYS_ALLOWED, MAX_RATIO * path.stat().st_size))
    total, rest = 0, b""
    with gzip.open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            total += len(chunk)
            if total > allowed or len(rest) > MAX_LINE_BYTES:
                findings.error(
                    "bomb",
                    "grows too much when unpacked (zip bomb)",
                    file=path.name,
                    got=f"{path.stat().st_size} to over {total} bytes",
                    expected=f"at most {allowed} bytes, lines of at most {MAX_LINE_BYTES}",
                )
                return
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line + b"\n"
    if rest:
        findings.error("records-damaged", "is truncated: the last line has no end", file=path.name)


def _read_influences(folder: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """As the run folder's reader, which unpickles nothing, after a look at what the arrays say of their size.

    Raises:
        ResultsError: it cannot be read, would grow too much, or an array is not of the size of its data.
    """
    path = folder / INFLUENCES
    allowed = max(_ALWAYS_ALLOWED, MAX_RATIO * path.stat().st_size)
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > allowed:
                raise ResultsError(f"grows from {path.stat().st_size} to {size} bytes: a zip bomb")
            for entry in archive.infolist():
                _check_array(archive, entry)
        return read_influences(folder)
    except ResultsError:
        raise
    except Exception as err:  # a stranger's file: whatever its reader trips over is a finding
        raise ResultsError(f"is no npz file of arrays: {err!r}") from err


def _check_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """The header of one array: numbers or text, and as much data as it promises, or reading it would allocate more."""
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        expected = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or expected != entry.file_size - file.tell():
            raise ResultsError(
                f"{entry.filename} is {dtype} {shape}, which is not what its {entry.file_size} bytes hold"
            )


def _parsed(content: bytes, file: str, where: str, findings: Findings) -> dict[str, Any] | None:
    try:
        document = parse(content)
    except StrictJsonError as err:
        findings.error("json", str(err), file=file, where=where)
        return None
    if not isinstance(document, dict):
        findings.error("json", "is not a JSON object", file=file, where=where, got=type(document).__name__)
        return None
    return document


def _fits(row: Mapping[str, Any], schema: str, file: str, where: str, findings: Findings) -> bool:
    """Whether the document has the structure its schema says; every violation is a finding."""
    found = violations(row, schema_of(schema))
    for violation in found:
        findings.error(
            "schema",
            "does not fit the schema",
            file=file,
            where=", ".join(part for part in (where, shown(violation.where)) if part),
            got=violation.got,
            expected=violation.expected,
        )
    return not found
