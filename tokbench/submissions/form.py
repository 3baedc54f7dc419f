"""What a submission is on disk, and reading one that was validated.

::

    results/<task>/<family>__<variant>/     the same five names, at the top level, in a .zip or .tar
        submission.json       who, under which licence, how to repeat it; size and SHA-256 of every other file
        result.json           the run's result, its environment cut down to the facts that matter
        records.jsonl.gz      the run's records, gzip without name or time
        influences.npz        as the run wrote it; absent where the run has none
        pictures/<stem>.png   a few plain reconstructions, for people; their pixels are the ones in the records

Nothing else may be in it. The tokenizer's card and the environment are in ``result.json``, once.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tokbench.errors import ResultsError, SchemaTooNewError
from tokbench.results import Record, RunResult
from tokbench.runfolder import INFLUENCES, PICTURES, RESULT, read_result
from tokbench.schema import record_from_json

SUBMISSION_VERSION = 1

SUBMISSION = "submission.json"
RECORDS_GZ = "records.jsonl.gz"
REQUIRED = (SUBMISSION, RESULT, RECORDS_GZ)
NAMES = re.compile(
    rf"(?:{re.escape(SUBMISSION)}|{re.escape(RESULT)}|{re.escape(RECORDS_GZ)}|{re.escape(INFLUENCES)}"
    rf"|{PICTURES}/[0-9a-f]{{16}}\.png)\Z"
)

MIB = 1 << 20
MAX_BYTES = {SUBMISSION: MIB, RESULT: 16 * MIB, RECORDS_GZ: 256 * MIB, INFLUENCES: 256 * MIB}
MAX_PICTURES = 8
MAX_PICTURE_BYTES = 2 * MIB
MAX_TOTAL_BYTES = 512 * MIB


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """Size and digest of one file of the submission."""

    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What only the submitter knows, and what ties the files together.

    Attributes:
        task, tokenizer: as in the result.
        submitted: UTC, ISO 8601.
        packed_with: version of tokbench.
        submitter: a person's or group's name, as it is to be shown.
        contact: an address or handle for questions; "" for none.
        licence: under which the numbers and pictures may be used; an SPDX id.
        revision: of the checkpoint, where it has one.
        weights: file name to SHA-256 of the weights; the card's where the adapter pins them.
        code: where the tokenizer's code is, https; "" where it is part of tokbench.
        command: how to repeat the run.
        notes: anything a reader must know.
        files: by name, every file but this one.
        pictures: file name by sample id.
    """

    task: str
    tokenizer: str
    submitted: str
    packed_with: str
    submitter: str
    contact: str = ""
    licence: str
    revision: str = ""
    weights: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    command: str
    notes: str = ""
    files: Mapping[str, FileFacts]
    pictures: Mapping[str, str] = field(default_factory=dict)


def limit_bytes(name: str) -> int:
    """How large a file of that name may be."""
    return MAX_BYTES.get(name, MAX_PICTURE_BYTES)


def picture_stem(sample_id: str) -> str:
    """A picture's file name without ending: ids may hold anything, file names may not."""
    return hashlib.sha256(sample_id.encode()).hexdigest()[:16]


def submission_to_json(submission: Submission) -> dict[str, Any]:
    """``schema_version`` first, then the fields in order."""
    return {"schema_version": SUBMISSION_VERSION, **asdict(submission)}


_MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}  # from version n to n + 1


def migrate_submission(row: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """A parsed ``submission.json`` of any known version as one of today's.

    Raises:
        ResultsError: no version, or SchemaTooNewError for a newer one.
    """
    data = dict(row)
    version = data.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ResultsError(f"{where} has no valid schema_version: it is not a tokbench submission")
    if version > SUBMISSION_VERSION:
        raise SchemaTooNewError(
            f"{where} has schema version {version}, this tokbench reads up to {SUBMISSION_VERSION}; upgrade tokbench"
        )
    while version < SUBMISSION_VERSION:
        data = _MIGRATIONS[version](data)
        version += 1
    return {**data, "schema_version": SUBMISSION_VERSION}


def submission_from_json(row: Mapping[str, Any], *, where: str) -> Submission:
    """Inverse of :func:`submission_to_json`; older versions are migrated, newer ones refused."""
    data = migrate_submission(row, where=where)
    del data["schema_version"]
    try:
        files = {name: FileFacts(**facts) for name, facts in data.pop("files").items()}
        return Submission(files=files, **data)
    except (KeyError, TypeError, AttributeError) as err:
        raise ResultsError(f"{where} is malformed: {err!r}") from err


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A submission that was read: what was said of it, its result, and its folder."""

    submission: Submission
    result: RunResult
    folder: Path

    def records(self) -> Iterator[Record]:
        """Its records, in the order they were measured."""
        with gzip.open(self.folder / RECORDS_GZ, "rt", encoding="utf-8") as file:
            yield from (record_from_json(json.loads(line)) for line in file)

    def picture(self, sample_id: str) -> Path | None:
        """The plain reconstruction of a sample, None where none was submitted."""
        name = self.submission.pictures.get(sample_id)
        return None if name is None else self.folder / name


def read_submission(folder: Path) -> Submitted:
    """Read a submission's folder, trusting it: `tokbench submit validate` is what distrusts.

    Raises:
        ResultsError: not a submission.
    """
    path = folder / SUBMISSION
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise ResultsError(f"{folder} is not a submission: cannot read {SUBMISSION} ({err})") from err
    return Submitted(submission=submission_from_json(row, where=str(path)), result=read_result(folder), folder=folder)


def submission_folders(root: Path) -> list[Path]:
    """The submissions below ``root`` as results are laid out: ``root/<task>/<family>__<variant>``, sorted."""
    return sorted(path.parent for path in root.glob(f"*/*/{SUBMISSION}"))


def compress_records(content: bytes) -> bytes:
    """Gzip without a name and time, so that equal records give equal bytes."""
    target = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=target, mtime=0) as file:
        file.write(content)
    return target.getvalue()
