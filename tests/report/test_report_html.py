from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.report.synthetic import HOSTILE
from tokbench.errors import ResultsError, UsageError
from tokbench.report import html
from tokbench.report.html import json_for_script, render_report, write_report
from tokbench.report.pictures import to_data_uri
from tokbench.report.runs import load_run, make_sections

VOID = {"meta", "link", "img", "input", "br", "wbr"}


class Page(HTMLParser):
    """Elements with attributes, text, and a complaint for every tag that is not closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        last = self._open.pop()
        assert last == tag, f"</{tag}> closes <{last}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        kind = self._open[-1] if self._open and self._open[-1] in ("script", "style") else "page"
        self.text[kind] = self.text.get(kind, "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(*folders: Path) -> tuple[str, Page]:
    text = render_report([load_run(folder) for folder in folders])
    return text, Page(text)


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def check_self_contained(text: str, page: Page) -> None:
    """Nothing is fetched from anywhere; the only links out are papers'."""
    for tag, attributes in page.elements:
        for name in ("src", "srcset", "href", "action", "data", "poster", "xlink:href", "background"):
            value = attributes.get(name)
            if value is None:
                continue
            is_paper = tag == "a" and re.match(r"https://(arxiv\.org/abs|doi\.org)/[\w./-]+$", value)
            assert is_paper or value.startswith(("#", "data:")), (tag, name, value)
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
    assert {tag for tag, _ in page.elements}.isdisjoint({"iframe", "object", "embed", "base", "form"})
    style = (page.text["style"]).lower()
    assert "url(" not in style
    assert "@import" not in style


def test_one_run_has_every_part(runs: dict[str, Path]) -> None:
    text, page = page_of(runs["other"])
    check_self_contained(text, page)
    for title in (
        "Results",
        "Size groups",
        "Spread over samples",
        "Pictures",
        "Failed samples",
        "Spec and environment",
    ):
        assert f">{title}</h3>" in text, title
    for title in ("Citation", "How to read this page"):
        assert f">{title}</h2>" in text, title
    shown = page.text["page"]
    for part in ("needs 2,048 images, got 12", "division by zero", "encodings have no size", "out of memory", "empty"):
        assert part in shown, part
    assert "arXiv 2505.18142" in shown
    assert "tokbench run --tokenizer toy/quantise_3bit --task quick" in shown
    assert "Encoding length" not in shown


def test_every_id_is_unique_and_every_anchor_exists(runs: dict[str, Path]) -> None:
    _, page = page_of(*runs.values())
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {str(attributes["href"])[1:] for attributes in page.all("a") if str(attributes["href"]).startswith("#")}
    assert targets <= set(ids)
    labelled = {attributes["aria-labelledby"] for _, attributes in page.elements if "aria-labelledby" in attributes}
    assert labelled <= set(ids)


def test_numbers_are_rounded(runs: dict[str, Path]) -> None:
    """Nothing but the result's own digests and data shows more decimals than anyone can use."""
    text, page = page_of(runs["plain"], runs["other"])
    assert not re.findall(r"\d\.\d{8,}", page.text["page"])
    without_pictures = {**data_of(text), "images": []}
    assert not re.findall(r"\d\.\d{8,}", json.dumps(without_pictures))


def test_runs_side_by_side_and_apart(runs: dict[str, Path]) -> None:
    text, page = page_of(*runs.values())
    assert "groups of runs that cannot be compared" in page.text["page"]
    assert text.count('<section class="group"') == 2
    together, _ = page_of(runs["plain"], runs["other"])
    assert "cannot be compared" not in together
    sections = make_sections([load_run(folder) for folder in runs.values()])
    assert [section.labels for section in sections] == [
        ("toy/quantise_4bit", "toy/quantise_3bit", "vary/length"), ("toy/elsewhere",),
    ]  # fmt: skip


def test_equal_tokenizers_get_different_labels(runs: dict[str, Path]) -> None:
    run = load_run(runs["plain"])
    twin = dataclasses.replace(
        run, result=dataclasses.replace(run.result, spec=dataclasses.replace(run.result.spec, dtype="float16"))
    )
    (section,) = make_sections([run, twin, twin])
    assert section.labels == (
        "toy/quantise_4bit (float32)", "toy/quantise_4bit (float16)", "toy/quantise_4bit (float16) #3",
    )  # fmt: skip


