"""An adaptive arithmetic coder for the tokens of one image: what they cost without any knowledge of other images.

A code is sent bit by bit, highest first, so a codebook is a binary tree and a code a path from its root. At each node
the share of ones so far, started with half a count on either side (Krichevsky and Trofimov, 1981), is the probability
of a one; a node's prior is its share of the codebook's entries, so before anything is seen every entry costs
log2(codebook size) bits, whatever that size. Order 1 keeps the same counts a second time for each preceding token and
mixes them with those of order 0. The bits go through a range coder from a library (constriction), and
:func:`decompress` reads the file back: the sizes are those of files that can be decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tokbench.encodings import BitCodes, Tokens
from tokbench.errors import MetricError
from tokbench.metrics.codes import CodeRows

Order = Literal[0, 1]

CONTEXT_PRIOR = 1.0  # how many tokens' worth order 0 counts for within a context
_STORED, _ADAPTIVE = 0, 1  # the first byte of a file: all entries equally likely, or learned
_WORD_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class CodeLayout:
    """What the decoder knows beforehand of one codebook's tokens.

    Attributes:
        entries: the codebook's size K.
        lengths: tokens of each stream that shares the codebook, coarse to fine.
    """

    entries: int
    lengths: tuple[int, ...]

    @property
    def width(self) -> int:
        """Bits of a code: log2 K, rounded up."""
        return (self.entries - 1).bit_length()


@dataclass(frozen=True, kw_only=True, eq=False)
class CodeSequence:
    """The tokens of one image and codebook, stream after stream: bool ``(tokens, width)``, highest bit first."""

    layout: CodeLayout
    bits: np.ndarray


def sequences_of(streams: Sequence[CodeRows], encoding: Tokens | BitCodes, row: int) -> list[CodeSequence]:
    """One sample's tokens by codebook, in order of first use.

    Args:
        streams: :func:`tokbench.metrics.codes.code_rows` of the encoding.
        encoding: the samples.
        row: which one.
    """
    if isinstance(encoding, BitCodes):
        values = encoding.values[row].reshape(-1, encoding.values.shape[-1]).cpu().numpy()
        layout = CodeLayout(entries=2 ** values.shape[1], lengths=(values.shape[0],))
        return [CodeSequence(layout=layout, bits=values)]
    books: dict[str, list[np.ndarray]] = {}
    entries = {stream.codebook: stream.entries for stream in streams}
    for stream in streams:
        books.setdefault(stream.codebook, []).append(stream.keys[row][stream.sent[row]])
    found = []
    for name, parts in books.items():
        layout = CodeLayout(entries=entries[name], lengths=tuple(part.size for part in parts))
        shifts = np.arange(layout.width - 1, -1, -1, dtype=np.uint64)
        bits = (np.concatenate(parts)[:, None] >> shifts[None]) & np.uint64(1) == 1
        found.append(CodeSequence(layout=layout, bits=bits))
    return found


def ideal_bits(sequences: Sequence[CodeSequence], *, order: Order) -> float:
    """The adaptive code length, minus the sum of log2 of the probabilities: what a perfect coder would need."""
    total = 0.0
    for sequence in sequences:
        ones = probabilities(sequence, order=order)
        total -= float(np.log2(np.where(sequence.bits, ones, 1 - ones)).sum())
    return total


def compress(sequences: Sequence[CodeSequence], *, order: Order) -> bytes:
    """The tokens of one image as a file: a byte for the method, then the range coder's words.

    If learning does not pay, the tokens are sent as equally likely, so a file is never more than a few bytes over
    log2(codebook size) a token.
    """
    adaptive = [probabilities(sequence, order=order) for sequence in sequences]
    uniform = [_priors(sequence) for sequence in sequences]
    bits = np.concatenate([np.empty(0, bool), *(sequence.bits.reshape(-1) for sequence in sequences)])
    files = []
    for method, ones in ((_ADAPTIVE, adaptive), (_STORED, uniform)):
        flat = np.concatenate([np.empty(0), *(part.reshape(-1) for part in ones)])
        files.append(bytes([method]) + _encode(bits, flat))
    return min(files, key=len)


def decompress(data: bytes, layouts: Sequence[CodeLayout], *, order: Order) -> list[np.ndarray]:
    """Inverse of :func:`compress`: bool ``(tokens, width)`` for each layout."""
    decoder = _Decoder(data[1:])
    is_adaptive = data[0] == _ADAPTIVE
    return [_decompress_one(decoder, layout, order=order, is_adaptive=is_adaptive) for layout in layouts]


def probabilities(sequence: CodeSequence, *, order: Order) -> np.ndarray:
    """Probability of a one at each bit, given everything before it: float64 ``(tokens, width)``."""
    bits, priors = sequence.bits, _priors(sequence)
    tokens = bits.shape[0]
    previous = _previous(sequence)
    ones = np.empty(bits.shape)
    node = np.zeros(tokens, np.int64)
    for level in range(bits.shape[1]):
        bit = bits[:, level]
        seen, seen_ones = _counts_before(node, bit)
        ones[:, level] = (seen_ones + priors[:, level]) / (seen + 1)
        if order == 1:
            within, within_ones = _counts_before(previous * tokens + node, bit)
            ones[:, level] = (within_ones + CONTEXT_PRIOR * ones[:, level]) / (within + CONTEXT_PRIOR)
        node = np.unique(2 * node + bit, return_inverse=True)[1]
    return ones


def _counts_before(groups: np.ndarray, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each element, how many earlier ones are in its group, and how many of those are ones: int64 ``(t,)`` each."""
    order = np.argsort(groups, kind="stable")
    ranked, ones = groups[order], np.cumsum(bits[order]) - bits[order]
    first = np.flatnonzero(np.diff(ranked, prepend=-1))
    start = np.repeat(first, np.diff(first, append=ranked.size))
    seen, seen_ones = np.empty(groups.size, np.int64), np.empty(groups.size, np.int64)
    seen[order] = np.arange(groups.size) - start
    seen_ones[order] = ones - ones[start]
    return seen, seen_ones


