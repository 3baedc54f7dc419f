"""Pure maths of count histograms: entropies, how far to trust them, rarefaction and Zipf's law.

Everything takes counts, not samples, and gives the same to the last bit whatever order the counts were gathered in.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

_MAX_EXPONENT = 50.0
_CHUNK = 1 << 20  # elements of a table worked on at a time


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


def miller_madow_bits(distinct: int, total: int) -> float:
    """How much :func:`entropy_bits` is too low where counts are large: (k - 1) / (2 T ln 2) bits (Miller, 1955)."""
    return (distinct - 1) / (2 * total * math.log(2))


def coverage(counts: np.ndarray) -> float:
    """Share of the source that the entries seen make up: 1 - (entries seen once) / T (Good, 1953, after Turing).

    Near 1 the histogram is well sampled; near 0 almost every draw is a new entry, and its entropy says little.
    """
    return 1 - int((counts == 1).sum()) / int(counts.sum())


def histogram_bits(tokens: int, entries: int) -> float:
    """Bits that say which histogram of T tokens over K entries it is: log2 of their number, C(T + K - 1, T).

    What a coder that knows the histogram has to be told first, with no assumption about it.
    """
    if entries > 10**12:  # (K)(K + 1)…(K + T - 1) / T!, where differences of log-gammas would be lost in rounding
        rising = tokens * math.log(entries) + tokens * (tokens - 1) / (2 * entries)
    else:
        rising = math.lgamma(tokens + entries) - math.lgamma(entries)
    return max(0.0, (rising - math.lgamma(tokens + 1)) / math.log(2))


def rarefaction(counts: np.ndarray, *, draws: int, sizes: np.ndarray) -> np.ndarray:
    """Expected number of distinct entries in ``sizes`` of the draws, taken at random without replacement: float64.

    Exact: entry k is missed by m of N draws with probability C(N - n_k, m) / C(N, m).

    Args:
        counts: of the N draws, how many hold each entry: int64 ``(k,)``, each in [1, N]. A draw may hold many entries.
        draws: N.
        sizes: m, whole numbers in [0, N], ``(s,)``.

    Source: Hurlbert, "The nonconcept of species diversity", 1971; for draws of several entries, sample-based
    rarefaction (Colwell and others, 2004).
    """
    log_factorial = np.array([math.lgamma(number + 1) for number in range(draws + 1)])
    held, times = np.unique(counts, return_counts=True)
    expected = np.empty(len(sizes))
    for index, size in enumerate(int(size) for size in sizes):
        can_miss = held <= draws - size
        rest = draws - held[can_miss]
        log_missed = log_factorial[rest] - log_factorial[rest - size] - log_factorial[draws]
        missed = np.zeros(held.size)
        missed[can_miss] = np.exp(log_missed + log_factorial[draws - size])
        expected[index] = math.fsum((times * (1 - missed)).tolist())
    return expected


def zipf_exponent(counts: np.ndarray) -> float:
    """The s of p(r) ∝ 1 / r^s over ranks 1..R that makes R counts, in falling order, likeliest; at least 0.

    Maximum likelihood of the truncated discrete law, solved by guarded Newton steps: the mean log rank of the tokens
    equals that of the law. Ranks come from the counts themselves, so for T tokens s is too high by about
    R / (2 s T Var(log r)).
    """
    log_rank = np.log(np.arange(1, counts.size + 1, dtype=np.float64))
    target = float(np.dot(counts, log_rank)) / float(counts.sum())
    low, high, exponent = 0.0, _MAX_EXPONENT, 1.0
    if counts.size < 2 or target >= float(log_rank.mean()):
        return 0.0
    for _ in range(100):
        weights = np.exp(-exponent * log_rank)
        weights /= weights.sum()
        mean = float(np.dot(weights, log_rank))
        low, high = (exponent, high) if mean > target else (low, exponent)
        variance = float(np.dot(weights, (log_rank - mean) ** 2))
        step = exponent + (mean - target) / variance if variance > 0 else low
        following = step if low < step < high else (low + high) / 2
        if abs(following - exponent) <= 1e-12 * max(1.0, exponent):
            break
        exponent = following
    return exponent


class Jackknifed(NamedTuple):
    """An estimate freed of its bias of order 1 / T, and its standard error."""

    estimate: float
    error: float


def jackknife(whole: float, without: list[float], sizes: list[int]) -> Jackknifed:
    """Delete-a-group jackknife for groups of unequal size.

    Args:
        whole: the estimate from everything.
        without: the estimate without each group, at least two.
        sizes: the size of each group, each positive.

    Source: Busing, Meijer and van der Leeden, "Delete-m jackknife for unequal m", 1999, equations 6 and 8.
    """
    total, groups = sum(sizes), len(sizes)
    estimate = groups * whole - math.fsum((1 - m / total) * part for m, part in zip(sizes, without, strict=True))
    terms = []
    for size, part in zip(sizes, without, strict=True):
        ratio = total / size
        pseudo = ratio * whole - (ratio - 1) * part
        terms.append((pseudo - estimate) ** 2 / (ratio - 1))
    return Jackknifed(estimate, math.sqrt(math.fsum(terms) / groups))


def chance_joint_entropy(left: np.ndarray, right: np.ndarray) -> float:
    """Entropy in bits that the T pairs of two histograms have on average when the pairing is random.

    Shuffling one side and counting pairs would give this plus noise. Pair (i, j) then occurs hypergeometrically often
    with mean a_i b_j / T, and E[n log n] = mean * E[log(1 + n')], n' of mean (a_i - 1)(b_j - 1) / (T - 1). The law
    of n' is taken as Poisson's with the variance brought to the hypergeometric one: exact for entries that occur once,
    right to second order for frequent ones; in between the chance information is within 3 % (test_language.py).

    Args:
        left, right: positive int64 counts of equal sum T.
    """
    total = int(left.sum())
    if total < 2:
        return 0.0
    a, times_a = (part.astype(np.float64) for part in np.unique(left, return_counts=True))
    b, times_b = (part.astype(np.float64) for part in np.unique(right, return_counts=True))
    sums = []
    step = max(1, _CHUNK // b.size)
    for start in range(0, a.size, step):
        rows = a[start : start + step, None]
        mean = (rows - 1) * (b - 1) / (total - 1)
        narrower = (1 - (rows - 1) / (total - 1)) * ((total - b) / max(1, total - 2))
        logs = np.log2(1 + mean) + _poisson_shortfall(mean) * narrower
        sums.append(float((times_a[start : start + step, None] * times_b * rows * b * logs).sum()))
    return math.log2(total) - math.fsum(sums) / total / total


def _poisson_shortfall(mean: np.ndarray) -> np.ndarray:
    """E[log2(1 + n)] - log2(1 + mean) for Poisson n: at most 0, interpolated to about 1e-5 of itself."""
    log_means, ratios = _poisson_table()
    leading = -mean / (2 * math.log(2) * (1 + mean) ** 2)  # the second-order term; the ratio runs from 0.61 to 1
    return np.asarray(leading * np.interp(np.log(np.maximum(mean, 1e-300)), log_means, ratios))


@lru_cache(maxsize=1)
def _poisson_table() -> tuple[np.ndarray, np.ndarray]:
    means = np.logspace(-4, 4, 321)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, 12000)))])
    ratios = []
    for mean in means:
        n = np.arange(max(0, int(mean - 12 * math.sqrt(mean))), int(mean + 12 * math.sqrt(mean)) + 40)
        mass = np.exp(n * math.log(mean) - mean - log_factorial[n])
        shortfall = float(np.dot(mass, np.log2((1 + n) / (1 + mean))))
        ratios.append(shortfall * -2 * math.log(2) * (1 + mean) ** 2 / mean)
    return np.log(means), np.array(ratios)