def test_metrics_of_different_versions_are_marked(runs: dict[str, Path]) -> None:
    run = load_run(runs["plain"])
    newer = dataclasses.replace(run.result.values["psnr"], version=2)
    other = dataclasses.replace(run.result, values={**run.result.values, "psnr": newer})
    text = render_report([run, dataclasses.replace(run, result=other)])
    assert "versions 1, 2 differ: not comparable" in text


def test_lengths_have_charts_and_columns(runs: dict[str, Path]) -> None:
    text, page = page_of(runs["lengths"])
    assert "Encoding length" in page.text["page"]
    assert "length 64" in text  # the plain reconstruction is the longest
    assert data_of(text)["sections"][0]["columns"] == ["Reconstruction", "length=4", "length=16"]


def test_pictures_are_embedded_once_without_loss(runs: dict[str, Path]) -> None:
    text, _ = page_of(runs["plain"], runs["other"])
    images = data_of(text)["images"]
    assert len(images) == len(set(images))
    section = data_of(text)["sections"][0]
    used = {cell[name] for sample in section["samples"] for cell in sample["cells"] for name in ("reference", "image")}
    assert used == set(range(len(images)))
    file = runs["plain"] / "pictures" / "0003-0.png"
    decoded = base64.b64decode(to_data_uri(file).partition(",")[2])
    with Image.open(file) as kept, Image.open(io.BytesIO(decoded)) as embedded:
        assert np.array_equal(np.asarray(kept.convert("RGB")), np.asarray(embedded.convert("RGB")))


def test_what_does_not_fit_is_said(runs: dict[str, Path]) -> None:
    text = render_report([load_run(runs["plain"])], picture_budget=20_000)
    section = data_of(text)["sections"][0]
    assert 0 < len(section["samples"]) < 12
    assert sum(metric["left_out"] for metric in section["metrics"]) > 0
    assert len(text) < 250_000


def test_a_broken_picture_is_an_error_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "broken.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\nnope")
    with pytest.raises(ResultsError, match=r"broken\.png is not a readable picture"):
        to_data_uri(file)


def test_runs_without_records_pictures_or_values(runs: dict[str, Path]) -> None:
    run = load_run(runs["plain"])
    empty = dataclasses.replace(run.result, values={}, status="failed", reason="the tokenizer raised", counts={})
    text = render_report([dataclasses.replace(run, result=empty, records=(), pictures=())])
    assert "This run kept no pictures" in text
    assert "No metric was asked for" in text
    with pytest.raises(UsageError):
        render_report([])


def test_hostile_texts_stay_texts(hostile_run: Path) -> None:
    text, page = page_of(hostile_run)
    check_self_contained(text, page)
    assert len(page.all("script")) == 2  # the data and the page's own
    assert not [attributes for attributes in page.all("img") if attributes.get("src") == "x"]
    assert "{{7*7}}" in page.text["page"]
    assert not any(char in text for char in "\u2028\u2029\u202e\u2066\x1b\x07")
    assert not any("javascript:" in str(attributes.get("href")) for attributes in page.all("a"))
    shown = page.text["page"]
    assert all(len(line) < 4000 * len(HOSTILE) for line in shown.splitlines())
    assert HOSTILE[0] in json.dumps(data_of(text)["sections"], ensure_ascii=False)


@pytest.mark.parametrize("text", [*HOSTILE, "&amp;", "]]>"])
def test_data_cannot_leave_its_script_element(text: str) -> None:
    written = json_for_script({"key": text})
    assert not set("<>&\u2028\u2029") & set(written)
    assert json.loads(written) == {"key": text}


def test_the_policy_allows_this_page_and_nothing_else(runs: dict[str, Path]) -> None:
    _, page = page_of(runs["plain"])
    (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_write_report_writes_the_whole_file(runs: dict[str, Path], tmp_path: Path) -> None:
    out = write_report([runs["plain"]], tmp_path / "new" / "report.html")
    text = out.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")
    assert list(out.parent.iterdir()) == [out]
    assert text == render_report([load_run(runs["plain"])])  # equal runs give equal pages


def test_importing_the_report_does_not_import_torch() -> None:
    code = f"import sys, {html.__name__}, tokbench.report.table; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_details_do_not_flood_the_table() -> None:
    from tokbench.report.view import detail_texts

    many = {"tokens": 5, **{f"usage[{book}]": 0.5 for book in range(70)}, "usage_curve": "[[1, 2]]"}
    assert detail_texts(many) == ("tokens 5", "70 more in result.json")
    assert detail_texts({"n_clusters": 58}) == ("58 independent sources",)
    assert len(detail_texts({f"a{number}": number for number in range(20)})) == 7
