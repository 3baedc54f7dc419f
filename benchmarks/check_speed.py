"""How long do `tokbench compare` and `tokbench check` take on stored results?

    python benchmarks/check_speed.py            # 10,000 records, 30 metrics an image, 6 words with 4 metrics each

Writes two such runs to a temporary folder and times the commands as a user runs them, in processes of their own;
the peak is the process's resident memory.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tokbench.cards import TokenizerCard
from tokbench.results import BranchRecord, GroupValue, Record, RegionRecord, RunResult, RunSpec, Value
from tokbench.runfolder import LineWriter, write_influences, write_result
from tokbench.schema import record_to_json

IMAGE_METRICS, WORD_METRICS, WORDS, SET_METRICS = 30, 4, 6, 3


def records(n: int, seed: int) -> Iterator[Record]:
    """Records of one run; the seed is the tokenizer's."""
    rng = np.random.default_rng(seed)
    for number in range(n):
        values = {f"metric_{index}": float(value) for index, value in enumerate(rng.normal(20, 2, IMAGE_METRICS))}
        regions = tuple(
            RegionRecord(
                kind="word", index=index, label="word", box=(0.0, 0.0, 9.0, 9.0), group=("small", "large")[index % 2],
                values={f"word_{metric}": float(rng.random() < 0.8) for metric in range(WORD_METRICS)},
            )
            for index in range(WORDS)
        )  # fmt: skip
        branch = BranchRecord(
            reconstruction_sha256="0" * 64, encoding_bits=1e4, n_tokens=256, clamped=0.0, values=values, regions=regions
        )
        yield Record(
            id=f"set/{number:06d}", cluster=f"set/{number // 2:06d}", status="ok", reference_sha256=f"{number:064d}",
            size_px=(256, 256), branches={"": branch},
        )  # fmt: skip


def write_run(folder: Path, n: int, seed: int) -> Path:
    """A run's folder with everything a comparison reads."""
    folder.mkdir(parents=True)
    writer = LineWriter(folder / "records.jsonl")
    for record in records(n, seed):
        writer.write(record_to_json(record))
    writer.close()
    facts = {"version": 1, "unit": "", "better": "higher", "n": n, "value": 20.0}
    names = [(f"metric_{index}", "pair") for index in range(IMAGE_METRICS)]
    names += [(f"word_{index}", "region") for index in range(WORD_METRICS)]
    names += [(f"set_{index}", "set") for index in range(SET_METRICS)]
    groups = {name: GroupValue(value=0.8, n=n * WORDS // 2) for name in ("small", "large")}
    values = {
        key: Value(key=key, metric=key, title=key, group="pixel", kind=kind, groups=groups if kind == "region" else {},
                   aggregate="macro_mean" if kind == "region" else "mean", **facts)  # type: ignore[arg-type]
        for key, kind in names
    }  # fmt: skip
    moves = np.random.default_rng(seed).normal(0, 1, n)
    by_key = {f"set_{index}": moves - moves.mean() for index in range(SET_METRICS)}
    digest = write_influences(folder, [f"set/{number:06d}" for number in range(n)], by_key)
    spec = RunSpec(
        task={"name": "toy", "version": 1}, tokenizer=TokenizerCard(name=f"toy/t{seed}"),
        metrics=dict.fromkeys(values, 1), branches=("",), manifest_digest="sha256:ab", seed=0, dtype="float32",
        device="cpu", batch_size=8, limit=None,
    )  # fmt: skip
    write_result(folder, RunResult(
        status="complete", run_id="0" * 16, started="2026-01-02T03:04:05Z", finished="2026-01-02T03:05:05Z", spec=spec,
        manifest={"name": "toy", "version": 1, "n_samples": n}, environment={}, counts={"ok": n, "failed": 0},
        values=values, records={**writer.summary(), "influences_sha256": digest},
    ))  # fmt: skip
    return folder


def main() -> None:
    """Print one line a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000)
    n = parser.parse_args().records
    with TemporaryDirectory() as place:
        one, two = (str(write_run(Path(place) / f"run{seed}", n, seed)) for seed in (1, 2))
        size = sum(path.stat().st_size for path in Path(one).iterdir()) / 2**20
        print(f"{n:,} records, {size:.0f} MiB a run")
        commands = (
            ["check", two, "--baseline", one],
            ["compare", one, two],
            ["compare", one, two, "--interval", "bootstrap"],
        )
        for command in commands:
            clock = time.perf_counter()
            done = subprocess.run([sys.executable, "-m", "tokbench", *command], capture_output=True, text=True)
            seconds = time.perf_counter() - clock
            if done.returncode not in (0, 1):
                sys.exit(done.stderr)
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
            name = " ".join(word for word in command if "/" not in word)
            print(f"tokbench {name:32}{seconds:>7.1f} s   peak so far {peak:,.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
