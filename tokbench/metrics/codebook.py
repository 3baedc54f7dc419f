"""How much of a codebook a set of images uses: fraction of entries, entropy and perplexity of the code histogram.

Codes are counted over the whole set, by codebook: streams that share a codebook's name are counted together, and
positions past a sample's length are not counted. T tokens cannot use more than T entries, so a small set understates
all three; the number of tokens seen is always among the details.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tokbench.cards import MetricCard
from tokbench.contracts import Comparison, Feature, Summary
from tokbench.encodings import BitCodes, Encoding, Payloads, Tokens
from tokbench.errors import MetricError
from tokbench.metrics.base import per_comparison
from tokbench.metrics.codes import CodeCounts, count_codes
from tokbench.metrics.state import Field, State

_COUNTS, _NO_CODES = "counts/", "without codes: "  # field names: counts/<entries>/<codebook>, without codes: <reason>


def entropy_bits(counts: np.ndarray) -> float:
    """Entropy of a histogram in bits, log2 T - sum(c log2 c) / T; at least 0, at most log2 of the number of counts.

    The plug-in estimate: too low by about (k - 1) / (2 T ln 2) bits for k entries in T tokens (Miller and Madow). Equal
    counts are grouped and the terms added exactly, so the order of entries does not matter.

    Args:
        counts: positive int64 ``(k,)``, k at least 1.
    """
    sizes, times = np.unique(counts, return_counts=True)
    total = int(counts.sum())
    if sizes.size == 1:
        return math.log2(int(times[0]))
    terms = [int(m) * int(c) * math.log2(int(c)) for c, m in zip(sizes, times, strict=True)]
    return max(0.0, math.log2(total) - math.fsum(terms) / total)


def codebook_usage(books: Sequence[CodeCounts]) -> float:
    """Distinct entries seen over all entries there are, in (0, 1]; pooled over codebooks, each counted once."""
    return sum(book.keys.size for book in books) / sum(book.entries for book in books)


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


@dataclass(frozen=True, kw_only=True)
class CodeMetric:
    """A metric of the code histograms of the whole set; every one keeps the same state."""

    card: MetricCard
    function: Callable[[Sequence[CodeCounts]], float]
    features: tuple[Feature, ...] = ()

    def new_state(self) -> State:
        return State()

    def update(self, state: State, comparison: Comparison) -> None:
        for reason, book in _counted(comparison):
            if book is None:
                state.declare(_NO_CODES + reason, Field(reduction="sum"))
                state.add(_NO_CODES + reason, comparison.reference.shape[0])
                continue
            field = f"{_COUNTS}{book.entries}/{book.codebook}"
            if field not in state:
                state.declare(field, Field(reduction="histogram"))
                _books(state)  # refuses a second size now rather than at the end
            state.count(field, book.keys, book.counts)

    def compute(self, state: State) -> Summary:
        fields = _count_fields(state)
        tokens = sum(state[name].total for name in fields)
        if tokens == 0:
            return Summary(value=None, n=0, n_unit="tokens", reason=_why_none(state))
        if any(state[name].is_overfull for name in fields):
            reason = (
                f"more than {Field(reduction='histogram').max_keys} distinct codes in a codebook: too many to count"
            )
            return Summary(value=None, n=tokens, n_unit="tokens", reason=reason)
        books = _books(state)
        return Summary(value=self.function(books), n=tokens, n_unit="tokens", details=_details(books))


def _books(state: State) -> list[CodeCounts]:
    """What a state holds, codebooks in order of name; MetricError if one codebook has two sizes."""
    books: dict[str, CodeCounts] = {}
    for field in _count_fields(state):
        size, _, codebook = field.removeprefix(_COUNTS).partition("/")
        if codebook in books:
            raise MetricError(
                f"codebook {codebook!r} has {books[codebook].entries} entries in one stream and {size} in another; "
                "give different codebooks different names"
            )
        books[codebook] = CodeCounts(
            codebook=codebook, entries=int(size), keys=state[field].keys, counts=state[field].counts
        )
    return [books[name] for name in sorted(books)]


def _count_fields(state: State) -> list[str]:
    return [name for name in state.fields if name.startswith(_COUNTS)]


@per_comparison
def _counted(comparison: Comparison) -> list[tuple[str, CodeCounts | None]]:
    """The code counts of a comparison, or one reason why there are none."""
    encoding = comparison.encoding
    if isinstance(encoding, Tokens | BitCodes):
        return [("", book) for book in count_codes(encoding)]
    return [(_reason(encoding), None)]


def _reason(encoding: Encoding | None) -> str:
    if encoding is None:
        return "no encodings were given, only reconstructions"
    return "a coded file has no codebook" if isinstance(encoding, Payloads) else "continuous latents have no codebook"


def _why_none(state: State) -> str:
    reasons = sorted(name.removeprefix(_NO_CODES) for name in state.fields if name.startswith(_NO_CODES))
    return "; ".join(reasons) or "no tokens were sent"


def _details(books: Sequence[CodeCounts]) -> dict[str, float | int | str]:
    """Totals, and the same a codebook where there is more than one."""
    details: dict[str, float | int | str] = {
        "tokens": sum(book.tokens for book in books),
        "distinct": sum(book.keys.size for book in books),
        "entries": _whole(sum(book.entries for book in books)),
    }
    for book in books:
        suffix = f"[{book.codebook}]" if len(books) > 1 else ""
        if suffix:
            details[f"tokens{suffix}"] = book.tokens
            details[f"distinct{suffix}"] = int(book.keys.size)
            details[f"entries{suffix}"] = _whole(book.entries)
        details[f"usage{suffix}"] = book.keys.size / book.entries
        if book.tokens == 0:
            continue
        entropy = entropy_bits(book.counts)
        details[f"entropy_bits{suffix}"] = entropy
        details[f"perplexity{suffix}"] = 2**entropy
        if book.entries > 1:
            details[f"normalised_entropy{suffix}"] = min(1.0, entropy / math.log2(book.entries))
        details[f"miller_madow_bias_bits{suffix}"] = (book.keys.size - 1) / (2 * book.tokens * math.log(2))
    return details


def _whole(value: int) -> int | str:
    """The integer, or its power of two as text where JSON readers would round it."""
    if value < 2**53:
        return value
    return f"2^{value.bit_length() - 1}" if value & (value - 1) == 0 else str(value)


def _metric(
    key: str, function: Callable[[Sequence[CodeCounts]], float], *, title: str, unit: str, low: float,
    high: float | None, notes: str,
) -> CodeMetric:  # fmt: skip
    return CodeMetric(
        card=MetricCard(
            key=key,
            version=1,
            kind="code",
            group="codebook",
            title=title,
            unit=unit,
            better="higher",
            low=low,
            high=high,
            aggregate="pooled",
            undefined="the tokenizer has no codebook, or no encodings were given",
            notes=notes,
        ),
        function=function,
    )


METRICS = (
    _metric(
        "codebook_usage",
        codebook_usage,
        title="Codebook usage",
        unit="",
        low=0.0,
        high=1.0,
        notes="Distinct entries seen over the set ÷ entries there are, pooled over codebooks. A set of T tokens cannot "
        "use more than T entries: compare only at equal numbers of tokens.",
    ),
    _metric(
        "codebook_perplexity",
        codebook_perplexity,
        title="Codebook perplexity",
        unit="",
        low=1.0,
        high=None,
        notes="2^codebook_entropy: over several codebooks, the geometric mean weighted by tokens.",
    ),
    _metric(
        "codebook_entropy",
        codebook_entropy,
        title="Codebook entropy",
        unit="bits/token",
        low=0.0,
        high=None,
        notes="Of the code histogram over the set, without context; mean over codebooks weighted by tokens. This "
        "plug-in estimate is too low by about miller_madow_bias_bits where tokens far outnumber entries.",
    ),
)
