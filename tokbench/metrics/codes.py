"""Counting codes: from an encoding to sparse histograms with 64-bit keys, and the shell of the metrics that keep them.

Nothing here allocates a codebook, so implicit books of 2^64 entries cost no more than the tokens that were sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tokbench.cards import MetricCard
from tokbench.contracts import Comparison, Feature, Summary
from tokbench.encodings import BitCodes, Encoding, Payloads, Tokens, TokenStream
from tokbench.errors import MetricError, NotApplicableError
from tokbench.metrics.base import per_comparison
from tokbench.metrics.state import MAX_KEYS, Field, State

if TYPE_CHECKING:
    import torch

BIT_CODEBOOK = "bits"
COUNTS, IMAGES = "counts", "images"  # parts of a tally: tokens by code, images by code they contain
_NO_CODES = "without codes: "


@dataclass(frozen=True, kw_only=True, eq=False)
class CodeCounts:
    """How often each entry of one codebook occurs.

    Attributes:
        codebook: its name.
        entries: its size K; 2^d for d-bit codes.
        keys: distinct entries seen, rising, uint64 ``(k,)``; for codes wider than 64 bits a 64-bit hash of them.
            Tallies of something else (pairs of codes, codes at positions) say what their keys are.
        counts: how often, int64 ``(k,)``.
    """

    codebook: str
    entries: int
    keys: np.ndarray
    counts: np.ndarray

    @property
    def tokens(self) -> int:
        return int(self.counts.sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class CodeRows:
    """One stream of n samples, as keys.

    Attributes:
        codebook, entries: as in :class:`CodeCounts`.
        grid: positions of a sample along each axis.
        keys: uint64 ``(n, positions)``, flattened row by row; 0 where nothing is sent.
        sent: bool ``(n, positions)``: False past a sample's length.
    """

    codebook: str
    entries: int
    grid: tuple[int, ...]
    keys: np.ndarray
    sent: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """What a comparison adds to a state: histograms by part, each of several codebooks, and whole numbers by name."""

    parts: Mapping[str, Sequence[CodeCounts]]
    totals: Mapping[str, int] = field(default_factory=dict)


def code_rows(encoding: Tokens | BitCodes) -> list[CodeRows]:
    """The streams of an encoding, coarse to fine.

    Raises:
        MetricError: an index outside [0, codebook size).
    """
    if isinstance(encoding, BitCodes):
        grid = tuple(int(side) for side in encoding.values.shape[1:-1])
        keys = pack_bits(encoding.values).reshape(encoding.n, math.prod(grid))
        entries = 2 ** int(encoding.values.shape[-1])
        return [CodeRows(codebook=BIT_CODEBOOK, entries=entries, grid=grid, keys=keys, sent=np.ones(keys.shape, bool))]
    return [_stream_rows(stream) for stream in encoding.streams]


def count_codes(encoding: Tokens | BitCodes) -> list[CodeCounts]:
    """Code histograms of an encoding, one a stream (so a shared codebook occurs more than once).

    Raises:
        MetricError: an index outside [0, codebook size).
    """
    return [count_keys(rows, rows.keys[rows.sent]) for rows in code_rows(encoding)]


def count_keys(rows: CodeRows, keys: np.ndarray) -> CodeCounts:
    """A histogram of any keys ``(m,)`` made from a stream, under its codebook."""
    distinct, counts = np.unique(keys, return_counts=True)
    return CodeCounts(codebook=rows.codebook, entries=rows.entries, keys=distinct, counts=counts)


def place_keys(rows: CodeRows, bits: int) -> np.ndarray:
    """The keys in so many bits: unchanged where the codebook is small enough, else hashed.

    A collision counts two codes as one; with c distinct codes about c / 2^(bits + 1) of them are lost so.
    """
    return rows.keys if rows.entries <= 1 << bits else mix(rows.keys) >> np.uint64(64 - bits)


def pack_bits(values: torch.Tensor) -> np.ndarray:
    """One uint64 key a code: bool ``(n, *grid, d)`` → ``(n * grid,)``.

    Up to 64 bits the key is the code itself, first bit highest. Wider codes are hashed, 64 bits at a time; the chance
    that any two of 10 million different codes share a key is about 3e-6.
    """
    width = int(values.shape[-1])
    bits = values.reshape(-1, width).cpu().numpy()
    keys = np.zeros(bits.shape[0], np.uint64)
    for start in range(0, width, 64):
        word = np.zeros(bits.shape[0], np.uint64)
        for bit in range(start, min(start + 64, width)):
            word = (word << np.uint64(1)) | bits[:, bit].astype(np.uint64)
        keys = word if width <= 64 else mix(keys ^ word)
    return keys


def mix(keys: np.ndarray) -> np.ndarray:
    """uint64 → uint64: the finaliser of SplitMix64, a bijection of uint64 that changes half the bits on average."""
    mixed = keys + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _stream_rows(stream: TokenStream) -> CodeRows:
    indices = stream.indices.cpu().numpy()
    n, positions = indices.shape[0], math.prod(indices.shape[1:])
    flat = indices.reshape(n, positions)
    sent = np.ones(flat.shape, bool)
    if stream.lengths is not None:
        sent = np.arange(positions)[None] < stream.lengths.cpu().numpy()[:, None]
        flat = np.where(sent, flat, 0)
    if flat.size and (flat.min() < 0 or flat.max() >= stream.codebook_size):
        raise MetricError(
            f"codebook {stream.codebook!r}: indices run from {flat.min()} to {flat.max()}, outside "
            f"[0, {stream.codebook_size})"
        )
    return CodeRows(
        codebook=stream.codebook,
        entries=stream.codebook_size,
        grid=tuple(indices.shape[1:]),
        keys=flat.astype(np.uint64),
        sent=sent,
    )


@per_comparison
def rows_of(comparison: Comparison) -> list[CodeRows] | str:
    """The streams of a comparison's encoding, or why there are none."""
    if isinstance(comparison.encoding, Tokens | BitCodes):
        return code_rows(comparison.encoding)
    return _reason(comparison.encoding)


