"""``tokbench data``: get at the images of a task, and make manifests of other sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tokbench.cli.options import choose_task, task_options
from tokbench.errors import UsageError

if TYPE_CHECKING:
    from tokbench.samples import Manifest


@click.group()
def data() -> None:
    """Prepare, convert, export or verify images."""


@data.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@task_options
def export(folder: Path, task_name: str, data: Path | None, fit: str, crop: str, size: int, limit: int | None) -> int:
    """Write a task's reference images as FOLDER/<sample id>.png, as a tokenizer is to reconstruct them."""
    from tokbench.cards import TokenizerCard
    from tokbench.evaluation import task_manifest
    from tokbench.images import encode_png
    from tokbench.runfolder import disk_error
    from tokbench.runner.loading import Failure, load_sample

    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; export into a new folder")
    task = choose_task(task_name, fit=fit, crop=crop, size=size)
    manifest = task_manifest(task, data=data, limit=limit)
    card = TokenizerCard(name="export", latent="none")
    failed = 0
    for sample in manifest.samples:
        loaded = load_sample(sample, root=manifest.root, task=task, card=card)
        if isinstance(loaded, Failure):
            failed += 1
            click.echo(f"failed: {sample.id}: {loaded.error}", err=True)
            continue
        path = folder / f"{sample.id}.png"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(loaded.reference))
        except OSError as err:
            raise disk_error(path, err) from err
    click.echo(f"{len(manifest.samples) - failed} images in {folder}")
    return 3 if failed else 0


@data.command()
@task_options
def verify(task_name: str, data: Path | None, fit: str, crop: str, size: int, limit: int | None) -> int:
    """Read every image of a task and check its digest and size."""
    from tokbench.data.manifests import load_pixels
    from tokbench.errors import SampleError
    from tokbench.evaluation import task_manifest

    manifest = task_manifest(choose_task(task_name, fit=fit, crop=crop, size=size), data=data, limit=limit)
    failed = 0
    for sample in manifest.samples:
        try:
            load_pixels(sample, manifest.root)
        except SampleError as err:
            failed += 1
            click.echo(f"failed: {sample.id}: {err}", err=True)
    click.echo(f"{manifest.name} v{manifest.version}, {manifest.digest}")
    click.echo(f"{len(manifest.samples) - failed} of {len(manifest.samples)} samples are as the manifest says")
    return 3 if failed else 0


@data.command()
@click.argument("name", type=click.Choice(["tokbench", "imagenet", "coco"]))
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Your copy: a folder, or for imagenet and coco one tar, zip or Parquet file. [tokbench alone is downloaded]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the manifest goes. [default: where tasks look for it]",
)
@click.option("--partial", is_flag=True, help="imagenet, coco: take an incomplete copy; results on it are partial.")
def prepare(name: str, root: Path | None, out: Path | None, partial: bool) -> int:
    """Check a data set and write the manifest that tasks need; the images stay where they are."""
    from tokbench.data.prepare import TOKBENCH, download_tokbench, prepare_tokbench, prepared_folder

    if name != TOKBENCH:
        manifest = _prepare_images(name, root, out, partial=partial)
    else:
        if partial:
            raise UsageError("--partial is for imagenet and coco; of tokbench, sets that are missing are left out")
        if root is None:
            click.echo(f"downloading {name} …", err=True)
            root = download_tokbench()
        manifest = prepare_tokbench(root, out=out)
    _print_manifest(manifest, out or prepared_folder(name))
    return 0


def _prepare_images(name: str, root: Path | None, out: Path | None, *, partial: bool) -> Manifest:
    from tokbench.cli.console import make_progress
    from tokbench.data.image_sets import prepare_image_set
    from tokbench.data.prepare import how_to_prepare

    if root is None:
        raise UsageError(f"{name} needs --root: {how_to_prepare(name)}")
    progress = make_progress()
    try:
        return prepare_image_set(
            name,
            root,
            out=out,
            partial=partial,
            started=lambda total: progress.started(task=name, tokenizer="check", total=total),
            advanced=progress.advanced,
        )
    finally:
        progress.finished()


@data.command()
@click.argument("form", metavar="FORM", type=click.Choice(["icdar", "textocr", "wflw"]))
@click.option("--images", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder of images.")
@click.option(
    "--annotations",
    required=True,
    type=click.Path(path_type=Path),
    help="icdar: folder of gt_IMAGE.txt; textocr (and COCO-Text): JSON file; wflw: list of 98 points.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Where it goes.")
@click.option("--name", required=True, help="What to call the set.")
@click.option("--licence", required=True, help="Under which terms you have the images.")
def convert(form: str, images: Path, annotations: Path, out: Path, name: str, licence: str) -> int:
    """Make a manifest of annotated images: icdar, textocr or wflw.

    Use it with `tokbench run --task folder --data OUT`.
    """
    from tokbench.data.converters.icdar import read_icdar
    from tokbench.data.converters.textocr import read_textocr
    from tokbench.data.converters.wflw import read_wflw
    from tokbench.data.prepare import save_converted

    if not images.is_dir():
        raise UsageError(f"{images} is no folder; --images takes the folder of the annotated images")
    if form == "icdar":
        found, notes = read_icdar(annotations, images)
    else:
        found, notes = {"textocr": read_textocr, "wflw": read_wflw}[form](annotations)
    manifest = save_converted(found, folder=images, out=out, name=name, licence=licence, notes=notes)
    _print_manifest(manifest, out)
    return 0


def _print_manifest(manifest: Manifest, folder: Path) -> None:
    kinds = [region.kind for sample in manifest.samples for region in sample.regions]
    click.echo(f"{manifest.name} v{manifest.version}, {manifest.digest}")
    annotated = f", {kinds.count('word')} words, {kinds.count('face')} faces" if kinds else ""
    click.echo(f"{len(manifest.samples)} images{annotated} in {folder}")
    for note in manifest.notes:
        click.echo(f"note: {note}", err=True)
