"""The files of weights tokbench knows, from ``catalogue.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from tokbench.errors import UnknownNameError
from tokbench.registry import did_you_mean
from tokbench.weights.files import WeightsFile


@cache
def catalogue() -> Mapping[str, WeightsFile]:
    """Every known file, by the key of its engine or network."""
    rows = tomllib.loads(files(__package__).joinpath("catalogue.toml").read_text(encoding="utf-8"))
    found = {}
    for owner, row in rows.items():
        tuples = {field: tuple(row.get(field, ())) for field in ("folders", "aliases")}
        found[owner] = WeightsFile(owner=owner, **{**row, **tuples})
    return found


def known(owner: str) -> WeightsFile:
    """The file that belongs to an engine or network."""
    if owner not in catalogue():
        raise UnknownNameError(
            f"no weights of {owner!r} are known{did_you_mean(owner, catalogue())}; `tokbench weights list` shows all"
        )
    return catalogue()[owner]
