"""Tasks by name: the ``*.toml`` files beside this module, and ``folder``, made from the user's own images."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from tokbench.errors import ManifestError, UnknownNameError, UsageError
from tokbench.registry import did_you_mean
from tokbench.samples import RegionKind
from tokbench.tasks.task import CROPS, Fit, FitMode, SizeGroups, Task

FOLDER = "folder"
_KINDS: tuple[RegionKind, ...] = ("word", "face")


@cache
def tasks() -> Mapping[str, Task]:
    """Every task that has a fixed definition, by name."""
    found = {}
    for file in sorted(files(__package__).iterdir(), key=lambda file: file.name.removesuffix(".toml")):
        if file.name.endswith(".toml"):
            task = task_from_toml(tomllib.loads(file.read_text(encoding="utf-8")), where=file.name)
            found[task.name] = task
    return found


def find_task(name: str) -> Task:
    """The task of that name; ``folder`` with its defaults."""
    if name == FOLDER:
        return folder_task()
    if name not in tasks():
        names = [*tasks(), FOLDER]
        raise UnknownNameError(f"no task named {name!r}{did_you_mean(name, names)}; tasks: {', '.join(names)}")
    return tasks()[name]


def folder_task(*, mode: FitMode = "crop", size_px: int = 256, crop: str = "square") -> Task:
    """The task on a directory, tar or parquet file of one's own images; ``crop`` is one of :data:`CROPS`.

    Raises:
        UsageError: an unknown crop, or one with a mode that crops nothing.
    """
    if crop not in CROPS or (crop != "square" and mode != "crop"):
        raise UsageError(f"got fit {mode!r} with crop {crop!r}; crops are {', '.join(CROPS)}, and need fit 'crop'")
    method, filter_name = CROPS[crop]
    if mode == "crop":
        fit = Fit(mode=mode, size_px=size_px, method=method, filter=filter_name)
    else:
        fit = Fit(mode="none") if mode == "none" else Fit(mode=mode, size_px=size_px)
    scaled = "centre square, scaled to" if crop == "square" else f"{crop} crop,"
    shape = {
        "crop": f"{scaled} {size_px} px",
        "pad": f"scaled to fit {size_px} px, black padding taken off again",
        "none": "own size, mirrored up to the tokenizer's size multiple",
    }[mode]
    return Task(
        name=FOLDER,
        version=1,
        title=f"Your images, {shape}",
        description="Any directory, ImageFolder, WebDataset tar or parquet file of images.",
        manifest=FOLDER,
        fit=fit,
    )


def task_from_toml(row: Mapping[str, Any], *, where: str) -> Task:
    """A task from its parsed TOML; raises ManifestError naming ``where`` and what is wrong."""
    data = dict(row)
    try:
        groups = data.pop("size_groups", {})
        size_groups: dict[RegionKind, SizeGroups] = {}
        for kind in _KINDS:
            if kind in groups:
                group = dict(groups[kind])
                edges = tuple(float(edge) for edge in group.pop("edges"))
                size_groups[kind] = SizeGroups(edges=edges, **_tupled(group))
        unknown = set(groups) - set(_KINDS)
        if unknown:
            raise TypeError(f"size groups for unknown region kinds {sorted(unknown)}")
        description = str(data.pop("description")).strip()
        fit = Fit(**data.pop("fit"))
        return Task(fit=fit, size_groups=size_groups, description=description, **_tupled(data))
    except (KeyError, TypeError, ValueError) as err:
        raise ManifestError(f"task file {where} is malformed: {err!r}") from err


def _tupled(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
