"""The whole site from a folder of results: a pure function of the files, written anew each time."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from tokbench.errors import ResultsError, UsageError
from tokbench.exports.tabular import to_csv as values_csv
from tokbench.exports.tabular import to_parquet as values_parquet
from tokbench.leaderboard import tables, views
from tokbench.leaderboard.board import Board, compared_keys, make_boards
from tokbench.leaderboard.cells import heads
from tokbench.leaderboard.collect import Collection, Entry, Skipped, collect, left_out
from tokbench.leaderboard.pictures import Pictures, check_pictures, copy_pictures
from tokbench.leaderboard.records import Column, read_columns
from tokbench.leaderboard.render import Renderer, data_script, static_files
from tokbench.leaderboard.scatter import LATENTS, SHAPES, scatters
from tokbench.leaderboard.side_by_side import board_data
from tokbench.report.html import json_for_script
from tokbench.runfolder import disk_error
from tokbench.tasks.catalogue import tasks as registered_tasks
from tokbench.tasks.task import Task

MARK = ".tokbench-leaderboard"  # in every site, so that only a site is ever replaced
_WORKERS = 2


@dataclass(frozen=True, kw_only=True)
class Built:
    """What was built.

    Attributes:
        out: the site's folder.
        boards: task page's file stem → submissions on it.
        skipped: folders that take no place, with the reasons.
        n_files, n_bytes: of the site.
    """

    out: Path
    boards: Mapping[str, int]
    skipped: tuple[Skipped, ...]
    n_files: int
    n_bytes: int


def build_site(results: Path, out: Path, *, strict: bool = False, tasks: Mapping[str, Task] | None = None) -> Built:
    """Read ``results``, rank it and write the site to ``out``, replacing a site that is there.

    The same results give the same bytes.

    Args:
        results: laid out as ``results/<task>/<family>__<variant>``, with ``published/``; may be empty or absent.
        out: a new or empty folder, or one that holds a site.
        strict: refuse to build while a folder has to be skipped.
        tasks: the known tasks, by default the registered ones.

    Raises:
        UsageError: ``out`` holds something else, or contains the results.
        ResultsError: with ``strict``, a folder has to be skipped; ``results`` or published tables cannot be read, or
            ``out`` cannot be written.
    """
    _check_out(results, out)
    known = registered_tasks() if tasks is None else tasks
    collection, columns = _read(results, known)
    if strict and collection.skipped:
        reasons = "; ".join(f"{item.path}: {item.reason}" for item in collection.skipped)
        raise ResultsError(f"{len(collection.skipped)} of the results' folders cannot be shown: {reasons}")
    boards = make_boards(collection, columns, tasks=known)
    scratch, old = (out.absolute().with_name(f".{out.absolute().name}.{os.getpid()}.{word}") for word in ("new", "old"))
    try:
        n_files, n_bytes = _write(scratch, collection, boards)
        if out.exists():
            out.rename(old)
        scratch.rename(out)
    except OSError as err:
        raise disk_error(out, err) from err
    finally:
        for folder in (scratch, old):
            shutil.rmtree(folder, ignore_errors=True)
    return Built(
        out=out, boards={board.slug: len(board.entries) for board in boards}, skipped=collection.skipped,
        n_files=n_files, n_bytes=n_bytes,
    )  # fmt: skip


def _check_out(results: Path, out: Path) -> None:
    if results.resolve().is_relative_to(out.resolve()) or out.resolve().is_relative_to(results.resolve()):
        raise UsageError(f"{out} and {results} contain each other; write the site elsewhere")
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UsageError(f"{out} is not a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise UsageError(f"{out} holds something that is no leaderboard; pass a new or empty folder")


def _read(results: Path, tasks: Mapping[str, Task]) -> tuple[Collection, dict[int, Mapping[str, Column]]]:
    """The collection without those whose records or pictures cannot be read, and the columns of the rest."""
    found = collect(results, tasks=tasks)

    n_entries = Counter(entry.place for entry in found.entries)

    def read(entry: Entry) -> Mapping[str, Column] | str:
        try:
            check_pictures(entry)
            return {} if entry.is_reference else read_columns(entry, compared_keys(entry, n_entries[entry.place]))
        except ResultsError as err:
            return str(err)

    with ThreadPoolExecutor(_WORKERS) as pool:
        outcomes = list(pool.map(read, found.entries))
    entries: list[Entry] = []
    columns: dict[int, Mapping[str, Column]] = {}
    skipped = list(found.skipped)
    for entry, outcome in zip(found.entries, outcomes, strict=True):
        if isinstance(outcome, str):
            skipped.append(left_out(results, entry.submitted.folder, outcome))
        else:
            columns[len(entries)] = outcome
            entries.append(entry)
    skipped.sort(key=lambda item: item.path)
    return dataclasses.replace(found, entries=tuple(entries), skipped=tuple(skipped)), columns


def _write(site: Path, collection: Collection, boards: Sequence[Board]) -> tuple[int, int]:
    site.mkdir(parents=True)
    pictures = copy_pictures(collection.entries, site)
    for name, content in _contents(collection, boards, pictures):
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    sizes = [path.stat().st_size for path in site.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def _contents(collection: Collection, boards: Sequence[Board], pictures: Pictures) -> Iterator[tuple[str, str | bytes]]:
    """Every file of the site but the pictures."""
    made = Renderer()
    yield MARK, "A leaderboard of tokbench: `tokbench leaderboard build` replaces this folder.\n"
    yield from static_files().items()
    yield "index.html", _index(made, collection, boards)
    index = json_for_script(views.index_of(boards))
    yield "compare.html", made.page(
        "compare.html", title="Side by side · tokbench", root="", index=views.index_of(boards), data=Markup(index)
    )  # fmt: skip
    results = [entry.result for entry in collection.entries]
    yield "tables/all.csv", values_csv(results)
    yield "tables/all.parquet", values_parquet(results)
    for board in boards:
        yield f"tasks/{board.slug}.html", _task(made, board, boards)
        yield f"tables/{board.slug}.csv", tables.to_csv(board)
        yield f"tables/{board.slug}.parquet", tables.to_parquet(board)
        yield f"tables/{board.slug}.md", tables.to_markdown(board)
        if board.entries:
            yield f"data/{board.slug}.js", data_script(board.slug, board_data(board, pictures))
    yield from _tokenizers(made, boards, pictures)


def _index(made: Renderer, collection: Collection, boards: Sequence[Board]) -> str:
    newest = [board for board in boards if board.slug == board.name]
    return made.page(
        "index.html", title="tokbench leaderboard", root="", boards=[views.board_card(board) for board in newest],
        older=[board for board in boards if board.slug != board.name], latest=views.latest(boards),
        families=views.families(collection.entries), skipped=collection.skipped,
        n_tokenizers=len({entry.name for entry in collection.entries}),
    )  # fmt: skip


def _task(made: Renderer, board: Board, boards: Sequence[Board]) -> str:
    rows, charts = views.board_rows(board), scatters(board)
    others = [other for other in boards if other.name == board.name and other is not board]
    shown = [kind for kind in LATENTS if any(kind in chart.latents for chart in charts)]
    return made.page(
        "task.html", title=f"{board.title} · tokbench", root="../", board=board, rows=rows, heads=heads(board),
        filters=views.filters(rows), charts=charts, latents=shown, shapes=SHAPES,
        colours={kind: number for number, kind in enumerate(LATENTS)}, others=others,
        is_newest=board.slug == board.name, n_samples=views.n_samples(board),
        method=views.ranking_method(board), published=board.published, printed=views.printed,
    )  # fmt: skip


def _tokenizers(made: Renderer, boards: Sequence[Board], pictures: Pictures) -> Iterator[tuple[str, str]]:
    by_stem: dict[str, list[tuple[Board, int]]] = {}
    for board in boards:
        for place, entry in enumerate(board.entries):
            by_stem.setdefault(entry.stem, []).append((board, place))
    for stem, places in sorted(by_stem.items()):
        runs = [views.run_view(number, *where, pictures) for number, where in enumerate(places, start=1)]
        board, place = places[0]
        entry = board.entries[place]
        yield f"tokenizers/{stem}.html", made.page(
            "tokenizer.html", title=f"{entry.name} · tokbench", root="../", card=entry.result.spec.tokenizer,
            facts=views.card_facts(entry), runs=runs,
        )  # fmt: skip
