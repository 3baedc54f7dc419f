"""The pictures the embedded tokenizers are trained on: reading them, and cutting random patches out of them.

``training_pictures.jsonl`` names photographs inside Debian packages (package, version, path, SHA-256, licence). No
pixels are kept in this repository. None of them is in the data set ``quick``, and reading them checks that.
"""

from __future__ import annotations

import hashlib
import json
import math
import string
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

REPOSITORY = Path(__file__).resolve().parent.parent
MANIFEST = Path(__file__).with_suffix(".jsonl")
QUICK = REPOSITORY / "data_manifests" / "quick" / "samples.jsonl"

# Short sides the photographs are reduced to: from a whole scene in 192 px to details as a camera gives them.
SHORT_SIDES_PX = (192, 288, 432, 648)
GREY_FRACTION, TEXT_FRACTION = 0.06, 0.45
FONTS = (
    *(f"DejaVuSans{style}.ttf" for style in ("", "-Bold", "-Oblique", "Mono", "Mono-Bold")),
    *(f"DejaVuSerif{style}.ttf" for style in ("", "-Bold", "-Italic")),
    *(f"STIXGeneral{style}.ttf" for style in ("", "Bol", "Italic")),
)
MAX_PICTURE_PIXELS = 60_000_000


class Picture(NamedTuple):
    """One photograph at several sizes, each uint8 ``(h, w, 3)``."""

    name: str
    sizes: tuple[np.ndarray, ...]


def read_pictures(root: Path) -> list[Picture]:
    """Read, verify and reduce every picture of the manifest.

    Args:
        root: a folder with one subfolder per package, named like it, holding what ``dpkg -x`` unpacks.
    """
    rows = [json.loads(line) for line in MANIFEST.read_text().splitlines()]
    check_apart_from_quick({row["sha256"] for row in rows})
    pictures = []
    Image.MAX_IMAGE_PIXELS = MAX_PICTURE_PIXELS
    for row in rows:
        path = root / row["package"] / row["path"]
        if not path.exists():
            raise SystemExit(
                f"{row['path']} is missing under {root / row['package']}; unpack version {row['version']} of the "
                f"Debian package {row['package']} there: apt-get download {row['package']}, then dpkg -x"
            )
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != row["sha256"]:
            raise SystemExit(f"{path}: SHA-256 is {digest}, expected {row['sha256']} (version {row['version']})")
        with Image.open(path) as image:
            pictures.append(Picture(f"{row['package']}/{row['path']}", _reduced(image.convert("RGB"))))
    return pictures


def check_apart_from_quick(digests: set[str]) -> None:
    """Stop if a training picture is one that ``quick`` tests on."""
    if not QUICK.exists():
        return
    tested: set[str] = set()
    for line in QUICK.read_text().splitlines():
        tested |= {value for key, value in json.loads(line).items() if key.endswith("sha256")}
    if digests & tested:
        raise SystemExit(f"{len(digests & tested)} training pictures are in the data set quick: {digests & tested}")


def cut_patches(pictures: list[Picture], *, n: int, side_px: int, seed: int) -> np.ndarray:
    """Random patches, half of them with writing drawn on: uint8 ``(n, side, side, 3)``."""
    rng = np.random.default_rng(seed)
    patches = np.empty((n, side_px, side_px, 3), np.uint8)
    for patch in patches:
        sizes = pictures[rng.integers(len(pictures))].sizes
        pixels = sizes[rng.integers(len(sizes))]
        top, left = (rng.integers(0, extent - side_px + 1) for extent in pixels.shape[:2])
        crop = Image.fromarray(np.ascontiguousarray(pixels[top : top + side_px, left : left + side_px]))
        if rng.random() < 0.5:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if rng.random() < GREY_FRACTION:
            crop = crop.convert("L").convert("RGB")
        if rng.random() < TEXT_FRACTION:
            _write_on(crop, rng)
        patch[:] = np.asarray(crop)
    return patches


def _reduced(image: Image.Image) -> tuple[np.ndarray, ...]:
    short = min(image.size)
    sizes = []
    for side in SHORT_SIDES_PX:
        if side <= short or not sizes:
            factor = min(side / short, 1.0)
            size = (round(image.width * factor), round(image.height * factor))
            sizes.append(np.asarray(image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)))
    return tuple(sizes)


def _write_on(crop: Image.Image, rng: np.random.Generator) -> None:
    """Draw one to four lines of random characters, 6 to 64 px high, in place; a third of them on a plain plate."""
    import matplotlib

    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    draw = ImageDraw.Draw(crop)
    alphabet = string.ascii_letters + string.digits + ".,:-&!?'"
    for _ in range(rng.integers(1, 5)):
        height = math.exp(rng.uniform(math.log(6), math.log(64)))
        font = ImageFont.truetype(str(fonts / FONTS[rng.integers(len(FONTS))]), size=round(height / 0.72))
        text = "".join(alphabet[i] for i in rng.integers(len(alphabet), size=rng.integers(3, 14)))
        at = tuple(rng.uniform(-0.2, 0.8, size=2) * crop.width)
        plain = rng.random() < 0.4
        ink = (0, 0, 0) if plain else tuple(int(v) for v in rng.integers(0, 256, size=3))
        if rng.random() < 0.35:
            plate = (255, 255, 255) if plain else tuple(int(v) for v in rng.integers(0, 256, size=3))
            draw.rectangle(draw.textbbox(at, text, font=font), fill=plate)
        elif plain and rng.random() < 0.5:
            ink = (255, 255, 255)
        draw.text(at, text, font=font, fill=ink)
