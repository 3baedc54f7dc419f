"""Results and records as JSON: field names, the schema's version, and the way from older ones.

Keys are in field order and JSON never holds NaN. A file of an older schema is migrated step by step; a newer one is
refused.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from tokbench.cards import TokenizerCard
from tokbench.errors import ResultsError, SchemaTooNewError
from tokbench.results import (
    SCHEMA_VERSION,
    BranchRecord,
    GroupValue,
    Record,
    RegionRecord,
    RunResult,
    RunSpec,
    Value,
)


def dump_json(row: Mapping[str, Any]) -> str:
    """Keys in field order, two-space indent, trailing newline, no NaN."""
    return json.dumps(row, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def result_to_json(result: RunResult) -> dict[str, Any]:
    """``schema_version`` first, then the fields in order; the local path is left out."""
    row: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
    for spec in dataclasses.fields(result):
        if spec.name == "path":
            continue
        value = getattr(result, spec.name)
        if spec.name == "values":
            row["values"] = {key: _value_to_json(item) for key, item in value.items()}
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            row[spec.name] = dataclasses.asdict(value)
        else:
            row[spec.name] = value
    return row


_MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}  # from version n to n + 1


def result_from_json(row: Mapping[str, Any], *, where: str, folder: str | None = None) -> RunResult:
    """Inverse of :func:`result_to_json`; raises ResultsError naming ``where`` and what is wrong."""
    data = dict(row)
    version = data.pop("schema_version", None)
    if not isinstance(version, int) or version < 1:
        raise ResultsError(f"{where} has no valid schema_version: it is not a tokbench result")
    if version > SCHEMA_VERSION:
        raise SchemaTooNewError(
            f"{where} has schema version {version}, this tokbench reads up to {SCHEMA_VERSION}; upgrade tokbench"
        )
    while version < SCHEMA_VERSION:
        data = _MIGRATIONS[version](data)
        version += 1
    try:
        spec = dict(data.pop("spec"))
        spec["curves"] = {name: tuple(branches) for name, branches in spec.get("curves", {}).items()}
        card = {key: _tuples(value) for key, value in spec.pop("tokenizer").items()}
        values = {key: _value_from_json(item) for key, item in data.pop("values").items()}
        return RunResult(
            spec=RunSpec(
                tokenizer=TokenizerCard(**card), **{k: _tuples(v) if k == "branches" else v for k, v in spec.items()}
            ),
            values=values,
            path=folder,
            **data,
        )
    except (LookupError, TypeError, ValueError, AttributeError) as err:
        raise ResultsError(f"{where} is malformed: {err!r}") from err


def _value_to_json(value: Value) -> dict[str, Any]:
    row = dataclasses.asdict(value)
    row["ci95"] = None if value.ci95 is None else list(value.ci95)
    return row


def _value_from_json(row: Mapping[str, Any]) -> Value:
    data = dict(row)
    groups = {
        name: GroupValue(value=group["value"], n=group["n"], ci95=_pair(group["ci95"]))
        for name, group in data.pop("groups").items()
    }
    return Value(groups=groups, ci95=_pair(data.pop("ci95")), **data)


def _pair(value: list[float] | None) -> tuple[float, float] | None:
    return None if value is None else (value[0], value[1])


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def record_to_json(record: Record) -> dict[str, Any]:
    """The record as one line; empty fields are left out."""
    row: dict[str, Any] = {"id": record.id, "cluster": record.cluster, "status": record.status}
    if record.status == "failed":
        row |= {"stage": record.stage, "error": record.error}
    if record.reference_sha256:
        row["reference_sha256"] = record.reference_sha256
    if record.size_px is not None:
        row["size_px"] = list(record.size_px)
    if record.branches:
        row["branches"] = {name: _branch_to_json(branch) for name, branch in record.branches.items()}
    return row


def record_from_json(row: Mapping[str, Any]) -> Record:
    """Inverse of :func:`record_to_json`."""
    size = row.get("size_px")
    return Record(
        id=row["id"],
        cluster=row["cluster"],
        status=row["status"],
        stage=row.get("stage", ""),
        error=row.get("error", ""),
        reference_sha256=row.get("reference_sha256", ""),
        size_px=None if size is None else (size[0], size[1]),
        branches={name: _branch_from_json(branch) for name, branch in row.get("branches", {}).items()},
    )


def _branch_to_json(branch: BranchRecord) -> dict[str, Any]:
    row: dict[str, Any] = {
        "reconstruction_sha256": branch.reconstruction_sha256,
        "encoding_bits": branch.encoding_bits,
        "n_tokens": branch.n_tokens,
        "clamped": branch.clamped,
        "values": dict(branch.values),
    }
    if branch.regions:
        row["regions"] = [_region_to_json(region) for region in branch.regions]
    return row


def _region_to_json(region: RegionRecord) -> dict[str, Any]:
    row = dataclasses.asdict(region)
    return {key: value for key, value in row.items() if key not in ("reasons", "seen") or value}


def _branch_from_json(row: Mapping[str, Any]) -> BranchRecord:
    regions = tuple(
        RegionRecord(
            kind=region["kind"],
            index=region["index"],
            label=region["label"],
            box=(region["box"][0], region["box"][1], region["box"][2], region["box"][3]),
            group=region["group"],
            values=region["values"],
            reasons=region.get("reasons", {}),
            seen=region.get("seen", {}),
        )
        for region in row.get("regions", ())
    )
    return BranchRecord(
        reconstruction_sha256=row["reconstruction_sha256"],
        encoding_bits=row["encoding_bits"],
        n_tokens=row["n_tokens"],
        clamped=row["clamped"],
        values=row["values"],
        regions=regions,
    )
