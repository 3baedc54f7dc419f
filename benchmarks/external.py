"""What does it cost to run a tokenizer as a program of its own?

    python benchmarks/external.py

The same numpy toys encode and decode the same batches in this process and as programs. CPU time of both processes is
counted, not wall time, so that a busy machine says nearly the same as a quiet one. Linux only: it reads /proc.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SHAPES = ((1, 16), (8, 256), (8, 512))
PASSES = 60


def program_seconds(pid: int) -> float:
    """CPU seconds a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print the table of docs/external.md."""
    import torch

    sys.path.insert(0, str(REPOSITORY))
    from tests.adapters.external_cases import in_process, opened

    torch.set_num_threads(1)
    print(f"{'toy':10}{'batch':>12}{'here ms':>10}{'program ms':>12}{'more ms':>10}   of CPU a batch")
    for kind in ("tokens", "latents"):
        with tempfile.TemporaryDirectory() as folder:
            here, there = in_process(kind), opened(Path(folder), kind)
            pid = there.model._program._live.process.pid
            for n, side in SHAPES:
                images = torch.rand(n, 3, side, side)
                spent = []
                for tokenizer in (here, there):
                    tokenizer.decode(tokenizer.encode(images), seeds=[0] * n)
                    start = time.process_time() + program_seconds(pid)
                    for _ in range(PASSES):
                        tokenizer.decode(tokenizer.encode(images), seeds=[0] * n)
                    spent.append(1e3 * (time.process_time() + program_seconds(pid) - start) / PASSES)
                print(f"{kind:10}{f'{n} × {side} px':>12}{spent[0]:10.2f}{spent[1]:12.2f}{spent[1] - spent[0]:10.2f}")


if __name__ == "__main__":
    main()
