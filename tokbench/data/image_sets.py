"""ImageNet and COCO on this machine: a copy in any usual layout is checked and gets its manifest.

Everybody's manifest of the same images is equal: images have their published names, and where they are is in
``places.jsonl``. Images stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tokbench.data.converters import coco, imagenet
from tokbench.data.finding import Copy, Found, find_copy
from tokbench.data.inspecting import Seen, ignore, inspect
from tokbench.data.manifests import save_manifest
from tokbench.data.places import save_places
from tokbench.data.prepare import COCO, IMAGENET, joined, link_images, prepared_folder
from tokbench.data.sources import NAMED
from tokbench.errors import ManifestError
from tokbench.samples import Manifest, Sample

_UPRIGHT = "upright"
_N_NAMED = 4


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """A published set of images.

    Attributes:
        names: every image of it, or None where only their number is known.
        n_images: how many there are.
        classes: by name, where known.
        sizes: width and height as published, by name, where known.
    """

    name: str
    title: str
    licence: str
    citation: str
    n_images: int
    canonical_name: Callable[[Found], str | None]
    names: Sequence[str] | None = None
    classes: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def prepare_image_set(
    name: str,
    root: Path,
    *,
    out: Path | None = None,
    partial: bool = False,
    started: Callable[[int], None] = ignore,
    advanced: Callable[[int], None] = ignore,
) -> Manifest:
    """Check a copy of ``imagenet`` or ``coco`` and write its manifest. What was checked is not checked again.

    Args:
        name: of the set.
        root: a folder that holds the images somewhere, in folders, tar, zip or Parquet files; or one such file.
        out: where the manifest goes; None is where tasks look for it.
        partial: take an incomplete copy too; every result on it is ``partial``.
        started, advanced: told how many images will be looked at, and how many more were.

    Raises:
        ManifestError: images are missing, cannot be read or are of another size than published; all of them.
        SampleError: an archive that cannot be listed.
    """
    out = prepared_folder(name) if out is None else out
    base, copy = find_copy(root)
    image_set = _described(name, copy)
    prefix = link_images(base, out)
    chosen, notes = _choose(image_set, copy.images)
    if not chosen:
        raise ManifestError(
            f"no images of {image_set.title} under {root}; expected {_expected(image_set)} in folders, .tar, .zip or "
            f".parquet files"
        )
    missing = _missing(image_set, chosen)
    if missing and not partial:
        raise ManifestError(f"{missing}{_or_partial(name)}")
    started(len(chosen))
    seen, problems = inspect(
        {image: _prefixed(address, prefix) for image, address in chosen.items()},
        root=out,
        upright=_UPRIGHT,
        advanced=advanced,
    )
    problems |= _wrong_sizes(image_set, seen)
    if problems and (not partial or len(problems) == len(chosen)):
        rows = [f"{image}: {problem}" for image, problem in list(problems.items())[:_N_NAMED]]
        more = f"\n  … and {len(problems) - _N_NAMED} more" if len(problems) > _N_NAMED else ""
        raise ManifestError(
            f"{len(problems)} of {len(chosen)} images cannot be used:\n  "
            + "\n  ".join(rows)
            + f"{more}\nget these files again{_or_partial(name)}"
        )
    good = {image: seen[image] for image in chosen if image in seen and image not in problems}
    notes = [missing, f"{len(problems)} images left out, which cannot be used" if problems else "", *notes]
    return _save(image_set, good, [note for note in notes if note], out)


def _described(name: str, copy: Copy) -> ImageSet:
    if name == IMAGENET:
        classes = imagenet.read_classes(copy)
        lacking = (
            "no class is known, so accuracies cannot be measured, and a copy with classes has another digest: put "
            "LOC_val_solution.csv (or another list of classes) beside the images and prepare again"
        )
        return ImageSet(
            name=name,
            title=imagenet.TITLE,
            licence=imagenet.LICENCE,
            citation=imagenet.CITATION,
            n_images=imagenet.N_IMAGES,
            canonical_name=imagenet.canonical_name,
            names=imagenet.expected_names(),
            classes=classes,
            notes=() if classes else (lacking,),
        )
    if name != COCO:
        raise ManifestError(f"no image set {name!r}; there are {IMAGENET} and {COCO}")
    annotations = next((path for path in copy.notes if path.name == coco.ANNOTATIONS_NAME), None)
    sizes = {} if annotations is None else coco.annotated_sizes(annotations)
    return ImageSet(
        name=name,
        title=coco.TITLE,
        licence=coco.LICENCE,
        citation=coco.CITATION,
        n_images=coco.N_IMAGES,
        canonical_name=coco.canonical_name,
        names=list(sizes) if sizes else None,
        sizes=sizes,
    )


def _choose(image_set: ImageSet, images: Sequence[Found]) -> tuple[dict[str, str], list[str]]:
    """An address for each image by name, in the order to read them, and notes on what was left out."""
    chosen: dict[str, str] = {}
    expected = None if image_set.names is None else set(image_set.names)
    twice: list[str] = []
    others: list[str] = []
    for found in images:
        name = image_set.canonical_name(found)
        if name is None or (expected is not None and name not in expected):
            others.append(found.address)
        elif name in chosen:
            twice.append(found.address)
        else:
            chosen[name] = found.address
    notes = []
    if others:
        notes.append(f"{len(others)} other images left out, the first: {others[0]}")
    if twice:
        notes.append(f"{len(twice)} images are there more than once; left out are such as {twice[0]}")
    # Rows of a shard are read in its order, or every image would cost a whole row group.
    is_sharded = any(address.startswith("parquet:") for address in chosen.values())
    return (chosen if is_sharded else dict(sorted(chosen.items()))), notes


def _missing(image_set: ImageSet, chosen: Mapping[str, str]) -> str:
    """What lacks to the whole set, in words; "" for nothing."""
    n = len(chosen)
    if n == image_set.n_images:
        return ""
    if n > image_set.n_images:
        raise ManifestError(f"{n} images look like {image_set.title}, which has {image_set.n_images}")
    said = f"{n:,} of {image_set.n_images:,} images of {image_set.title} are there"
    if image_set.names is None:
        return said
    missing = [name for name in image_set.names if name not in chosen]
    more = f" and {len(missing) - _N_NAMED:,} more" if len(missing) > _N_NAMED else ""
    return f"{said}; missing: {', '.join(missing[:_N_NAMED])}{more}"


def _wrong_sizes(image_set: ImageSet, seen: Mapping[str, Seen]) -> dict[str, str]:
    wrong = {}
    for name, size in image_set.sizes.items():
        if name in seen and (got := (seen[name].width_px, seen[name].height_px)) != size:
            wrong[name] = f"{got[0]}×{got[1]} px, published as {size[0]}×{size[1]}"
    return wrong


def _save(image_set: ImageSet, seen: Mapping[str, Seen], notes: Sequence[str], out: Path) -> Manifest:
    turned = sum(bool(item.upright) for item in seen.values())
    own = [f"{turned} images carry an orientation mark, which published crops ignore; it was taken off"] * bool(turned)
    samples = tuple(
        Sample(
            id=name.rpartition(".")[0],
            source=f"{NAMED}{name}",
            sha256=item.sha256,
            width_px=item.width_px,
            height_px=item.height_px,
            label=image_set.classes.get(name, ""),
        )
        for name, item in seen.items()
    )
    unlabelled = sum(not sample.label for sample in samples)
    if image_set.classes and unlabelled:
        own.append(f"{unlabelled} images have no class in the lists found")
    manifest = Manifest(
        name=image_set.name,
        version=1,
        title=image_set.title,
        licence=image_set.licence,
        citation=image_set.citation,
        samples=samples,
        root=str(out),
        notes=(*image_set.notes, *notes, *own),
    )
    save_places({name: item.upright or item.address for name, item in seen.items()}, out)
    save_manifest(manifest, out)
    return manifest


def _expected(image_set: ImageSet) -> str:
    return f"{image_set.n_images:,} files such as " + (
        "000000000139.jpg" if image_set.name == COCO else imagenet.image_name(1)
    )


def _or_partial(name: str) -> str:
    return f"; or add `--partial` to `tokbench data prepare {name}`, which marks every result as partial"


def _prefixed(address: str, prefix: str) -> str:
    kind, colon, rest = address.partition(":") if address.startswith(("archive:", "parquet:")) else ("", "", address)
    return f"{kind}{colon}{joined(prefix, rest)}"
