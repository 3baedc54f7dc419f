"""Numbers that cannot be: outside a metric's range, or at odds with what an encoding of such codes costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokbench.cards import MetricCard, TokenizerCard
from tokbench.results import BranchRecord, Record, RunResult, Value
from tokbench.runfolder import RESULT
from tokbench.submissions.findings import Findings, same
from tokbench.submissions.form import RECORDS_GZ
from tokbench.submissions.known import Known

# Rounding in a metric's own sums; structural similarity documents 1e-6.
_SLACK = 1e-6


def check_ranges(result: RunResult, records: Sequence[Record], known: Known, findings: Findings) -> None:
    """Values of the result, its groups and its intervals, and of every record and region."""
    for value in result.values.values():
        metric = known.metrics.get(value.metric)
        if metric is not None:
            _check_value(value, metric.card, findings)
    cards = {key: metric.card for key, metric in known.metrics.items()}
    for record, name, branch in _branches(records):
        where = f"{record.id}, branch {name}" if name else record.id
        _check_numbers(branch.values, cards, where, findings)
        for region in branch.regions:
            _check_numbers(region.values, cards, f"{where}, region {region.index}", findings)


def _branches(records: Sequence[Record]) -> Iterator[tuple[Record, str, BranchRecord]]:
    for record in records:
        for name, branch in record.branches.items():
            yield record, name, branch


def _check_value(value: Value, card: MetricCard, findings: Findings) -> None:
    where = f"values/{value.key}"
    numbers: dict[str, float | None] = {"value": value.value}
    numbers |= {f"groups/{name}": group.value for name, group in value.groups.items()}
    for name, number in numbers.items():
        if number is not None and not _inside(number, card):
            findings.error(
                "range",
                "is outside the metric's range",
                file=RESULT,
                where=f"{where}/{name}",
                got=number,
                expected=_range(card),
            )
    for name, interval, middle in (
        ("ci95", value.ci95, value.value),
        *((f"groups/{name}/ci95", group.ci95, group.value) for name, group in value.groups.items()),
    ):
        if interval is not None and (middle is None or not interval[0] <= middle <= interval[1]):
            findings.error(
                "interval-order",
                "the interval does not hold its value",
                file=RESULT,
                where=f"{where}/{name}",
                got=interval,
                expected=f"around {middle}",
            )


def _check_numbers(
    values: Mapping[str, float], cards: Mapping[str, MetricCard], where: str, findings: Findings
) -> None:
    for key, number in values.items():
        card = cards.get(key)
        if card is not None and not _inside(number, card):
            findings.error(
                "range",
                f"{key} is outside the metric's range",
                file=RECORDS_GZ,
                where=where,
                got=number,
                expected=_range(card),
            )


def _inside(number: float, card: MetricCard) -> bool:
    low = -math.inf if card.low is None else card.low
    high = math.inf if card.high is None else card.high
    return low - _SLACK <= number <= high + _SLACK


def _range(card: MetricCard) -> str:
    return f"{'any' if card.low is None else card.low} to {'any' if card.high is None else card.high}"


def check_rate(result: RunResult, records: Sequence[Record], findings: Findings) -> None:
    """Bits and tokens against the tokenizer's codebooks, and the rate values against bits and tokens."""
    for record, name, branch in _branches(records):
        where = f"{record.id}, branch {name}" if name else record.id
        # Other branches may be of another tokenizer: the points of a curve.
        is_own = not name or name.startswith("length=")
        problem, expected = _bits_problem(branch, result.spec.tokenizer) if is_own else ("", "")
        if problem:
            findings.error(
                "bits",
                problem,
                file=RECORDS_GZ,
                where=where,
                got=f"{branch.encoding_bits} bits, {branch.n_tokens} tokens",
                expected=expected,
            )
        pixels = math.prod(record.size_px) if record.size_px else 0
        promised: dict[str, Any] = {"tokens": branch.n_tokens}
        if pixels and branch.encoding_bits is not None:
            promised["bpp"] = branch.encoding_bits / pixels
        for key, number in promised.items():
            if key in branch.values and (number is None or not same(branch.values[key], number)):
                findings.error(
                    "rate-value",
                    f"{key} does not follow from the encoding",
                    file=RECORDS_GZ,
                    where=where,
                    got=branch.values[key],
                    expected=number,
                )


def _bits_problem(branch: BranchRecord, card: TokenizerCard) -> tuple[str, str]:
    """Why these bits cannot be, and what could; both "" where they can."""
    bits, tokens = branch.encoding_bits, branch.n_tokens
    if card.latent == "discrete":
        if bits is None or tokens is None:
            return "discrete codes have bits and tokens", "numbers"
        if not card.codebook_sizes:
            return "", ""
        low = tokens * math.log2(min(card.codebook_sizes))
        high = tokens * math.log2(max(card.codebook_sizes))
        if not low - 1e-6 * max(1.0, low) <= bits <= high + 1e-6 * max(1.0, high):
            sizes = ", ".join(str(size) for size in card.codebook_sizes[:8])
            return (
                f"bits do not follow from the tokens and the codebooks of {sizes} entries",
                f"{low:g} to {high:g} bits",
            )
        return "", ""
    if tokens is not None:
        return f"a tokenizer of kind {card.latent!r} has no tokens", "no tokens"
    if card.latent == "codec" and (bits is None or bits <= 0 or bits % 8):
        return "a coded file has a whole number of bytes", "a positive multiple of 8 bits"
    if card.latent in ("continuous", "none") and bits is not None:
        return f"a tokenizer of kind {card.latent!r} has no size in bits", "no bits"
    return "", ""
