"""Build ``data_manifests/quick`` from its ``recipe.toml``: crops of photographs, and words drawn over such crops.

Run it from anywhere with the dependencies installed; the same versions give the same two files, byte for byte.
Nothing is downloaded and no pixels are written: a sample is a crop of a file inside a package, and where it shows
words, the instructions to draw them.
"""

from __future__ import annotations

import hashlib
import math
import random
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ImageFont

from tokbench.data.manifests import load_manifest, save_manifest
from tokbench.data.scenes import SCALE, draw_scene, font_path, ink_box
from tokbench.data.sources import read_source
from tokbench.images import decode_image
from tokbench.samples import Manifest, Region, Sample

FOLDER = Path(__file__).resolve().parent.parent / "data_manifests" / "quick"
SIDE_PX = 256

ROWS = {"L": (33.0, 78.0), "M": (17.0, 28.0), "S": (11.0, 15.0)}  # em sizes in px, low and high
PLANS = ("LMSSM", "MLSLS", "SSMLSMS", "LLMS", "MSLMSS", "LSMSLS", "SMSMLM", "LMLS")
MARGIN_PX, GAP_PX, PAD_PX = 3, 5, 3
MIN_INK_PX, MAX_INK_PX = 8, 64
MIN_LUMA_GAP = 80
CODE_SHARE = 0.15

PACKAGES = ("scikit-image", "scikit-learn", "matplotlib", "insightface")
LICENCE = "mixed, see notes; tokbench ships addresses, crops and drawing instructions, no pixels"
CITATION = "tokbench quick: crops of photographs inside scikit-image, scikit-learn, matplotlib and insightface"
NOTES = (
    "Fonts: DejaVu (Bitstream Vera terms), STIX (SIL OFL), Computer Modern (BaKoMa terms), from matplotlib.",
    "Faces: points by dlib's 68-point predictor, poker_5 set by eye; boxes from forehead to chin; none is cut.",
    "Words: boxes hold the pixels that a word's ink covers by more than an eighth.",
)


def main() -> None:
    """Write the manifest and check that it reads back."""
    recipe = tomllib.loads((FOLDER / "recipe.toml").read_text(encoding="utf-8"))
    photos = {name: Photo(name, facts) for name, facts in recipe["photos"].items()}
    manifest = Manifest(
        name="quick",
        version=recipe["version"],
        title="Quick: photographs and text scenes from files inside packages",
        licence=LICENCE,
        citation=CITATION,
        samples=(*photo_samples(photos), *scene_samples(photos, recipe["scenes"])),
        notes=(
            "Made with " + ", ".join(f"{name} {version(name)}" for name in PACKAGES) + ".",
            *(f"{name}: {photo.facts['terms']}." for name, photo in photos.items()),
            *NOTES,
        ),
    )
    save_manifest(manifest, FOLDER)
    assert load_manifest(FOLDER).digest == manifest.digest


class Photo:
    """A photograph inside a package, with the faces measured in it."""

    def __init__(self, name: str, facts: Mapping[str, Any]) -> None:
        self.name = name
        self.facts = facts
        data = read_source(facts["source"], "")
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.pixels = decode_image(data, name=name)

    def cut(self, x: int, y: int, side: int) -> dict[str, Any]:
        """What is common to all samples cut from this photograph."""
        height, width = self.pixels.shape[:2]
        assert x + side <= width, (self.name, x, y, side)
        assert y + side <= height, (self.name, x, y, side)
        return {"source": self.facts["source"], "sha256": self.sha256, "crop": (x, y, x + side, y + side)}

    def faces(self, x: int, y: int, side: int) -> Iterator[Region]:
        """The faces in a crop, in its pixels; a crop that cuts through one is a mistake in the recipe."""
        for face in self.facts.get("faces", ()):
            x0, y0, x1, y1 = face["box"]
            if x1 <= x or y1 <= y or x0 >= x + side or y0 >= y + side:
                continue
            assert min(x0 - x, y0 - y, x + side - x1, y + side - y1) >= 0, (self.name, x, y, side, face["label"])
            points = tuple((round(float(px - x), 1), round(float(py - y), 1)) for px, py in face["keypoints"])
            box = (float(x0 - x), float(y0 - y), float(x1 - x), float(y1 - y))
            yield Region(kind="face", box=box, label=face["label"], keypoints=points)


