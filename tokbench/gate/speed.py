"""Speed, where it can be gated: two tokenizers timed turn by turn in one process, paired over rounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tokbench.gate.config import GateConfig
from tokbench.gate.items import GateItem, tested
from tokbench.gate.signed_rank import MIN_VALUES, signed_rank


class Round(NamedTuple):
    """Seconds an image of both tokenizers in one round: baseline and candidate, to encode and to decode."""

    encode_s: tuple[float, float]
    decode_s: tuple[float, float]


def speed_items(rounds: Sequence[Round], config: GateConfig) -> list[GateItem]:
    """Encoding and decoding time as items of the gate, ready to be judged with the others.

    The ratio of the two times is taken in each round, so that whatever slows both down cancels; interval and test are
    by signed ranks of its logarithm, so that a round that something else disturbed counts no more than any other.
    Rounds are taken as independent.
    """
    return list(_items(rounds, config))


def _items(rounds: Sequence[Round], config: GateConfig) -> Iterator[GateItem]:
    for name in ("encode_s", "decode_s"):
        times = np.array([getattr(turn, name) for turn in rounds], np.float64).reshape(-1, 2)
        item = GateItem(name=f"{name}, side by side", unit="s", direction="lower", n=len(times), n_unit="rounds")
        if len(times) < MIN_VALUES or not (times > 0).all():
            yield replace(item, reason="too fast for the clock, or too few rounds")
            continue
        ratios = np.log(times[:, 1] / times[:, 0])
        made = signed_rank(ratios)
        first = float(np.median(times[:, 0]))
        interval = made.interval()
        share = config.speed_tolerance.amount
        timed = replace(
            item,
            first=first,
            second=first * math.exp(made.value),
            difference=first * math.expm1(made.value),
            ci95=(first * math.expm1(interval[0]), first * math.expm1(interval[1])),
            tolerance=first * share,
            n_clusters=len(times),
        )
        yield tested(timed, made, math.log1p(share))
