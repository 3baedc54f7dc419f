"""How much of a run is not the tokenizer and not the metrics, and does memory grow with the number of images?

    python benchmarks/harness.py            # 2,000 images for the share, 500 and 5,000 for memory
    python benchmarks/harness.py --quick    # a tenth of that

Part 1 times, side by side in one process, the bare work (encode, decode and every metric called on images that are
already in memory, one batch after the other) and the whole run over the same images as JPEG files on disk (read,
verify, decode, place, encode, decode, restore, measure, records, pictures, statistics). What the run takes beyond the
bare work is overhead. The bare work is measured before and after the run and the mean taken, since machines drift.

Part 2 runs the same task in fresh processes and reads each one's peak resident memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tokbench.cli.console import share_the_cores

SIDE = 256
METRICS = "pixel,codebook_usage,codebook_perplexity,codebook_entropy,bpp,tokens"


def make_images(folder: Path, n: int) -> None:
    """N different JPEG files of 256 px, cut and mirrored from the photographs scikit-image carries."""
    import skimage.data
    from PIL import Image

    photos = [
        getattr(skimage.data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket", "hubble_deep_field")
    ]
    draw = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(n):
        photo = photos[number % len(photos)]
        y, x = (int(draw.integers(0, side - SIDE + 1)) for side in photo.shape[:2])
        crop = photo[y : y + SIDE, x : x + SIDE]
        crop = crop[:, ::-1] if number % 2 else crop
        Image.fromarray(np.ascontiguousarray(crop)).save(folder / f"{number:05d}.jpg", quality=92)


def bare_seconds(
    tokenizer_name: str, metric_names: str, folder: Path, *, n: int, batch_size: int
) -> tuple[float, float]:
    """Seconds of encode and decode, and of the metrics, for ``n`` images, on data that is already in memory."""
    import torch

    from tokbench.contracts import Comparison, CostMetric, PairMetric, RegionMetric, StatefulMetric
    from tokbench.images import decode_image, to_float, to_uint8
    from tokbench.registry import select_metrics
    from tokbench.samples import Sample
    from tokbench.tasks.catalogue import folder_task
    from tokbench.tokenizers import load_tokenizer

    tokenizer = load_tokenizer(tokenizer_name)
    metrics = [metric for metric in select_metrics(metric_names) if not isinstance(metric, CostMetric)]
    states = {metric.card.key: metric.new_state() for metric in metrics if isinstance(metric, StatefulMetric)}
    paths = sorted(folder.iterdir())[: 8 * batch_size]
    pixels = torch.from_numpy(np.stack([decode_image(path.read_bytes(), name=path.name) for path in paths]))
    reference = pixels.permute(0, 3, 1, 2).contiguous()
    samples = tuple(Sample(id=path.stem, source=path.name, sha256="", width_px=SIDE, height_px=SIDE) for path in paths)
    spent = {"tokenizer": 0.0, "metrics": 0.0}
    done = 0
    with torch.inference_mode():
        while done < n:
            start = done % len(paths)
            rows = slice(start, start + batch_size)
            images = to_float(reference[rows])
            clock = time.perf_counter()
            encoding = tokenizer.encode(images)
            decoded = tokenizer.decode(encoding, seeds=[0] * len(images))
            spent["tokenizer"] += time.perf_counter() - clock
            comparison = Comparison(
                samples=samples[rows],
                reference=reference[rows],
                reconstruction=to_uint8(decoded.float()),
                regions=((),) * len(images),
                encoding=encoding,
                task=folder_task(size_px=SIDE),
                reconstruction_features={},
                features={
                    feature.name: feature.compute(reference[rows], [()] * len(images))
                    for metric in metrics
                    for feature in metric.features
                },
            )
            clock = time.perf_counter()
            for metric in metrics:
                if isinstance(metric, PairMetric):
                    metric.measure(comparison)
                elif isinstance(metric, RegionMetric):
                    metric.measure_regions(comparison)
                else:
                    metric.update(states[metric.card.key], comparison)
            spent["metrics"] += time.perf_counter() - clock
            done += len(images)
    return spent["tokenizer"], spent["metrics"]


def run_seconds(tokenizer: str, metrics: str, folder: Path, *, batch_size: int, out: Path) -> float:
    """Wall-clock seconds of the whole run, report excluded."""
    from tokbench.evaluation import evaluate
    from tokbench.tasks.catalogue import folder_task

    clock = time.perf_counter()
    result = evaluate(tokenizer, folder_task(size_px=SIDE), metrics, data=folder, batch_size=batch_size, out=out)
    seconds = time.perf_counter() - clock
    assert result.status == "complete", result.reason
    return seconds


def peak_megabytes(tokenizer: str, metrics: str, folder: Path, *, limit: int) -> float:
    """Peak resident memory of a fresh process that runs the first ``limit`` images."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps([tokenizer, metrics, str(folder), limit])],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def child(tokenizer: str, metrics: str, folder: str, limit: int) -> None:
    """One run of ``limit`` images in this process; prints its peak resident memory in MB."""
    from tokbench.evaluation import evaluate
    from tokbench.tasks.catalogue import folder_task

    with tempfile.TemporaryDirectory() as out:
        evaluate(tokenizer, folder_task(size_px=SIDE), metrics, data=folder, limit=limit, out=out)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Parse options and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", default="lbg")
    parser.add_argument("--metrics", default=METRICS)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="a tenth of the images")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    share_the_cores()  # as `tokbench run` does
    if options.child:
        child(*json.loads(options.child))
        return
    scale = 10 if options.quick else 1
    with tempfile.TemporaryDirectory() as temporary:
        share(options, Path(temporary), n=2000 // scale)
        memory(options, Path(temporary), small=500 // scale, large=5000 // scale)


def share(options: argparse.Namespace, temporary: Path, *, n: int) -> None:
    """Part 1: what the run takes beyond tokenizer and metrics."""
    folder = temporary / "share"
    make_images(folder, n)
    arguments = (options.tokenizer, options.metrics, folder)
    before = bare_seconds(*arguments, n=n, batch_size=options.batch_size)
    whole = run_seconds(*arguments, batch_size=options.batch_size, out=temporary / "runs")
    after = bare_seconds(*arguments, n=n, batch_size=options.batch_size)
    tokenizer, metrics = ((a + b) / 2 for a, b in zip(before, after, strict=True))
    print(f"{n} images of {SIDE} px, {options.tokenizer}, metrics {options.metrics}, batches of {options.batch_size}")
    print(f"{'':34}{'seconds':>9}{'images/s':>10}{'share of run':>14}")
    for name, seconds in (
        ("tokenizer alone", tokenizer),
        ("metrics alone", metrics),
        ("both, one after the other", tokenizer + metrics),
        ("the run", whole),
        ("the run beyond both", whole - tokenizer - metrics),
        ("the run beyond the tokenizer", whole - tokenizer),
    ):
        speed = f"{n / seconds:10.1f}" if seconds > 0 and "beyond" not in name else f"{'':10}"
        print(f"{name:34}{seconds:9.2f}{speed}{100 * seconds / whole:13.1f}%")
    print()


def memory(options: argparse.Namespace, temporary: Path, *, small: int, large: int) -> None:
    """Part 2: peak memory of a small and a large run."""
    folder = temporary / "memory"
    make_images(folder, large)
    peaks = {n: peak_megabytes(options.tokenizer, options.metrics, folder, limit=n) for n in (small, large)}
    print(f"peak memory, {options.tokenizer}, fresh process each")
    for n, peak in peaks.items():
        print(f"{n:8} images {peak:9.0f} MB")
    print(f"{'growth':>15} {100 * (peaks[large] / peaks[small] - 1):9.1f} %")


if __name__ == "__main__":
    main()