def photo_samples(photos: Mapping[str, Photo]) -> Iterator[Sample]:
    """Crops as they are, at least as large as the task's grid so that nothing is enlarged."""
    for name, photo in photos.items():
        colour = "grey" if photo.facts.get("is_grey") else "colour"
        for x, y, side in photo.facts["crops"]:
            assert side >= SIDE_PX, (name, side)
            regions = tuple(photo.faces(x, y, side))
            yield Sample(
                id=f"photo/{name}_{side}px_{x}_{y}",
                width_px=side,
                height_px=side,
                cluster=photo.facts.get("cluster", name),
                tags=("photo", colour, "face") if regions else ("photo", colour),
                regions=regions,
                **photo.cut(x, y, side),
            )


def scene_samples(photos: Mapping[str, Photo], recipe: Mapping[str, Any]) -> Iterator[Sample]:
    """Words over crops that show no face."""
    for number, (name, x, y, side) in enumerate(recipe["backgrounds"]):
        photo = photos[name]
        assert not list(photo.faces(x, y, side)), (name, x, y, side)
        scene = SceneBuilder(number, photo.pixels[y : y + side, x : x + side], recipe).build()
        regions = [
            Region(kind="word", box=ink_box(word, scene["fonts"][word["font"]]), label=word["text"])
            for word in scene["words"]
        ]
        yield Sample(
            id=f"scene/{number:02d}_{name}",
            width_px=SIDE_PX,
            height_px=SIDE_PX,
            scene=scene,
            tags=("scene", "text"),
            regions=tuple(regions),
            **photo.cut(x, y, side),
        )


