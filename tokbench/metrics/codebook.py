"""How much of a codebook a set of images uses: shares of entries, entropy and perplexity of the code histogram.

Codes are counted over the whole set, by codebook: streams that share a codebook's name are counted together, and
positions past a sample's length are not counted. T tokens cannot use more than T entries, so a small set understates
usage, entropy and perplexity; the number of tokens seen is always among the details.

Four definitions of usage are in circulation. Each has its own key: here those of one histogram, in
:mod:`tokbench.metrics.usage` those that need more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence

from tokbench.cards import Better, MetricCard
from tokbench.contracts import Summary
from tokbench.metrics.codes import (
    CodeCounts,
    CountingMetric,
    books_of,
    tally_codes,
)
from tokbench.metrics.histograms import entropy_bits, miller_madow_bits
from tokbench.metrics.state import State

UNITOK_PERCENT = 1  # of the probability each entry would have
CURVE_POINTS = 64


def codebook_usage(books: Sequence[CodeCounts]) -> float:
    """Distinct entries seen over all entries there are, in (0, 1]; pooled over codebooks, each counted once."""
    return sum(book.keys.size for book in books) / _entries(books)


def codebook_entropy(books: Sequence[CodeCounts]) -> float:
    """Mean entropy in bits a token: each codebook's entropy weighted by the tokens sent with it.

    Times the number of tokens, it is the size of the set under an ideal coder that knows each codebook's histogram and
    no context.
    """
    sent = [book for book in books if book.tokens > 0]
    return math.fsum(book.tokens * entropy_bits(book.counts) for book in sent) / sum(book.tokens for book in sent)


def codebook_perplexity(books: Sequence[CodeCounts]) -> float:
    """2 to the mean entropy: the number of equally likely entries with the same entropy, in [1, K].

    Over several codebooks this is the geometric mean of their perplexities, weighted by tokens, so that it is always
    2^codebook_entropy.
    """
    return 2 ** codebook_entropy(books)


def dead_codes(books: Sequence[CodeCounts]) -> float:
    """Entries never seen, over all codebooks, at least 0; lower is better."""
    return float(_entries(books) - sum(book.keys.size for book in books))


def usage_above_unitok(books: Sequence[CodeCounts]) -> float:
    """Share of entries whose probability exceeds 1 % of 1 / K, in [0, 1]; pooled over codebooks; higher is better.

    Source: UniTok (arXiv 2502.20321), foundationvision/unitok at bb8012e, which takes the probabilities of one training
    batch; here they are over the set.
    """
    limits = [UNITOK_PERCENT * book.tokens // (100 * book.entries) for book in books]  # in whole numbers, so exact
    return sum(int((book.counts > limit).sum()) for book, limit in zip(books, limits, strict=True)) / _entries(books)


def _of_histogram(function: Callable[[Sequence[CodeCounts]], float]) -> Callable[[State], Summary]:
    """A summary from a function of the code histograms."""

    def summary(state: State) -> Summary:
        books = books_of(state)
        tokens = sum(book.tokens for book in books)
        return Summary(value=function(books), n=tokens, n_unit="tokens", details=_details(books))

    return summary


def _details(books: Sequence[CodeCounts]) -> dict[str, float | int | str]:
    """Totals, and the same a codebook where there is more than one."""
    details: dict[str, float | int | str] = {
        "tokens": sum(book.tokens for book in books),
        "distinct": sum(book.keys.size for book in books),
        "entries": whole(_entries(books)),
    }
    for book in books:
        suffix = f"[{book.codebook}]" if len(books) > 1 else ""
        if suffix:
            details[f"tokens{suffix}"] = book.tokens
            details[f"distinct{suffix}"] = int(book.keys.size)
            details[f"entries{suffix}"] = whole(book.entries)
        details[f"usage{suffix}"] = book.keys.size / book.entries
        details[f"usage_if_uniform{suffix}"] = _usage_if_uniform(book)
        if book.tokens == 0:
            continue
        entropy = entropy_bits(book.counts)
        details[f"entropy_bits{suffix}"] = entropy
        details[f"perplexity{suffix}"] = 2**entropy
        if book.entries > 1:
            details[f"normalised_entropy{suffix}"] = min(1.0, entropy / math.log2(book.entries))
        details[f"miller_madow_bias_bits{suffix}"] = miller_madow_bits(book.keys.size, book.tokens)
    return details


def _usage_if_uniform(book: CodeCounts) -> float:
    """Expected usage by as many tokens, were all entries equally likely: 1 - (1 - 1 / K)^T."""
    if book.entries == 1 or book.tokens == 0:
        return float(book.tokens > 0)
    return -math.expm1(book.tokens * math.log1p(-1 / book.entries))


def whole(value: int) -> int | str:
    """The integer, or its power of two as text where JSON readers would round it."""
    if value < 2**53:
        return value
    return f"2^{value.bit_length() - 1}" if value & (value - 1) == 0 else str(value)


def _entries(books: Sequence[CodeCounts]) -> int:
    return sum(book.entries for book in books)


def curve(points: Iterable[Sequence[float]]) -> str:
    """A curve for a value's details, as JSON text: a list of [x, y, …], x whole, y to six digits.

    Its key ends in ``_curve``, and it holds at most 64 points, so that a report can draw it and a reader can read it.
    """
    return json.dumps([[x, *(float(f"{y:.6g}") for y in rest)] for x, *rest in points])


def code_card(
    key: str, title: str, notes: str, *, unit: str = "", low: float | None = 0.0, high: float | None = None,
    better: Better = "higher", paper: str = "",
) -> MetricCard:  # fmt: skip
    """The card of a metric of tokens: kind ``code``, group ``codebook``."""
    return MetricCard(
        key=key, version=1, kind="code", group="codebook", title=title, unit=unit, better=better, low=low, high=high,
        aggregate="pooled", undefined="the tokenizer has no codebook, or no encodings were given", paper=paper,
        notes=notes,
    )  # fmt: skip


METRICS = (
    CountingMetric(
        card=code_card(
            "codebook_usage",
            "Codebook usage",
            high=1.0,
            notes="Distinct entries seen over the set ÷ entries there are, pooled over codebooks. A set of T tokens "
            "cannot use more than T entries: compare only at equal numbers of tokens.",
        ),
        tally=tally_codes,
        summary=_of_histogram(codebook_usage),
    ),
    CountingMetric(
        card=code_card(
            "codebook_perplexity",
            "Codebook perplexity",
            low=1.0,
            notes="2^codebook_entropy: over several codebooks, the geometric mean weighted by tokens.",
        ),
        tally=tally_codes,
        summary=_of_histogram(codebook_perplexity),
    ),
    CountingMetric(
        card=code_card(
            "codebook_entropy",
            "Codebook entropy",
            unit="bits/token",
            notes="Of the code histogram over the set, without context; mean over codebooks weighted by tokens. This "
            "plug-in estimate is too low by about miller_madow_bias_bits where tokens far outnumber entries.",
        ),
        tally=tally_codes,
        summary=_of_histogram(codebook_entropy),
    ),
    CountingMetric(
        card=code_card(
            "dead_codes",
            "Codebook entries never seen",
            unit="codes",
            better="lower",
            notes="Over all codebooks. Not seen in this set: usage_if_uniform says what share equally likely entries "
            "would have shown in as many tokens.",
        ),
        tally=tally_codes,
        summary=_of_histogram(dead_codes),
    ),
    CountingMetric(
        card=code_card(
            "codebook_usage_unitok",
            "Codebook usage above 1 % of uniform",
            high=1.0,
            paper="2502.20321",
            notes="UniTok's: entries with probability over 0.01 / K. Over the set, not over a batch; equal to "
            "codebook_usage while tokens are fewer than 100 K.",
        ),
        tally=tally_codes,
        summary=_of_histogram(usage_above_unitok),
    ),
)
