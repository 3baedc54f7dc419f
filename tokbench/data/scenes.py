"""Text scenes: words drawn over a photograph, from instructions stored with the sample.

A scene is JSON, everything in it decided when the manifest was made; drawing takes no decisions and no random
numbers, so it gives the same pixels everywhere::

    {"canvas": [256, 256],
     "fonts": {"DejaVuSans.ttf": "<sha256>"},
     "words": [{"text": "Hello", "font": "DejaVuSans.ttf", "size_px": 21.5, "colour": [255, 240, 220],
                "x": 12, "y": 30, "plate": {"box": [8, 27, 80, 52], "colour": [20, 20, 40]}}]}

``x, y`` is where the word's ink starts, in whole pixels; ``size_px`` is the em size, in steps of 1/8 px; ``plate``
(optional) is an opaque rectangle behind the word. Fonts are the ones matplotlib ships.

Each word is drawn at eight times its size, with Pillow's basic layout (no raqm), its ink aligned with the pixel
grid, and averaged down to an alpha mask. So hinting, which is the part of a rasteriser that changes between
versions, moves an edge by an eighth of a pixel at most.
"""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tokbench.errors import ChecksumError, SampleError
from tokbench.samples import Box

SCALE = 8
INK_ALPHA = 1 / 8
"""A pixel belongs to a word's box where the word covers more of it than this."""

_font_lock = threading.Lock()  # FreeType faces are not thread-safe


def draw_scene(background: np.ndarray, scene: Mapping[str, Any]) -> np.ndarray:
    """Draw a scene's plates and words over a background.

    Args:
        background: uint8 ``(h, w, 3)`` RGB; resized to the canvas with Lanczos where it has another size.
        scene: the instructions, as in the module's docstring.

    Returns:
        uint8 ``(canvas height, canvas width, 3)`` RGB; ``background`` is left alone.

    Raises:
        SampleError: malformed instructions, no such font, or ink outside the canvas.
        ChecksumError: a font is not the one the scene was made with.
    """
    try:
        width, height = (int(value) for value in scene["canvas"])
        canvas = _resized(background, width, height).astype(np.float64)
        for word in scene["words"]:
            if plate := word.get("plate"):
                x0, y0, x1, y1 = (int(value) for value in plate["box"])
                canvas[max(y0, 0) : y1, max(x0, 0) : x1] = _colour(plate)
        for word in scene["words"]:
            _blend(canvas, word, str(scene["fonts"][word["font"]]))
    except (KeyError, TypeError, ValueError) as err:
        raise SampleError(f"the scene's instructions are malformed ({err!r}); rebuild its manifest") from err
    return np.rint(canvas).astype(np.uint8)


def word_mask(text: str, *, font: str, sha256: str, size_px: float) -> np.ndarray:
    """Coverage of a word's ink: float64 ``(h, w)`` in [0, 1], the ink starting in its first row and column.

    Raises:
        SampleError: no such font, or nothing to draw.
        ChecksumError: the font's bytes are not those.
    """
    with _font_lock:
        face = _face(font, sha256, round(size_px * SCALE))
        x0, y0, x1, y1 = face.getbbox(text, mode="L")
        # getbbox includes the advance; a margin keeps side bearings, and the ink is cut out below
        ink = Image.new("L", (int(x1 - x0) + 4 * SCALE, int(y1 - y0) + 4 * SCALE))
        ImageDraw.Draw(ink).text((2 * SCALE - x0, 2 * SCALE - y0), text, fill=255, font=face)
    box = ink.getbbox()
    if box is None:
        raise SampleError(f"text {text!r} has no ink; expected visible characters")
    large = np.asarray(ink.crop(box))
    height, width = -(-large.shape[0] // SCALE), -(-large.shape[1] // SCALE)
    padded = np.zeros((height * SCALE, width * SCALE))
    padded[: large.shape[0], : large.shape[1]] = large
    return np.asarray(padded.reshape(height, SCALE, width, SCALE).mean(axis=(1, 3)) / 255)


def ink_box(word: Mapping[str, Any], sha256: str) -> Box:
    """The half-open box x0, y0, x1, y1 around a word's pixels with coverage above :data:`INK_ALPHA`."""
    mask = word_mask(word["text"], font=word["font"], sha256=sha256, size_px=word["size_px"]) > INK_ALPHA
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = float(word["x"]), float(word["y"])
    return (x + int(columns[0]), y + int(rows[0]), x + int(columns[-1]) + 1, y + int(rows[-1]) + 1)


def font_path(font: str) -> Path:
    """A font file that matplotlib ships; matplotlib itself is not imported."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or not spec.submodule_search_locations:
        raise SampleError("text scenes take their fonts from matplotlib; run `pip install matplotlib`")
    path = Path(next(iter(spec.submodule_search_locations))) / "mpl-data" / "fonts" / "ttf" / font
    if Path(font).name != font or not path.is_file():
        raise SampleError(f"matplotlib ships no font {font!r}; expected a file of its mpl-data/fonts/ttf")
    return path


@lru_cache(maxsize=64)
def _checked_path(font: str, sha256: str) -> Path:
    path = font_path(font)
    got = hashlib.sha256(path.read_bytes()).hexdigest()
    if got != sha256:
        raise ChecksumError(
            f"font {font} has sha256 {got[:16]}…, expected {sha256[:16]}…; install the matplotlib release that the "
            f"manifest's notes name"
        )
    return path


@lru_cache(maxsize=64)
def _face(font: str, sha256: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_checked_path(font, sha256)), size, layout_engine=ImageFont.Layout.BASIC)


def _blend(canvas: np.ndarray, word: Mapping[str, Any], sha256: str) -> None:
    alpha = word_mask(str(word["text"]), font=str(word["font"]), sha256=sha256, size_px=float(word["size_px"]))
    x, y = int(word["x"]), int(word["y"])
    height, width = alpha.shape
    if x < 0 or y < 0 or y + height > canvas.shape[0] or x + width > canvas.shape[1]:
        raise SampleError(
            f"the word {word['text']!r} at ({x}, {y}) is {width}×{height} px and leaves the canvas of "
            f"{canvas.shape[1]}×{canvas.shape[0]} px; rebuild the manifest"
        )
    area = canvas[y : y + height, x : x + width]
    area += (_colour(word) - area) * alpha[:, :, None]


def _colour(item: Mapping[str, Any]) -> np.ndarray:
    colour = np.array(item["colour"], dtype=np.float64)
    if colour.shape != (3,) or not ((colour >= 0) & (colour <= 255)).all():
        raise ValueError(f"colour {item['colour']!r} is not three numbers in 0…255")
    return colour


def _resized(background: np.ndarray, width: int, height: int) -> np.ndarray:
    if background.shape[:2] == (height, width):
        return background
    image = Image.fromarray(np.ascontiguousarray(background))
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
