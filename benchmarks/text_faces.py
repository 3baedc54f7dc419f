"""Words and faces a second: our path against a plain restatement of TokBench's evaluation loop, same networks.

    python benchmarks/text_faces.py           # every word and face of the task `quick`
    python benchmarks/text_faces.py --quick   # a quarter of its samples

All rows are timed one after the other, twice, in one process, the order reversed the second time; the better of the
two counts. The reconstructions, references rounded to 5 bits, lie in a folder as PNG files, as the published evaluation
finds them; every row reads them and reads and places the originals itself.

    plain       one image at a time, crops and faces one by one in file order, originals done again for each tokenizer;
                each network as its library calls it, with its default threads (all cores, within one small image).
                Words: rapidocr's recogniser in onnxruntime, padded to at least 320 px. Faces: dlib's
                `face_recognition_model_v1`.
    plain, 96   the same with rapidocr's least width set to 96 px, as ours.
    plain, reconstructions only
                as the published text loop, which finds its labels already refined.
    plain, ours the same loop over faces with our reading of dlib's network in torch, which is nine times as fast.
    first       `tokbench.score` with an empty reference cache: everything from reading files to statistics.
    second      the same for the next folder: the references' readings and embeddings come from the cache.

The peak is resident memory of a fresh process doing `first`, then `second`. Nothing is taken off for loading.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tokbench.samples import Manifest, Region, Sample

METRICS = {"words": ("t_acc.rapidocr", "t_ned.rapidocr"), "faces": ("f_sim.dlib", "f_ver.dlib")}


@dataclass(frozen=True)
class Item:
    """An image of the task, as the runner would hand it to a metric, and its degraded copy."""

    reference: np.ndarray
    reconstruction: np.ndarray
    regions: tuple[Region, ...]


def subset(kind: str, *, quick: bool) -> Manifest:
    """The samples of `quick` that have such regions; for faces also seven more cuts of each, a few pixels smaller."""
    from tokbench.data.manifests import load_manifest

    manifest = load_manifest("quick")
    samples = [s for s in manifest.samples if any(region.kind == kind for region in s.regions)]
    if kind == "face":
        samples = [cut for sample in samples for cut in [sample, *(smaller(sample, px) for px in range(1, 8))]]
    return replace(manifest, samples=tuple(samples[:: 4 if quick else 1]))


def smaller(sample: Sample, px: int) -> Sample:
    """The sample without its first rows and columns."""
    x0, y0, x1, y1 = sample.crop or (0, 0, sample.width_px, sample.height_px)
    moved = [
        replace(
            region,
            box=tuple(value - px for value in region.box),
            keypoints=tuple((x - px, y - px) for x, y in region.keypoints),
        )
        for region in sample.regions
    ]
    return replace(
        sample,
        id=f"{sample.id}_{px}",
        crop=(x0 + px, y0 + px, x1, y1),
        width_px=sample.width_px - px,
        height_px=sample.height_px - px,
        regions=tuple(moved),
    )


def references(manifest: Manifest) -> Iterator[tuple[Sample, Any]]:
    """Image after image, read and placed as for a metric."""
    from tokbench.cards import TokenizerCard
    from tokbench.runner.loading import Failure, load_sample
    from tokbench.tasks.catalogue import find_task

    card, task = TokenizerCard(name="bench/plain"), find_task("quick")
    for sample in manifest.samples:
        loaded = load_sample(sample, root=manifest.root, task=task, card=card)
        if isinstance(loaded, Failure):
            raise SystemExit(f"{sample.id}: {loaded.error}")
        yield sample, loaded


def write_reconstructions(manifest: Manifest, folder: Path) -> None:
    """Every reference rounded to 5 bits, as a PNG file under its sample's id."""
    from tokbench.images import encode_png

    for sample, loaded in references(manifest):
        path = folder / f"{sample.id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(np.rint(np.rint(loaded.reference / 255 * 31) / 31 * 255).astype(np.uint8)))


