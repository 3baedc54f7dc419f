"""Texts of strangers: nothing that acts on a page or a terminal, and nothing that says whose machine it was."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokbench.results import Record, RunResult
from tokbench.runfolder import RESULT
from tokbench.schema import result_to_json
from tokbench.submissions.findings import Findings
from tokbench.submissions.form import RECORDS_GZ, SUBMISSION, Submission, submission_to_json

# Control characters but tab and line feed, what reorders a line, and unpaired surrogates.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_MARKUP = re.compile(r"<\s*[A-Za-z!/?]|javascript:|data:text", re.IGNORECASE)
# /two/parts, ~user/x, C:\x, \\server\x; the slashes of URLs and units come after a letter, digit or colon.
_PATH = re.compile(
    r"(?<![\w:/.])/(?:[\w.@+-]+/)+[\w.@+-]*|(?<!\w)~\w*(?:/[\w.@+-]+)+|\b[A-Za-z]:\\[^\s\"']+|\\\\[\w.-]+\\\S+"
)
PUBLIC_ENVIRONMENT = frozenset(
    {
        "tokbench",
        "commit",
        "is_dirty",
        "python",
        "platform",
        "cpu",
        "n_cpus",
        "device",
        "device_name",
        "packages",
        "codecs",
    }
)


def without_paths(text: str) -> str:
    """The text with every local path cut down to its last part."""
    return _PATH.sub(lambda match: "…/" + re.split(r"[/\\]", match[0].rstrip("/\\"))[-1], text)


def has_path(text: str) -> bool:
    """Whether a local path is in it."""
    return _PATH.search(text) is not None


def check_texts(result: RunResult | None, submission: Submission | None, findings: Findings) -> None:
    """Every text of the two JSON files."""
    documents: list[tuple[str, Mapping[str, Any]]] = []
    if submission is not None:
        documents.append((SUBMISSION, submission_to_json(submission)))
    if result is not None:
        documents.append((RESULT, result_to_json(result)))
        for name in sorted(result.environment.keys() - PUBLIC_ENVIRONMENT):
            findings.error(
                "environment-private",
                "is no fact that matters and may say whose machine it was; pack again",
                file=RESULT,
                where=f"environment/{name}",
                got=result.environment[name],
            )
    for file, document in documents:
        for where, text in _texts(document, ""):
            if where.startswith("spec/task"):
                continue  # equal to the registered one, or reported as not
            if _UNSAFE.search(text):
                findings.error(
                    "unsafe-text", "holds control or text-reordering characters", file=file, where=where, got=text
                )
            if _MARKUP.search(text):
                findings.error("unsafe-text", "holds markup or script", file=file, where=where, got=text)
            if has_path(text):
                findings.error(
                    "local-path", "holds a path of the machine it was measured on", file=file, where=where, got=text
                )


def check_record_texts(records: Sequence[Record], findings: Findings) -> None:
    """Ids as a manifest may have them, and nothing in labels and readings that reorders a line or moves a cursor.

    Where the data is here, ids and labels are the manifest's anyhow; readings may hold any printed sign, ``<`` too.
    """
    for record in records:
        for name, text in (("id", record.id), ("cluster", record.cluster)):
            if _UNSAFE.search(text) or _MARKUP.search(text) or _leaves(text):
                findings.error(
                    "unsafe-text", f"{name} is no plain relative name", file=RECORDS_GZ, where=record.id, got=text
                )
        for branch in record.branches.values():
            for region in branch.regions:
                read = [text for seen in region.seen.values() for text in seen.values()]
                if any(_UNSAFE.search(text) for text in (region.label, *region.reasons.values(), *read)):
                    findings.error(
                        "unsafe-text",
                        "holds control or text-reordering characters",
                        file=RECORDS_GZ,
                        where=f"{record.id}, region {region.index}",
                        got=region.label,
                    )


def _leaves(name: str) -> bool:
    """Whether a name is a path that leads elsewhere."""
    return not name or name.startswith("/") or "\\" in name or ".." in name.split("/")


def _texts(node: Any, where: str) -> Iterator[tuple[str, str]]:
    """Every text in a document, keys too, with its place."""
    if isinstance(node, str):
        yield where, node
    elif isinstance(node, Mapping):
        for name, item in node.items():
            yield f"{where} (a name)".strip(), str(name)
            yield from _texts(item, f"{where}/{name}" if where else str(name))
    elif isinstance(node, list | tuple):
        for item in node:
            yield from _texts(item, where)
