from __future__ import annotations

import base64
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.report.synthetic import HOSTILE
from tests.report.test_report_html import Page, check_self_contained, data_of
from tests.report.words import NO_LABEL, NOT_READ, read_run
from tokbench.errors import ResultsError
from tokbench.report.crops import CropStore, crop_box
from tokbench.report.html import render_report
from tokbench.report.recognisers import Place, by_group, choose, find_regions, recognisers
from tokbench.report.regions import Panel, Regions, make_regions
from tokbench.report.runs import ReportRun, Section, make_sections

BIG = 10**9


def section_of(*runs: ReportRun) -> Section:
    (section,) = make_sections(runs)
    return section


def panels_of(*runs: ReportRun, budget: int = BIG) -> tuple[Regions, dict[str, Panel]]:
    made = make_regions(section_of(*runs), CropStore(budget=budget))
    return made, {panel.recogniser.key: panel for _, panels in made.kinds for panel in panels}


def pixels_of(uri: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))


def test_worst_first_by_group_with_counts(runs: dict[str, Path]) -> None:
    run = read_run(runs["plain"])
    _, panels = panels_of(run)
    assert list(panels) == ["rapidocr", "dlib"]
    assert [group.name for group in panels["rapidocr"].groups] == ["small", "medium", "large"]
    small, _, large = panels["rapidocr"].groups
    assert small.extent == "8 to 12 px high"
    assert (large.items, large.shown, large.counts) == ((), "no words", ())
    words = [region for record in run.records for region in record.branches[""].regions if region.kind == "word"]
    judged = [region for region in words if region.group == "small" and region.values]
    n_wrong = sum(region.values["t_acc.rapidocr"] < 1 for region in judged)
    assert small.counts == ((0, f"{n_wrong} of {len(judged)} words misread"),)
    marks = [item.answers[1].mark for item in small.items]
    assert marks == sorted(marks, reverse=True)  # wrong before right
    assert marks.count("right") <= 3
    assert len(small.items) <= 12
    faces = [item.answers[1].verdict for group in panels["dlib"].groups for item in group.items]
    assert faces
    assert all("similarity 0." in text and "recognised" in text for text in faces)
    assert panels["dlib"].groups[2].items[0].title == "poker_4"


def test_what_was_left_out_is_counted_by_reason(runs: dict[str, Path]) -> None:
    run, other = read_run(runs["plain"]), read_run(runs["other"])
    _, panels = panels_of(run, other)
    regions = [region for record in run.records for region in record.branches[""].regions]
    counts = {
        reason: sum(region.reasons.get("t_acc.rapidocr") == reason for region in regions)
        for reason in (NO_LABEL, NOT_READ)
    }
    ((who, texts),) = panels["rapidocr"].left_out
    assert who is None  # both runs agree
    assert set(texts) == {f"{n} word{'s' * (n != 1)} ({reason})" for reason, n in counts.items() if n}
    assert "it has no five key points" in panels["dlib"].left_out[0][1][0]


def test_several_runs_show_the_same_word_side_by_side(runs: dict[str, Path]) -> None:
    first, second = read_run(runs["plain"]), read_run(runs["other"], readings=("Sharp", "Country", "Z4", "Rope"))
    made, panels = panels_of(first, second)
    item = panels["rapidocr"].groups[0].items[0]
    assert [answer.label for answer in item.answers] == ["Original", "toy/quantise_4bit", "toy/quantise_3bit"]
    assert [answer.mark for answer in item.answers] == ["", "wrong", "right"]
    assert item.answers[2].verdict == "read"
    crops = [answer.crop for answer in item.answers]
    assert len(set(crops)) == 3
    turned, _ = panels_of(second, first)
    assert len(made.items) == len(turned.items)


def test_a_tie_in_the_first_run_goes_by_the_others(runs: dict[str, Path]) -> None:
    good = read_run(runs["plain"], readings=("Sharp", "Country", "Z4", "Rope"))
    bad = read_run(runs["other"])
    section = section_of(good, bad)
    (engine,) = recognisers(section, "word")
    found = find_regions(section, "word")
    places = by_group(engine, found, ["small"])["small"]
    second = [region.values["t_acc.rapidocr"] for place in places if (region := found[place][1]) is not None]
    assert second == sorted(second)
    chosen = choose(engine, places, found, available=set())
    readings = [region for place in chosen if (region := found[place][1]) is not None]
    assert sum(region.values["t_acc.rapidocr"] == 1 for region in readings) <= 3
    only = choose(engine, places, found, available={places[-1].sample})
    assert {place.sample for place in only} == {places[-1].sample}


