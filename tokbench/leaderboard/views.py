"""What each page shows, made of boards; the templates only lay it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokbench.leaderboard.board import Board, Metric
from tokbench.leaderboard.cells import Cell, Head, metric_head, number_cell, rank_cell, row_cells
from tokbench.leaderboard.collect import RATE, Entry
from tokbench.leaderboard.names import safe_link
from tokbench.leaderboard.pictures import Pictures
from tokbench.report.details import detail_tables, run_facts, tokenizer_facts
from tokbench.report.format import format_count, shorten
from tokbench.report.runs import ReportRun, Section
from tokbench.report.sizes import SizeTables, size_tables
from tokbench.report.topic import Topic
from tokbench.report.topics import topics
from tokbench.report.tradeoff import Tradeoff, make_tradeoff
from tokbench.report.view import ResultRow, result_rows

N_LEADERS = 5
N_LATEST = 10
NOT_STATED = "not stated"
Fact = tuple[str, str, str]  # label, text, link


@dataclass(frozen=True, kw_only=True)
class BoardRow:
    """A submission in a board's table."""

    place: int
    name: str
    stem: str
    title: str
    family: str
    latent: str
    licence: str
    bpp: str
    submitter: str
    date: str
    is_reference: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Leader:
    """A submission among a board's first."""

    name: str
    stem: str
    rank: Cell
    value: Cell
    rate: Cell


@dataclass(frozen=True, kw_only=True)
class BoardCard:
    """A board on the front page."""

    board: Board
    counts: str
    n_samples: str
    metric: Metric | None = None
    head: Head | None = None
    leaders: tuple[Leader, ...] = ()
    n_ranked: int = 0

    @property
    def n_published(self) -> int:
        return sum(len(rows) for _, rows in self.board.published)

    @property
    def n_more(self) -> int:
        return self.n_ranked - len(self.leaders)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A reconstruction, with its reference where some reference row shows it."""

    sample: str
    path: str
    reference: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A submission on its tokenizer's page."""

    number: int
    anchor: str
    board: Board
    section: Section
    n_samples: str
    ranks: tuple[tuple[Metric, Cell], ...]
    unranked: str
    rows: tuple[tuple[str, list[ResultRow], list[ResultRow]], ...]
    sizes: SizeTables
    tradeoff: Tradeoff | None
    topics: tuple[Topic, ...]
    pictures: tuple[Picture, ...]
    facts: tuple[Fact, ...]
    notes: str
    command: str
    tables: tuple[tuple[str, list[tuple[str, str]]], ...]


def board_rows(board: Board) -> list[BoardRow]:
    """The rows of a board's table, best first."""
    rows = []
    version = next((metric.version for metric in board.metrics if metric.key == RATE), None)
    for place, entry in enumerate(board.entries):
        card, rate = entry.result.spec.tokenizer, entry.value(RATE, version)
        rows.append(
            BoardRow(
                place=place, name=entry.name, stem=entry.stem, title=card.title, family=card.family, latent=card.latent,
                licence=card.licence or NOT_STATED, bpp="" if rate is None else repr(rate.value),
                submitter=entry.submission.submitter, date=entry.submission.submitted[:10],
                is_reference=entry.is_reference, cells=tuple(row_cells(board, place)),
            )
        )  # fmt: skip
    return rows


def filters(rows: Sequence[BoardRow]) -> list[tuple[str, str, list[str]]]:
    """Name, label and choices of each filter that has something to choose."""
    made = []
    for name, label in (("family", "Family"), ("latent", "Latent"), ("licence", "Licence")):
        choices = sorted({getattr(row, name) for row in rows})
        if len(choices) > 1:
            made.append((name, label, choices))
    return made


def ranking_method(board: Board) -> str:
    """How the board's ranks came about, in a sentence."""
    if not board.rankings:
        return ""
    shares = [bool(ranking.pairs.is_paired.any()) for ranking in board.rankings.values()]
    if all(shares):
        how = "from differences paired image by image"
    elif any(shares):
        how = "from paired differences, or from the intervals where records give nothing to pair"
    else:
        how = "from the intervals, for records give nothing to pair"
    return f"Ranks are ranges, {how}, corrected for all pairs (Holm, 5 %); ranges that overlap are ties."


def board_card(board: Board) -> BoardCard:
    """The front page's view of a board."""
    ranked = [entry for entry in board.entries if not entry.is_reference]
    counts = format_count(len(ranked), "submissions") if board.entries else "no submission"
    metric = next((one for one in board.metrics if one.key in board.rankings), None)
    if metric is None:
        return BoardCard(board=board, counts=counts, n_samples=n_samples(board))
    rate = next((one for one in board.metrics if one.key == RATE), None)
    places = sorted(
        board.rankings[metric.key].places, key=lambda place: (*(board.rank(place, metric.key) or (0, 0)), place)
    )
    leaders = tuple(
        Leader(
            name=board.entries[place].name, stem=board.entries[place].stem, rank=rank_cell(board, place, metric),
            value=number_cell(board.entries[place], metric),
            rate=number_cell(board.entries[place], rate) if rate is not None else Cell(title="not measured"),
        )
        for place in places[:N_LEADERS]
    )  # fmt: skip
    return BoardCard(
        board=board, counts=counts, n_samples=n_samples(board), metric=metric,
        head=metric_head(metric), leaders=leaders, n_ranked=len(places),
    )  # fmt: skip