def _previous(sequence: CodeSequence) -> np.ndarray:
    """A number for the token before each, equal for equal tokens; 0 at the start of a stream."""
    if not sequence.bits.size:
        return np.zeros(sequence.bits.shape[0], np.int64)
    codes = np.unique(sequence.bits, axis=0, return_inverse=True)[1].reshape(-1)
    previous = np.concatenate([[0], codes[:-1] + 1])
    starts = np.cumsum([0, *sequence.layout.lengths[:-1]])
    previous[starts[starts < previous.size]] = 0
    return previous


def _priors(sequence: CodeSequence) -> np.ndarray:
    """Probability of a one if all entries were equally likely, at each bit: float64 ``(tokens, width)``."""
    entries, width = sequence.layout.entries, sequence.layout.width
    if entries == 1 << width:
        return np.full(sequence.bits.shape, 0.5)
    if width > 62:
        raise MetricError(f"a codebook of {entries} entries, over 2^62 and no power of two, cannot be coded")
    priors = np.empty(sequence.bits.shape)
    start = np.zeros(sequence.bits.shape[0], np.int64)
    for level in range(width):
        half = 1 << (width - level - 1)
        zeros = np.clip(entries - start, 0, half)
        ones = np.clip(entries - start - half, 0, half)
        priors[:, level] = ones / (zeros + ones)
        start += half * sequence.bits[:, level]
    return priors


def _encode(bits: np.ndarray, ones: np.ndarray) -> bytes:
    """Range-coded bits, certain ones left out, trailing zero bytes dropped."""
    import constriction  # type: ignore[import-untyped]

    open_ones = (ones > 0) & (ones < 1)
    model = constriction.stream.model.Bernoulli(perfect=False)
    encoder = constriction.stream.queue.RangeEncoder()
    encoder.encode(bits[open_ones].astype(np.int32), model, ones[open_ones])
    words: np.ndarray = encoder.get_compressed()
    return words.astype(">u4").tobytes().rstrip(b"\0")


class _Decoder:
    """Reads bits from what :func:`_encode` wrote."""

    def __init__(self, data: bytes) -> None:
        import constriction

        padded = data + bytes(-len(data) % _WORD_BYTES + 2 * _WORD_BYTES)
        self._model: Any = constriction.stream.model.Bernoulli
        self._coder: Any = constriction.stream.queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))

    def bit(self, ones: float) -> int:
        if ones in (0.0, 1.0):
            return int(ones)
        return int(self._coder.decode(self._model(ones, perfect=False)))


def _decompress_one(decoder: _Decoder, layout: CodeLayout, *, order: Order, is_adaptive: bool) -> np.ndarray:
    """The tokens of one codebook, learning as the encoder did."""
    counts: dict[tuple[int, int], list[int]] = {}  # (context, node) → seen, ones; context -1 is order 0
    codes: list[int] = []
    for previous in _contexts(layout, codes):
        node, start = 1, 0
        for level in range(layout.width):
            half = 1 << (layout.width - level - 1)
            zeros, rest = (min(max(layout.entries - start - side, 0), half) for side in (0, half))
            ones = float(rest) / float(zeros + rest)
            whole = counts.setdefault((-1, node), [0, 0])
            within = counts.setdefault((previous, node), [0, 0])
            if is_adaptive:
                ones = (whole[1] + ones) / (whole[0] + 1)
                if order == 1:
                    ones = (within[1] + CONTEXT_PRIOR * ones) / (within[0] + CONTEXT_PRIOR)
            bit = decoder.bit(ones)
            for seen in (whole, within):
                seen[0] += 1
                seen[1] += bit
            node, start = 2 * node + bit, start + half * bit
        codes.append(start)
    rows = [[code >> shift & 1 for shift in range(layout.width - 1, -1, -1)] for code in codes]
    return np.array(rows, bool).reshape(len(codes), layout.width)


def _contexts(layout: CodeLayout, codes: list[int]) -> Iterator[int]:
    """The context of each token to come: the one before it plus 1, 0 at the start of a stream."""
    for length in layout.lengths:
        for index in range(length):
            yield codes[-1] + 1 if index else 0