def test_crops_are_exact_and_embedded_once(runs: dict[str, Path]) -> None:
    run = read_run(runs["plain"], engines=("rapidocr", "parseq"))
    store = CropStore(budget=BIG)
    made = make_regions(section_of(run), store)
    assert len(store.uris) == len(set(store.uris))
    used = {crop for item in made.items for crop in item["crops"]}
    assert used == set(range(len(store.uris)))
    one, two = (panel.groups[0].items[0] for panel in made.kinds[0][1])
    assert [answer.crop for answer in one.answers] == [answer.crop for answer in two.answers]
    item = made.items[one.number]
    kept = next(picture for picture in run.pictures if picture.id == one.id)
    for file, crop in zip((kept.reference, kept.branches[""]), item["crops"], strict=True):
        with Image.open(file) as image:
            place = crop_box(item["box"], image.size)
            assert place is not None
            x0, y0, x1, y1 = place
            assert np.array_equal(pixels_of(store.uris[crop]), np.asarray(image.convert("RGB"))[y0:y1, x0:x1])
    assert one.shape is not None
    assert one.shape.scale >= 2


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((10.2, 10.0, 20.0, 15.0), (8, 8, 22, 17)),
        ((-5.0, -5.0, 4.0, 3.0), (0, 0, 6, 5)),
        ((0.0, 0.0, 500.0, 500.0), (0, 0, 48, 40)),
        ((60.0, 1.0, 70.0, 9.0), None),
        ((5.0, 5.0, 5.0, 9.0), None),
        ((float("nan"), 5.0, 9.0, 9.0), None),
    ],
)
def test_crop_box(box: tuple[float, ...], expected: tuple[int, ...] | None) -> None:
    assert crop_box(box, (48, 40)) == expected


def test_the_budget_goes_to_the_worst_of_every_group(runs: dict[str, Path]) -> None:
    everything, _ = panels_of(read_run(runs["plain"]))
    _, panels = panels_of(read_run(runs["plain"]), budget=9000)
    shown = [len(group.items) for panel in panels.values() for group in panel.groups if group.counts]
    assert min(shown) >= 1
    assert sum(shown) < len(everything.items)
    assert panels["rapidocr"].groups[0].shown.startswith(f"{len(panels['rapidocr'].groups[0].items)} of ")


def test_boxes_outside_every_picture_and_words_without_a_group(runs: dict[str, Path]) -> None:
    made, panels = panels_of(read_run(runs["plain"], group=None, box=(500.0, 500.0, 520.0, 510.0)))
    assert [group.name for group in panels["rapidocr"].groups] == ["small", "medium", "large", ""]
    items = panels["rapidocr"].groups[-1].items
    assert items
    assert all(answer.crop is None for item in items for answer in item.answers)
    assert made.items[items[0].number]["crops"] == [None, None]


def test_a_run_without_pictures_still_says_what_was_read(runs: dict[str, Path]) -> None:
    run = dataclasses.replace(read_run(runs["plain"]), pictures=())
    text = render_report([run])
    page = Page(text)
    assert data_of(text)["crops"] == []
    assert "words misread" in page.text["page"]
    assert "(missing e)" in page.text["page"]
    assert "nothing read" in page.text["page"]
    partly = dataclasses.replace(run, pictures=read_run(runs["plain"]).pictures[:2])
    assert "whose pictures were kept" in render_report([partly])


def test_no_section_without_readings(runs: dict[str, Path]) -> None:
    run = read_run(runs["plain"])
    text = render_report([dataclasses.replace(run, records=())])
    assert ">Words and faces</h3>" not in text
    without = tuple(
        dataclasses.replace(record, branches={"": dataclasses.replace(record.branches[""], regions=())})
        for record in run.records
    )
    assert ">Words and faces</h3>" not in render_report([dataclasses.replace(run, records=without)])


def test_a_recogniser_the_first_run_lacks(runs: dict[str, Path]) -> None:
    first, second = read_run(runs["plain"]), read_run(runs["other"], engines=("parseq",))
    _, panels = panels_of(first, second)
    assert list(panels) == ["rapidocr", "parseq", "dlib"]
    item = panels["parseq"].groups[0].items[0]
    assert [answer.verdict for answer in item.answers[1:]] == ["not measured", "misread, similarity 0.00"]
    assert panels["parseq"].left_out[0][0] == 1


def test_unreadable_pictures_are_named(runs: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnope")
    with pytest.raises(ResultsError, match=r"broken\.png is not a readable picture"):
        CropStore(budget=BIG).cut(broken, (0, 0, 1, 1), kind="word")


def test_a_long_crop_is_reduced(tmp_path: Path) -> None:
    file = tmp_path / "large.png"
    Image.new("RGB", (600, 500), (10, 20, 30)).save(file)
    cut = CropStore(budget=BIG).cut(file, (0, 0, 600, 500), kind="face")
    assert cut is not None
    uri, shape = cut
    assert (shape.width, shape.height) == (120, 100)
    assert shape.scale == pytest.approx(1 / 5)
    assert pixels_of(uri).shape == (100, 120, 3)


def test_hostile_labels_and_readings_stay_texts(runs: dict[str, Path]) -> None:
    text = render_report([read_run(runs["plain"], labels=HOSTILE, readings=HOSTILE[::-1])])
    page = Page(text)
    check_self_contained(text, page)
    assert len(page.all("script")) == 2
    assert not any(char in text for char in "\u2028\u2029\u202e\u2066\x1b\x07")
    shown = page.text["page"]
    assert "<script>alert(1)</script>" in shown
    assert "x" * 200 not in shown


def test_every_word_names_its_sample_and_place(runs: dict[str, Path]) -> None:
    text = render_report([read_run(runs["plain"])])
    section: dict[str, Any] = data_of(text)["sections"][0]
    assert section["plain"] == [0]
    for item in section["items"]:
        assert section["samples"][item["sample"]]["id"] == item["id"]
        assert len(item["box"]) == 4
    small = render_report([read_run(runs["plain"])], picture_budget=20_000)
    assert {item["sample"] is None for item in data_of(small)["sections"][0]["items"]} == {True, False}


def test_places_order_by_sample_then_number() -> None:
    assert sorted([Place("b", 0), Place("a", 2), Place("a", 1)])[0] == ("a", 1)
