"""Boards: the submissions that may stand in one table, their metrics, and their ranks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokbench.cards import METRIC_GROUPS, Better
from tokbench.errors import ResultsError
from tokbench.leaderboard.collect import RATE, Collection, Entry
from tokbench.leaderboard.pairs import Pairs, all_pairs
from tokbench.leaderboard.ranking import Rank, ranks
from tokbench.leaderboard.records import Column
from tokbench.published import PublishedRow, PublishedTable
from tokbench.results import Value
from tokbench.tasks.task import Task

_BESIDE = ("tokens",)  # shown beside the rate where it is there
_NOT_SHOWN = ("rate", "efficiency", "robustness")  # groups whose metrics are on the tokenizers' pages only
_MAX_FURTHER = 6
_HEADLINES = ("t_acc", "f_sim", "lpips", "rfid", "fd_effnet", "ms_ssim")  # before others of their groups
_SMALL = 32  # entries: up to here every metric is compared pair by pair, above only what the task is ranked by


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A column: a metric in one version, as the first submission that has it describes it.

    ``is_cost``: a time or size that belongs to a machine.
    """

    key: str
    version: int
    title: str
    group: str
    unit: str
    better: Better
    is_ranked: bool = False
    is_cost: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """A metric's ranks: of the entries at ``places``, whose pairs are ``pairs``, in that order."""

    metric: Metric
    places: tuple[int, ...]
    pairs: Pairs
    ranks: tuple[Rank, ...]

    def of(self, place: int) -> Rank | None:
        """The rank of the board's entry at that place; None where it has none."""
        return self.ranks[self.places.index(place)] if place in self.places else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Board:
    """One task, version and data.

    Attributes:
        slug: file stem of its page, the task's name for the newest.
        task: the definition, as results hold it; digest: of the data, "" on a board without submissions.
        entries: best first by the first ranked metric; reference rows among them by their value.
        metrics: columns of the table; the ranked first, then rate, then others.
        rankings: by metric key, of the metrics the task is ranked by.
        compared: the same and, on a small board, every other metric whose records pair; for the comparing page.
        published: tables with their rows of this task; empty on all but the newest version.
    """

    slug: str
    task: Mapping[str, Any]
    digest: str
    entries: tuple[Entry, ...]
    metrics: tuple[Metric, ...]
    rankings: Mapping[str, Ranking] = field(default_factory=dict)
    compared: Mapping[str, Ranking] = field(default_factory=dict)
    published: tuple[tuple[PublishedTable, tuple[PublishedRow, ...]], ...] = ()

    @property
    def name(self) -> str:
        return str(self.task["name"])

    @property
    def version(self) -> int:
        return int(self.task["version"])

    @property
    def title(self) -> str:
        return str(self.task["title"])

    def rank(self, place: int, key: str) -> Rank | None:
        """None for a metric that is not ranked, and for an entry without a number or that is a mere reference."""
        ranking = self.rankings.get(key)
        return None if ranking is None else ranking.of(place)


def ranked_keys(entry: Entry) -> tuple[str, ...]:
    """What the entry's task is ranked by."""
    return tuple(str(key) for key in entry.result.spec.task.get("rank_by", ()))


def compared_keys(entry: Entry, n_entries: int) -> tuple[str, ...]:
    """What is compared pair by pair on a board of so many entries."""
    if n_entries > _SMALL:
        return ranked_keys(entry)
    plain = (value.key for value in entry.result.values.values() if not value.branch and value.kind != "cost")
    return tuple(dict.fromkeys([*ranked_keys(entry), *plain]))


