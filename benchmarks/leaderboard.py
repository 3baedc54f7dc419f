"""How long the leaderboard takes: 500 synthetic submissions of 10,000 records each, in four tasks or one.

    python benchmarks/leaderboard.py [--submissions 500] [--records 10000] [--tasks 4] [--folder DIR]

Prints wall and CPU seconds, peak memory and sizes. The target is under 60 s and 2 GB on two cores, with a front page
under 2 MB. Submissions are made once in DIR (about 3 MB each; a temporary folder by default) and used again.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import hashlib
import json
import multiprocessing
import os
import resource
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from tokbench.cards import TokenizerCard
from tokbench.leaderboard.site import build_site
from tokbench.results import GroupValue, RunResult, RunSpec, Value
from tokbench.runfolder import folder_name, write_influences
from tokbench.schema import dump_json, result_to_json
from tokbench.submissions.form import FileFacts, Submission, submission_to_json
from tokbench.tasks.catalogue import tasks

TASKS = ("fidelity-256", "coco-256", "imagenet-256", "imagenet-512")  # the first has words and faces
PAIRS = ("psnr", "mae", "ssim", "ms_ssim", "lpips", "bpp", "tokens", "lossless_ratio", "bpp_adaptive0")
SETS = ("rfid", "codebook_usage", "codebook_perplexity", "bpp_order0", "psnr_pooled", "zipf_exponent")
FACTS: dict[str, tuple[str, str]] = {
    "bpp": ("rate", "lower"),
    "lpips": ("perception", "lower"),
    "tokens": ("rate", "lower"),
}


def main() -> None:
    """Make the submissions, then build."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--submissions", type=int, default=500)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--tasks", type=int, default=4, choices=range(1, 5))
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        results = options.folder or Path(temporary) / "results"
        names = TASKS[: options.tasks] if options.tasks > 1 else ("coco-256",)
        wanted = [(results, names[i % len(names)], i, options.records) for i in range(options.submissions)]
        begin = time.perf_counter()
        with multiprocessing.Pool(2) as pool:
            pool.starmap(make_submission, wanted, chunksize=4)
        print(f"{len(wanted)} submissions of {options.records:,} records made in {time.perf_counter() - begin:.0f} s")
        measure(results, Path(temporary) / "site")


