"""How long and how much memory do the token statistics of a large set take?

    python benchmarks/tokens.py            # 50,000 images of 1,024 tokens from 2^18 codes, three sources
    python benchmarks/tokens.py --quick    # a tenth of the images

Each source runs in a fresh process, all token metrics side by side, as in a run. Making the tokens is not counted; the
last row of each table is everything else, from the first batch to the last value. Sources: ``uniform`` (all codes
alike: most distinct codes and pairs), ``zipf`` (frequency ∝ 1 / rank, tokens independent) and ``runs`` (the same, but
each token equals the one before it with probability 0.9 and otherwise comes from 2,048 codes: pairs stay countable to
the end).
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np

CODES = 2**18
SIDE = 32  # tokens on a side
BATCH = 64
RUN_CODES = 2048
SOURCES = ("uniform", "zipf", "runs")


def batches(source: str, n: int) -> Iterator[np.ndarray]:
    """Batches of int64 ``(n, 32, 32)``."""
    rng = np.random.default_rng(0)
    size = RUN_CODES if source == "runs" else CODES
    shares = np.cumsum(1 / np.arange(1, size + 1)) if source != "uniform" else np.arange(1, size + 1)
    names = rng.permutation(CODES)[:size]
    for start in range(0, n, BATCH):
        shape = (min(BATCH, n - start), SIDE * SIDE)
        codes = names[np.searchsorted(shares, rng.random(shape) * shares[-1])]
        if source == "runs":
            changes = rng.random(shape) < 0.1
            changes[:, 0] = True
            last_change = np.maximum.accumulate(np.where(changes, np.arange(shape[1]), 0), axis=1)
            codes = np.take_along_axis(codes, last_change, axis=1)
        yield codes.reshape(-1, SIDE, SIDE)


def child(source: str, n: int) -> None:
    """Time every token metric over one source in this process; prints a table."""
    import torch

    from tokbench.contracts import Comparison, StatefulMetric
    from tokbench.encodings import Tokens
    from tokbench.registry import select_metrics
    from tokbench.samples import Sample
    from tokbench.tasks.catalogue import folder_task

    metrics = [metric for metric in select_metrics("codebook,rate") if isinstance(metric, StatefulMetric)]
    states = {metric.card.key: metric.new_state() for metric in metrics}
    seconds = dict.fromkeys(states, 0.0)
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for codes in batches(source, n):
        pixels = torch.zeros((len(codes), 3, 1, 1), dtype=torch.uint8)
        samples = (Sample(id="0", source="", sha256="", width_px=1, height_px=1),) * len(codes)
        comparison = Comparison(
            samples=samples, reference=pixels, reconstruction=pixels, regions=((),) * len(codes),
            encoding=Tokens.grid(torch.from_numpy(codes), codebook_size=CODES), task=folder_task(), features={},
            reconstruction_features={},
        )  # fmt: skip
        for metric in metrics:
            clock = time.perf_counter()
            metric.update(states[metric.card.key], comparison)
            seconds[metric.card.key] += time.perf_counter() - clock
    print(f"{source}: {n:,} images × {SIDE * SIDE:,} tokens of {CODES:,} codes, batches of {BATCH}")
    print(f"{'':26}{'seconds':>9}  value")
    for metric in metrics:
        key = metric.card.key
        clock = time.perf_counter()
        summary = metric.compute(states[key])
        seconds[key] += time.perf_counter() - clock
        print(f"{key:26}{seconds[key]:9.2f}  {summary.reason if summary.value is None else f'{summary.value:.6g}'}")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{'all':26}{sum(seconds.values()):9.2f}  peak {peak_mb:.0f} MB, of which {before_mb:.0f} MB were imports\n")


def main() -> None:
    """Parse options and run each source in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the images")
    parser.add_argument("--source", choices=SOURCES, help="one source, in this process")
    options = parser.parse_args()
    n = 5000 if options.quick else 50000
    if options.source:
        child(options.source, n)
        return
    for source in SOURCES:
        subprocess.run([sys.executable, __file__, "--source", source, *["--quick"] * options.quick], check=True)


if __name__ == "__main__":
    main()