def items(manifest: Manifest, folder: Path) -> Iterator[Item]:
    """Image after image with its reconstruction, read from its file."""
    from tokbench.images import decode_image

    for sample, loaded in references(manifest):
        path = folder / f"{sample.id}.png"
        yield Item(loaded.reference, decode_image(path.read_bytes(), name=path.name), loaded.regions)


def default_session(path: Path) -> Any:
    """An onnxruntime session as a library makes it: all cores for each call."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def plain_words(manifest: Manifest, folder: Path, *, least_width_px: int, both_sides: bool) -> Callable[[], None]:
    """The official text loop; the published one reads reconstructions only, its labels having been refined before."""
    import cv2

    from tokbench.engines.rapidocr import CARD
    from tokbench.metrics.regions import whole_pixels
    from tokbench.weights.files import find_weights

    path = find_weights(CARD.weights)
    assert path is not None
    session = default_session(path)

    def read(crop: np.ndarray) -> int:
        width = int(np.ceil(48 * crop.shape[1] / crop.shape[0]))
        values = cv2.resize(np.ascontiguousarray(crop[:, :, ::-1]), (width, 48)).astype(np.float32)
        padded = np.zeros((1, 3, 48, max(least_width_px, width)), np.float32)
        padded[0, :, :, :width] = values.transpose(2, 0, 1) / 127.5 - 1
        return int(session.run(None, {"x": padded})[0].argmax(axis=2).sum())

    def loop() -> None:
        for item in items(manifest, folder):
            for region in item.regions:
                if region.kind == "word":
                    inside = whole_pixels(
                        region.box, height_px=item.reference.shape[0], width_px=item.reference.shape[1]
                    )
                    assert inside is not None
                    x0, y0, x1, y1 = inside
                    for side in (item.reference, item.reconstruction) if both_sides else (item.reconstruction,):
                        read(side[y0:y1, x0:x1])

    return loop


def plain_faces(manifest: Manifest, folder: Path, embed: Callable[[np.ndarray], np.ndarray]) -> Callable[[], None]:
    """The official face loop: the original's and the reconstruction's embedding, face by face."""
    from tokbench.engines.align import similarity, smooth_chip
    from tokbench.engines.dlib import TEMPLATE_150

    def loop() -> None:
        for item in items(manifest, folder):
            for region in item.regions:
                if region.kind == "face":
                    matrix = similarity(region.keypoints, TEMPLATE_150)
                    assert matrix is not None
                    first, second = (
                        embed(smooth_chip(side, matrix, side_px=150)) for side in (item.reference, item.reconstruction)
                    )
                    float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))

    return loop


def ours(manifest: Manifest, kind: str, *, reconstructions: Path, cache: Path) -> Callable[[], None]:
    """A whole run over the files; ``cache`` decides whether it is a first or a second tokenizer."""
    from tokbench.cache import ReferenceCache
    from tokbench.cards import TokenizerCard
    from tokbench.evaluation import _default_workers
    from tokbench.metrics import face, text
    from tokbench.runner.folder import FolderReconstructor
    from tokbench.runner.progress import Silent
    from tokbench.runner.run import RunPlan, run
    from tokbench.runner.sink import DigestSink
    from tokbench.tasks.catalogue import find_task

    def whole_run() -> None:
        plan = RunPlan(
            task=find_task("quick"),
            manifest=manifest,
            card=TokenizerCard(name="bench/files", latent="none"),
            reconstructor=FolderReconstructor(reconstructions),
            metrics=[metric for metric in (*text.METRICS, *face.METRICS) if metric.card.key in METRICS[kind]],
            branches=(),
            seed=0,
            device="cpu",
            dtype="float32",
            batch_size=8,
            workers=_default_workers(),
            limit=None,
            cache=ReferenceCache(cache),
            environment={},
            has_tokenizer=False,
        )
        result = run(plan, sink=DigestSink(), progress=Silent())
        assert result.status == "complete", result.reason
        assert all(value.status == "ok" for value in result.values.values()), result.values

    return whole_run


def timed(rows: dict[str, Callable[[], None]], *, repeats: int = 2) -> dict[str, float]:
    """Best seconds of each row; the rows take turns, forwards and backwards, so that drift hits all alike."""
    best = dict.fromkeys(rows, float("inf"))
    for turn in range(repeats):
        for name in list(rows) if turn % 2 == 0 else list(rows)[::-1]:
            clock = time.perf_counter()
            rows[name]()
            best[name] = min(best[name], time.perf_counter() - clock)
    return best


def word_rows(manifest: Manifest, files: Path, caches: Path) -> dict[str, Callable[[], None]]:
    """What is timed for words."""
    return {
        "plain, reconstructions only": plain_words(manifest, files, least_width_px=320, both_sides=False),
        "plain": plain_words(manifest, files, least_width_px=320, both_sides=True),
        "plain, 96": plain_words(manifest, files, least_width_px=96, both_sides=True),
        **our_rows(manifest, "words", files, caches),
    }


def face_rows(manifest: Manifest, files: Path, caches: Path) -> dict[str, Callable[[], None]]:
    """What is timed for faces; needs dlib (tokbench[dev])."""
    import dlib

    from tokbench.engines.dlib import CARD
    from tokbench.engines.dlib_network import DescriptorNetwork
    from tokbench.weights.files import find_weights

    path = find_weights(CARD.weights)
    assert path is not None
    library = dlib.face_recognition_model_v1(str(path))
    rows = {
        "plain": plain_faces(manifest, files, lambda chip: np.array(library.compute_face_descriptor(chip))),
        "plain, ours": plain_faces(manifest, files, DescriptorNetwork(path)),
    }
    return {**rows, **our_rows(manifest, "faces", files, caches)}


def our_rows(manifest: Manifest, kind: str, files: Path, caches: Path) -> dict[str, Callable[[], None]]:
    """The run with a cache of its own every time, and with one that stays."""

    def first() -> None:
        with tempfile.TemporaryDirectory(dir=caches) as own:
            ours(manifest, kind, reconstructions=files, cache=Path(own) / "cache.sqlite")()

    return {
        "first": first,
        "second": ours(manifest, kind, reconstructions=files, cache=caches / f"{kind}.sqlite"),
    }


def peak_megabytes(*, quick: bool) -> float:
    """Peak resident memory of a fresh process that does `first` and `second`, words and faces."""
    command = [sys.executable, __file__, "--child", *(["--quick"] if quick else [])]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def child(*, quick: bool) -> None:
    """Both kinds, first and second tokenizer; prints this process's peak resident memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in METRICS:
            manifest, files = subset(kind[:-1], quick=quick), Path(folder) / kind
            write_reconstructions(manifest, files)
            for _ in ("first", "second"):
                ours(manifest, kind, reconstructions=files, cache=Path(folder) / "cache.sqlite")()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Parse options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the samples")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(quick=options.quick)
        return
    with tempfile.TemporaryDirectory() as folder:
        for kind, make in (("words", word_rows), ("faces", face_rows)):
            manifest = subset(kind[:-1], quick=options.quick)
            n = sum(region.kind == kind[:-1] for sample in manifest.samples for region in sample.regions)
            files = Path(folder) / kind
            write_reconstructions(manifest, files)
            rows = make(manifest, files, Path(folder))
            rows["second"]()  # fills the cache, and every network is loaded and warm
            seconds = timed(rows)
            print(f"\n{n} {kind} in {len(manifest.samples)} images")
            for name, spent in seconds.items():
                against = f"{seconds['plain'] / spent:5.1f} × plain"
                print(f"  {name:28} {spent:7.2f} s {n / spent:8.1f} {kind}/s {against}")
    print(f"\npeak memory {peak_megabytes(quick=options.quick):.0f} MB")


if __name__ == "__main__":
    main()
