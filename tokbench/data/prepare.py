"""Data sets on this machine: where their manifests are, and how they get there.

Prepared manifests live in ``manifests/NAME/`` below the data folder (``TOKBENCH_DATA``, else
``XDG_DATA_HOME/tokbench``, else ``~/.local/share/tokbench``). Images stay where they are: a manifest's folder holds a
link to them, so that it can be used with ``--task folder --data`` as well.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokbench.data.converters import tokbench_annotations as tokbench_sets
from tokbench.data.converters.annotated import Annotated, to_samples
from tokbench.data.manifests import TOML_NAME, list_manifests, load_manifest, save_manifest
from tokbench.errors import ManifestError, MissingExtraError
from tokbench.samples import Manifest, Sample

TOKBENCH, IMAGENET, COCO = "tokbench", "imagenet", "coco"
HUB_ID = "Junfeng5/TokBench"
PREPARE_COMMANDS = {
    TOKBENCH: "tokbench data prepare tokbench",
    IMAGENET: "tokbench data prepare imagenet --root DIR",
    COCO: "tokbench data prepare coco --root DIR",
}
"""What to type for a set that is not on this machine, by the manifest's name."""

_HOW = {
    TOKBENCH: "to download it, or `tokbench data prepare tokbench --root DIR` with the folder of a copy",
    IMAGENET: (
        "with the folder, tar or Parquet file of your copy of the 50,000 validation images (tokbench cannot download "
        "them: image-net.org asks you to accept its terms)"
    ),
    COCO: (
        "with the folder or zip file of your copy (http://images.cocodataset.org/zips/val2017.zip, 0.8 GB; "
        "instances_val2017.json beside it lets every size be checked)"
    ),
}
_DATA_OF = {TOKBENCH: "TokBench", IMAGENET: "ImageNet", COCO: "COCO"}
_LINK, _UPRIGHT = "data", "upright"
_CITATION = "Wu et al., TokBench: Evaluating Your Visual Tokenizer before Visual Generation, arXiv 2505.18142, 2025"
_LICENCE = "CC-BY-4.0 for the bundle as stated on its card; its sets carry their own terms"


