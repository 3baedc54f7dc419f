"""Drawing words over photographs."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tokbench.data.scenes import INK_ALPHA, draw_scene, font_path, ink_box, word_mask
from tokbench.errors import ChecksumError, SampleError

FONT = "DejaVuSans.ttf"
SHA256 = hashlib.sha256(font_path(FONT).read_bytes()).hexdigest()
GREY = np.full((64, 96, 3), 100, np.uint8)


def word(**changes: Any) -> dict[str, Any]:
    return {"text": "Hill", "font": FONT, "size_px": 20.0, "colour": [255, 255, 255], "x": 10, "y": 12, **changes}


def scene(*words: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"canvas": [96, 64], "fonts": {FONT: SHA256}, "words": list(words), **changes}


def test_no_words_leave_the_background() -> None:
    np.testing.assert_array_equal(draw_scene(GREY, scene()), GREY)


def test_background_is_resized_to_the_canvas_and_left_alone() -> None:
    background = np.random.default_rng(0).integers(0, 256, (128, 192, 3), dtype=np.uint8)
    before = background.copy()
    assert draw_scene(background, scene(word())).shape == (64, 96, 3)
    np.testing.assert_array_equal(background, before)


@pytest.mark.parametrize("size_px", [8.0, 11.5, 20.0, 33.125, 48.0])
@pytest.mark.parametrize("text", ["Hill", "joy", "A4", "now"])
def test_box_is_exactly_the_ink(size_px: float, text: str) -> None:
    item = word(text=text, size_px=size_px, y=4)
    alpha = (draw_scene(np.zeros((64, 160, 3), np.uint8), scene(item, canvas=[160, 64])) / 255)[:, :, 0]
    ys, xs = np.nonzero(alpha > INK_ALPHA + 1 / 500)
    assert ink_box(item, SHA256) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


def test_ink_starts_on_the_grid_at_x_and_y() -> None:
    mask = word_mask("H", font=FONT, sha256=SHA256, size_px=32.0)
    assert mask[0, 0] > 0.9
    assert 0 <= mask.min() <= mask.max() <= 1
    assert abs(mask.shape[0] - 0.73 * 32) < 1


def test_size_of_the_ink_follows_the_size_of_the_font() -> None:
    heights = [word_mask("Hxq", font=FONT, sha256=SHA256, size_px=size).shape[0] for size in range(8, 64, 4)]
    assert heights == sorted(set(heights))


def test_plate_is_opaque_and_under_every_word() -> None:
    plate = {"box": [0, 0, 96, 64], "colour": [10, 20, 30]}
    drawn = draw_scene(GREY, scene(word(), word(text="x", x=70, plate=plate)))
    assert drawn[0, 0].tolist() == [10, 20, 30]
    assert drawn[16, 11].tolist() == [255, 255, 255]


def test_same_pixels_from_many_threads() -> None:
    items = [word(size_px=8 + index / 8, x=2 + index % 5) for index in range(40)]
    expected = [draw_scene(GREY, scene(item)) for item in items]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            for got, want in zip(pool.map(lambda item: draw_scene(GREY, scene(item)), items), expected, strict=True):
                np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (scene(word(x=90)), "leaves the canvas"),
        (scene(word(y=-1)), "leaves the canvas"),
        (scene(word(text=" ")), "no ink"),
        (scene(word(colour=[0, 0])), "malformed"),
        (scene(word(colour=[0, 0, 256])), "malformed"),
        (scene({"text": "Hill"}), "malformed"),
        (scene(canvas=[96]), "malformed"),
        (scene(word(), fonts={}), "malformed"),
        (scene(word(font="Nope.ttf"), fonts={"Nope.ttf": ""}), "ships no font"),
        (scene(word(font="../ttf/" + FONT), fonts={"../ttf/" + FONT: SHA256}), "ships no font"),
    ],
)
def test_refused_with_a_reason(broken: dict[str, Any], message: str) -> None:
    with pytest.raises(SampleError, match=message):
        draw_scene(GREY, broken)


def test_another_font_under_the_same_name_is_noticed() -> None:
    with pytest.raises(ChecksumError, match="install the matplotlib release"):
        draw_scene(GREY, scene(word(), fonts={FONT: "0" * 64}))
