"""The site in a real browser, from file://: any other request, console message or error fails the test."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

pytest.importorskip("playwright.sync_api", reason="needs a browser: pip install playwright")

from playwright.sync_api import Browser, Page, expect

from tests.leaderboard.synthetic import make_task, write_submission
from tests.leaderboard.test_site import build, hostile_results, let_everything_in, spread
from tests.report.pages import opened

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five submissions of two tasks: two that tie, one without a rate, one reference."""
    root = tmp_path_factory.mktemp("site")
    results, other = root / "results", make_task("zebra")
    y, x = np.mgrid[0:64, 0:64]
    image = np.stack([x * 4, y * 4, x + y], axis=-1).astype(np.uint8)
    for seed, (name, mean, bits) in enumerate((("a/good", 33.0, 2.0), ("a/twin", 33.01, 1.0), ("b/bad", 25.0, 0.5))):
        write_submission(
            results, name, images={"psnr": spread(mean, seed=seed), "bpp": [bits] * 40},
            pictures={"image/00001": image, "image/00002": image // 16 * 16},
        )  # fmt: skip
        write_submission(results, name, task=other, images={"psnr": spread(mean - 9), "bpp": [bits] * 40})
    write_submission(
        results, "identity", images={"psnr": [100.0] * 40}, card={"latent": "none"}, originals=True,
        pictures={"image/00001": image},
    )  # fmt: skip
    codec = {"latent": "codec", "licence": "BSD"}
    write_submission(results, "c/dear", images={"psnr": spread(20.0)}, card=codec, pictures={"image/00001": image // 2})
    build(results, root / "site", make_task(), other, strict=True)
    with pytest.MonkeyPatch.context() as patch:
        let_everything_in(patch)
        build(hostile_results(root / "hostile"), root / "hostile-site", strict=True)
    return root / "site"


def order(page: Page) -> list[str]:
    return page.locator("#board tbody tr:visible th a").all_inner_texts()


def column(page: Page, name: str) -> str:
    return f'#board thead th[data-name="{name}"]'


def sample_pages(site: Path) -> list[Path]:
    hostile = site.with_name("hostile-site")
    return [
        site / "index.html", site / "tasks/board.html", site / "tokenizers/c__dear.html", site / "compare.html",
        hostile / "index.html", hostile / "tasks/board.html", hostile / "tokenizers/a__b.html",
        hostile / "compare.html",
    ]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_overflows_or_complains(browser: Browser, site: Path, scheme: Literal["light", "dark"]) -> None:
    for file in sample_pages(site):
        with opened(browser, file, scheme=scheme) as page:
            for width in (390, 1280):
                page.set_viewport_size({"width": width, "height": 844})
                assert page.evaluate("document.documentElement.scrollWidth") <= width, (file, width)
            assert page.locator("img[src=x]").count() == 0
            if file.name == "compare.html":
                page.wait_for_selector(".versus tbody tr")


def test_sorting_puts_missing_last_both_ways(browser: Browser, site: Path) -> None:
    with opened(browser, site / "tasks/board.html") as page:
        assert order(page) == ["identity", "a/twin", "a/good", "b/bad", "c/dear"]
        page.click(column(page, "bpp"))
        expect(page.locator(column(page, "bpp"))).to_have_attribute("aria-sort", "ascending")
        assert order(page)[:3] == ["b/bad", "a/twin", "a/good"]
        page.click(column(page, "bpp"))
        expect(page.locator(column(page, "bpp"))).to_have_attribute("aria-sort", "descending")
        assert order(page)[:3] == ["a/good", "a/twin", "b/bad"]
        page.click(column(page, "rank:psnr"))
        expect(page.locator(column(page, "rank:psnr"))).to_have_attribute("aria-sort", "ascending")
        assert order(page)[2:] == ["b/bad", "c/dear", "identity"]


def test_sorting_by_keyboard(browser: Browser, site: Path) -> None:
    with opened(browser, site / "tasks/board.html") as page:
        head = page.locator(column(page, "psnr"))
        head.locator("[tabindex='0'], button").first.focus()
        page.keyboard.press("Enter")
        expect(head).to_have_attribute("aria-sort", "ascending")
        assert order(page)[0] == "c/dear"


def test_filters_narrow_table_and_charts(browser: Browser, site: Path) -> None:
    with opened(browser, site / "tasks/board.html") as page:
        shown = page.locator("#shown")
        expect(shown).to_have_text("5 shown")
        page.select_option("[name=family]", "a")
        assert order(page) == ["a/twin", "a/good"]
        expect(shown).to_have_text("2 of 5 shown")
        expect(page.locator(".spot.dimmed")).to_have_count(1)
        page.click("[type=reset]")
        expect(shown).to_have_text("5 shown")
        page.select_option("[name=latent]", "codec")
        assert order(page) == ["c/dear"]
        page.click("[type=reset]")
        page.select_option("[name=licence]", "BSD")
        assert order(page) == ["c/dear"]
        page.click("[type=reset]")
        page.fill("[name=bpp_max]", "1")
        assert order(page) == ["a/twin", "b/bad"]
        page.fill("[name=bpp_min]", "0.7")
        assert order(page) == ["a/twin"]
        page.click("[type=reset]")
        page.fill("[name=q]", "DEAR tokenizer")
        assert order(page) == ["c/dear"]
        page.fill("[name=q]", "<nothing>")
        expect(shown).to_have_text("0 of 5 shown")


def test_addresses_keep_and_restore_the_view(browser: Browser, site: Path) -> None:
    with opened(browser, site / "tasks/board.html") as page:
        page.click(column(page, "psnr"))
        expect(page.locator(column(page, "psnr"))).to_have_attribute("aria-sort", "ascending")
        page.select_option("[name=family]", "a")
        page.fill("[name=bpp_max]", "5")
        kept = page.evaluate("location.hash")
        assert "sort=psnr:asc" in kept
        assert "family=a" in kept
        seen = order(page)
        assert seen == ["a/good", "a/twin"]
        page.goto("about:blank")
        page.goto((site / "tasks/board.html").as_uri() + kept)
        expect(page.locator("#shown")).to_have_text("2 of 5 shown")
        assert order(page) == seen
        expect(page.locator("[name=bpp_max]")).to_have_value("5")
        page.evaluate("location.hash = '#sort=bpp:desc&latent=discrete'")
        expect(page.locator("#shown")).to_have_text("3 of 5 shown")
        assert order(page) == ["a/good", "a/twin", "b/bad"]
        page.evaluate("location.hash = '#sort=nothing:up&family=absent&x=%00'")
        expect(page.locator("#shown")).to_have_text("5 shown")


def test_points_are_links(browser: Browser, site: Path) -> None:
    with opened(browser, site / "tasks/board.html") as page:
        spot = page.locator(".spot").first
        assert "on the Pareto front" in (spot.get_attribute("aria-label") or "")
        spot.focus()
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("Tokenizer a/twin")


def test_the_first_column_stays_on_a_phone(browser: Browser, site: Path) -> None:
    with opened(browser, site / "tasks/board.html", width=390) as page:
        first = page.locator("#board tbody th").first
        before = first.bounding_box()
        page.evaluate("document.querySelector('.board-scroll').scrollLeft = 200")
        assert page.evaluate("document.querySelector('.board-scroll').scrollLeft") > 100
        after = first.bounding_box()
        assert before is not None
        assert after is not None
        assert abs(before["x"] - after["x"]) < 1


def test_theme_holds_on_all_pages(browser: Browser, site: Path) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    with opened(browser, site / "index.html") as page:
        light = page.evaluate(colour)
        page.click("#theme")
        page.click("#theme")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        dark = page.evaluate(colour)
        assert dark != light
        page.click("text=Table and charts >> nth=0")
        page.wait_for_selector("#board")
        assert page.evaluate(colour) == dark


def test_comparing_numbers(browser: Browser, site: Path) -> None:
    with opened(browser, site / "compare.html") as page:
        page.goto("about:blank")
        page.goto((site / "compare.html").as_uri() + "#task=board&a=a/good&b=b/bad")
        row = page.locator(".versus tbody tr", has_text="psnr")
        expect(row.locator(".verdict")).to_have_text("worse")
        expect(row).to_contain_text("−8.00 dB")
        page.click("#swap")
        expect(row.locator(".verdict")).to_have_text("better")
        expect(row).to_contain_text("+8.00 dB")
        assert "a=b/bad" in page.evaluate("location.hash")
        page.select_option("[name=a]", "a/twin")
        page.select_option("[name=b]", "a/good")
        expect(row.locator(".verdict")).to_have_text("no evidence of a difference")
        page.select_option("[name=b]", "c/dear")
        rate = page.locator(".versus tbody tr", has_text="Bits per pixel")
        expect(rate.locator(".verdict")).to_have_text("not compared")
        expect(rate.locator("abbr")).to_have_attribute("title", "not measured")
        page.select_option("[name=task]", "zebra")
        expect(page.locator("[name=b] option")).to_have_count(3)
        expect(row.locator(".verdict")).to_be_visible()
        expect(page.locator("#pictures")).to_be_hidden()


def test_the_slider_moves_by_key_and_pointer(browser: Browser, site: Path) -> None:
    clip = "document.getElementById('over').style.clipPath"
    with opened(browser, site / "compare.html") as page:
        page.evaluate("location.hash = '#task=board&a=a/good&b=a/twin'")
        page.wait_for_selector("#pictures:not([hidden])")
        expect(page.locator("#sample option")).to_have_count(2)
        page.wait_for_function("document.getElementById('over').naturalWidth === 64")
        page.evaluate("scrollTo(0, 200)")
        assert "50%" in page.evaluate(clip)
        page.locator("#wipe").focus()
        page.keyboard.press("ArrowRight")
        assert "49.5%" in page.evaluate(clip)
        area = page.locator(".slide").bounding_box()
        assert area is not None
        page.mouse.move(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2)
        page.mouse.down()
        page.mouse.move(area["x"] + area["width"] * 0.25, area["y"] + area["height"] / 2)
        page.mouse.up()
        assert abs(float(page.locator("#wipe").input_value()) - 25) < 2
        page.select_option("#left", "reference")
        expect(page.locator("#left-name")).to_have_text("Reference")
        page.select_option("#sample", "image/00002")  # nobody shows its original
        expect(page.locator("#left option")).to_have_count(2)
        expect(page.locator("#left-name")).to_have_text("a/good")
        assert "sample=image/00002" in page.evaluate("location.hash")


def test_tables_stand_without_scripts(browser: Browser, site: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto((site / "tasks/board.html").as_uri())
        expect(page.locator("#board tbody tr")).to_have_count(5)
        expect(page.locator("#filters")).to_be_hidden()
        expect(page.locator(".spot")).to_have_count(3)
    finally:
        context.close()
