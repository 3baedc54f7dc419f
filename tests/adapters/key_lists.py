"""The official names and shapes of every golden network, as text: ``tests/golden/tokenizers/keys/<family>.txt``.

A line is a name and a shape. Numbers between dots are written together where the shapes are equal, so that
``up.{0..2,4}.bias (128,)`` stands for four entries. A variant that differs little from an earlier one says so:
``[b] is [a] with`` is followed by the entries that are other or more, and by ``- name`` for those it lacks.
"""

from __future__ import annotations

import re
from ast import literal_eval
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import groupby, product

import torch
from torch import Tensor

from tests.adapters.seeding import GOLDEN

Shapes = dict[str, tuple[int, ...]]
Lists = dict[str, Shapes]
"""By variant, the shape of every entry by its name."""

FOLDER = GOLDEN / "keys"
_HEAD = re.compile(r"\[(?P<variant>[^]]+)\](?: is \[(?P<base>[^]]+)\] with)?")
_NUMBERS = re.compile(r"\{([0-9.,]+)\}")


def shapes_of(state: Mapping[str, Tensor]) -> Shapes:
    """A state dict without its values."""
    return {key: tuple(entry.shape) for key, entry in state.items()}


def state_of(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Entries of these shapes, without values."""
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def key_problems(ours: Mapping[str, Tensor], official: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Every entry that our network lacks, has besides, or has in another shape, by name."""
    mine = shapes_of(ours)
    problems = [f"{key} {shape} is missing" for key, shape in official.items() if key not in mine]
    problems += [f"{key} {shape} is not official" for key, shape in mine.items() if key not in official]
    problems += [
        f"{key} is {mine[key]}, officially {shape}"
        for key, shape in official.items()
        if key in mine and mine[key] != shape
    ]
    return sorted(problems)


def official_keys(family: str, variant: str) -> Shapes:
    """The names and shapes of one golden network.

    Raises:
        KeyError: there is no such list.
    """
    return read(FOLDER.joinpath(f"{family}.txt").read_text(encoding="utf-8"))[variant]


def read(text: str) -> Lists:
    """The lists in a file.

    Raises:
        ValueError: a line before the first variant, an entry twice, or one left out that was not there.
    """
    lists: Lists = {}
    entries: Shapes | None = None
    given: set[str] = set()
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        if head := _HEAD.fullmatch(line):
            entries, given = dict(lists[head["base"]]) if head["base"] else {}, set()
            lists[head["variant"]] = entries
            continue
        if entries is None:
            raise ValueError(f"{line!r} belongs to no variant")
        is_left_out = line.startswith("- ")
        name, _, shape = line.removeprefix("- ").partition(" ")
        for key in _expanded(name):
            if key in given or (is_left_out and key not in entries):
                raise ValueError(f"{key} is given twice, or left out although it was not there: {line!r}")
            given.add(key)
            if is_left_out:
                del entries[key]
            else:
                entries[key] = literal_eval(shape)
    return lists


def written(lists: Mapping[str, Shapes]) -> str:
    """What :func:`read` reads, the variants in their order."""
    blocks: list[str] = ["# Official names and shapes; tests/adapters/key_lists.py says how this is read."]
    done: Lists = {}
    for variant, shapes in lists.items():
        whole = _lines(shapes)
        changes = {name: _changes(shapes, base) for name, base in done.items()}
        nearest = min(changes, key=lambda name: len(changes[name]), default="")
        if nearest and 2 * len(changes[nearest]) < len(whole):
            blocks.append("\n".join([f"[{variant}] is [{nearest}] with", *changes[nearest]]))
        else:
            blocks.append("\n".join([f"[{variant}]", *whole]))
        done[variant] = shapes
    return "\n\n".join(blocks) + "\n"


def _changes(shapes: Shapes, base: Shapes) -> list[str]:
    other = {key: shape for key, shape in shapes.items() if base.get(key) != shape}
    lost = dict.fromkeys(base.keys() - shapes.keys(), ())
    return [*_lines(other), *(f"- {line.rpartition(' ')[0]}" for line in _lines(lost))]


def _lines(shapes: Shapes) -> list[str]:
    """Names with their numbers written together, sorted."""
    alike: dict[tuple[str, tuple[int, ...]], set[tuple[int, ...]]] = defaultdict(set)
    for key, shape in shapes.items():
        parts = key.split(".")
        form = ".".join("{}" if part.isdigit() else part for part in parts)
        alike[form, shape].add(tuple(int(part) for part in parts if part.isdigit()))
    return sorted(
        f"{form.format(*(_together(numbers) for numbers in block))} {shape}"
        for (form, shape), places in alike.items()
        for block in _blocks(places)
    )


def _blocks(places: set[tuple[int, ...]]) -> list[list[list[int]]]:
    """Places of several numbers as products of sets of numbers."""
    if () in places:
        return [[]]
    rests = {first: frozenset(place[1:] for place in places if place[0] == first) for first in {p[0] for p in places}}
    blocks = []
    for rest in sorted(set(rests.values()), key=lambda rest: min(first for first in rests if rests[first] == rest)):
        firsts = sorted(first for first in rests if rests[first] == rest)
        blocks += [[firsts, *block] for block in _blocks(set(rest))]
    return blocks


def _together(numbers: list[int]) -> str:
    """``[0, 1, 2, 4]`` → ``{0..2,4}``; one number is itself."""
    if len(numbers) == 1:
        return str(numbers[0])
    runs = [[n for _, n in run] for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])]
    return "{" + ",".join(f"{run[0]}..{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs) + "}"


def _expanded(name: str) -> Iterable[str]:
    """``a.{0..1}.b`` → ``a.0.b``, ``a.1.b``."""
    literal = _NUMBERS.split(name)  # every second part is a set of numbers
    sets = [_numbers(part) for part in literal[1::2]]
    for chosen in product(*sets):
        yield literal[0] + "".join(f"{number}{text}" for number, text in zip(chosen, literal[2::2], strict=True))


def _numbers(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("..")
        found += range(int(first), int(last or first) + 1)
    return found
