"""Published rows: numbers that others measured and printed, as references beside our own and never mixed with them.

A table is two files of one stem in ``results/published/``: ``NAME.toml`` (where the numbers are from, and what they can
be compared with) and ``NAME.csv`` (the numbers as printed).
"""

from __future__ import annotations

import csv
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokbench.errors import ResultsError

FOLDER = "published"
_ROW_FIELDS = ("setting", "method", "latent")
_LATENTS = {"D": "discrete", "C": "continuous", "-": "none"}


@dataclass(frozen=True, kw_only=True)
class PublishedColumn:
    """One printed quantity.

    Attributes:
        title: as printed.
        unit: of the printed numbers.
        better: direction.
        metric: the key here that means the same; "" for none.
        factor: printed number × factor = our unit.
        step: the last printed digit, in printed units.
    """

    title: str
    unit: str
    better: str
    metric: str
    factor: float
    step: float


@dataclass(frozen=True, kw_only=True)
class PublishedValue:
    """A printed mean and its size groups, in printed units."""

    mean: float
    groups: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One method under one setting.

    Attributes:
        setting: as published.
        task: the task here with the same protocol; "" where there is none.
        method: as printed.
        latent: ``discrete``, ``continuous`` or ``none``.
        values: by column name.
    """

    setting: str
    task: str
    method: str
    latent: str
    values: Mapping[str, PublishedValue]


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """A set of published rows.

    Attributes:
        name: file stem.
        title, source, url, commit, citation, licence: where it is from.
        comparable, not_comparable: sentences for readers.
        settings: setting → reason why it is not supported here, "" where it is.
        columns: by name.
        rows: in printed order.
    """

    name: str
    title: str
    source: str
    url: str
    commit: str
    citation: str
    licence: str
    comparable: tuple[str, ...]
    not_comparable: tuple[str, ...]
    settings: Mapping[str, str]
    columns: Mapping[str, PublishedColumn]
    rows: tuple[PublishedRow, ...]

    def of_task(self, task: str) -> tuple[PublishedRow, ...]:
        """The rows under the same protocol as one of our tasks."""
        return tuple(row for row in self.rows if row.task == task)


def read_published(folder: Path) -> tuple[PublishedTable, ...]:
    """Every table in ``folder`` (``results/published``), by name; none if it does not exist.

    Raises:
        ResultsError: a file is malformed, names what is not declared, or prints means that are not its groups' means.
    """
    return tuple(read_table(path) for path in sorted(folder.glob("*.toml")))


def read_table(header: Path) -> PublishedTable:
    """One table from its header and the CSV file beside it; raises as :func:`read_published`."""
    try:
        facts = tomllib.loads(header.read_text(encoding="utf-8"))
        with header.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        columns = {name: PublishedColumn(**column) for name, column in facts.pop("columns").items()}
        groups = tuple(facts.pop("groups"))
        settings = facts.pop("settings")
        rows = tuple(_row(line, columns, groups, settings) for line in lines)
        table = PublishedTable(
            name=header.stem,
            columns=columns,
            rows=rows,
            settings={name: str(setting.get("unsupported", "")) for name, setting in settings.items()},
            comparable=tuple(facts.pop("comparable")),
            not_comparable=tuple(facts.pop("not_comparable")),
            **facts,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise ResultsError(f"published table {header} is malformed: {err!r}") from err
    problems = list(_problems(table))
    if problems:
        raise ResultsError(f"published table {header}: " + "; ".join(problems))
    return table


def row_to_json(row: PublishedRow) -> dict[str, Any]:
    """The row as it is exported."""
    values = {name: {"mean": value.mean, "groups": dict(value.groups)} for name, value in row.values.items()}
    return {"setting": row.setting, "task": row.task, "method": row.method, "latent": row.latent, "values": values}


def _row(
    line: Mapping[str, str], columns: Mapping[str, PublishedColumn], groups: Sequence[str], settings: Mapping[str, Any]
) -> PublishedRow:
    expected = {*_ROW_FIELDS, *(f"{name}_{part}" for name in columns for part in (*groups, "mean"))}
    if set(line) != expected:
        raise ValueError(f"row {line.get('method')!r} has the columns {sorted(map(str, line))}, not {sorted(expected)}")
    return PublishedRow(
        setting=line["setting"],
        task=settings[line["setting"]].get("task", ""),
        method=line["method"],
        latent=_LATENTS[line["latent"]],
        values={
            name: PublishedValue(
                mean=float(line[f"{name}_mean"]), groups={group: float(line[f"{name}_{group}"]) for group in groups}
            )
            for name in columns
        },
    )


def _problems(table: PublishedTable) -> Iterator[str]:
    """Typing errors: a printed mean lies within the rounding of its groups' mean, and no row is there twice."""
    seen: set[tuple[str, str]] = set()
    for row in table.rows:
        if (row.setting, row.method) in seen:
            yield f"{row.setting}, {row.method} is there twice"
        seen.add((row.setting, row.method))
        for name, value in row.values.items():
            mean = math.fsum(value.groups.values()) / len(value.groups)
            if abs(mean - value.mean) > table.columns[name].step * (1 + 1e-9):  # half a digit of each side
                yield f"{row.setting}, {row.method}, {name}: the mean is {value.mean}, of the groups {mean:.4f}"