def latest(boards: Sequence[Board]) -> list[dict[str, str]]:
    """The latest submissions of all boards, by the date they state."""
    rows = [
        {
            "date": entry.submission.submitted[:10], "moment": entry.submission.submitted, "name": entry.name,
            "stem": entry.stem, "slug": board.slug, "task": board.title, "submitter": entry.submission.submitter,
        }
        for board in boards
        for entry in board.entries
    ]  # fmt: skip
    rows.sort(key=lambda row: (row["slug"], row["name"]))
    rows.sort(key=lambda row: row["moment"], reverse=True)
    return rows[:N_LATEST]


def families(entries: Sequence[Entry]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Families with their tokenizers' names and page stems."""
    found: dict[str, dict[str, str]] = {}
    for entry in entries:
        found.setdefault(entry.result.spec.tokenizer.family, {})[entry.name] = entry.stem
    return [(family, sorted(members.items())) for family, members in sorted(found.items())]


def card_facts(entry: Entry) -> list[Fact]:
    """What the tokenizer's card says; addresses become links only where they are plain http ones."""
    rows = [(fact.label, fact.text, fact.href or safe_link(fact.text)) for fact in tokenizer_facts(entry.result)]
    return [row for row in rows if row[0] not in ("Family", "Variant")]


def run_view(number: int, board: Board, place: int, pictures: Pictures) -> RunView:
    """A submission as its tokenizer's page shows it."""
    entry = board.entries[place]
    result, submission = entry.result, entry.submission
    section = Section(runs=(ReportRun(result=result),), labels=(entry.name,))
    ranked = [metric for metric in board.metrics if metric.is_ranked]
    rows = tuple(
        (
            group,
            [row for row in part if not row.keys and row.cells[0].status == "ok" and not row.metric.branch],
            [row for row in part if row.keys or row.cells[0].status != "ok"],
        )
        for group, part in result_rows(section)
    )
    weights = ", ".join(f"{name} sha256:{digest}" for name, digest in submission.weights.items())
    facts = [
        ("Submitted", f"{submission.submitted[:10]} by {submission.submitter}", ""),
        ("Contact", submission.contact, safe_link(submission.contact)),
        ("Licence of the numbers", submission.licence, ""),
        ("Code", submission.code, safe_link(submission.code)),
        ("Revision", submission.revision, ""),
        ("Weights", weights, ""),
        ("Records", f"sha256:{result.records.get('sha256', '')}", ""),
        *((fact.label, fact.text, "") for fact in run_facts(result)),
    ]
    return RunView(
        number=number, anchor=f"task-{board.slug}", board=board, section=section, n_samples=n_samples(board),
        ranks=tuple((m, cell) for m in ranked if (cell := rank_cell(board, place, m)).text),
        unranked="Not ranked: passes images through." if entry.is_reference else "Not ranked.",
        rows=rows, sizes=size_tables(section), tradeoff=make_tradeoff(section), topics=tuple(topics(section)),
        pictures=tuple(_pictures(entry, pictures)), facts=tuple(fact for fact in facts if fact[1]),
        notes=submission.notes, command=submission.command,
        tables=tuple((title, table) for title, table in detail_tables(result) if title != "Records"),
    )  # fmt: skip


def _pictures(entry: Entry, pictures: Pictures) -> list[Picture]:
    references = {} if entry.is_reference else pictures.references.get(entry.place, {})
    return [
        Picture(
            sample=sample, path=path, reference=references.get(sample, ""), width=pictures.size_px[path][0],
            height=pictures.size_px[path][1],
        )
        for sample, path in pictures.of.get((entry.place, entry.name), {}).items()
    ]  # fmt: skip


def n_samples(board: Board) -> str:
    """How many images the board rests on: ``96 images``."""
    if not board.entries:
        return ""
    return format_count(int(board.entries[0].result.counts["ok"]), "images")


def printed(number: float, step: float) -> str:
    """A published number with the digits it was printed with."""
    return f"{number:.{max(0, len(f'{step:.10f}'.rstrip('0').partition('.')[2]))}f}"


def index_of(boards: Sequence[Board]) -> dict[str, Any]:
    """What the comparing page starts from: boards that have something to compare, and the names of their entries."""
    shown = [board for board in boards if board.entries]
    same_title = Counter(board.title for board in shown)
    return {
        "tasks": [
            {
                "slug": board.slug,
                "title": shorten(board.title, 100) + (f" ({board.slug})" if same_title[board.title] > 1 else ""),
                "names": [entry.name for entry in board.entries],
                "first": [entry.name for entry in board.entries if not entry.is_reference][:2],
            }
            for board in shown
        ]
    }