def measure(results: Path, out: Path) -> None:
    """Build in a process of its own, so that its time and memory are its own; print what it took."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=build, args=(results, out, there))
    child.start()
    wall, cpu, peak = here.recv()
    child.join()
    pages = sorted(out.rglob("*.html"), key=lambda path: -path.stat().st_size)
    data = sorted(out.glob("data/*.js"), key=lambda path: -path.stat().st_size)
    largest = next(path for path in pages if path.parent.name == "tasks")
    rows = [
        ("wall", f"{wall:.1f} s"),
        ("CPU", f"{cpu:.1f} s"),
        ("load average", f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"),
        ("peak memory", f"{peak / 1e6:.2f} GB"),
        ("front page", f"{(out / 'index.html').stat().st_size / 1e6:.3f} MB"),
        ("largest board", f"{largest.stat().st_size / 1e6:.2f} MB"),
        ("largest data for comparing", f"{data[0].stat().st_size / 1e6:.2f} MB"),
        ("site", f"{sum(p.stat().st_size for p in out.rglob('*') if p.is_file()) / 1e6:.1f} MB, {len(pages)} pages"),
    ]
    for name, value in rows:
        print(f"  {name:28} {value}")


def build(results: Path, out: Path, done: Connection) -> None:
    """Build the site and send wall seconds, CPU seconds and peak memory in kB."""
    begin = time.perf_counter()
    build_site(results, out)
    used = resource.getrusage(resource.RUSAGE_SELF)
    done.send((time.perf_counter() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss))


def make_submission(results: Path, task_name: str, number: int, n: int) -> None:
    """One synthetic submission; not made again where it is there."""
    name = f"family{number % 23}/v{number}"
    folder = results / task_name / folder_name(name)
    if (folder / "submission.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    has_regions = task_name == "fidelity-256"
    level = rng.normal(0, 2)
    common = np.random.default_rng(0).normal(0, 4, n)  # images are hard or easy for everybody
    columns = {key: level + 30 + common + rng.normal(0, 1, n) for key in PAIRS}
    columns["bpp"] = np.full(n, float(np.exp(rng.uniform(-3, 1))))
    correct = (rng.random((n, 3)) < 1 / (1 + np.exp(-level))).astype(float)
    faces = np.clip(rng.normal(0.5 + level / 10, 0.2, n), -1, 1)
    digests = rng.integers(0, 256, (n, 32), dtype=np.uint8)
    lines = []
    for place in range(n):
        values = {key: float(column[place]) for key, column in columns.items()}
        branch: dict[str, Any] = {
            "reconstruction_sha256": digests[place].tobytes().hex(), "encoding_bits": 65536.0, "n_tokens": 1024,
            "clamped": 0.01, "values": values,
        }  # fmt: skip
        if has_regions:
            branch["regions"] = [region("word", k, {"t_acc.parseq": correct[place, k]}, place) for k in range(3)]
            branch["regions"].append(region("face", 3, {"f_sim.antelopev2": float(faces[place])}, place))
        row = {
            "id": f"images/{place:08d}.jpg", "cluster": f"page/{place // 2}", "status": "ok",
            "reference_sha256": f"{place:064x}", "size_px": [256, 256], "branches": {"": branch},
        }  # fmt: skip
        lines.append(json.dumps(row, separators=(",", ":")))
    content = ("\n".join(lines) + "\n").encode()
    means = {key: value(key, float(column.mean()), float(column.std()), n) for key, column in columns.items()}
    if has_regions:
        for key, kind, numbers in (("t_acc.parseq", "text", correct), ("f_sim.antelopev2", "face", faces)):
            by_group = {group: GroupValue(value=float(numbers.mean()), n=n) for group in GROUPS}
            made = value(key, float(numbers.mean()), float(numbers.std()), numbers.size)
            means[key] = dataclasses.replace(made, kind="region", group=kind, aggregate="macro_mean", groups=by_group)
    sets = {
        key: dataclasses.replace(value(key, 3.0, 1.0, n), kind="set", aggregate="pooled", ci95=None) for key in SETS
    }
    # In the records' order, and adding up to zero as influences do.
    moves = common - common.mean() + rng.normal(0, 0.2, n)
    write_influences(folder, [f"images/{place:08d}.jpg" for place in range(n)], {"rfid": (moves - moves.mean()) / n})
    sets["rfid"] = dataclasses.replace(sets["rfid"], value=5 - level / 10, better="lower", group="distribution")
    write(folder, name, task_name, means | sets, n, content)


GROUPS = ("small", "medium", "large")


def region(kind: str, index: int, values: dict[str, float], place: int) -> dict[str, Any]:
    """A word or face as records hold it."""
    return {
        "kind": kind, "index": index, "label": f"word{place % 97}", "box": [1.0, 2.0, 30.0, 14.0],
        "group": GROUPS[(place + index) % 3], "values": values,
    }  # fmt: skip


def value(key: str, mean: float, spread: float, n: int) -> Value:
    """A mean with its interval."""
    group, better = FACTS.get(key, ("pixel", "higher"))
    half = 1.96 * spread / n**0.5
    return Value(
        key=key, metric=key, version=1, title=key.upper(), group=group, kind="pair", unit="", better=better,  # type: ignore[arg-type]
        value=mean, n=n, ci95=(mean - half, mean + half),
    )  # fmt: skip


def write(folder: Path, name: str, task_name: str, values: dict[str, Value], n: int, content: bytes) -> None:
    """Write the submission's files."""
    task, digest = tasks()[task_name], "sha256:" + "0" * 64
    spec = RunSpec(
        task=json.loads(json.dumps(dataclasses.asdict(task))), tokenizer=TokenizerCard(name=name, licence="MIT"),
        metrics=dict.fromkeys(values, 1), branches=(), manifest_digest=digest, seed=0, dtype="float32", device="cpu",
        batch_size=8, limit=None,
    )  # fmt: skip
    result = RunResult(
        status="complete", run_id="0" * 16, started="2026-01-02T03:04:05Z", finished="2026-01-02T04:04:05Z", spec=spec,
        manifest={"name": task.manifest, "version": 1, "digest": digest, "n_samples": n}, environment={},
        counts={"ok": n, "failed": 0}, values=values,
        records={"n": n, "sha256": hashlib.sha256(content).hexdigest()},
    )  # fmt: skip
    (folder / "result.json").write_text(dump_json(result_to_json(result)))
    (folder / "records.jsonl.gz").write_bytes(gzip.compress(content, 6, mtime=0))
    files = {
        path.name: FileFacts(bytes=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.iterdir())
    }
    submission = Submission(
        task=task_name, tokenizer=name, submitted="2026-01-02T03:04:05Z", packed_with="0.1.0", submitter="A lab",
        licence="CC0-1.0", command="tokbench run", files=files,
    )  # fmt: skip
    (folder / "submission.json").write_text(json.dumps(submission_to_json(submission)))


if __name__ == "__main__":
    main()
