"""Make the first submissions: the built-in tokenizers and codecs on `quick`, into ``results/``.

    python scripts/build_results.py [--out results] [--only lbg/d1,identity] [--runs DIR]

Everything is measured that needs no download, but costs: they belong to a machine, and the one that happens to run
this is nobody's reference. Equal versions and processors give equal records, so running it twice changes only times.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from tokbench.evaluation import evaluate
from tokbench.registry import metrics
from tokbench.requirements import why_unavailable
from tokbench.submissions.pack import Said, pack
from tokbench.submissions.validate import lines

TASK = "quick"
TOKENIZERS = (
    "identity",
    "resize/f4",
    "jpeg/q50",
    "webp/q50",
    "avif/q50",
    "lbg/d1",
    "lbg/d4",
    "lbg/d8",
    "rvq/d8",
    "pca/k16",
)
N_PICTURES = 1
# Costs; and perturbed reconstructions, each measured as a branch of its own, which would be most of the records.
LEFT_OUT = ("efficiency", "robustness")


def main() -> int:
    """Run every tokenizer first, since a changed file in ``results/`` would make the checkout of the next one dirty."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "results")
    parser.add_argument("--only", default=",".join(TOKENIZERS), help="tokenizers, comma-separated")
    parser.add_argument("--runs", type=Path, help="keep the runs here")
    arguments = parser.parse_args()
    keys = [
        key
        for key, metric in metrics().items.items()
        if metric.card.group not in LEFT_OUT and not why_unavailable(metric)
    ]
    said = Said(
        submitter="The tokbench authors", notes="Made by scripts/build_results.py with what comes with tokbench."
    )
    with TemporaryDirectory() as temporary:
        results = []
        for name in arguments.only.split(","):
            results.append(evaluate(name, TASK, keys, out=arguments.runs or temporary, device="cpu"))
            click.echo(f"{name}: {results[-1]['psnr']:.2f} dB", err=True)
        for result in results:
            place, verdict = pack(Path(str(result.path)), said, out=arguments.out, n_pictures=N_PICTURES)
            size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
            click.echo(f"{place}: {size / 1024:.0f} kB")
            for line in lines(item for item in verdict.findings if item.code != "not-recomputable"):
                click.echo(f"  {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