def _by_number(name: str) -> list[tuple[int, str]]:
    """Sorts ``task-256`` before ``task-1024``."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def make_boards(
    collection: Collection, columns: Mapping[int, Mapping[str, Column]], *, tasks: Mapping[str, Task]
) -> list[Board]:
    """The boards, by task name and newest first; tasks that have published rows alone get one, too.

    Args:
        columns: by the entry's place in the collection, what its records gave for the ranked metrics.

    Raises:
        ResultsError: a task is named like an earlier version of another.
    """
    by_place: dict[tuple[str, int, str], list[int]] = {}
    for number, entry in enumerate(collection.entries):
        by_place.setdefault(entry.place, []).append(number)
    names = {place[0] for place in by_place} | {
        row.task for table in collection.published for row in table.rows if row.task in tasks
    }
    boards = []
    for name in sorted(names, key=_by_number):
        places = sorted(
            (place for place in by_place if place[0] == name),
            key=lambda place: (-place[1], -len(by_place[place]), place[2]),
        )
        published = tuple((table, rows) for table in collection.published if (rows := table.of_task(name)))
        for place in places:
            members = [(collection.entries[number], columns.get(number, {})) for number in by_place[place]]
            shown = published if place == places[0] else ()
            boards.append(_board(_slug(place, places), members, published=shown))
        if not places:
            task = tasks[name]
            facts = {"name": name, "version": task.version, "title": task.title, "description": task.description}
            boards.append(Board(slug=name, task=facts, digest="", entries=(), metrics=(), published=published))
    twice = [slug for slug, n in Counter(board.slug for board in boards).items() if n > 1]
    if twice:
        raise ResultsError(f"two boards would have one address: {', '.join(twice)}; rename a task")
    return boards


def _slug(place: tuple[str, int, str], places: Sequence[tuple[str, int, str]]) -> str:
    name, version, digest = place
    if place == places[0]:
        return name
    of_version = [other for other in places if other[1] == version]
    own = f"{name}-v{version}"
    return own if of_version[0] == place else f"{own}-{re.sub('[^0-9a-f]', '', digest.rpartition(':')[2])[:8]}"


def _board(
    slug: str,
    members: Sequence[tuple[Entry, Mapping[str, Column]]],
    *,
    published: tuple[tuple[PublishedTable, tuple[PublishedRow, ...]], ...],
) -> Board:
    entries = [entry for entry, _ in members]
    metrics = _metrics(entries)
    order = list(range(len(entries)))
    if metrics:
        lead = metrics[0]
        order.sort(key=lambda place: _order(members[place][0].value(lead.key, lead.version), lead.better))
    entries = [entries[place] for place in order]
    columns = [members[place][1] for place in order]
    rankings = {
        metric.key: ranking
        for metric in metrics
        if metric.is_ranked and (ranking := _ranking(metric, entries, columns)) is not None
    }
    paired = {key for column in columns for key in column} - set(rankings)
    compared = rankings | {
        metric.key: ranking
        for metric in all_metrics(entries)
        if metric.key in paired and (ranking := _ranking(metric, entries, columns)) is not None
    }
    return Board(
        slug=slug, task=entries[0].result.spec.task, digest=entries[0].result.spec.manifest_digest,
        entries=tuple(entries), metrics=tuple(metrics), rankings=rankings, compared=compared,
        published=published,
    )  # fmt: skip


def _order(value: Value | None, better: Better) -> tuple[bool, float]:
    if value is None or value.value is None:
        return True, 0.0
    return False, -value.value if better == "higher" else value.value


def _ranking(metric: Metric, entries: Sequence[Entry], columns: Sequence[Mapping[str, Column]]) -> Ranking | None:
    found = [
        (place, value)
        for place, entry in enumerate(entries)
        if not entry.is_reference and (value := entry.value(metric.key, metric.version)) is not None
    ]
    if not found:
        return None
    pairs = all_pairs([value for _, value in found], [columns[place].get(metric.key) for place, _ in found])
    return Ranking(
        metric=metric, places=tuple(place for place, _ in found), pairs=pairs,
        ranks=tuple(ranks(pairs.beats(metric.better))),
    )  # fmt: skip


def _metrics(entries: Sequence[Entry]) -> list[Metric]:
    """The ranked metrics, the rate, and of every other group the one that most submissions have."""
    known: dict[str, list[Value]] = {}
    for entry in entries:
        for value in entry.result.values.values():
            if not value.branch:
                known.setdefault(value.key, []).append(value)
    ranked = [key for key in ranked_keys(entries[0]) if key in known]
    chosen = [*ranked, *(key for key in (RATE, *_BESIDE) if key in known and key not in ranked)]
    taken = {known[key][0].group for key in ranked}
    for group in (group for group in METRIC_GROUPS if group not in _NOT_SHOWN and group not in taken):
        counts = Counter(
            {key: sum(v.value is not None for v in values) for key, values in known.items() if values[0].group == group}
        )
        best = sorted((key for key in counts if counts[key]), key=lambda key: (-counts[key], _headline(key)))
        if best and len(chosen) < len(ranked) + 2 + _MAX_FURTHER:
            chosen.append(best[0])
    return [_metric(known[key], is_ranked=key in ranked) for key in chosen]


def _headline(key: str) -> int:
    name = key.partition(".")[0]
    return _HEADLINES.index(name) if name in _HEADLINES else len(_HEADLINES)


def all_metrics(entries: Sequence[Entry]) -> list[Metric]:
    """Every plain metric of the entries, in its newest version, by group."""
    known: dict[str, list[Value]] = {}
    for entry in entries:
        for value in entry.result.values.values():
            if not value.branch:
                known.setdefault(value.key, []).append(value)
    groups = {str(group): place for place, group in enumerate(METRIC_GROUPS)}
    made = [_metric(values, is_ranked=False) for values in known.values()]
    return sorted(made, key=lambda metric: groups.get(metric.group, len(groups)))


def _metric(values: Sequence[Value], *, is_ranked: bool) -> Metric:
    """In its newest version: numbers of others are not comparable with it."""
    newest = max(value.version for value in values)
    one = next(value for value in values if value.version == newest)
    return Metric(
        key=one.key, version=newest, title=one.title, group=one.group, unit=one.unit, better=one.better,
        is_ranked=is_ranked, is_cost=one.kind == "cost",
    )  # fmt: skip


def why_missing(entry: Entry, metric: Metric) -> str:
    """Why an entry has no number in a column."""
    value = entry.result.values.get(metric.key)
    if value is None:
        return "not measured"
    if value.status != "ok" or value.value is None:
        return f"{value.status}: {value.reason}"
    return f"measured with version {value.version} of the metric; this column is of version {metric.version}"
