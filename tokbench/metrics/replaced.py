"""The share of tokens a perturbation really replaced."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tokbench.cards import MetricCard
from tokbench.contracts import Comparison, Feature, Summary
from tokbench.encodings import BitCodes, Tokens, TokenStream
from tokbench.metrics.state import Field, State

COUNTS = "replaced, sent"


@dataclass(frozen=True, kw_only=True)
class ReplacedShare:
    """Tokens with another code than the encoder's over tokens of the perturbed streams: a ``StatefulMetric``.

    Streams that were not perturbed themselves do not count, unless none was: then the share is 0.
    """

    card: MetricCard
    features: tuple[Feature, ...] = ()

    def new_state(self) -> State:
        return State({COUNTS: Field(reduction="cat", dtype="int64", shape=(2,))})

    def update(self, state: State, comparison: Comparison) -> None:
        if isinstance(comparison.encoding, Tokens | BitCodes):
            state.add(COUNTS, replaced_counts(comparison.encoding))

    def compute(self, state: State) -> Summary:
        replaced, sent = state[COUNTS].T.astype(np.float64)
        if not sent.sum():
            reason = self.card.undefined
            return Summary(value=None, n=0, n_unit="tokens", reason=reason)
        value = float(replaced.sum() / sent.sum())
        influences = (replaced - value * sent) * (len(sent) / sent.sum())
        return Summary(value=value, n=int(sent.sum()), n_unit="tokens", influences=influences)


def replaced_counts(encoding: Tokens | BitCodes) -> np.ndarray:
    """Per sample, tokens replaced and tokens that might have been: int64 ``(n, 2)``."""
    if isinstance(encoding, BitCodes):
        return np.stack([_replaced(encoding), encoding.token_counts().numpy()], axis=1)
    perturbed = [stream for stream in encoding.streams if stream.replaced is not None]
    streams = perturbed or encoding.streams
    replaced = np.sum([_replaced(stream) for stream in streams], axis=0)
    return np.stack([replaced, np.sum([stream.counts().cpu().numpy() for stream in streams], axis=0)], axis=1)


def _replaced(codes: TokenStream | BitCodes) -> np.ndarray:
    """int64 ``(n,)``."""
    if codes.replaced is None:
        n = codes.n if isinstance(codes, BitCodes) else codes.indices.shape[0]
        return np.zeros(n, np.int64)
    counts: np.ndarray = codes.replaced.flatten(1).sum(1).cpu().numpy()
    return counts
