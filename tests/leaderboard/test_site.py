"""The site's files: what is on them, what hostile submissions cannot do to them, and that nothing is mixed."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import tomllib
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tokbench.leaderboard.collect
from tests.leaderboard.synthetic import DIGEST, edit, make_task, seal, value_of, write_submission
from tests.report.synthetic import HOSTILE
from tokbench.errors import ResultsError, UsageError
from tokbench.leaderboard.collect import collect
from tokbench.leaderboard.names import page_stem, safe_link
from tokbench.leaderboard.site import MARK, Built, build_site
from tokbench.tasks.task import Task

REPOSITORY = Path(__file__).resolve().parents[2]
FORMULAS = ('=HYPERLINK("http://x")', "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1")


class Reader(HTMLParser):
    """Elements with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def build(results: Path, out: Path, *known: Task, strict: bool = False) -> Built:
    return build_site(results, out, tasks={task.name: task for task in known or (make_task(),)}, strict=strict)


def page(out: Path, name: str) -> Reader:
    return Reader((out / name).read_text(encoding="utf-8"))


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def every_page(out: Path) -> Iterator[tuple[str, Reader]]:
    for path in sorted(out.rglob("*.html")):
        yield path.relative_to(out).as_posix(), Reader(path.read_text(encoding="utf-8"))


def spread(mean: float, n: int = 40, seed: int = 0) -> list[float]:
    """Values of exactly this mean; images are hard or easy alike for everybody."""
    base = np.random.default_rng(5).normal(0, 3, n) + np.random.default_rng(seed).normal(0, 0.2, n)
    return (base - base.mean() + mean).tolist()  # type: ignore[no-any-return]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    root = tmp_path / "results"
    for seed, (name, mean, bits) in enumerate((("a/good", 33.0, 2.0), ("a/twin", 33.01, 1.0), ("b/bad", 25.0, 0.5))):
        write_submission(root, name, images={"psnr": spread(mean, seed=seed), "bpp": [bits] * 40})
    image = np.zeros((16, 16, 3), np.uint8)
    write_submission(
        root,
        "identity",
        images={"psnr": [100.0] * 40},
        card={"latent": "none"},
        originals=True,
        pictures={"image/00003": image},
    )
    write_submission(
        root, "c/dear", images={"psnr": spread(20.0)}, pictures={"image/00003": image + 9}, card={"latent": "codec"}
    )
    return root


# ---- what is shown ---------------------------------------------------------------------------------------------------


def test_ranks_ties_missing_and_references(results: Path, tmp_path: Path) -> None:
    built = build(results, tmp_path / "site", strict=True)
    assert built.boards == {"board": 5}
    frame = pd.read_csv(tmp_path / "site/tables/board.csv").set_index("tokenizer")
    assert frame.index.tolist() == ["identity", "a/twin", "a/good", "b/bad", "c/dear"]
    assert frame["row"].tolist() == ["reference", *["ranked"] * 4]
    best, worst = frame["psnr.rank_best"], frame["psnr.rank_worst"]
    assert (best["a/good"], worst["a/good"]) == (best["a/twin"], worst["a/twin"]) == (1, 2)
    assert (best["b/bad"], worst["b/bad"]) == (3, 3)
    assert (best["c/dear"], worst["c/dear"]) == (4, 4)
    assert np.isnan(best["identity"])
    assert np.isnan(frame["bpp"]["c/dear"])
    task = page(tmp_path / "site", "tasks/board.html")
    assert "1–2" in task.text
    missing = [attrs["title"] for tag, attrs in task.elements if tag == "abbr"]
    assert missing.count("not measured") == 2  # identity and c/dear have no rate
    assert "not ranked: passes images through" in missing
    front = page(tmp_path / "site", "index.html").text
    assert "1–2 a/good" in front
    assert "identity" not in front.partition("Latest submissions")[0]


