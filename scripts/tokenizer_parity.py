"""Compare our networks with what the official code gave: every released size, key-seeded, at full size.

    python scripts/tokenizer_parity.py                      # all families
    python scripts/tokenizer_parity.py titok one_d_piece    # some
    python scripts/tokenizer_parity.py titok/l32

Prints a row a variant: whether all indices are equal (or how far latents are), how far images are, and how near the
two nearest codes of any token lie. Exits with 1 if anything is beyond 1e-4. Needs no checkpoint and no network; the
largest take a minute and 5 GB.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.adapters.seeding import golden
from tests.adapters.titok_cases import MODULES, TOLERANCE, differences, facts_of, tokenizer_of


def main(wanted: list[str]) -> int:
    """Run the wanted variants, print the table, and return the exit code."""
    names = [f"{family}/{variant}" for family in MODULES for variant in golden(family)["variants"]]
    chosen = [name for name in names if not wanted or name in wanted or name.partition("/")[0] in wanted]
    if not chosen:
        sys.stdout.write(f"nothing is named {' '.join(wanted)}; there are {' '.join(names)}\n")
        return 2
    worst = 0.0
    sys.stdout.write(f"{'variant':32} {'encoding':>14} {'image':>10} {'smallest gap':>14}\n")
    for name in chosen:
        family, _, variant = name.partition("/")
        facts = facts_of(family, variant)
        with torch.inference_mode():
            found = differences(family, variant, tokenizer_of(family, variant))
        worst = max(worst, *found.values())
        encoding = found.pop("indices", None)
        text = f"{found.pop('latents'):.1e}" if encoding is None else "equal" if encoding == 0 else "DIFFERS"
        gap = f"{facts['smallest_gap']:.1e}" if "smallest_gap" in facts else ""
        sys.stdout.write(f"{name:32} {text:>14} {max(found.values()):10.1e} {gap:>14}\n")
        sys.stdout.flush()
    return 0 if worst < TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
