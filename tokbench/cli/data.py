"""``tokbench data``: get at the images of a task."""

from __future__ import annotations

from pathlib import Path

import click

from tokbench.cli.options import choose_task, task_options
from tokbench.errors import UsageError


@click.group()
def data() -> None:
    """Export or verify the images of a task."""


@data.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@task_options
def export(folder: Path, task_name: str, data: Path | None, fit: str, size: int, limit: int | None) -> int:
    """Write a task's reference images as FOLDER/<sample id>.png, as a tokenizer is to reconstruct them."""
    from tokbench.cards import TokenizerCard
    from tokbench.evaluation import task_manifest
    from tokbench.images import encode_png
    from tokbench.runfolder import disk_error
    from tokbench.runner.loading import Failure, load_sample

    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; export into a new folder")
    task = choose_task(task_name, fit=fit, size=size)
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
def verify(task_name: str, data: Path | None, fit: str, size: int, limit: int | None) -> int:
    """Read every image of a task and check its digest and size."""
    from tokbench.data.manifests import load_pixels
    from tokbench.errors import SampleError
    from tokbench.evaluation import task_manifest

    manifest = task_manifest(choose_task(task_name, fit=fit, size=size), data=data, limit=limit)
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
