"""A task: everything that must be equal for two numbers to be comparable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from tokbench.errors import UsageError
from tokbench.samples import Region, RegionKind

FitMode = Literal["crop", "pad", "none"]
CropMethod = Literal["square", "adm", "short_side", "short_side_rounded"]
Filter = Literal["lanczos", "bicubic", "bilinear", "box", "cv2_linear"]
Grid = Literal["model", "source"]
Words = Literal["refined", "as_labelled"]
Crop = Literal["outward", "truncate"]
Recode = Literal["none", "source_type"]
RegionMean = Literal["pooled", "macro"]


CROPS: Mapping[str, tuple[CropMethod, Filter]] = {
    "square": ("square", "lanczos"),
    "adm": ("adm", "bicubic"),
    "bicubic": ("short_side", "bicubic"),
    "bilinear": ("short_side", "bilinear"),
    "lanczos": ("short_side", "lanczos"),
    "cv2": ("short_side_rounded", "cv2_linear"),
}
"""The crops in use, by the name they have in tasks and options: method and filter of a :class:`Fit`."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How an image of any size becomes the image a tokenizer sees.

    Attributes:
        mode: ``crop`` scales the short side to ``size_px`` and cuts the centre square; ``pad`` scales the long side
            to ``size_px`` and pads with black to a square; ``none`` keeps the size and pads the right and bottom
            by reflection up to the tokenizer's size multiple.
        size_px: side of the square; None with ``none``.
        filter: resampling filter, antialiased, on 8-bit images (Pillow); or ``cv2_linear``, OpenCV's bilinear, which
            is not antialiased.
        method: how ``crop`` gets there; numbers of different methods are not comparable. ``square`` cuts the centre
            square of the source, then scales it. The others scale first, then cut: ``adm`` halves with a box filter
            while the short side stays at or above ``size_px``, then scales the short side to it with bicubic
            (openai/guided-diffusion, ``center_crop_arr``); ``short_side`` scales the short side and cuts the long one
            to whole pixels (torchvision's Resize and CenterCrop); ``short_side_rounded`` rounds it
            (albumentations' SmallestMaxSize and CenterCrop).
    """

    mode: FitMode
    size_px: int | None = None
    filter: Filter = "lanczos"
    method: CropMethod = "square"

    def __post_init__(self) -> None:
        for name, choice in (("mode", FitMode), ("filter", Filter), ("method", CropMethod)):
            got, choices = getattr(self, name), get_args(choice)
            if got not in choices:
                raise UsageError(f"fit: {name} is {got!r}, expected one of {', '.join(choices)}")
        if self.mode != "crop" and self.method != "square":
            raise UsageError(f"fit {self.mode!r} crops nothing, so it has no method {self.method!r}")
        if self.method == "adm" and self.filter != "bicubic":
            raise UsageError(f"the crop of ADM is bicubic, got {self.filter!r}")
        if (self.mode == "none") != (self.size_px is None):
            raise UsageError(f"fit {self.mode!r} {'takes no' if self.mode == 'none' else 'needs a'} size")
        if self.size_px is not None and self.size_px < 1:
            raise UsageError(f"fit size must be at least 1 px, got {self.size_px}")


@dataclass(frozen=True, kw_only=True)
class SizeGroups:
    """Groups of words or faces by size: half-open intervals ``[edges[i], edges[i+1])``.

    Attributes:
        by: what is grouped on: the box height or width in pixels of the compared grid, or the stored ratio.
        edges: one more than names, rising.
        names: small to large.
    """

    by: Literal["height_px", "width_px", "ratio"]
    edges: tuple[float, ...]
    names: tuple[str, ...] = ("small", "medium", "large")

    def __post_init__(self) -> None:
        if len(self.edges) != len(self.names) + 1 or list(self.edges) != sorted(set(self.edges)):
            raise UsageError(f"size groups {self.names} need {len(self.names) + 1} rising edges, got {self.edges}")

    def group_of(self, region: Region) -> str | None:
        """The name of the region's group, or None outside every interval or without the quantity.

        ``region`` is in pixels of the compared grid.
        """
        if self.by == "ratio":
            size = region.ratio
        else:
            x0, y0, x1, y1 = region.box
            size = y1 - y0 if self.by == "height_px" else x1 - x0
        if size is None:
            return None
        for name, low, high in zip(self.names, self.edges, self.edges[1:], strict=False):
            if low <= size < high:
                return name
        return None


@dataclass(frozen=True, kw_only=True)
class Task:
    """Data, placement, compared grid and size groups, under one name and version.

    Attributes:
        manifest: name of the manifest the task runs on.
        fit: how images become what tokenizers see.
        compare_on: ``model``: reference and reconstruction are compared as the tokenizer saw them, padding removed;
            ``source``: the reconstruction is resized back and compared with the untouched image.
        size_groups: by region kind; a kind without an entry is reported without groups.
        words: which words recognisers are scored on. ``refined``: each recogniser on the words it reads correctly on
            the original, and it is told nothing about the label. ``as_labelled``: every word; a recogniser that knows
            how also repeats what the published evaluation lets the label do (it bounds the length of what is read).
        crop: how a box becomes a crop. ``outward``: every pixel the box touches, clipped to the image. ``truncate``:
            all four coordinates cut to whole numbers, as published.
        recode: ``source_type`` writes and reads each reconstruction once more as a file of its original's type with
            Pillow's defaults (JPEG at quality 75, 4:2:0), as published; needs ``compare_on`` source.
        region_mean: one number over words or faces: ``pooled``, each counting once, or ``macro``, the unweighted mean
            of the size groups, undefined if one is empty. A kind without size groups is always pooled.
        rank_by: metric keys a leaderboard of this task ranks by, in order.
        n_samples: how many the manifest has when it is complete; a run on fewer is ``partial``. None if any number is.
    """

    name: str
    version: int
    title: str
    description: str
    manifest: str
    fit: Fit
    compare_on: Grid = "model"
    size_groups: Mapping[RegionKind, SizeGroups] = field(default_factory=dict)
    words: Words = "refined"
    crop: Crop = "outward"
    recode: Recode = "none"
    region_mean: RegionMean = "pooled"
    rank_by: tuple[str, ...] = ("psnr",)
    n_samples: int | None = None

    def __post_init__(self) -> None:
        for name, choice in (("words", Words), ("crop", Crop), ("recode", Recode), ("region_mean", RegionMean)):
            got, choices = getattr(self, name), get_args(choice)
            if got not in choices:
                raise UsageError(f"task {self.name}: {name} is {got!r}, expected one of {', '.join(choices)}")
        if self.recode != "none" and self.compare_on != "source":
            raise UsageError(f"task {self.name}: files are of the source's size, so recode needs compare_on 'source'")
        if self.region_mean == "macro" and not self.size_groups:
            raise UsageError(f"task {self.name}: the macro mean is over size groups, and it has none")
        if self.compare_on == "source" and self.fit.mode == "crop":
            raise UsageError(f"task {self.name}: a crop cannot be undone, so it cannot be compared on the source grid")
