"""Words and faces in a real browser."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.report.pages import opened
from tests.report.synthetic import HOSTILE
from tests.report.words import read_run
from tokbench.report.html import render_report
from tokbench.runfolder import write_text

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def pages(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("words")
    one, two = read_run(runs["plain"]), read_run(runs["other"], readings=("Sharp", "Cowntry", "Z4", "Rop"))
    contents = {
        "one": render_report([one]),
        "small": render_report([one], picture_budget=1),
        "bare": render_report([dataclasses.replace(one, pictures=())]),
        "several": render_report([one, two, one, two]),
        "engines": render_report([read_run(runs["plain"], engines=("rapidocr", "parseq"))]),
        "hostile": render_report([
            read_run(runs["plain"], labels=HOSTILE, readings=HOSTILE[::-1], engines=("rapidocr", HOSTILE[0])),
            read_run(runs["other"], labels=HOSTILE, readings=HOSTILE, engines=("rapidocr", HOSTILE[6])),
        ]),
    }  # fmt: skip
    for name, text in contents.items():
        write_text(root / f"{name}.html", text)
    return {name: root / f"{name}.html" for name in contents}


def test_the_section_shows_and_nothing_overflows(browser: Browser, pages: dict[str, Path]) -> None:
    for name, file in pages.items():
        with opened(browser, file) as page:
            expect(page.get_by_role("heading", name="Words and faces")).to_be_visible()
            expect(page.locator(".regions > li").first).to_be_visible()
            for width in (390, 1280):
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate("document.documentElement.scrollWidth") <= width, name
                wide = page.evaluate(
                    "w => [...document.querySelectorAll('.regions > li, .answers figure, .crop, .reading, .panel')]"
                    ".filter(e => e.getBoundingClientRect().right > w + 1).map(e => e.className)",
                    width,
                )
                assert not wide, (name, wide)
                inside = page.evaluate(
                    "[...document.querySelectorAll('.answers figure')].every(e =>"
                    " e.getBoundingClientRect().right <= e.closest('li').getBoundingClientRect().right + 1)"
                )
                assert inside, (name, width)


def test_crops_have_pixels_of_one_scale(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["one"]) as page:
        sizes = page.evaluate(
            "Promise.all([...document.querySelectorAll('.regions > li')].map(async e => Promise.all([..."
            "e.querySelectorAll('img')].map(async i => { await i.decode(); return [i.naturalWidth, i.naturalHeight,"
            " i.getBoundingClientRect().width / i.naturalWidth]; }))))"
        )
        assert sizes
        for original, reconstruction in sizes:
            assert original == reconstruction
            assert original[0] > 0
        rendering = "getComputedStyle(document.querySelector('.crop img')).imageRendering"
        assert page.evaluate(rendering) == "pixelated"


@pytest.mark.parametrize("name", ["one", "small"])
def test_a_word_opens_the_lightbox_at_its_place(browser: Browser, pages: dict[str, Path], name: str) -> None:
    """Over its whole picture where that is embedded, else as the crop alone."""
    with opened(browser, pages[name]) as page:
        item = page.locator(".regions.word > li").first if name == "one" else page.locator(".regions.word > li").last
        sample, title = item.locator(".open").inner_text(), item.locator("strong").inner_text()
        opener = item.locator(".crop").nth(1)
        opener.click()
        box = page.locator("#lightbox")
        expect(box).to_be_visible()
        expect(box.locator(".pane")).to_have_count(3)
        expect(page.locator("#lightbox-title")).to_have_text(f"“{title}” in {sample}")
        expect(page.locator("#lightbox-note")).to_contain_text("rapidocr 2.0: ")
        if name == "one":
            expect(box.locator(".focus-mark")).to_have_count(3)
            offset = page.evaluate(
                "(() => { const m = document.querySelectorAll('.focus-mark rect')[1].getBoundingClientRect(),"
                " p = document.querySelector('.pane').getBoundingClientRect();"
                " return [m.x + m.width / 2 - p.x - p.width / 2, m.y + m.height / 2 - p.y - p.height / 2]; })()"
            )
            assert max(map(abs, offset)) < 3
        else:
            expect(page.locator("#lightbox-note")).to_contain_text("cut out")
        note = page.locator("#lightbox-note").inner_text()
        page.keyboard.press("ArrowRight" if name == "one" else "ArrowLeft")
        expect(page.locator("#lightbox-note")).not_to_have_text(note)
        page.keyboard.press("Escape")
        expect(box).to_be_hidden()
        expect(opener).to_be_focused()
        item.locator(".open").click()
        expect(box).to_be_visible()


def test_the_gallery_still_opens_without_a_place(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["one"]) as page:
        page.locator(".strip .picture").first.click()
        expect(page.locator("#lightbox .pane")).to_have_count(3)
        expect(page.locator(".focus-mark")).to_have_count(0)


def test_several_runs_open_at_the_run_that_was_asked_for(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["several"]) as page:
        page.locator(".regions.word > li").first.locator(".crop").nth(2).click()
        expect(page.locator("#lightbox-column")).to_have_value("1")
        expect(page.locator(".pane-name").nth(1)).to_have_text("toy/quantise_3bit")


def test_recognisers_are_tabs(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["engines"]) as page:
        tabs = page.locator(".panels .tabs").get_by_role("tab")
        expect(tabs).to_have_text(["rapidocr 2.0", "parseq 2.0"])
        panels = page.locator(".panels").first.locator(".panel")
        expect(panels.nth(0)).to_be_visible()
        expect(panels.nth(1)).to_be_hidden()
        tabs.nth(0).focus()
        page.keyboard.press("ArrowRight")
        expect(tabs.nth(1)).to_be_focused()
        expect(panels.nth(0)).to_be_hidden()
        expect(panels.nth(1)).to_be_visible()
        panels.nth(1).locator(".crop").first.click()
        expect(page.locator("#lightbox-note")).to_contain_text("parseq 2.0")


def test_without_pictures_nothing_can_be_opened(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["bare"]) as page:
        expect(page.locator(".regions .open").first).to_be_disabled()
        expect(page.locator(".regions .crop")).to_have_count(0)


def test_wrong_characters_are_marked_by_more_than_colour(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["several"]) as page:
        wrong = page.locator(".reading mark:not(.gone)").first
        line = wrong.evaluate("e => getComputedStyle(e).textDecorationLine")
        assert line == "underline"
        gone = page.locator(".reading mark.gone").first
        assert gone.evaluate("e => getComputedStyle(e).borderTopStyle") == "dashed"
        assert "missing" in (gone.text_content() or "")


def test_hostile_words_do_nothing(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["hostile"]) as page:
        page.locator(".regions.word .crop").first.click()
        expect(page.locator("#lightbox")).to_be_visible()
        for _ in range(6):
            page.keyboard.press("ArrowRight")
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        page.keyboard.press("Escape")
        assert page.locator("img[src=x]").count() == 0
        for tab in page.locator(".panels .tabs").get_by_role("tab").all():
            tab.click()
