"""Run an official tokenizer with key-seeded weights, and keep its names, its shapes and what it gave.

    python scripts/make_tokenizer_golden.py llamagen CHECKOUT
    python scripts/make_tokenizer_golden.py ibq CHECKOUT reduced 16384
    python scripts/make_tokenizer_golden.py titok CHECKOUT --keys

CHECKOUT is a copy of the family's repository at the commit named in its ``golden_….py``, with its requirements
installed. Names and shapes go to ``tests/golden/tokenizers/keys/FAMILY.txt``, figures to
``tests/golden/tokenizers/FAMILY.json``; with ``--keys`` nothing is run, the names alone are written, and they must have
the digest that the figures were made with. Variants named ``reduced…`` and ``faint`` are small networks, ``faint`` on
nearly grey images. No checkpoint is read. ``scripts/tokenizer_parity.py`` compares ours with what is kept here.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from golden_jobs import Job

from tests.adapters import key_lists
from tests.adapters.seeding import GOLDEN, golden, keys_facts, seeded_state

_MODULES = [importlib.import_module(path.stem) for path in sorted(Path(__file__).parent.glob("golden_*.py"))]
OWNERS = {family: module for module in _MODULES for family in getattr(module, "REPOSITORIES", {})}
"""By family, the module ``golden_….py`` whose ``jobs`` run it."""
FAMILIES = {family: owner.REPOSITORIES[family] for family, owner in OWNERS.items()}
"""By family, the official repository and the commit it is read at."""


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("variants", nargs="*")
    parser.add_argument("--keys", action="store_true", help="names and shapes alone")
    args = parser.parse_args()
    jobs = OWNERS[args.family].jobs(args.family, args.checkout)
    for variant in args.variants or jobs:
        make(args.family, variant, jobs[variant], with_figures=not args.keys)
        sys.stdout.write(f"{args.family}/{variant}\n")
        sys.stdout.flush()


def make(family: str, variant: str, job: Job, *, with_figures: bool) -> None:
    """One official network, built without initial weights, its names kept, then filled by key and run."""
    with torch.device("meta"):
        network, said = job.build()
    state = network.state_dict()
    if with_figures:
        network.load_state_dict(seeded_state(state), strict=True, assign=True)
        network.eval().requires_grad_(False)
        keep_figures(family, variant, {**said, "keys": keys_facts(state), **job.run(network)})
    elif keys_facts(state) != golden(family)["variants"][variant]["keys"]:
        raise SystemExit(f"{family}/{variant}: the names in this checkout are not those the figures were made with")
    keep_keys(family, variant, key_lists.shapes_of(state))


def keep_figures(family: str, variant: str, facts: dict[str, Any]) -> None:
    """Write one variant into the family's file, a line a variant's field."""
    path = GOLDEN / f"{family}.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"variants": {}}
    rows = []
    for name, variant_facts in sorted({**found["variants"], variant: facts}.items()):
        fields = ",\n".join(f"      {json.dumps(key)}: {json.dumps(value)}" for key, value in variant_facts.items())
        rows.append(f"    {json.dumps(name)}: {{\n{fields}\n    }}")
    repository, commit = FAMILIES[family]
    head = f'  "upstream": {json.dumps({"repository": repository, "commit": commit})},\n  "variants": {{\n'
    path.write_text("{\n" + head + ",\n".join(rows) + "\n  }\n}\n", encoding="utf-8")


def keep_keys(family: str, variant: str, shapes: key_lists.Shapes) -> None:
    """Write one variant's names and shapes into the family's list."""
    path = key_lists.FOLDER / f"{family}.txt"
    lists = key_lists.read(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(key_lists.written(dict(sorted({**lists, variant: shapes}.items()))), encoding="utf-8")


if __name__ == "__main__":
    with torch.inference_mode():
        main()
