"""Samples, regions and manifests: what is measured, down to the byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tokbench.errors import ManifestError, UsageError

RegionKind = Literal["word", "face"]
Box = tuple[float, float, float, float]
Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Region:
    """An annotated word or face.

    Attributes:
        kind: ``word`` or ``face``.
        box: x0, y0, x1, y1 in pixels of the sample's image, half-open.
        label: the word as written, or the person where known; "" where not.
        keypoints: for a face, the five points image-left eye, image-right eye, nose tip, image-left mouth corner,
            image-right mouth corner; empty where not annotated.
        ratio: relative size as the data set defines it; None where it defines none.
        attributes: further facts a protocol needs, by name (the longest label of the word's published batch, say).
    """

    kind: RegionKind
    box: Box
    label: str = ""
    keypoints: tuple[Point, ...] = ()
    ratio: float | None = None
    attributes: Mapping[str, int | float | str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image, by address and digest; pixels are loaded later.

    Attributes:
        id: unique in its manifest; a relative POSIX path without extension, used for file names.
        source: where the bytes are: a path relative to the manifest's root, ``package:DIST/path/in/package``, or
            ``archive:FILE!MEMBER`` (see :mod:`tokbench.data.sources`).
        sha256: of the source's bytes, hex; "" only in manifests made on the spot from a folder, before a run
            fills it in.
        width_px, height_px: size of the sample's image, after crop and scene.
        crop: x0, y0, x1, y1 of the part of the source that is the sample; None for all of it.
        scene: drawing instructions for a composed text scene (see :mod:`tokbench.data.scenes`); None for a photograph.
        cluster: samples cut from one source are not independent; intervals resample clusters. "" means its own.
        label: class name, where known.
        tags: free words for filtering.
        regions: annotated words and faces, in the sample image's pixels.
    """

    id: str
    source: str
    sha256: str
    width_px: int
    height_px: int
    crop: tuple[int, int, int, int] | None = None
    scene: Mapping[str, Any] | None = None
    cluster: str = ""
    label: str = ""
    tags: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()

    def __post_init__(self) -> None:
        parts = self.id.split("/")
        if not self.id or self.id.startswith("/") or "\\" in self.id or ".." in parts or "" in parts:
            raise ManifestError(f"sample id {self.id!r} must be a relative POSIX path without '..'")

    @property
    def cluster_id(self) -> str:
        return self.cluster or self.id


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A named, versioned, licensed list of samples.

    ``root`` says where relative sources are found; it is a fact of this machine and no part of the digest.
    """

    name: str
    version: int
    title: str
    licence: str
    citation: str
    samples: tuple[Sample, ...]
    root: str = ""
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for sample in self.samples:
            if sample.id in seen:
                raise ManifestError(f"manifest {self.name}: sample id {sample.id!r} occurs twice")
            seen.add(sample.id)

    @property
    def digest(self) -> str:
        """``sha256:…`` over every sample's canonical JSON, in id order: two equal digests mean the same images."""
        digest = hashlib.sha256()
        for sample in sorted(self.samples, key=lambda sample: sample.id):
            line = json.dumps(sample_to_json(sample), sort_keys=True, ensure_ascii=False, allow_nan=False)
            digest.update(line.encode() + b"\n")
        return "sha256:" + digest.hexdigest()

    def subset(self, limit: int) -> Manifest:
        """``limit`` samples spread evenly over the manifest, in its order; has another digest."""
        if limit < 1:
            raise UsageError(f"--limit must be at least 1, got {limit}")
        total = len(self.samples)
        if limit >= total:
            return self
        picked = tuple(self.samples[(index * total) // limit] for index in range(limit))
        return Manifest(
            name=self.name,
            version=self.version,
            title=self.title,
            licence=self.licence,
            citation=self.citation,
            samples=picked,
            root=self.root,
            notes=(*self.notes, f"{limit} of {total} samples"),
        )


def sample_to_json(sample: Sample) -> dict[str, Any]:
    """The sample as one line of ``samples.jsonl``; absent fields are left out."""
    row: dict[str, Any] = {
        "id": sample.id,
        "source": sample.source,
        "sha256": sample.sha256,
        "width_px": sample.width_px,
        "height_px": sample.height_px,
    }
    if sample.crop is not None:
        row["crop"] = list(sample.crop)
    if sample.scene is not None:
        row["scene"] = dict(sample.scene)
    for name in ("cluster", "label"):
        if getattr(sample, name):
            row[name] = getattr(sample, name)
    if sample.tags:
        row["tags"] = list(sample.tags)
    if sample.regions:
        row["regions"] = [_region_to_json(region) for region in sample.regions]
    return row


def sample_from_json(row: Mapping[str, Any]) -> Sample:
    """Inverse of :func:`sample_to_json`; raises ManifestError naming what is wrong."""
    known = {
        "id", "source", "sha256", "width_px", "height_px", "crop", "scene", "cluster", "label", "tags", "regions",
    }  # fmt: skip
    unknown = sorted(set(row) - known)
    if unknown:
        raise ManifestError(f"sample {row.get('id', '?')!r}: unknown fields {unknown}")
    try:
        crop = row.get("crop")
        return Sample(
            id=str(row["id"]),
            source=str(row["source"]),
            sha256=str(row["sha256"]),
            width_px=int(row["width_px"]),
            height_px=int(row["height_px"]),
            crop=None if crop is None else (int(crop[0]), int(crop[1]), int(crop[2]), int(crop[3])),
            scene=row.get("scene"),
            cluster=str(row.get("cluster", "")),
            label=str(row.get("label", "")),
            tags=tuple(row.get("tags", ())),
            regions=tuple(_region_from_json(region) for region in row.get("regions", ())),
        )
    except (KeyError, TypeError, ValueError, IndexError) as err:
        raise ManifestError(f"sample {row.get('id', '?')!r} is malformed: {err!r}") from err


def _region_to_json(region: Region) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": region.kind, "box": [float(value) for value in region.box]}
    if region.label:
        row["label"] = region.label
    if region.keypoints:
        row["keypoints"] = [[float(x), float(y)] for x, y in region.keypoints]
    if region.ratio is not None:
        row["ratio"] = float(region.ratio)
    if region.attributes:
        row["attributes"] = dict(sorted(region.attributes.items()))
    return row


def _region_from_json(row: Mapping[str, Any]) -> Region:
    kind = row["kind"]
    if kind not in ("word", "face"):
        raise ValueError(f"region kind {kind!r} is neither 'word' nor 'face'")
    x0, y0, x1, y1 = (float(value) for value in row["box"])
    points: Sequence[Sequence[float]] = row.get("keypoints", ())
    ratio = row.get("ratio")
    return Region(
        kind=kind,
        box=(x0, y0, x1, y1),
        label=str(row.get("label", "")),
        keypoints=tuple((float(point[0]), float(point[1])) for point in points),
        ratio=None if ratio is None else float(ratio),
        attributes=dict(row.get("attributes", {})),
    )
