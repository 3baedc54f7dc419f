"""Codebook usage as others define it, by window, by stream and by position, beside ``codebook_usage``.

Every definition has its own key, because the numbers differ and are all called codebook usage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tokbench.contracts import Comparison, Summary
from tokbench.metrics.base import per_comparison
from tokbench.metrics.codebook import CURVE_POINTS, code_card, curve
from tokbench.metrics.codes import (
    IMAGES,
    CodeCounts,
    CodeRows,
    CountingMetric,
    Tally,
    books_of,
    count_keys,
    parts_of,
    place_keys,
    rows_of,
    tally_images,
)
from tokbench.metrics.histograms import entropy_bits, miller_madow_bits, rarefaction
from tokbench.metrics.state import State

WINDOW_TOKENS = 65536
VAR_PERCENT = 8  # of the count each entry would have if all were equally likely
MAX_PLACES = 1 << 22  # distinct (position, code) pairs kept


def usage_above_var(books: Sequence[CodeCounts]) -> list[float]:
    """Share of entries of each stream that occur at least 8 % as often as all would if equally likely, in [0, 1].

    "As often" is measured on the stream with the most tokens, for all streams alike: a coarse scale has fewer tokens
    and so a lower share, as in the source.

    Args:
        books: a stream's counts each, all of one codebook.

    Source: VAR (arXiv 2404.02905), FoundationVision/VAR at 2241199, models/quant.py, which averages counts of training
    batches exponentially; here they are summed over the set.
    """
    tokens = max(book.tokens for book in books)
    limits = [-(-VAR_PERCENT * tokens // (100 * book.entries)) for book in books]  # rounded up: exact
    return [int((book.counts >= limit).sum()) / book.entries for book, limit in zip(books, limits, strict=True)]


def window_usage(book: CodeCounts, *, tokens: int, images: int) -> tuple[float, float]:
    """Entries that 65,536 tokens use on average, and the number of images that hold so many.

    LlamaGen counts the distinct codes among the last 65,536 tokens of training. Which images come last is chance, so
    this is the exact mean over all orders of the images: rarefaction by whole images, straight between the two whole
    numbers of images around 65,536 tokens, an image taken to hold ``tokens / images``.

    Args:
        book: images by code they contain.
        tokens, images: of the set; at least 65,536 tokens.
    """
    needed = WINDOW_TOKENS * images / tokens
    below = min(math.floor(needed), images)
    sizes = np.array([below, min(below + 1, images)])
    first, second = rarefaction(book.counts, draws=images, sizes=sizes).tolist()
    return first + (needed - below) * (second - first), needed


@per_comparison
def _tally_streams(comparison: Comparison) -> Tally | str:
    streams = rows_of(comparison)
    if isinstance(streams, str):
        return streams
    return Tally(parts={f"stream{i:04}": [count_keys(s, s.keys[s.sent])] for i, s in enumerate(streams)})


@per_comparison
def _tally_places(comparison: Comparison) -> Tally | str:
    """Tokens by position and code: keys of 24 bits of position, counted on through a codebook's streams, and the code.

    Codes wider than 40 bits are hashed to 40.
    """
    streams = rows_of(comparison)
    if isinstance(streams, str):
        return streams
    start: dict[str, int] = {}
    parts = []
    for stream in streams:
        first = start.get(stream.codebook, 0)
        start[stream.codebook] = first + stream.keys.shape[1]
        parts.append(count_keys(stream, _places(stream, first)))
    return Tally(parts={"places": parts})


def _places(stream: CodeRows, first: int) -> np.ndarray:
    positions: np.ndarray = np.arange(first, first + stream.keys.shape[1], dtype=np.uint64) << np.uint64(40)
    return np.asarray((positions[None] | place_keys(stream, 40))[stream.sent])


def _window_summary(state: State) -> Summary:
    books = [book for book in books_of(state, IMAGES) if state[f"tokens/{book.codebook}"]]
    tokens = {book.codebook: state[f"tokens/{book.codebook}"] for book in books}
    n = sum(tokens.values())
    fewest = min(tokens.values())
    if fewest < WINDOW_TOKENS:
        reason = f"the window is {WINDOW_TOKENS} tokens of a codebook, and the set has {fewest}"
        return Summary(value=None, n=n, n_unit="tokens", reason=reason)
    used, details = [], {}
    for book in books:
        distinct, images = window_usage(book, tokens=tokens[book.codebook], images=state["images"])
        used.append(distinct)
        suffix = f"[{book.codebook}]" if len(books) > 1 else ""
        details[f"images_in_window{suffix}"] = images
        details[f"usage_window{suffix}"] = distinct / book.entries
    return Summary(value=math.fsum(used) / sum(book.entries for book in books), n=n, n_unit="tokens", details=details)


def _var_summary(state: State) -> Summary:
    streams = [book for part in parts_of(state) for book in books_of(state, part)]
    shares: list[float] = []
    for name in dict.fromkeys(book.codebook for book in streams if book.tokens):
        shares += usage_above_var([book for book in streams if book.codebook == name])
    sent = [book for book in streams if book.tokens]
    details: dict[str, float | int | str] = {"streams": len(streams), "lowest": min(shares), "highest": max(shares)}
    levels = [[book.keys.size / book.entries, entropy_bits(book.counts)] for book in sent[:CURVE_POINTS]]
    details["usage_entropy_curve"] = curve([i + 1, *level] for i, level in enumerate(levels))
    value = math.fsum(shares) / len(shares)
    return Summary(value=value, n=sum(book.tokens for book in sent), n_unit="tokens", details=details)


def _place_summary(state: State) -> Summary:
    tokens, entropies, bias = [], [], []
    for book in books_of(state, "places"):
        starts = np.flatnonzero(np.diff(book.keys >> np.uint64(40), prepend=np.uint64(2**24)))
        for counts in np.split(book.counts, starts[1:]):
            if counts.size:
                tokens.append(int(counts.sum()))
                entropies.append(entropy_bits(counts))
                bias.append(miller_madow_bits(counts.size, tokens[-1]))
    order = np.argsort(entropies, kind="stable")
    total = sum(tokens)
    step = max(1, math.ceil(len(entropies) / CURVE_POINTS))
    points = [[i + 1, math.fsum(p) / len(p)] for i in range(0, len(entropies), step) if (p := entropies[i : i + step])]
    details = {
        "positions": len(entropies),
        "least_position": int(order[0]) + 1,
        "least_entropy_bits": entropies[order[0]],
        "most_position": int(order[-1]) + 1,
        "most_entropy_bits": entropies[order[-1]],
        "miller_madow_bias_bits": math.fsum(m * b for m, b in zip(tokens, bias, strict=True)) / total,
        "position_entropy_curve": curve(points),
    }
    value = math.fsum(m * entropy for m, entropy in zip(tokens, entropies, strict=True)) / total
    return Summary(value=value, n=total, n_unit="tokens", details=details)


METRICS = (
    CountingMetric(
        card=code_card(
            "codebook_usage_window",
            "Codebook usage in 65,536 tokens",
            high=1.0,
            paper="2406.06525",
            notes="LlamaGen's window, as the exact mean over all orders of the images instead of the last tokens of "
            "training; per codebook, then pooled. Does not grow with the set.",
        ),
        tally=tally_images,
        summary=_window_summary,
    ),
    CountingMetric(
        card=code_card(
            "codebook_usage_var",
            "Codebook usage above 8 % of uniform",
            high=1.0,
            paper="2404.02905",
            notes="VAR's: entries of each stream that occur at least 8 % as often as equally likely ones would in the "
            "longest stream of their codebook; mean over streams. Counted over the set, not averaged over training.",
        ),
        tally=_tally_streams,
        summary=_var_summary,
    ),
    CountingMetric(
        card=code_card(
            "position_entropy",
            "Entropy at a position",
            unit="bits/token",
            better="neither",
            paper="2501.10064",
            notes="Entropy over images of the code at one position, mean over positions weighted by tokens; below "
            "codebook_entropy where positions specialise. Too low by about miller_madow_bias_bits.",
        ),
        tally=_tally_places,
        summary=_place_summary,
        noun="pairs of position and code",
        max_keys=MAX_PLACES,
    ),
)
