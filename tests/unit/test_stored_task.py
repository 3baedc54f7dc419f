"""Tasks out of result files."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from tokbench.errors import ResultsError
from tokbench.tasks.catalogue import folder_task, tasks
from tokbench.tasks.stored import task_from_json, with_defaults
from tokbench.tasks.task import Task


def stored(task: Task) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(task)))
    return row


@pytest.mark.parametrize("task", [*tasks().values(), folder_task(mode="none")], ids=lambda task: task.name)
def test_every_task_comes_back_as_it_was(task: Task) -> None:
    row = stored(task)
    assert task_from_json(row, where="here") == task
    assert with_defaults(row) == row


def test_fields_that_an_older_file_lacks_have_their_defaults() -> None:
    row = stored(tasks()["quick"])
    old = {name: value for name, value in row.items() if name not in ("words", "crop", "recode", "region_mean")}
    old["fit"] = {"mode": "crop", "size_px": 256}
    del old["size_groups"]["word"]["names"]
    assert task_from_json(old, where="here") == tasks()["quick"]
    assert with_defaults(old) == stored(tasks()["quick"])


@pytest.mark.parametrize(
    "change",
    [
        {"fit": None}, {"fit": {"mode": "crop"}}, {"fit": {"mode": "stretch", "size_px": 1}},
        {"size_groups": {"word": 3}},
        {"size_groups": {"word": {"by": "ratio", "edges": [2, 1], "names": ["a"]}}}, {"a_field_of_the_future": 1},
        {"words": "some"},
    ],
)  # fmt: skip
def test_a_task_that_cannot_be_used_is_named(change: dict[str, Any]) -> None:
    with pytest.raises(ResultsError, match="runs/x: its task cannot be used by this tokbench"):
        task_from_json({**stored(tasks()["quick"]), **change}, where="runs/x")


def test_a_definition_without_anything_is_refused_not_filled_up() -> None:
    with pytest.raises(ResultsError, match="fit"):
        task_from_json({"name": "x"}, where="here")
