"""Words and faces a second: our path against a plain restatement of TokBench's evaluation loop, same networks.

    python benchmarks/text_faces.py           # every word and face of the task `quick`
    python benchmarks/text_faces.py --quick   # a quarter of its samples

All rows are timed one after the other, twice, in one process, the order reversed the second time; the better of the
two counts. The reconstructions are the references rounded to 5 bits, which costs next to nothing. Every row reads and
places the images itself.

    plain       one image at a time, crops and faces one by one in file order, originals done again for each tokenizer;
                each network with its library's default threads (all cores, within one small image). Words: rapidocr's
                recogniser in onnxruntime, padded to at least 320 px as by default. Faces: our reading of dlib's
                network, in torch.
    plain, 96   the same with rapidocr's least width set to 96 px, as ours.
    plain, reconstructions only
                as the published text loop, which finds its labels already refined.
    library     for dlib: `dlib.face_recognition_model_v1` itself, where dlib is installed.
    first       `tokbench.evaluate` with an empty reference cache: everything from reading files to statistics.
    second      the same for the next tokenizer: the references' readings and embeddings come from the cache.

The peak is resident memory of a fresh process doing `first`, then `second`. Nothing is taken off for loading.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
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


class FiveBits:
    """A tokenizer that costs nothing: five bits a channel."""

    def __init__(self, name: str) -> None:
        from tokbench.cards import TokenizerCard

        self.card = TokenizerCard(name=f"bench/{name}", latent="continuous")

    def encode(self, images: Any) -> Any:
        from tokbench.encodings import Latents

        return Latents(values=(images * 31).round() / 31)

    def decode(self, encoding: Any, *, seeds: Sequence[int]) -> Any:  # noqa: ARG002  # the contract
        return encoding.values


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


def items(manifest: Manifest) -> Iterator[Item]:
    """Image after image, read and placed as for a metric, with its copy in 5 bits."""
    from tokbench.cards import TokenizerCard
    from tokbench.runner.loading import Failure, load_sample
    from tokbench.tasks.catalogue import find_task

    card, task = TokenizerCard(name="bench/plain"), find_task("quick")
    for sample in manifest.samples:
        loaded = load_sample(sample, root=manifest.root, task=task, card=card)
        if isinstance(loaded, Failure):
            raise SystemExit(f"{sample.id}: {loaded.error}")
        coarse = np.rint(np.rint(loaded.reference / 255 * 31) / 31 * 255).astype(np.uint8)
        yield Item(loaded.reference, coarse, loaded.regions)


def default_session(path: Path) -> Any:
    """An onnxruntime session as a library makes it: all cores for each call."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def plain_words(manifest: Manifest, *, least_width_px: int, both_sides: bool) -> Callable[[], None]:
    """The official text loop; the published one reads reconstructions only, its labels having been refined before."""
    import cv2

    from tokbench.engines.base import find_weights
    from tokbench.engines.rapidocr import CARD
    from tokbench.metrics.regions import whole_pixels

    path = find_weights(CARD)
    assert path is not None
    session = default_session(path)

    def read(crop: np.ndarray) -> int:
        width = int(np.ceil(48 * crop.shape[1] / crop.shape[0]))
        values = cv2.resize(np.ascontiguousarray(crop[:, :, ::-1]), (width, 48)).astype(np.float32)
        padded = np.zeros((1, 3, 48, max(least_width_px, width)), np.float32)
        padded[0, :, :, :width] = values.transpose(2, 0, 1) / 127.5 - 1
        return int(session.run(None, {"x": padded})[0].argmax(axis=2).sum())

    def loop() -> None:
        for item in items(manifest):
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


def plain_faces(manifest: Manifest, embed: Callable[[np.ndarray], np.ndarray]) -> Callable[[], None]:
    """The official face loop: the original's and the reconstruction's embedding, face by face."""
    from tokbench.engines.align import similarity, smooth_chip
    from tokbench.engines.dlib import TEMPLATE_150

    def loop() -> None:
        for item in items(manifest):
            for region in item.regions:
                if region.kind == "face":
                    matrix = similarity(region.keypoints, TEMPLATE_150)
                    assert matrix is not None
                    first, second = (
                        embed(smooth_chip(side, matrix, side_px=150)) for side in (item.reference, item.reconstruction)
                    )
                    float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))

    return loop