class SceneBuilder:
    """Lays words out in rows, as on a poster, where they can be read: on the photograph or on a plate."""

    def __init__(self, number: int, background: np.ndarray, recipe: Mapping[str, Any]) -> None:
        self.rng = random.Random(f"tokbench quick 1 scene {number}")
        empty: dict[str, Any] = {"canvas": [SIDE_PX, SIDE_PX], "fonts": {}, "words": []}
        self.luma = luma(draw_scene(background, empty))
        self.plan = PLANS[number % len(PLANS)]
        self.words, self.codes = recipe["words"].split(), recipe["codes"].split()
        self.sturdy = self.rng.sample(recipe["sturdy_fonts"], 3)
        self.fonts = [*self.sturdy, self.rng.choice(recipe["delicate_fonts"])]
        self.inks = [*self.rng.sample(recipe["light_inks"], 2), *self.rng.sample(recipe["dark_inks"], 2)]
        self.plates = self.rng.sample(recipe["plates"], 2)
        assert all(abs(luma(pair["ink"]) - luma(pair["plate"])) >= MIN_LUMA_GAP for pair in self.plates), self.plates
        self.used: set[str] = set()

    def build(self) -> dict[str, Any]:
        """The instructions, as :func:`tokbench.data.scenes.draw_scene` takes them."""
        room = SIDE_PX - 2 * MARGIN_PX
        rows: list[tuple[list[dict[str, Any]], int]] = []
        for kind in self.plan:
            row = self.row(kind)
            height = max((word["y"] + extent_of(word).height for word in row), default=0) + GAP_PX + 2 * PAD_PX
            if row and height <= room:
                rows.append((row, height))
                room -= height
        self.rng.shuffle(rows)
        y, slack = float(MARGIN_PX + PAD_PX), room / len(rows)
        for row, height in rows:
            top = math.floor(y + self.rng.random() * slack)
            for word in row:
                word["y"] += top
            self.colour(row)
            y += slack + height
        words = [word for row, _ in rows for word in row]
        fonts = {word["font"]: font_digest(word["font"]) for word in words}
        return {"canvas": [SIDE_PX, SIDE_PX], "fonts": dict(sorted(fonts.items())), "words": words}

    def row(self, kind: str) -> list[dict[str, Any]]:
        """Words of one font and size on one baseline; y counts from the row's top."""
        low, high = (math.log(size) for size in ROWS[kind])
        size_px = math.floor(math.exp(self.rng.uniform(low, high)) * SCALE) / SCALE
        font = self.rng.choice(self.sturdy if kind == "S" else self.fonts) + ".ttf"
        style = self.rng.choice(("lower", "Title", "Title", "UPPER", "mixed"))
        row: list[dict[str, Any]] = []
        x, end = MARGIN_PX + PAD_PX, SIDE_PX - MARGIN_PX - PAD_PX
        for _ in range(60):
            text = self.text(style)
            extent = measure(text, font, size_px)
            if x + extent.width > end or not MIN_INK_PX <= extent.ink <= MAX_INK_PX or text.lower() in self.used:
                continue
            self.used.add(text.lower())
            row.append({"text": text, "font": font, "size_px": size_px, "x": x, "y": -extent.rise})
            x += extent.width + 2 * PAD_PX + GAP_PX + self.rng.randrange(2 + round(size_px / 2))
        if not row:
            return []
        shift = self.rng.randint(0, end - row[-1]["x"] - extent_of(row[-1]).width)
        top = min(word["y"] for word in row)
        return [{**word, "x": word["x"] + shift, "y": word["y"] - top} for word in row]

    def text(self, style: str) -> str:
        if self.rng.random() < CODE_SHARE:
            return self.rng.choice(self.codes)
        word = self.rng.choice(self.words)
        pick = self.rng.choice(("lower", "Title", "UPPER")) if style == "mixed" else style
        return {"lower": word, "Title": word.capitalize(), "UPPER": word.upper()}[pick]

    def colour(self, row: Sequence[dict[str, Any]]) -> None:
        """One ink that stands out behind every word of the row, or one for each word, or plates for all of them."""
        boxes = [(w["x"], w["y"], w["x"] + extent_of(w).width, w["y"] + extent_of(w).height) for w in row]
        readable = [self.readable_inks(box) for box in boxes]
        common = [ink for ink in self.inks if all(ink in inks for inks in readable)]
        pair = self.rng.choice(self.plates)
        for word, inks, (x0, y0, x1, y1) in zip(row, readable, boxes, strict=True):
            if all(readable):
                word["colour"] = (common or inks)[0]
                continue
            word["colour"] = pair["ink"]
            word["plate"] = {"box": [x0 - PAD_PX, y0 - PAD_PX, x1 + PAD_PX, y1 + PAD_PX], "colour": pair["plate"]}

    def readable_inks(self, box: tuple[int, int, int, int]) -> list[list[int]]:
        """The scene's inks far from the luma of nine tenths of the pixels around a box."""
        x0, y0, x1, y1 = box
        low, high = np.percentile(self.luma[y0 - 1 : y1 + 1, x0 - 1 : x1 + 1], (5, 95))
        return [ink for ink in self.inks if low - luma(ink) >= MIN_LUMA_GAP or luma(ink) - high >= MIN_LUMA_GAP]


class Extent(NamedTuple):
    """A word's mask in pixels, the height of its box, and how far it rises over the baseline."""

    width: int
    height: int
    ink: int
    rise: int


@cache
def measure(text: str, font: str, size_px: float) -> Extent:
    """How large a word comes out."""
    word = {"text": text, "font": font, "size_px": size_px, "x": 0, "y": 0}
    _, y0, _, y1 = ink_box(word, font_digest(font))
    face = ImageFont.truetype(str(font_path(font)), round(size_px * SCALE), layout_engine=ImageFont.Layout.BASIC)
    left, top, right, bottom = face.getmask(text, mode="L").getbbox()
    width, height = math.ceil((right - left) / SCALE), math.ceil((bottom - top) / SCALE)
    return Extent(width, height, round(y1 - y0), round(-face.getbbox(text, anchor="ls")[1] / SCALE))


def extent_of(word: Mapping[str, Any]) -> Extent:
    """As :func:`measure`, of a word in a scene."""
    return measure(word["text"], word["font"], word["size_px"])


def luma(pixels: np.ndarray | Sequence[int]) -> Any:
    """BT.601 luma in 0…255 over the last axis."""
    return np.asarray(pixels, dtype=np.float64) @ (0.299, 0.587, 0.114)


@cache
def font_digest(font: str) -> str:
    """sha256 of a font file, hex."""
    return hashlib.sha256(font_path(font).read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