def test_tables_agree(results: Path, tmp_path: Path) -> None:
    build(results, tmp_path / "site")
    tables = tmp_path / "site/tables"
    one, two = pd.read_csv(tables / "board.csv"), pd.read_parquet(tables / "board.parquet")
    assert one["psnr"].tolist() == two["psnr"].tolist()
    assert str(two["psnr.rank_best"].dtype) == "Int64"
    lines = (tables / "board.md").read_text(encoding="utf-8").splitlines()
    rows = {line.split(" | ")[0].strip("| "): line for line in lines if line.startswith("|")}
    assert "1–2" in rows["a/good"]
    assert "reference" in rows["identity"]
    assert rows["c/dear"].rstrip(" |").endswith("–")
    values = pd.read_csv(tables / "all.csv")
    assert set(values["tokenizer"]) == set(one["tokenizer"])


def test_the_same_results_give_the_same_bytes(results: Path, tmp_path: Path) -> None:
    build(results, tmp_path / "one")
    build(results, tmp_path / "two")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_pages_need_nothing_from_elsewhere_and_all_links_lead_somewhere(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    build(results, out)
    for name, reader in every_page(out):
        for tag, attrs in reader.elements:
            for key in ("href", "src"):
                address = attrs.get(key)
                if not address or address == "data:,":
                    continue
                if address.startswith("#"):
                    assert any(a.get("id") == address[1:] for _, a in reader.elements), (name, address)
                elif tag != "a" or not address.startswith("https://"):
                    target = (out / name).parent / address.partition("#")[0]
                    assert target.is_file(), (name, address)


def test_a_tokenizer_has_its_facts_pictures_and_command(results: Path, tmp_path: Path) -> None:
    build(results, tmp_path / "site")
    reader = page(tmp_path / "site", "tokenizers/c__dear.html")
    images = [str(attrs["src"]) for tag, attrs in reader.elements if tag == "img"]
    assert len(images) == 2  # the reference comes from identity, whose picture is the original
    content = {(tmp_path / "site/tokenizers" / name).resolve().read_bytes() for name in images}
    assert content == {p.read_bytes() for p in results.rglob("*.png")}
    for words in ("tokbench run --tokenizer c/dear", "A lab", "MIT", DIGEST[:20], "coded file"):
        assert words in reader.text


def test_comparing_data_has_values_pairs_and_pictures(results: Path, tmp_path: Path) -> None:
    build(results, tmp_path / "site")
    text = (tmp_path / "site/data/board.js").read_text(encoding="utf-8")
    head, _, body = text.partition("] = ")
    assert head == '(globalThis.tokbench ??= {})["board"'
    data = json.loads(body.rstrip().removesuffix(";"))
    names = [entry["name"] for entry in data["entries"]]
    pairs = data["pairs"][str([metric["key"] for metric in data["metrics"]].index("psnr"))]
    ranked = [names[place] for place in pairs["places"]]
    assert ranked == ["a/twin", "a/good", "b/bad", "c/dear"]
    assert pairs["verdicts"] == "nwwwww"
    assert len(pairs["halves"]) == 6
    assert data["references"].keys() == {"image/00003"}
    assert data["entries"][names.index("c/dear")]["pictures"].keys() == {"image/00003"}


# ---- what is not mixed -----------------------------------------------------------------------------------------------


def test_versions_and_data_have_pages_of_their_own(tmp_path: Path) -> None:
    root, new = tmp_path / "results", make_task(version=2)
    write_submission(root, "a/old", task=make_task(version=1))
    write_submission(root, "a/new", task=new)
    write_submission(root, "a/new2", task=new)
    write_submission(root, "a/other", task=new, digest="sha256:" + "cd" * 32)
    build(root, tmp_path / "site", new, strict=True)
    tasks = tmp_path / "site/tasks"
    assert sorted(path.stem for path in tasks.iterdir()) == ["board", "board-v1", "board-v2-cdcdcdcd"]
    for stem, own in (("board", {"a/new", "a/new2"}), ("board-v1", {"a/old"}), ("board-v2-cdcdcdcd", {"a/other"})):
        assert set(pd.read_csv(tmp_path / f"site/tables/{stem}.csv")["tokenizer"]) == own
    assert "version 1" in page(tmp_path / "site", "tasks/board.html").text


def test_other_versions_of_a_metric_are_missing_with_the_reason(tmp_path: Path) -> None:
    root = tmp_path / "results"
    write_submission(root, "a/new", values={"psnr": value_of("psnr", value=31.0, version=2, ci95=(30.0, 32.0))})
    write_submission(root, "a/old")
    build(root, tmp_path / "site")
    titles = [a.get("title") for tag, a in page(tmp_path / "site", "tasks/board.html").elements if tag == "abbr"]
    assert "measured with version 1 of the metric; this column is of version 2" in titles


def test_published_rows_are_marked_and_never_ranked(tmp_path: Path) -> None:
    from tokbench.tasks.catalogue import tasks

    root = tmp_path / "results"
    (root / "published").mkdir(parents=True)
    for path in (REPOSITORY / "results/published").iterdir():
        (root / "published" / path.name).write_bytes(path.read_bytes())
    task = tasks()["tokbench-256"]
    accuracy = value_of("t_acc.parseq", value=0.9, ci95=(0.8, 1.0), aggregate="pooled", title="Words read")
    write_submission(root, "a/b", task=task, values={"t_acc.parseq": accuracy})
    build_site(root, tmp_path / "site")
    frame = pd.read_csv(tmp_path / "site/tables/tokbench-256.csv")
    published = frame[frame["row"] == "published"]
    assert len(published) == 20
    assert published["t_acc.parseq.rank_best"].isna().all()
    assert published.set_index("tokenizer")["t_acc.parseq"]["UniTok f16"] == pytest.approx(0.4459)
    assert frame.set_index("tokenizer")["t_acc.parseq.rank_best"]["a/b"] == 1
    reader = page(tmp_path / "site", "tasks/tokbench-256.html")
    assert reader.words.count("published") == 20
    assert "https://github.com/wjf5203/TokBench" in [attrs.get("href") for _, attrs in reader.elements]
    assert "Published, not measured again" in reader.text
    assert "No submission yet" in page(tmp_path / "site", "tasks/tokbench-512.html").text


# ---- what is left out ------------------------------------------------------------------------------------------------


def broken(folder: Path, how: str) -> None:
    """Damage a submission."""
    about, result = folder / "submission.json", folder / "result.json"

    def change(name: str, **fields: Any) -> None:
        edit(folder, name, lambda row: row.update(fields))

    def spec(part: str, **fields: Any) -> None:
        edit(folder, "result.json", lambda row: row["spec"][part].update(fields))

    def outside(row: dict[str, Any]) -> None:
        row["files"]["../../../secret"] = {"bytes": 3, "sha256": sha256(b"abc").hexdigest()}

    def absent(row: dict[str, Any]) -> None:
        row["files"].pop("records.jsonl.gz")

    match how:
        case "partial":
            change("result.json", status="partial", reason="--limit 3")
        case "failed samples":
            change("result.json", counts={"ok": 2, "failed": 1})
        case "fewer samples":
            change("result.json", counts={"ok": 2, "failed": 0})
        case "unknown task":
            spec("task", name="elsewhere")
        case "other definition":
            spec("task", compare_on="source")
        case "future task":
            spec("task", version=9)
        case "other name":
            spec("tokenizer", name="x/y")
        case "no json":
            about.write_text("{", encoding="utf-8")
        case "deep json":
            about.write_text("[" * 100_000, encoding="utf-8")
        case "wrong types":
            change("submission.json", submitter=["x"])
        case "no number":
            edit(folder, "result.json", lambda row: row["values"]["psnr"].update(value=float("nan")))
        case "other digest":
            edit(folder, "result.json", lambda row: row["spec"].update(manifest_digest="sha256:../x"))
        case "future schema":
            change("result.json", schema_version=99)
        case "edited result":
            result.write_text(result.read_text(encoding="utf-8").replace("31.0", "99.0"), encoding="utf-8")
        case "records cut":
            (folder / "records.jsonl.gz").write_bytes((folder / "records.jsonl.gz").read_bytes()[:-9])
            seal(folder, "a/b", "board", {})
        case "bomb":
            (folder / "records.jsonl.gz").write_bytes(gzip.compress(bytes(40_000_000)))
            seal(folder, "a/b", "board", {})
        case "no influences":
            (folder / "influences.npz").write_bytes(b"no")
            seal(folder, "a/b", "board", {})
            edit(folder, "result.json", lambda row: row["values"]["psnr"].update(aggregate="pooled"))
        case "large picture":
            (folder / "pictures/1.png").write_bytes(bytes(3_000_000))
            seal(folder, "a/b", "board", {"image/00000": "pictures/1.png"})
        case "outside":
            (folder.parents[2] / "secret").write_bytes(b"abc")
            edit(folder, "submission.json", outside)
        case "no digest":
            edit(folder, "submission.json", absent)
        case "no picture":
            (folder / "pictures/1.png").write_bytes(b"<svg onload=alert(1)>")
            seal(folder, "a/b", "board", {"image/00000": "pictures/1.png"})
        case "empty":
            for path in folder.glob("*.*"):
                path.unlink()


CASES = {
    "partial": "the run is partial", "failed samples": "1 samples failed", "fewer samples": "2 of 3 samples",
    "unknown task": "unknown", "other definition": "not defined as version 1", "future task": "version 9",
    "other name": "not named after", "no json": "cannot read submission.json", "deep json": "malformed",
    "wrong types": "submission.json: submitter is ['x']", "no number": "value is nan",
    "other digest": "manifest_digest", "future schema": "schema version 99", "edited result": "result.json has",
    "no influences": "influences.npz is malformed",
    "bomb": "unpacks to more than 16 MiB", "large picture": "larger than",
    "records cut": "records.jsonl.gz", "outside": "outside", "no digest": "no digest of records.jsonl.gz",
    "no picture": "not a PNG", "empty": "not a submission",
}  # fmt: skip


@pytest.mark.parametrize("how", list(CASES))
def test_what_cannot_be_shown_is_left_out_with_the_reason(tmp_path: Path, how: str) -> None:
    root = tmp_path / "results"
    write_submission(root, "a/fine")
    broken(write_submission(root, "a/b"), how)
    built = build(root, tmp_path / "site")
    assert built.boards == {"board": 1}
    (skipped,) = built.skipped
    assert skipped.path == "board/a__b"
    assert CASES[how] in skipped.reason
    assert str(tmp_path) not in skipped.reason
    assert CASES[how] in page(tmp_path / "site", "index.html").text
    with pytest.raises(ResultsError, match="board/a__b"):
        build(root, tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()


def test_links_are_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "results"
    folder = write_submission(tmp_path / "elsewhere", "a/b")
    (root / "board").mkdir(parents=True)
    (root / "board/a__b").symlink_to(folder)
    assert build(root, tmp_path / "site").skipped[0].reason.startswith("a link")


@pytest.mark.parametrize("exists", [True, False])
def test_no_results_is_a_site_too(tmp_path: Path, exists: bool) -> None:
    if exists:
        (tmp_path / "results").mkdir()
    built = build(tmp_path / "results", tmp_path / "site", strict=True)
    assert built.boards == {}
    assert "no submission yet" in page(tmp_path / "site", "index.html").text
    assert "no submission to compare" in page(tmp_path / "site", "compare.html").text


def test_only_a_site_is_replaced(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    out.mkdir()
    build(results, out)
    (out / "tokenizers/stale.html").write_text("old")
    build(results, out)
    assert not (out / "tokenizers/stale.html").exists()
    (out / MARK).unlink()
    with pytest.raises(UsageError, match="no leaderboard"):
        build(results, out)
    for inside in (results / "site", results, tmp_path):
        with pytest.raises(UsageError, match="contain each other"):
            build(results, inside)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="not a folder"):
        build(results, tmp_path / "link")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


# ---- hostile texts ---------------------------------------------------------------------------------------------------

EVERYTHING = " ".join(HOSTILE)


def hostile_results(root: Path) -> Path:
    """Submissions that write where they can what should do harm."""
    bad = value_of(
        "psnr",
        key=HOSTILE[0],
        metric=HOSTILE[0],
        title=EVERYTHING,
        group="pixel",
        unit=HOSTILE[1],
        value=1.0,
        ci95=(0.5, 2),
    )
    card = {"title": EVERYTHING, "licence": FORMULAS[0], "weights_licence": HOSTILE[1], "paper": "javascript:alert(4)",
            "repository": "javascript:alert(5)", "notes": HOSTILE, "side_information": EVERYTHING}  # fmt: skip
    image = np.zeros((8, 8, 3), np.uint8)
    for name in ("a/b", "a/c"):
        write_submission(
            root, name, images={"psnr": [1.0, 2.0, 3.0], "bpp": [1.0] * 3}, values={bad.key: bad}, card=card,
            pictures={HOSTILE[0]: image, EVERYTHING: image}, environment={text: {text: [text]} for text in HOSTILE},
            submission={
                "submitter": FORMULAS[1] + EVERYTHING, "contact": "data:text/html,<script>alert(6)</script>",
                "licence": EVERYTHING, "revision": HOSTILE[4], "code": "https://good.example@evil.example/x",
                "command": EVERYTHING, "notes": EVERYTHING, "weights": {HOSTILE[0]: HOSTILE[2]},
                "submitted": HOSTILE[1],
            },
        )  # fmt: skip
    return root


def let_everything_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the schemas away: the pages must hold what no schema stopped."""
    monkeypatch.setattr(tokbench.leaderboard.collect, "_check_shape", lambda submitted: None)


def test_hostile_texts_meet_the_schemas_first(tmp_path: Path) -> None:
    built = build(hostile_results(tmp_path / "results"), tmp_path / "site")
    assert not built.boards
    assert all("expected" in item.reason for item in built.skipped)


def test_hostile_texts_stay_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    let_everything_in(monkeypatch)
    out = tmp_path / "site"
    build(hostile_results(tmp_path / "results"), out, strict=True)
    for name, reader in every_page(out):
        text = (out / name).read_text(encoding="utf-8")
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x1b]", text), name
        for tag, attrs in reader.elements:
            assert not [key for key in attrs if key.startswith("on") or key in ("style", "srcdoc", "action")], (
                name,
                tag,
            )
            assert tag not in ("iframe", "object", "embed", "base"), name
            if tag == "img":
                assert attrs["src"] == "data:," or str(attrs["src"]).startswith("../pictures/"), name
            if tag == "script" and "src" not in attrs:
                assert attrs == {"type": "application/json", "id": "index"}, name
            href = attrs.get("href")
            if href and ":" in href:
                assert href.startswith("https://") or href == "data:,", (name, href)
                assert "evil" not in href
    assert "alert(1)" in page(out, "tokenizers/a__b.html").text
    data = (out / "data/board.js").read_text(encoding="utf-8")
    assert "<" not in data
    assert "\u2028" not in data


def test_formulas_are_neutralised_in_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    let_everything_in(monkeypatch)
    root = tmp_path / "results"
    for number, text in enumerate(FORMULAS):
        name = f"a/v{number}"
        write_submission(
            root, name, card={"title": text, "licence": text}, submission={"submitter": text, "code": text}
        )
    key = FORMULAS[0]
    write_submission(root, "a/z", values={key: value_of("psnr", key=key, metric=key, group="face", value=-1.0)})
    build(root, tmp_path / "site", strict=True)
    for table in (tmp_path / "site/tables").glob("*.csv"):
        for row in csv.reader(io.StringIO(table.read_bytes().decode(), newline="")):
            for cell in row:
                is_number = re.fullmatch(r"-?[0-9.e+-]+", cell) is not None
                assert is_number or not cell.startswith(("=", "+", "-", "@", "\t", "\r")), (table.name, cell)


def test_markdown_holds_no_markup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    let_everything_in(monkeypatch)
    build(hostile_results(tmp_path / "results"), tmp_path / "site")
    text = (tmp_path / "site/tables/board.md").read_text(encoding="utf-8")
    assert "<script" not in text.replace("\\<", "")
    widths = {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1


# ---- names -----------------------------------------------------------------------------------------------------------


def test_page_stems_are_safe_and_distinct() -> None:
    assert page_stem("lbg/d8") == "lbg__d8"
    assert page_stem("identity") == "identity"
    names = [
        "a/b",
        "a__b",
        "a/b.",
        "con",
        "con/x",
        "a/" + "x" * 300,
        "a/" + "x" * 301,
        "../../etc",
        "A/B",
        "a/b\n",
        "\ud800",
    ]
    stems = [page_stem(name) for name in names]
    assert len({stem.lower() for stem in stems}) == len(names)
    for stem in stems:
        assert re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", stem), stem
        assert len(stem) <= 90
        assert ".." not in stem
        assert os.path.basename(stem) == stem  # noqa: PTH119
    assert stems == [page_stem(name) for name in names]


@pytest.mark.parametrize(
    "text",
    ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "//evil.example", "https://a@b.example", "ftp://x.example",
     "https://", "http:///x", "https://x.example/\"onclick=", "https://x.example/ y", "https://x.example/\u202e", "https://[",
     "file:///etc/passwd", "\x01https://x.example", "https://x.example\\@y", "https:x.example"],
)  # fmt: skip
def test_what_is_no_plain_address_becomes_no_link(text: str) -> None:
    assert safe_link(text) == ""


def test_plain_addresses_are_links() -> None:
    for text in ("https://github.com/a/b?c=d#e", "http://example.org"):
        assert safe_link(text) == text


# ---- the library -----------------------------------------------------------------------------------------------------


def test_the_table_library_is_the_one_that_is_noted() -> None:
    static = files("tokbench.leaderboard").joinpath("static")
    note = tomllib.loads(static.joinpath("datatables.toml").read_text(encoding="utf-8"))
    content = static.joinpath("datatables.min.js").read_bytes()
    assert sha256(content).hexdigest() == note["sha256"]
    assert f"DataTables {note['version']}".encode() in content[:100]
    assert note["licence"] in static.joinpath("datatables.LICENSE.txt").read_text(encoding="utf-8")


def test_what_lies_in_published_is_no_submission(results: Path) -> None:
    (results / "published").mkdir()
    (results / ".git").mkdir()
    (results / "README.md").write_text("x")
    found = collect(results, tasks={"board": make_task()})
    assert len(found.entries) == 5
    assert not found.skipped


# ---- the whole -------------------------------------------------------------------------------------------------------


def test_a_sweep_shows_its_curve(tmp_path: Path) -> None:
    root = tmp_path / "results"
    values = {
        key: value_of(metric, key=key, branch=key.partition("@")[2], value=number, ci95=(number - 0.1, number + 0.1))
        for metric, numbers in (("psnr", (20.0, 25.0)), ("bpp", (0.2, 0.5)))
        for key, number in zip((f"{metric}@length=1", f"{metric}@length=2"), numbers, strict=True)
    }
    folder = write_submission(root, "a/b", values=values, card={"prefix_axis": "streams", "max_length": 4})
    branches = ["length=1", "length=2"]

    def make_sweep(row: dict[str, Any]) -> None:
        row["spec"].update(branches=branches, curves={"a/b": [*branches, ""]})

    edit(folder, "result.json", make_sweep)
    build(root, tmp_path / "site", strict=True)
    reader = page(tmp_path / "site", "tokenizers/a__b.html")
    assert "Rate–distortion" in reader.text
    labels = [str(attrs.get("aria-label")) for tag, attrs in reader.elements if tag == "svg"]
    curve = next(label for label in labels if "by bits per pixel" in label)
    assert all(words in curve for words in ("length 1", "length 2", "length 4"))


def test_the_repository_s_own_results(tmp_path: Path) -> None:
    built = build_site(REPOSITORY / "results", tmp_path / "site", strict=True)
    assert built.boards["quick"] >= 1
    assert (tmp_path / "site/index.html").stat().st_size < 2_000_000


def test_command_line(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    import tokbench.leaderboard.site
    from tokbench.cli.main import cli

    monkeypatch.setattr(tokbench.leaderboard.site, "registered_tasks", lambda: {"board": make_task()})
    broken(write_submission(results, "z/bad"), "partial")
    out = tmp_path / "site"
    done = CliRunner().invoke(cli, ["leaderboard", "build", str(results), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["boards"] == {"board": 5}
    assert said["skipped"][0]["path"] == "board/z__bad"
    assert said["bytes"] == sum(len(content) for content in tree(out).values())
    plain = CliRunner().invoke(cli, ["leaderboard", "build", str(results), "--out", str(out)])
    assert "board: 5 submissions" in plain.output
    assert "left out: board/z__bad: the run is partial" in plain.output
    strict = CliRunner().invoke(cli, ["leaderboard", "build", str(results), "--out", str(out), "--strict"])
    assert isinstance(strict.exception, ResultsError)