def data_folder() -> Path:
    """The user's data folder; it need not exist."""
    if chosen := os.environ.get("TOKBENCH_DATA"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "tokbench"


def prepared_folder(name: str) -> Path:
    """Where the prepared manifest of that name is or would be."""
    return data_folder() / "manifests" / name


def find_manifest(name: str) -> Manifest:
    """The manifest of that name: one that comes with tokbench, else a prepared one.

    Raises:
        ManifestError: not prepared on this machine (the message has the command), or malformed.
        UnknownNameError: no such name.
    """
    if name not in list_manifests():
        folder = prepared_folder(name)
        if (folder / TOML_NAME).is_file():
            return load_manifest(folder)
        if name in PREPARE_COMMANDS:
            raise ManifestError(
                f"the data of {_DATA_OF[name]} is not on this machine (no {folder / TOML_NAME}); {how_to_prepare(name)}"
            )
    return load_manifest(name)


def how_to_prepare(name: str) -> str:
    """What to do to get a set onto this machine, with the exact command."""
    return f"run `{PREPARE_COMMANDS[name]}` {_HOW[name]}"


def prepare_tokbench(root: Path, *, out: Path | None = None) -> Manifest:
    """Check a copy of TokBench and write its manifest; a set whose annotations are missing is left out with a note.

    Args:
        root: the folder that holds ``annotations/`` and ``images/``.
        out: where the manifest goes; None is where tasks look for it.

    Raises:
        ManifestError: no copy of TokBench, malformed annotations, or images that are missing or of another size.
    """
    out = prepared_folder(TOKBENCH) if out is None else out
    sets = tokbench_sets.read_sets(root)
    folders = {name: tokbench_sets.image_folder(root, name) for name in sets}
    samples: list[Sample] = []
    problems = []
    prefix = link_images(root, out)
    for name, images in sets.items():
        try:
            samples += to_samples(
                images,
                folder=folders[name],
                prefix=joined(prefix, folders[name].relative_to(root).as_posix()),
                upright=out / _UPRIGHT,
                upright_prefix=_UPRIGHT,
                id_prefix=f"{name}/",
            )
        except ManifestError as err:
            problems.append(f"{name}: {err}")
    if problems:
        raise ManifestError("\n".join(problems))
    manifest = Manifest(
        name=TOKBENCH,
        version=1,
        title="TokBench: photographs and documents with words, and faces",
        licence=_LICENCE,
        citation=_CITATION,
        samples=tuple(samples),
        root=str(out),
        notes=(*tokbench_sets.count_notes(sets), *_upright_notes(samples)),
    )
    save_manifest(manifest, out)
    return manifest


def save_converted(
    images: Sequence[Annotated], *, folder: Path, out: Path, name: str, licence: str, notes: Sequence[str] = ()
) -> Manifest:
    """Write the manifest of a set of one's own, for ``--task folder --data OUT``.

    Raises:
        ManifestError: images that are missing, unreadable or of another size than annotated, all named.
    """
    prefix = link_images(folder, out)
    samples = to_samples(images, folder=folder, prefix=prefix, upright=out / _UPRIGHT, upright_prefix=_UPRIGHT)
    manifest = Manifest(
        name=name,
        version=1,
        title=name,
        licence=licence,
        citation="",
        samples=samples,
        root=str(out),
        notes=(*notes, *_upright_notes(samples)),
    )
    save_manifest(manifest, out)
    return manifest


def download_tokbench() -> Path:
    """A copy of the images and their annotations from the hub, in its own cache; what is there is not fetched again.

    Raises:
        MissingExtraError: huggingface_hub is not installed.
        ManifestError: the download failed, or the hub is switched off (HF_HUB_OFFLINE) and the cache has no copy.
    """
    command = PREPARE_COMMANDS[TOKBENCH]
    by_hand = f"or get the data set {HUB_ID} another way and run `{command} --root DIR` with its folder"
    try:
        hub: Any = importlib.import_module("huggingface_hub")
    except ImportError as err:
        raise MissingExtraError(
            f"downloading needs huggingface_hub: run `pip install huggingface_hub`, then `{command}`; {by_hand}"
        ) from err
    try:
        return Path(hub.snapshot_download(HUB_ID, repo_type="dataset", ignore_patterns=["*video*", "*.mp4"]))
    except Exception as err:  # the hub raises types of its own and of its HTTP library's
        raise ManifestError(
            f"{HUB_ID} cannot be downloaded ({type(err).__name__}: {err}); check the connection and HF_HUB_OFFLINE, "
            f"then run `{command}` again; {by_hand}"
        ) from err


def link_images(folder: Path, out: Path) -> str:
    """Make ``folder`` reachable from ``out``; its address there, "" for ``out`` itself."""
    folder, out = folder.resolve(), out.resolve()
    if not folder.is_dir():
        raise ManifestError(f"{folder} is no folder; expected the one with the images")
    if folder.is_relative_to(out):
        inside = folder.relative_to(out).as_posix()
        return "" if inside == "." else inside
    link = out / _LINK
    try:
        out.mkdir(parents=True, exist_ok=True)
        if link.is_symlink():
            link.unlink()
        link.symlink_to(folder, target_is_directory=True)
    except OSError as err:
        raise ManifestError(
            f"cannot link {link} to {folder} ({err.strerror or err}); choose another --out, or one around the images"
        ) from err
    return _LINK


def joined(first: str, second: str) -> str:
    """Two relative addresses as one; the first may be empty."""
    return f"{first}/{second}" if first else second


def _upright_notes(samples: Sequence[Sample]) -> list[str]:
    n = sum(sample.source.startswith(f"{_UPRIGHT}/") for sample in samples)
    return [f"{n} images are annotated as stored, so their orientation mark was taken off"] if n else []
