"""CSV and Parquet: a row a run and value, numbers unrounded."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import get_type_hints

from tokbench.cards import Better
from tokbench.exports.rows import Row, rows_of
from tokbench.results import RunResult

# What makes a spreadsheet take a cell's text for a formula, also behind a separator that splits the line anew.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def neutralise(text: str) -> str:
    """The text as a spreadsheet shows it and nothing more: one that could start a formula gets a leading quote mark.

    Source: OWASP, "CSV Injection".
    """
    return "'" + text if text.startswith(_FORMULA_STARTS) else text


def to_csv(results: Sequence[RunResult], *, keys: Sequence[str] = ()) -> str:
    """Header and rows with CRLF line ends (RFC 4180); numbers are written so that they read back equal."""
    target = io.StringIO()
    writer = csv.writer(target)
    writer.writerow(Row._fields)
    for row in rows_of(results, keys=keys):
        writer.writerow(["" if cell is None else neutralise(cell) if isinstance(cell, str) else cell for cell in row])
    return target.getvalue()


def to_parquet(results: Sequence[RunResult], *, keys: Sequence[str] = ()) -> bytes:
    """The same table with types; texts are as they are, since nothing evaluates them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {str: pa.string(), int: pa.int64(), float | None: pa.float64(), Better: pa.string()}
    schema = pa.schema([(name, types[kind]) for name, kind in get_type_hints(Row).items()])
    rows = [row._asdict() for row in rows_of(results, keys=keys)]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content