def ours(manifest: Manifest, kind: str, cache: Path, name: str) -> Callable[[], None]:
    """A whole run over the samples; ``cache`` decides whether it is a first or a second tokenizer."""
    from tokbench.cache import ReferenceCache
    from tokbench.evaluation import DEFAULT_BATCH_SIZE, _default_workers
    from tokbench.metrics import face, text
    from tokbench.runner.progress import Silent
    from tokbench.runner.reconstruct import TokenizerReconstructor
    from tokbench.runner.run import RunPlan, run
    from tokbench.runner.sink import DigestSink
    from tokbench.tasks.catalogue import find_task
    from tokbench.tokenizers import wrap

    def whole_run() -> None:
        tokenizer = wrap(FiveBits(name))
        plan = RunPlan(
            task=find_task("quick"),
            manifest=manifest,
            card=tokenizer.card,
            reconstructor=TokenizerReconstructor(tokenizer, branches=(), device="cpu", dtype="float32", seed=0),
            metrics=[metric for metric in (*text.METRICS, *face.METRICS) if metric.card.key in METRICS[kind]],
            branches=(),
            seed=0,
            device="cpu",
            dtype="float32",
            batch_size=DEFAULT_BATCH_SIZE,
            workers=_default_workers(),
            limit=None,
            cache=ReferenceCache(cache),
            environment={},
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


def word_rows(manifest: Manifest, folder: Path) -> dict[str, Callable[[], None]]:
    """What is timed for words."""
    return {
        "plain, reconstructions only": plain_words(manifest, least_width_px=320, both_sides=False),
        "plain": plain_words(manifest, least_width_px=320, both_sides=True),
        "plain, 96": plain_words(manifest, least_width_px=96, both_sides=True),
        "first": _fresh(manifest, "words", folder),
        "second": ours(manifest, "words", folder / "warm_words.sqlite", "second"),
    }


def face_rows(manifest: Manifest, folder: Path) -> dict[str, Callable[[], None]]:
    """What is timed for faces."""
    from tokbench.engines.base import find_weights
    from tokbench.engines.dlib import CARD
    from tokbench.engines.dlib_network import DescriptorNetwork

    path = find_weights(CARD)
    assert path is not None
    rows = {"plain": plain_faces(manifest, DescriptorNetwork(path))}
    if find_spec("dlib") is not None:
        import dlib

        library = dlib.face_recognition_model_v1(str(path))
        rows["library"] = plain_faces(manifest, lambda chip: np.array(library.compute_face_descriptor(chip)))
    rows["first"] = _fresh(manifest, "faces", folder)
    rows["second"] = ours(manifest, "faces", folder / "warm_faces.sqlite", "second")
    return rows


def _fresh(manifest: Manifest, kind: str, folder: Path) -> Callable[[], None]:
    """A run with a cache of its own every time."""

    def first() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as own:
            ours(manifest, kind, Path(own) / "cache.sqlite", "first")()

    return first


def peak_megabytes(*, quick: bool) -> float:
    """Peak resident memory of a fresh process that does `first` and `second`, words and faces."""
    command = [sys.executable, __file__, "--child", *(["--quick"] if quick else [])]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def child(*, quick: bool) -> None:
    """Both kinds, first and second tokenizer; prints this process's peak resident memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in METRICS:
            for name in ("first", "second"):
                ours(subset(kind[:-1], quick=quick), kind, Path(folder) / "cache.sqlite", name)()
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
            rows = make(manifest, Path(folder))
            rows["second"]()  # fills the cache, and every network is loaded and warm
            seconds = timed(rows)
            print(f"\n{n} {kind} in {len(manifest.samples)} images")
            for name, spent in seconds.items():
                against = f"{seconds['plain'] / spent:5.1f} × plain"
                print(f"  {name:28} {spent:7.2f} s {n / spent:8.1f} {kind}/s {against}")
    print(f"\npeak memory {peak_megabytes(quick=options.quick):.0f} MB")


if __name__ == "__main__":
    main()
