"""Compare our networks with what the official code gave: every released size, key-seeded, at full size.

    python scripts/tokenizer_parity.py                      # all families
    python scripts/tokenizer_parity.py titok ibq            # some
    python scripts/tokenizer_parity.py titok/l32 --threads 1

Prints a row a variant: how many indices differ (- where latents are continuous), how far latents (or the vectors that
were quantised) and images are, and how near the two best codes of any token lie, so that a differing index can be
judged. Exits with 1 if an index differs or anything is beyond 1e-4. Needs no checkpoint and no network; the largest
takes half a minute and 4 GB. ``scripts/make_tokenizer_golden.py`` makes what is compared with.

A family is compared by the ``PARITY`` of a module ``tests/adapters/*_cases.py``; those with golden files and without
are named at the end: their own tests compare them.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import tests.adapters
from tests.adapters.seeding import GOLDEN, Compared, golden

Compare = Callable[[str], Compared]


def main() -> int:
    """Compare the wanted variants, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="FAMILY[/VARIANT]")
    parser.add_argument("--threads", type=int, help="as many as torch likes, if not given")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    families = comparers()
    every = [f"{family}/{variant}" for family in families for variant in golden(family)["variants"]]
    chosen = [name for name in every if not args.names or name in args.names or name.partition("/")[0] in args.names]
    known = {*every, *families}
    if unknown := [name for name in args.names if name not in known]:
        parser.error(f"nothing is named {' '.join(unknown)}; there are {' '.join(every)}")
    say(f"{'variant':32} {'codes':>6} {'differ':>6} {'latents':>8} {'images':>8} {'gap':>8} {'s':>6}")
    bad = [name for name in chosen if not row(name, families)]
    if not args.names and (others := sorted(path.stem for path in GOLDEN.glob("*.json") if path.stem not in families)):
        say(f"compared by their own tests: {', '.join(others)}")
    say(f"{len(chosen)} compared; beyond tolerance: {', '.join(bad) or 'none'}")
    return 1 if bad else 0


def comparers() -> dict[str, Compare]:
    """By family, what compares one of its golden variants."""
    found: dict[str, Compare] = {}
    for path in sorted(Path(tests.adapters.__path__[0]).glob("*_cases.py")):
        found |= getattr(importlib.import_module(f"tests.adapters.{path.stem}"), "PARITY", {})
    return dict(sorted(found.items()))


def row(name: str, families: dict[str, Compare]) -> bool:
    """Compare one variant and print its row; whether it is the same."""
    family, _, variant = name.partition("/")
    started = time.perf_counter()
    found = families[family](variant)
    gc.collect()
    codes, differ = (str(found.codes), str(found.codes_differ)) if found.codes else ("-", "-")
    gap = "" if found.gap is None else f"{found.gap:.1e}"
    seconds = time.perf_counter() - started
    mark = "" if found.is_same else "  DIFFERS"
    say(f"{name:32} {codes:>6} {differ:>6} {found.latents:8.1e} {found.images:8.1e} {gap:>8} {seconds:6.1f}{mark}")
    return found.is_same


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
