"""What ranking needs of a submission's records: for a metric, its values added up by cluster and size group.

Records are read by Arrow, which takes from each line only the columns asked for: ten thousand lines in a twentieth of a
second, and no more than their numbers in memory.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokbench.errors import MetricError, ResultsError
from tokbench.estimates import ClusterTable, cluster_table
from tokbench.leaderboard.collect import Entry
from tokbench.results import PLAIN, Value
from tokbench.runfolder import read_influences
from tokbench.submissions.form import RECORDS_GZ

_BLOCK = 4 << 20
_MAX_BYTES, _MAX_RATIO, _ALWAYS_ALLOWED = 2 << 30, 200, 16 << 20  # as `tokbench submit validate` has them
_MEANS = ("mean", "macro_mean")


@dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """One metric of one submission.

    Attributes:
        table: units and sums by cluster (sorted by name) and group.
        units: digest of which images or regions have a value, their clusters and groups: equal where two submissions
            pair unit by unit.
        is_influence: the sums are how much each cluster moves a number over the set.
    """

    table: ClusterTable
    units: str
    is_influence: bool = False


def read_columns(entry: Entry, keys: Sequence[str]) -> dict[str, Column]:
    """The columns of those keys that have a number and something to pair; others are absent.

    Raises:
        ResultsError: records or influences that cannot be read, or are not those the result counts.
    """
    values = {key: value for key in keys if (value := entry.value(key)) is not None}
    means = {key: value for key, value in values.items() if value.aggregate in _MEANS}
    pairs = {key: value for key, value in means.items() if value.kind == "pair"}
    regions = {key: value for key, value in means.items() if value.kind == "region"}
    ids, influences = read_influences(entry.submitted.folder) if len(means) < len(values) else ([], {})
    over_set = [key for key in values if key not in means and key in influences]
    if not (pairs or regions or over_set):
        return {}
    try:
        records = _read(entry, list(pairs), list(regions))
        found = {key: _images(records, key) for key in pairs}
        found |= {key: _regions(records, value) for key, value in regions.items()}
        found |= {key: _influences(records, ids, influences[key]) for key in over_set}
    except MetricError as err:
        raise ResultsError(f"{RECORDS_GZ}: {err}") from err
    return {key: column for key, column in found.items() if column is not None}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Records:
    """Records sorted by id. ``clusters`` are numbers in the order of their names; ``digest`` is of ids and clusters."""

    ids: list[str]
    clusters: np.ndarray
    digest: str
    branches: Any


def _read(entry: Entry, pairs: Sequence[str], regions: Sequence[str]) -> _Records:
    """What of the plain branch is asked for."""
    import pyarrow as pa
    import pyarrow.json as pj

    numbers = pa.struct([(key, pa.float64()) for key in pairs])
    branch: list[Any] = [("values", numbers)] if pairs else []
    if regions:
        region = [("index", pa.int64()), ("group", pa.string())]
        region.append(("values", pa.struct([(key, pa.float64()) for key in regions])))
        branch.append(("regions", pa.list_(pa.struct(region))))
    schema = [("id", pa.string()), ("cluster", pa.string())]
    if branch:
        schema.append(("branches", pa.struct([(PLAIN, pa.struct(branch))])))
    path = entry.submitted.folder / RECORDS_GZ
    try:
        table = pj.read_json(
            pa.BufferReader(_unpacked(path)),
            read_options=pj.ReadOptions(use_threads=False, block_size=_BLOCK),
            parse_options=pj.ParseOptions(explicit_schema=pa.schema(schema), unexpected_field_behavior="ignore"),
        ).combine_chunks()
    except (pa.ArrowException, OSError, zlib.error) as err:
        raise ResultsError(f"{RECORDS_GZ} cannot be read: {err}") from err
    if table.num_rows != entry.result.counts["ok"] or table["id"].null_count:
        raise ResultsError(f"{RECORDS_GZ} has {table.num_rows} records, the result counts {entry.result.counts['ok']}")
    table = table.sort_by("id")
    ids = table["id"].to_pylist()
    # A record without a cluster is one of its own.
    names = [cluster or sample for cluster, sample in zip(table["cluster"].to_pylist(), ids, strict=True)]
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    return _Records(
        ids=ids,
        clusters=np.array([numbers[name] for name in names], np.int64),
        digest=hashlib.sha256(json.dumps([ids, names]).encode()).hexdigest(),
        branches=table["branches"].combine_chunks().field(PLAIN) if branch else None,
    )


def _unpacked(path: Path) -> bytes:
    """The lines; ResultsError for more of them than so small a file should hold, or fewer than it promises."""
    packed = path.read_bytes()
    limit = min(_MAX_BYTES, max(_ALWAYS_ALLOWED, _MAX_RATIO * len(packed)))
    reader = zlib.decompressobj(wbits=31)  # gzip alone
    content = reader.decompress(packed, limit)
    if reader.unconsumed_tail:
        raise ResultsError(f"{RECORDS_GZ} unpacks to more than {limit >> 20} MiB")
    if not reader.eof or reader.unused_data:
        raise ResultsError(f"{RECORDS_GZ} is cut short, or holds more than one gzip member")
    return content


def _images(records: _Records, key: str) -> Column | None:
    numbers = _numbers(records.branches.field("values").field(key))
    rows = np.flatnonzero(~np.isnan(numbers))
    if not len(rows):
        return None
    table = cluster_table(numbers[rows], records.clusters[rows])
    return Column(table=table, units=_digest(records.digest, rows))


def _regions(records: _Records, value: Value) -> Column | None:
    """None where a group of a macro mean is empty: then there is no number to pair."""
    lists = records.branches.field("regions")
    flat = lists.flatten()
    parents = _whole(lists.value_parent_indices())
    indices = _whole(flat.field("index"))
    numbers = _numbers(flat.field("values").field(value.key))
    names = list(value.groups) if value.aggregate == "macro_mean" else []
    groups = _groups(flat.field("group"), names) if names else np.zeros(len(flat), np.int64)
    rows = np.lexsort((indices, parents))
    rows = rows[~np.isnan(numbers[rows]) & (groups[rows] >= 0)]
    n_groups = max(1, len(names))
    if set(range(n_groups)) - set(np.unique(groups[rows]).tolist()):
        return None
    parents, groups = parents[rows], groups[rows]
    table = cluster_table(numbers[rows], records.clusters[parents], groups, n_groups=n_groups)
    return Column(table=table, units=_digest(records.digest, parents, indices[rows], groups))


def _influences(records: _Records, ids: Sequence[str], moves: np.ndarray) -> Column:
    """Influences by cluster; samples in the order of their ids."""
    order = sorted(range(len(ids)), key=lambda row: ids[row])
    if [ids[row] for row in order] != records.ids:
        raise ResultsError("influences.npz is of other samples than the records")
    table = cluster_table(moves[order], records.clusters)
    return Column(table=table, units=records.digest, is_influence=True)


def _groups(array: Any, names: Sequence[str]) -> np.ndarray:
    """The place of each region's group among the names; -1 for any other."""
    coded = array.dictionary_encode()
    places = {name: place for place, name in enumerate(names)}
    of_code = np.array([*(places.get(name, -1) for name in coded.dictionary.to_pylist()), -1], np.int64)
    found: np.ndarray = of_code[_whole(coded.indices.fill_null(len(of_code) - 1))]
    return found


def _numbers(array: Any) -> np.ndarray:
    """float64, NaN where there is none."""
    found: np.ndarray = array.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
    return found


def _whole(array: Any) -> np.ndarray:
    """int64; ResultsError where one is missing."""
    if array.null_count:
        raise ResultsError(f"{RECORDS_GZ} has a region without an index")
    found: np.ndarray = array.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
    return found


def _digest(records: str, *parts: np.ndarray) -> str:
    made = hashlib.sha256(records.encode())
    for part in parts:
        made.update(f"{len(part)}\n".encode())
        made.update(np.ascontiguousarray(part, np.int64).tobytes())
    return made.hexdigest()
