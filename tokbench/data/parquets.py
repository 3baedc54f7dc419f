"""Images in Parquet files, in the layout of Hugging Face data sets.

The image column is called ``image`` (or is the only one that is a ``struct<bytes, path>``) and holds encoded image
files, as that struct or as plain binary. The last two row groups stay in memory, so rows are cheap to read in
order, also by a few threads that straddle a border between groups.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

from tokbench.errors import SampleError

_Key = tuple[str, int, int, int]

_MAX_GROUPS = 2

_lock = threading.Lock()
_groups: OrderedDict[_Key, Any] = OrderedDict()  # row groups' image columns, by file and first row


class Layout(NamedTuple):
    """What a file holds: ``labels`` are class names where the file has them, else empty."""

    n_rows: int
    image_column: str
    label_column: str
    class_names: tuple[str, ...]


def read_layout(path: Path) -> Layout:
    """Row count, columns and class names, from the file's footer.

    Raises:
        SampleError: not a Parquet file, or it has no image column.
    """
    with _open(path) as file:
        schema = file.schema_arrow
        label = "label" if "label" in schema.names else ""
        return Layout(file.metadata.num_rows, _image_column(schema, path), label, _class_names(schema, label))


def read_labels(path: Path, layout: Layout) -> list[str]:
    """One class name a row; "" where there is none."""
    if not layout.label_column:
        return [""] * layout.n_rows
    with _open(path) as file:
        values = file.read(columns=[layout.label_column]).column(0).to_pylist()
    return [_label(value, layout.class_names) for value in values]


def read_names(path: Path, layout: Layout) -> list[str]:
    """The file name each row's image came from; "" where the file does not say."""
    import pyarrow.types as types

    with _open(path) as file:
        kind = file.schema_arrow.field(layout.image_column).type
        if not types.is_struct(kind) or kind.get_field_index("path") < 0:
            return [""] * layout.n_rows
        column = file.read(columns=[f"{layout.image_column}.path"]).column(0)  # the pictures themselves stay unread
        return [(row or {}).get("path") or "" for row in column.to_pylist()]


def read_image(path: Path, row: int) -> bytes:
    """The encoded image in one row.

    Raises:
        SampleError: not a Parquet file, no such row, or the row has no image bytes.
    """
    with _lock:
        column, offset = _load_group(path, row)
        value = column[offset].as_py()
    if isinstance(value, dict):
        value = value.get("bytes")
    if not isinstance(value, bytes):
        raise SampleError(
            f"{path.name} row {row} holds no image bytes (got {type(value).__name__}); expected an encoded image: "
            f"store the files' bytes in the data set"
        )
    return value


def _load_group(path: Path, row: int) -> tuple[Any, int]:
    """The image column of the row group that holds ``row``, and the row's place in it. Call with the lock held."""
    stat = path.stat()
    file_key = (str(path), stat.st_mtime_ns, stat.st_size)
    for key, column in _groups.items():
        if key[:3] == file_key and key[3] <= row < key[3] + len(column):
            _groups.move_to_end(key)
            return column, row - key[3]
    with _open(path) as file:
        first = 0
        for group in range(file.metadata.num_row_groups):
            n_rows = file.metadata.row_group(group).num_rows
            if row < first + n_rows:
                while len(_groups) >= _MAX_GROUPS:  # before reading, or there would be one more for a moment
                    _groups.popitem(last=False)
                column = file.read_row_group(group, columns=[_image_column(file.schema_arrow, path)]).column(0)
                _groups[*file_key, first] = column
                return column, row - first
            first += n_rows
    raise SampleError(f"{path.name} has {first} rows, counted from 0; got row {row}")


def _open(path: Path) -> Any:
    import pyarrow
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except pyarrow.ArrowException as err:
        raise SampleError(f"{path.name} is not a Parquet file, or is damaged ({err}); obtain it again") from err


def _image_column(schema: Any, path: Path) -> str:
    import pyarrow.types as types

    kinds = dict(zip(schema.names, schema.types, strict=True))
    structs: list[str] = [
        name for name, kind in kinds.items() if types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    ]
    plain = [name for name, kind in kinds.items() if types.is_binary(kind) or types.is_large_binary(kind)]
    if "image" in structs or "image" in plain:
        return "image"
    if len(structs) == 1:
        return structs[0]
    raise SampleError(
        f"{path.name} has columns {list(kinds)}; expected one called 'image' with binary or struct<bytes, path> values"
    )


def _class_names(schema: Any, label: str) -> tuple[str, ...]:
    """Names of a Hugging Face ``ClassLabel``, which are in the schema's metadata."""
    try:
        info = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        return tuple(str(name) for name in info["info"]["features"][label]["names"])
    except (ValueError, KeyError, TypeError):
        return ()


def _label(value: object, names: tuple[str, ...]) -> str:
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return "" if value is None else str(value)
