"""The page in a real browser: from file://, with every request but the file itself failing the test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, expect

from tests.report.pages import opened
from tokbench.report.html import write_report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def pages(
    runs: dict[str, Path], hostile_run: Path, sweep_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("reports")
    contents: dict[str, Sequence[Path]] = {
        "one": [runs["other"]], "two": [runs["plain"], runs["other"]], "lengths": [runs["lengths"]],
        "all": list(runs.values()), "hostile": [hostile_run],
        "sweep": [sweep_run],
    }  # fmt: skip
    return {name: write_report(folders, out / f"{name}.html") for name, folders in contents.items()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows_or_complains(
    browser: Browser, pages: dict[str, Path], scheme: Literal["light", "dark"]
) -> None:
    for name in pages if scheme == "light" else ("one", "hostile"):  # colours change no sizes
        with opened(browser, pages[name], scheme=scheme) as page:
            page.wait_for_selector(".gallery canvas[data-ready]")
            for width in (390, 1280):
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate("document.documentElement.scrollWidth") <= width, name
                # Sections must not stick out either, where a scrolling ancestor would hide it.
                wide = page.evaluate(
                    "w => [...document.querySelectorAll('section, .card, .tile, .sample')]"
                    ".filter(e => e.getBoundingClientRect().right > w + 1).map(e => e.className)",
                    width,
                )
                assert not wide, (name, wide)


def test_hostile_texts_do_nothing(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["hostile"]) as page:
        page.click(".strip .picture")
        expect(page.locator("#lightbox")).to_be_visible()
        for key in ("ArrowRight", "ArrowRight", "Escape"):
            page.keyboard.press(key)
        assert page.locator("img[src=x]").count() == 0
        assert "{{7*7}}" in page.locator("body").inner_text()


def test_theme(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["one"]) as page:
        colour = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(colour)
        for theme in ("light", "dark"):
            page.click("#theme")
            expect(page.locator("html")).to_have_attribute("data-theme", theme)
        dark = page.evaluate(colour)
        assert dark != light
        page.reload()
        assert page.evaluate(colour) == dark
        page.click("#theme")
        assert page.evaluate(colour) == light


def test_tabs_factor_and_regions(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["one"]) as page:
        tabs, panel = page.get_by_role("tab"), page.get_by_role("tabpanel")
        expect(tabs).to_have_count(5)
        first = panel.inner_text()
        tabs.nth(0).focus()
        page.keyboard.press("ArrowRight")
        expect(tabs.nth(1)).to_be_focused()
        expect(tabs.nth(1)).to_have_attribute("aria-selected", "true")
        assert panel.inner_text() != first
        page.wait_for_selector("canvas[data-ready='4']")
        total = (
            "(() => { const c = document.querySelector('.gallery canvas'); return c.getContext('2d')"
            ".getImageData(0, 0, c.width, c.height).data.reduce((a, b, i) => a + (i % 4 < 3 ? b : 0), 0); })()"
        )
        before = page.evaluate(total)
        assert before > 0
        page.locator(".gallery .factor").fill("8")
        page.wait_for_selector("canvas[data-ready='8']")
        assert before * 1.5 < page.evaluate(total) <= before * 2
        expect(page.locator(".gallery .controls .factor-text")).to_have_text("×8")
        expect(page.locator(".overlay").first).to_be_hidden()
        page.locator(".gallery .boxes").check()
        expect(page.locator(".overlay").first).to_be_visible()


def test_lightbox(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["one"]) as page:
        opener = page.locator(".strip .picture").nth(1)
        opener.focus()
        page.keyboard.press("Enter")
        box = page.locator("#lightbox")
        expect(box).to_be_visible()
        expect(box.locator(".pane")).to_have_count(3)
        title = page.locator("#lightbox-title")
        first = title.inner_text()
        page.keyboard.press("ArrowRight")
        expect(title).not_to_have_text(first)
        page.keyboard.press("ArrowLeft")
        expect(title).to_have_text(first)
        page.keyboard.press("+")
        transforms = "[...document.querySelectorAll('.content')].map(e => e.style.transform)"
        zoomed = page.evaluate(transforms)
        assert len(set(zoomed)) == 1
        page.mouse.move(400, 500)
        page.mouse.down()
        page.mouse.move(450, 520)
        page.mouse.up()
        moved = page.evaluate(transforms)
        assert len(set(moved)) == 1
        assert moved != zoomed
        page.mouse.wheel(0, -600)
        expect(box.locator(".content.pixelated")).to_have_count(3)
        page.keyboard.press("0")
        page.keyboard.press("Escape")
        expect(box).to_be_hidden()
        expect(opener).to_be_focused()


def test_wipe(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["two"]) as page:
        page.select_option(".gallery .controls select", "1")
        page.click(".strip figure:nth-child(3) .picture")
        page.click("[data-mode=wipe]")
        expect(page.locator(".pane")).to_have_count(1)
        clip = "document.querySelector('.layer + .layer').style.clipPath"
        assert "50%" in page.evaluate(clip)
        page.locator("#wipe").fill("20")
        assert "80%" in page.evaluate(clip)
        area = page.locator(".pane").bounding_box()
        handle = page.locator(".wipe-handle").bounding_box()
        assert area is not None
        assert handle is not None
        page.mouse.move(handle["x"] + handle["width"] / 2, area["y"] + area["height"] / 2)
        page.mouse.down()
        page.mouse.move(area["x"] + area["width"] * 0.75, area["y"] + area["height"] / 2)
        page.mouse.up()
        assert abs(float(page.locator("#wipe").input_value()) - 75) < 2
        page.locator("#wipe").focus()
        page.keyboard.press("ArrowRight")  # moves the wipe, not to the next sample
        assert abs(float(page.locator("#wipe").input_value()) - 75.5) < 2
        page.select_option("#lightbox-column", "0")
        expect(page.locator(".pane-name.right")).to_have_text("toy/quantise_4bit")


def test_charts_name_the_sample_under_the_pointer(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["two"]) as page:
        chart = page.locator("#s1-chart-0")
        chart.scroll_into_view_if_needed()
        place = page.evaluate(
            "(() => { const d = JSON.parse(document.getElementById('report-data').textContent).charts[0];"
            "const p = new DOMPoint(d.rows[0].places[0][0], d.rows[0].bottom - 10).matrixTransform("
            "document.getElementById(d.chart).getScreenCTM()); return [p.x, p.y, d.rows[0].places[0][2][0]]; })()"
        )
        page.mouse.move(place[0], place[1])
        expect(page.locator("#tip")).to_contain_text(place[2])


def test_branch_rows_can_be_hidden(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["lengths"]) as page:
        switch, row = page.locator(".branch-switch"), page.locator("tr.branch").first
        switch.check()
        expect(row).to_be_visible()
        switch.uncheck()
        expect(row).to_be_hidden()
