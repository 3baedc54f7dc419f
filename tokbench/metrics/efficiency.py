"""How fast: seconds per image to encode and to decode, and images per second for both.

Timings come by batch, device synchronised. The first batch of each shape is a warm-up and is left out, unless there is
no other. These numbers belong to the machine in the result file and to the batch size.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

from tokbench.cards import MetricCard
from tokbench.contracts import Summary, Timing
from tokbench.metrics.base import CostFunction
from tokbench.stats import mean_interval

MIN_BATCHES_MEDIAN = 6  # the smallest number of batches whose extremes hold the median with 95 % probability
MIN_BATCHES_MEAN = 5


def seconds_per_image(timings: Sequence[Timing], *, seconds: Callable[[Timing], float]) -> Summary:
    """Median over batches of seconds per image; lower is better.

    The interval is the distribution-free one for a median, between two order statistics, with at least 6 batches (5
    cannot give 95 %); it takes batches as independent, so slow drift of the machine is not in it.
    """
    used, details = used_timings(timings)
    if not used:
        return Summary(value=None, n=0, reason="nothing was timed")
    each = sorted(seconds(timing) / timing.n for timing in used)
    ci95 = None
    if len(each) >= MIN_BATCHES_MEDIAN:
        rank = median_rank(len(each))
        ci95 = (each[rank - 1], each[-rank])
        details["ci95_method"] = "order statistics of batches"
    return Summary(value=statistics.median(each), n=sum(timing.n for timing in used), ci95=ci95, details=details)


def images_per_second(timings: Sequence[Timing]) -> Summary:
    """Images over seconds of encoding and decoding together, from totals; higher is better.

    The interval is that of the mean seconds per image, with batches as clusters (:func:`tokbench.stats.mean_interval`),
    turned over; with at least 5 batches.
    """
    used, details = used_timings(timings)
    if not used:
        return Summary(value=None, n=0, reason="nothing was timed")
    n = sum(timing.n for timing in used)
    total_s = math.fsum(timing.encode_s + timing.decode_s for timing in used)
    details["total_s"] = total_s
    if total_s <= 0:
        return Summary(value=None, n=n, reason="too fast for the clock: zero seconds in all", details=details)
    ci95 = None
    if len(used) >= MIN_BATCHES_MEAN:
        values = [(timing.encode_s + timing.decode_s) / timing.n for timing in used for _ in range(timing.n)]
        clusters = [str(index) for index, timing in enumerate(used) for _ in range(timing.n)]
        interval = mean_interval(values, clusters, low=0.0).ci95
        if interval is not None and interval[0] > 0:
            ci95 = (1 / interval[1], 1 / interval[0])
            details["ci95_method"] = "t interval of seconds per image, batches as clusters"
    return Summary(value=n / total_s, n=n, ci95=ci95, details=details)


def median_rank(n: int) -> int:
    """The largest r with P(r-th smallest <= median <= r-th largest) >= 95 % for n draws, by the binomial; n >= 6."""
    rank, tail, ways = 0, 1, 1  # of 2^n equally likely outcomes: those with at most, with exactly ``rank`` below
    while 40 * tail <= 2**n:
        ways = ways * (n - rank) // (rank + 1)
        rank += 1
        tail += ways
    return rank


def used_timings(timings: Sequence[Timing]) -> tuple[list[Timing], dict[str, float | int | str]]:
    """The batches that count (warm-up left out, unless there is no other), and what to say about them."""
    timed = [timing for timing in timings if timing.n > 0]
    settled = [timing for timing in timed if not timing.is_warm_up]
    used = settled or timed
    details: dict[str, float | int | str] = {"batches": len(used), "warm_up_batches_left_out": len(timed) - len(used)}
    if timed and not settled:
        details["note"] = "only warm-up batches were timed, so they are included"
    return used, details


def encode_seconds(timings: Sequence[Timing]) -> Summary:
    """:func:`seconds_per_image` of encoding."""
    return seconds_per_image(timings, seconds=lambda timing: timing.encode_s)


def decode_seconds(timings: Sequence[Timing]) -> Summary:
    """:func:`seconds_per_image` of decoding."""
    return seconds_per_image(timings, seconds=lambda timing: timing.decode_s)


METRICS = (
    CostFunction(
        card=MetricCard(
            key="encode_s",
            version=1,
            kind="cost",
            group="efficiency",
            title="Encoding time per image",
            unit="s",
            better="lower",
            low=0.0,
            aggregate="median",
            undefined="nothing was timed",
            notes="Median over batches, warm-up left out; depends on machine and batch size.",
        ),
        function=encode_seconds,
    ),
    CostFunction(
        card=MetricCard(
            key="decode_s",
            version=1,
            kind="cost",
            group="efficiency",
            title="Decoding time per image",
            unit="s",
            better="lower",
            low=0.0,
            aggregate="median",
            undefined="nothing was timed",
            notes="Median over batches, warm-up left out; depends on machine and batch size.",
        ),
        function=decode_seconds,
    ),
    CostFunction(
        card=MetricCard(
            key="images_per_s",
            version=1,
            kind="cost",
            group="efficiency",
            title="Images per second",
            unit="images/s",
            better="higher",
            low=0.0,
            aggregate="total",
            undefined="nothing was timed",
            notes="Encoding and decoding together, from totals, warm-up left out; depends on machine and batch size.",
        ),
        function=images_per_second,
    ),
)
