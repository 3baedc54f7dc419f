"""Seeds that depend on what is measured, never on when: not on batch size, order or number of workers."""

from __future__ import annotations

import hashlib


def sample_seed(seed: int, sample_id: str, purpose: str = "decode") -> int:
    """A seed in [0, 2**63) for one sample of a run, different for each purpose."""
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{sample_id}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
