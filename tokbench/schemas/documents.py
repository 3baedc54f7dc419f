"""The schemas themselves, by the name of the document they describe."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from tokbench.contracts import Timing
from tokbench.errors import UnknownNameError
from tokbench.published import PublishedRow
from tokbench.registry import did_you_mean
from tokbench.results import SCHEMA_VERSION, Record, RunResult
from tokbench.schemas.build import Builder, Schema
from tokbench.submissions.form import SUBMISSION_VERSION, Submission
from tokbench.tasks.task import Task

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_SHA256: Schema = {"pattern": "^[0-9a-f]{64}$"}
_COUNT: Schema = {"minimum": 0}
_SHORT: Schema = {"maxLength": 300}
_LONG: Schema = {"maxLength": 4000}
_KEYED: Schema = {"propertyNames": {"maxLength": 200, "pattern": "^[A-Za-z0-9_.@=-]+$"}}
_FACT: Schema = {"type": ["string", "number", "boolean", "null"], "maxLength": 4000}

_MANIFEST: Schema = {
    "type": "object",
    "properties": {
        "name": {"type": "string", **_SHORT},
        "version": {"type": "integer", "minimum": 1},
        "digest": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
        "n_samples": {"type": "integer", **_COUNT},
        "licence": {"type": "string", **_LONG},
        "citation": {"type": "string", **_LONG},
        "notes": {"type": "array", "items": {"type": "string", **_LONG}},
    },
    "required": ["name", "version", "digest", "n_samples"],
    "additionalProperties": False,
}
_ENVIRONMENT: Schema = {
    "type": "object",
    "maxProperties": 64,
    "additionalProperties": {
        "anyOf": [
            _FACT,
            {"type": "object", "additionalProperties": _FACT},
            {"type": "array", "items": _FACT},
        ]
    },
}
_RECORDS_SUMMARY: Schema = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", **_COUNT},
        "sha256": {"type": "string", "pattern": "^([0-9a-f]{64})?$"},
        "influences_sha256": {"type": "string", **_SHA256},
    },
    "required": ["n", "sha256"],
    "additionalProperties": False,
}

_NARROWING: dict[tuple[str, str], Schema] = {
    ("RunResult", "run_id"): {"pattern": "^[0-9a-f]{16}$"},
    ("RunResult", "manifest"): _MANIFEST,
    ("RunResult", "environment"): _ENVIRONMENT,
    ("RunResult", "records"): _RECORDS_SUMMARY,
    ("RunResult", "reason"): _LONG,
    ("RunResult", "values"): _KEYED,
    ("RunSpec", "manifest_digest"): {"pattern": "^sha256:[0-9a-f]{64}$"},
    ("RunSpec", "metrics"): _KEYED,
    ("RunSpec", "task"): {"$ref": "#/$defs/Task"},
    ("RunSpec", "batch_size"): {"minimum": 1},
    ("TokenizerCard", "name"): _SHORT,
    ("TokenizerCard", "title"): _SHORT,
    ("Value", "n"): _COUNT,
    ("Value", "version"): {"minimum": 1},
    ("Value", "title"): _SHORT,
    ("Value", "reason"): _LONG,
    ("Value", "details"): {
        "type": "object",
        "maxProperties": 256,
        "additionalProperties": {**_FACT, "maxLength": 20000},
    },
    ("GroupValue", "n"): _COUNT,
    ("Record", "id"): {"maxLength": 1000},
    ("Record", "cluster"): {"maxLength": 1000},
    ("Record", "error"): _LONG,
    ("Record", "reference_sha256"): {"pattern": "^([0-9a-f]{64})?$"},
    ("BranchRecord", "reconstruction_sha256"): _SHA256,
    ("BranchRecord", "encoding_bits"): _COUNT,
    ("BranchRecord", "n_tokens"): _COUNT,
    ("BranchRecord", "clamped"): {"minimum": 0, "maximum": 1},
    ("BranchRecord", "values"): _KEYED,
    ("RegionRecord", "index"): _COUNT,
    ("RegionRecord", "label"): {"maxLength": 2000},
    ("RegionRecord", "reasons"): {"type": "object", "additionalProperties": {"type": "string", "maxLength": 2000}},
    ("RegionRecord", "seen"): {
        "type": "object",
        "additionalProperties": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 2000}},
    },
    ("Timing", "n"): {"minimum": 1},
    ("Timing", "encode_s"): _COUNT,
    ("Timing", "decode_s"): _COUNT,
    ("Submission", "task"): _SHORT,
    ("Submission", "tokenizer"): _SHORT,
    ("Submission", "submitter"): {"maxLength": 200, "pattern": r"\S"},
    ("Submission", "contact"): _SHORT,
    ("Submission", "licence"): {"maxLength": 100, "pattern": r"\S"},
    ("Submission", "revision"): _SHORT,
    ("Submission", "code"): {"maxLength": 500, "pattern": r"^(https://\S+)?$"},
    ("Submission", "command"): _LONG,
    ("Submission", "notes"): _LONG,
    ("FileFacts", "bytes"): _COUNT,
    ("FileFacts", "sha256"): _SHA256,
}


def _of(cls: type, title: str, *, version: int | None = None, without: tuple[str, ...] = ()) -> Schema:
    """The document schema of a dataclass; with ``version``, the file says it first."""
    builder = Builder(_NARROWING)
    own = builder.properties_of(cls)
    if cls is RunResult:
        builder.reference(Task)
    properties = {name: schema for name, schema in own["properties"].items() if name not in without}
    required = [name for name in own["required"] if name not in without]
    if version is not None:
        properties = {"schema_version": {"const": version}, **properties}
        required = ["schema_version", *required]
    schema = {"$schema": DIALECT, "title": title, **own, "properties": properties, "required": required}
    return {**schema, "$defs": dict(sorted(builder.definitions.items()))} if builder.definitions else schema


def _pictures() -> Schema:
    name = {"type": "string", "pattern": "^[0-9a-f]{16}-[a-z0-9]+\\.png$"}
    sample = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "reference": name,
            "branches": {"type": "object", "additionalProperties": name},
        },
        "required": ["id", "reference", "branches"],
        "additionalProperties": False,
    }
    return {
        "$schema": DIALECT,
        "title": "pictures/index.json of a run",
        "type": "object",
        "properties": {"samples": {"type": "array", "items": sample}},
        "required": ["samples"],
        "additionalProperties": False,
    }


_DOCUMENTS: dict[str, Callable[[], Schema]] = {
    "result": lambda: _of(RunResult, "result.json of a run", version=SCHEMA_VERSION, without=("path",)),
    "record": lambda: _of(Record, "a line of records.jsonl"),
    "timing": lambda: _of(Timing, "a line of timings.jsonl"),
    "pictures": _pictures,
    "submission": lambda: _of(Submission, "submission.json of a submission", version=SUBMISSION_VERSION),
    "published": lambda: _of(PublishedRow, "a published row, as JSON"),
}


def names() -> tuple[str, ...]:
    """What there is a schema of."""
    return tuple(_DOCUMENTS)


@cache
def schema_of(name: str) -> dict[str, Any]:
    """The JSON Schema of one document; callers must not change it.

    Raises:
        UnknownNameError: no such document.
    """
    if name not in _DOCUMENTS:
        raise UnknownNameError(
            f"no schema named {name!r}{did_you_mean(name, _DOCUMENTS)}; schemas: {', '.join(_DOCUMENTS)}"
        )
    return _DOCUMENTS[name]()
