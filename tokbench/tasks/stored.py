"""A task as a result file holds it: fields that were added since are filled in, and it becomes a task again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tokbench.errors import ResultsError, UsageError
from tokbench.tasks.task import Fit, SizeGroups, Task


def with_defaults(row: Mapping[str, Any]) -> dict[str, Any]:
    """The definition with every field an older tokbench did not know yet.

    A field is added with the default that keeps what tasks did before, so two definitions are equal if these are.
    """
    filled = _filled(Task, row)
    if isinstance(filled.get("fit"), Mapping):
        filled["fit"] = _filled(Fit, filled["fit"])
    groups = filled.get("size_groups")
    if isinstance(groups, Mapping):
        filled["size_groups"] = {
            kind: _filled(SizeGroups, group) if isinstance(group, Mapping) else group for kind, group in groups.items()
        }
    return filled


def task_from_json(row: Mapping[str, Any], *, where: str) -> Task:
    """The task a result was measured on; raises ResultsError naming ``where`` and what is wrong with it."""
    filled = with_defaults(row)
    try:
        groups = {kind: SizeGroups(**_tuples(group)) for kind, group in filled.pop("size_groups").items()}
        fit = Fit(**_tuples(filled.pop("fit")))
        return Task(fit=fit, size_groups=groups, **_tuples(filled))
    except (KeyError, TypeError, AttributeError, ValueError, UsageError) as err:
        raise ResultsError(f"{where}: its task cannot be used by this tokbench: {err}") from err


def _filled(kind: type[Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """The row, with the defaults of the dataclass for what it lacks, as JSON has them."""
    made: dict[str, Any] = {str(name): value for name, value in row.items()}
    for field in dataclasses.fields(kind):
        if field.default is not dataclasses.MISSING:
            default = field.default
        elif field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        else:
            continue
        made.setdefault(field.name, list(default) if isinstance(default, tuple) else default)
    return made


def _tuples(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
