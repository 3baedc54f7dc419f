"""Tokens read as a language: rank and frequency, surprise, neighbours, and how fast new codes appear.

After "Analyzing the language of visual tokens" (arXiv 2411.05001), which reads an image's tokens row by row as a
sentence and its codes as words. Statistics are kept by codebook; where there are several, the value is their mean,
weighted by tokens or pairs. Differences from the paper are in the cards' notes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tokbench.contracts import Comparison, Summary
from tokbench.estimates import CONFIDENCE, t_quantile
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
    mix,
    parts_of,
    place_keys,
    rows_of,
    tally_images,
)
from tokbench.metrics.histograms import (
    chance_joint_entropy,
    coverage,
    entropy_bits,
    jackknife,
    miller_madow_bits,
    rarefaction,
    zipf_exponent,
)
from tokbench.metrics.state import State

GROUPS = 8  # of images, for the jackknife
MIN_COUNT, MIN_RANKS = 10, 10  # a code seen less often has no rank worth the name; fewer ranks have no slope
MAX_PAIRS = 1 << 22  # distinct pairs of codes kept in each direction

_LEFT = np.uint64(32)  # a pair's key: the first code in the high 32 bits, the second in the low ones


@per_comparison
def _tally_groups(comparison: Comparison) -> Tally | str:
    """Tokens by code in eight groups of images; an image's group is a hash of its tokens, so order does not matter."""
    streams = rows_of(comparison)
    if isinstance(streams, str):
        return streams
    digest = np.zeros(comparison.reference.shape[0], np.uint64)
    for number, stream in enumerate(streams):
        places = mix(np.arange(stream.keys.shape[1], dtype=np.uint64) + (np.uint64(number) << np.uint64(32)))
        digest += np.where(stream.sent, mix(stream.keys ^ places[None]), np.uint64(0)).sum(axis=1, dtype=np.uint64)
    group = (mix(digest) % np.uint64(GROUPS)).astype(np.int64)
    parts = {}
    for index in np.unique(group).tolist():
        rows = group == index
        parts[f"group{index}"] = [count_keys(s, s.keys[rows][s.sent[rows]]) for s in streams]
    return Tally(parts=parts)


@per_comparison
def _tally_successors(comparison: Comparison) -> Tally | str:
    """Pairs of tokens that follow each other in the row-by-row scan of a stream."""
    streams = rows_of(comparison)
    if isinstance(streams, str):
        return streams
    pairs = [_count_pairs(s, np.s_[:, :-1], np.s_[:, 1:], (s.keys.shape[1],)) for s in streams]
    return Tally(parts={"next": pairs}, totals=_count_tokens(streams))


@per_comparison
def _tally_neighbours(comparison: Comparison) -> Tally | str:
    """Pairs of tokens side by side and one above the other."""
    streams = rows_of(comparison)
    if isinstance(streams, str):
        return streams
    across = [_count_pairs(s, np.s_[..., :-1], np.s_[..., 1:], s.grid) for s in streams]
    high = [s for s in streams if len(s.grid) > 1]
    down = [_count_pairs(s, np.s_[..., :-1, :], np.s_[..., 1:, :], s.grid) for s in high]
    return Tally(parts={"across": across, "down": down}, totals=_count_tokens(streams))


def _count_pairs(
    stream: CodeRows, first: tuple[object, ...], second: tuple[object, ...], grid: tuple[int, ...]
) -> CodeCounts:
    shape = (stream.keys.shape[0], *grid)
    keys, sent = place_keys(stream, 32).reshape(shape), stream.sent.reshape(shape)
    pairs = (keys[first] << _LEFT) | keys[second]  # type: ignore[index]
    return count_keys(stream, pairs[sent[first] & sent[second]])  # type: ignore[index]


def _count_tokens(streams: Sequence[CodeRows]) -> dict[str, int]:
    return {"tokens": sum(int(stream.sent.sum()) for stream in streams)}


def _sides(pairs: CodeCounts) -> tuple[np.ndarray, np.ndarray]:
    """The histograms of first and of second codes: positive int64 counts each."""
    sides = []
    for codes in (pairs.keys >> _LEFT, pairs.keys & np.uint64(0xFFFFFFFF)):
        order = np.argsort(codes, kind="stable")
        starts = np.flatnonzero(np.diff(codes[order], prepend=np.uint64(2**63)))
        sides.append(np.add.reduceat(pairs.counts[order], starts))
    return sides[0], sides[1]


