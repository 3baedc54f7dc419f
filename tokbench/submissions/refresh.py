"""Refreshing: a submission's means and intervals, made again from its records by today's statistics.

How an interval is computed may improve; records do not change with it. What does not follow from records or influences
stays as it was claimed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from tokbench.errors import ResultsError
from tokbench.runfolder import RESULT, write_text
from tokbench.schema import dump_json
from tokbench.submissions.checks.values import from_influences, from_records
from tokbench.submissions.findings import Findings
from tokbench.submissions.form import SUBMISSION
from tokbench.submissions.known import Known
from tokbench.submissions.opening import open_folder
from tokbench.submissions.validate import Verdict, lines, validate

# All that other statistics can change; anything else that is wrong is not for this to put right.
STATISTICS = frozenset({"recomputed", "recomputed-group", "recomputed-details", "influences-interval"})
_FIELDS = ("value", "n", "n_unit", "ci95", "status", "aggregate", "reason", "groups", "details")


def refresh(folder: Path, *, known: Known | None = None) -> Verdict:
    """Rewrite ``result.json`` and its digest in a submission's folder; a valid one is left alone.

    Raises:
        ResultsError: something is wrong that statistics do not explain; nothing is written.
    """
    known = Known() if known is None else known
    (verdict,) = validate([folder], known=known)
    other = [item for item in verdict.errors if item.code not in STATISTICS]
    if other:
        listed = "\n".join(f"  {line}" for line in lines(other))
        raise ResultsError(f"{folder} cannot be refreshed, since more than its statistics is wrong:\n{listed}")
    if verdict.is_valid:
        return verdict
    opened = open_folder(folder, Findings())
    if opened.result is None or opened.submission is None:
        raise ResultsError(f"{folder} changed while it was refreshed")
    task = known.tasks[str(opened.result.spec.task["name"])]
    row: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    for key, value in from_records(opened.result, opened.records, task, known).items():
        again = json.loads(json.dumps(dataclasses.asdict(value), allow_nan=False))
        row["values"][key] |= {field: again[field] for field in _FIELDS}
    for key, summary in from_influences(opened, known).items():
        row["values"][key]["ci95"] = None if summary.ci95 is None else list(summary.ci95)
        row["values"][key]["details"] = dict(summary.details or {})
    text = dump_json(row)
    submission = json.loads((folder / SUBMISSION).read_text(encoding="utf-8"))
    content = text.encode()
    submission["files"][RESULT] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    write_text(folder / RESULT, text)
    write_text(folder / SUBMISSION, dump_json(submission))
    (verdict,) = validate([folder], known=known)
    return verdict