@per_comparison
def tally_codes(comparison: Comparison) -> Tally | str:
    """Tokens by code."""
    rows = rows_of(comparison)
    if isinstance(rows, str):
        return rows
    return Tally(parts={COUNTS: [count_keys(stream, stream.keys[stream.sent]) for stream in rows]})


@per_comparison
def tally_images(comparison: Comparison) -> Tally | str:
    """Images by code they contain (each image counts once a code), and how many images and tokens there were."""
    streams = rows_of(comparison)
    if isinstance(streams, str):
        return streams
    books: dict[str, list[CodeRows]] = {}
    for stream in streams:
        books.setdefault(stream.codebook, []).append(stream)
    totals = {"images": int(comparison.reference.shape[0])}
    parts = []
    for name, rows in books.items():
        keys = np.concatenate([stream.keys for stream in rows], axis=1)
        sent = np.concatenate([stream.sent for stream in rows], axis=1)
        totals[f"tokens/{name}"] = int(sent.sum())
        parts.append(count_keys(rows[0], _distinct_by_row(keys, sent)))
    return Tally(parts={IMAGES: parts}, totals=totals)


@dataclass(frozen=True, kw_only=True)
class CountingMetric:
    """A metric of histograms over the whole set: a :class:`~tokbench.contracts.StatefulMetric`.

    Attributes:
        tally: what a comparison adds, or why it adds nothing; shared by the metrics that want the same.
        summary: the number, from a state with at least one count and no histogram given up.
        noun: what the histograms count.
        max_keys: distinct keys a histogram may hold (16 bytes each) before the metric gives up, with the reason.
    """

    card: MetricCard
    tally: Callable[[Comparison], Tally | str]
    summary: Callable[[State], Summary]
    noun: str = "codes in a codebook"
    max_keys: int = MAX_KEYS
    features: tuple[Feature, ...] = ()

    def new_state(self) -> State:
        return State()

    def update(self, state: State, comparison: Comparison) -> None:
        tally = self.tally(comparison)
        if isinstance(tally, str):
            tally = Tally(parts={}, totals={_NO_CODES + tally: int(comparison.reference.shape[0])})
        for name, number in tally.totals.items():
            state.declare(name, Field(reduction="sum"))
            state.add(name, number)
        for part, books in tally.parts.items():
            for book in books:
                name = f"{part}/{book.entries}/{book.codebook}"
                if name not in state:
                    state.declare(name, Field(reduction="histogram", max_keys=self.max_keys))
                    books_of(state, part)  # refuses a second size now rather than at the end
                state.count(name, book.keys, book.counts)

    def compute(self, state: State) -> Summary:
        histograms = [state[name] for name, field in state.fields.items() if field.reduction == "histogram"]
        counted = sum(histogram.total for histogram in histograms)
        if counted == 0:
            if reasons := sorted(name.removeprefix(_NO_CODES) for name in state.fields if name.startswith(_NO_CODES)):
                raise NotApplicableError("; ".join(reasons))
            sent = "tokens" in state and state["tokens"]
            reason = f"there are no {self.noun}: each stream sends one token" if sent else "no tokens were sent"
            return Summary(value=None, n=0, n_unit="tokens", reason=reason)
        if any(histogram.is_overfull for histogram in histograms):
            reason = f"more than {self.max_keys} distinct {self.noun}: too many to count"
            return Summary(value=None, n=counted, n_unit="tokens", reason=reason)
        return self.summary(state)


def books_of(state: State, part: str = COUNTS) -> list[CodeCounts]:
    """The histograms of one part, codebooks in order of name; MetricError if one codebook has two sizes."""
    books: dict[str, CodeCounts] = {}
    for name in state.fields:
        if not name.startswith(f"{part}/"):
            continue
        size, _, codebook = name.removeprefix(f"{part}/").partition("/")
        if codebook in books:
            raise MetricError(
                f"codebook {codebook!r} has {books[codebook].entries} entries in one stream and {size} in another; "
                "give different codebooks different names"
            )
        books[codebook] = CodeCounts(
            codebook=codebook, entries=int(size), keys=state[name].keys, counts=state[name].counts
        )
    return [books[name] for name in sorted(books)]


def parts_of(state: State) -> list[str]:
    """The parts a state holds histograms of, in order of name."""
    fields = state.fields.items()
    return sorted({name.partition("/")[0] for name, field in fields if field.reduction == "histogram"})


def _distinct_by_row(keys: np.ndarray, sent: np.ndarray) -> np.ndarray:
    """The distinct keys of every row, one row after the other."""
    rows = sent.any(axis=1)
    keys, sent = keys[rows], sent[rows]
    if not keys.size:
        return keys.reshape(-1)
    first = np.take_along_axis(keys, sent.argmax(axis=1)[:, None], axis=1)
    keys = np.sort(np.where(sent, keys, first), axis=1)
    is_new = np.ones(keys.shape, bool)
    is_new[:, 1:] = keys[:, 1:] != keys[:, :-1]
    return keys[is_new]


def _reason(encoding: Encoding | None) -> str:
    if encoding is None:
        return "no encodings were given, only reconstructions"
    return "a coded file has no codebook" if isinstance(encoding, Payloads) else "continuous latents have no codebook"