def _zipf_summary(state: State) -> Summary:
    books = [book for book in (_by_group(state, name) for name in _names(state)) if book.shape[1] >= MIN_RANKS]
    tokens = sum(state[name].total for name in state.fields if name.startswith("group"))
    if not books:
        reason = f"fewer than {MIN_RANKS} codes of a codebook were seen {MIN_COUNT} times"
        return Summary(value=None, n=tokens, n_unit="tokens", reason=reason)
    sizes = np.sum([book.sum(axis=1) for book in books], axis=0)
    used = np.flatnonzero(sizes)
    value, ci95 = _exponent([book.sum(axis=0) for book in books]), None
    details: dict[str, float | int | str] = {
        "ranks": max(book.shape[1] for book in books),
        "tokens_in_range": int(sizes.sum()),
        "rank_frequency_curve": _rank_curve(state),
    }
    if used.size > 1:
        without = [_exponent([book.sum(axis=0) - book[group] for book in books]) for group in used]
        freed = jackknife(value, without, sizes[used].tolist())
        details["likeliest"], details["standard_error"] = value, freed.error
        details["ci95_method"] = f"jackknife over {used.size} groups of images, t"
        value = max(0.0, freed.estimate)
        half = t_quantile(0.5 + CONFIDENCE / 2, used.size - 1) * freed.error
        ci95 = (max(0.0, value - half), value + half)
    return Summary(value=value, n=tokens, n_unit="tokens", ci95=ci95, details=details)


def _exponent(books: Sequence[np.ndarray]) -> float:
    """The exponent of counts ``(r,)`` a codebook, ranked anew; mean over codebooks weighted by tokens."""
    sent = [book for book in books if book.any()]
    slopes = [float(book.sum()) * zipf_exponent(np.sort(book)[::-1]) for book in sent]
    return math.fsum(slopes) / sum(int(book.sum()) for book in sent)


def _names(state: State) -> list[str]:
    return sorted({book.codebook for part in parts_of(state) for book in books_of(state, part)})


def _by_group(state: State, codebook: str) -> np.ndarray:
    """Counts of each code seen at least 10 times, by group of images: int64 ``(8, r)``."""
    groups = {part: book for part in parts_of(state) for book in books_of(state, part) if book.codebook == codebook}
    codes = np.unique(np.concatenate([book.keys for book in groups.values()]))
    counts = np.zeros((GROUPS, codes.size), np.int64)
    for part, book in groups.items():
        counts[int(part.removeprefix("group")), np.searchsorted(codes, book.keys)] = book.counts
    return np.asarray(counts[:, counts.sum(axis=0) >= MIN_COUNT])


def _rank_curve(state: State) -> str:
    """Up to 64 [rank, share of all tokens], the codes of all codebooks ranked together."""
    totals: list[np.ndarray] = []
    for name in _names(state):
        found = [book for part in parts_of(state) for book in books_of(state, part) if book.codebook == name]
        codes, where = np.unique(np.concatenate([book.keys for book in found]), return_inverse=True)
        counts = np.zeros(codes.size, np.int64)
        np.add.at(counts, where, np.concatenate([book.counts for book in found]))
        totals.append(counts)
    ranked = np.sort(np.concatenate(totals))[::-1]
    tokens = int(ranked.sum())
    return curve([rank, int(ranked[rank - 1]) / tokens] for rank in _spread(ranked.size))


def _successor_summary(state: State) -> Summary:
    books = [book for book in books_of(state, "next") if book.tokens]
    pairs = sum(book.tokens for book in books)
    block, given, bias = [], [], []
    for book in books:
        first, _ = _sides(book)
        block.append(book.tokens * entropy_bits(book.counts))
        given.append(block[-1] - book.tokens * entropy_bits(first))
        bias.append(book.tokens * miller_madow_bits(book.keys.size - first.size + 1, book.tokens))
    details = {
        "pairs": pairs,
        "distinct_pairs": sum(book.keys.size for book in books),
        "bigram_entropy_bits": math.fsum(block) / pairs,
        "miller_madow_bias_bits": math.fsum(bias) / pairs,
        "coverage": coverage(np.concatenate([book.counts for book in books])),
    }
    return Summary(value=max(0.0, math.fsum(given) / pairs), n=state["tokens"], n_unit="tokens", details=details)


def _neighbour_summary(state: State) -> Summary:
    details: dict[str, float | int | str] = {}
    parts = {part: [book for book in books_of(state, part) if book.tokens] for part in ("across", "down")}
    pairs = [book for books in parts.values() for book in books]
    total = sum(book.tokens for book in pairs)
    shares = dict.fromkeys(("plug_in_bits", "chance_bits", "miller_madow_bits"), 0.0)
    for part, books in parts.items():
        excess = []
        for book in books:
            left, right = _sides(book)
            apart, joint = entropy_bits(left) + entropy_bits(right), entropy_bits(book.counts)
            chance = apart - chance_joint_entropy(left, right)
            bias = miller_madow_bits(book.keys.size - left.size - right.size + 2, book.tokens)
            excess.append(book.tokens * (apart - joint - chance))
            shares["plug_in_bits"] += book.tokens / total * (apart - joint)
            shares["chance_bits"] += book.tokens / total * chance
            shares["miller_madow_bits"] += book.tokens / total * (apart - joint - bias)
        if books:
            details[f"{part}_bits"] = math.fsum(excess) / sum(book.tokens for book in books)
            details[f"{part}_pairs"] = sum(book.tokens for book in books)
    value = shares["plug_in_bits"] - shares["chance_bits"]
    details |= {**shares, "coverage": coverage(np.concatenate([book.counts for book in pairs]))}
    return Summary(value=value, n=state["tokens"], n_unit="tokens", details=details)


def _innovation_summary(state: State) -> Summary:
    books, images = [book for book in books_of(state, IMAGES) if book.tokens], state["images"]
    tokens = sum(state[name] for name in state.fields if name.startswith("tokens/"))
    counts = np.concatenate([book.counts for book in books])
    sizes = np.array(_spread(images))
    seen = rarefaction(counts, draws=images, sizes=np.concatenate([sizes - 1, sizes]))
    before, after = seen[: sizes.size], seen[sizes.size :]
    each = int(counts.sum()) / images
    share = np.clip((after - before) / each, 0.0, 1.0).tolist()
    details = {
        "images": images,
        "distinct": int(counts.size),
        "distinct_per_image": each,
        "images_to_90_percent": _images_until(counts, images, 0.9),
        "innovation_curve": curve(zip(sizes.tolist(), share, strict=True)),
        "vocabulary_curve": curve(zip(sizes.tolist(), after.tolist(), strict=True)),
    }
    value = int((counts == 1).sum()) / int(counts.sum())
    return Summary(value=value, n=tokens, n_unit="tokens", details=details)


def _images_until(counts: np.ndarray, images: int, share: float) -> int:
    """The fewest images that show so large a share of the codes, on average."""
    low, high = 0, images
    while high - low > 1:
        middle = (low + high) // 2
        seen = float(rarefaction(counts, draws=images, sizes=np.array([middle]))[0])
        low, high = (low, middle) if seen >= share * counts.size else (middle, high)
    return high


def _spread(last: int) -> list[int]:
    """Up to 64 whole numbers from 1 to ``last``, evenly spread on a logarithmic scale."""
    steps = np.geomspace(1, last, CURVE_POINTS)
    return sorted({min(last, round(step)) for step in steps.tolist()})


METRICS = (
    CountingMetric(
        card=code_card(
            "zipf_exponent", "Zipf exponent", better="neither", paper="2411.05001",
            notes="s of frequency ∝ 1 / rank^s by maximum likelihood of the truncated discrete law over the codes seen "
            "at least 10 times, not least squares on logarithms as in the paper; freed of the bias of ranking, with "
            "an interval, by a jackknife over 8 groups of images. It fits any histogram: look at the curve.",
        ),
        tally=_tally_groups,
        summary=_zipf_summary,
    ),
    CountingMetric(
        card=code_card(
            "ngram_entropy_2", "2-gram entropy", unit="bits/token", better="neither", paper="2411.05001",
            notes="Shannon's F_2 (1951): entropy of a token given the one before it in the row-by-row scan. Too low "
            "where coverage is well under 1, by miller_madow_bias_bits at least: compare at equal numbers of tokens.",
        ),
        tally=_tally_successors,
        summary=_successor_summary,
        noun="pairs of codes",
        max_keys=MAX_PAIRS,
    ),
    CountingMetric(
        card=code_card(
            "neighbour_mi", "Information shared by neighbours", unit="bits", low=None, better="neither",
            paper="2411.05001",
            notes="Mutual information of tokens side by side (across) and above each other (down), minus what randomly "
            "paired tokens of the same histograms show on average, so that independent tokens give 0. Careful: "
            "where coverage is low it understates; plug_in_bits overstates, and miller_madow_bits lies between.",
        ),
        tally=_tally_neighbours,
        summary=_neighbour_summary,
        noun="pairs of codes",
        max_keys=MAX_PAIRS,
    ),
    CountingMetric(
        card=code_card(
            "token_innovation", "Token innovation", high=1.0, better="neither", paper="2411.05001",
            notes="Share of an image's distinct codes that no earlier image had, for the last image of the set: the "
            "exact mean over all orders of the images (rarefaction), so order does not matter. With the curve.",
        ),
        tally=tally_images,
        summary=_innovation_summary,
    ),
)  # fmt: skip
