"""Numbers that contradict one another: digests and perfect scores, errors that are no integers, words and readings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokbench.metrics.pixel import CAP_DB, PEAK
from tokbench.metrics.text import WordMetric
from tokbench.results import BranchRecord, Record, RunResult
from tokbench.runfolder import RESULT
from tokbench.submissions.findings import Findings, same
from tokbench.submissions.form import RECORDS_GZ
from tokbench.submissions.known import Known

# Numbers over the set that follow from the records all the same.
FOLLOWING = frozenset({"psnr_pooled"})
# The conventions that are used here are those of these versions; another version is not checked.
_PSNR, _MAE, _POOLED = ("psnr", 1), ("mae", 1), ("psnr_pooled", 1)
_INTEGER_SLACK = 1e-12  # relative: what writing dB or a mean as a float may lose of a sum


def check_consistency(result: RunResult, records: Sequence[Record], known: Known, findings: Findings) -> None:
    """Each record within itself, and the pooled error against the images' errors."""
    versions = dict(result.spec.metrics)
    for record in records:
        for name, branch in record.branches.items():
            where = f"{record.id}, branch {name}" if name else record.id
            _check_identical(record, branch, known, where, findings)
            if record.size_px is not None:
                _check_pixel_errors(branch, 3 * math.prod(record.size_px), versions, where, findings)
            _check_words(branch, known, where, findings)
    if {_PSNR, _POOLED} <= set(versions.items()):
        _check_pooled(result, records, findings)


def _check_identical(record: Record, branch: BranchRecord, known: Known, where: str, findings: Findings) -> None:
    """Equal pixels have perfect scores; other pixels have not."""
    if record.reference_sha256 == branch.reconstruction_sha256:
        for key, value in branch.values.items():
            metric = known.metrics.get(key)
            if metric is not None and metric.card.perfect is not None and not _close(value, metric.card.perfect):
                findings.error(
                    "identical-pixels",
                    f"the reconstruction has the original's digest, but {key} is not perfect",
                    file=RECORDS_GZ,
                    where=where,
                    got=value,
                    expected=metric.card.perfect,
                )
        return
    if branch.values.get("mae") == 0:
        findings.error(
            "identical-pixels",
            "mae says no pixel differs, but the reconstruction's digest is not the original's",
            file=RECORDS_GZ,
            where=where,
        )
    if branch.values.get("psnr", 0.0) >= CAP_DB:
        # The cap also binds for a few wrong levels in a large image; mae says how many there are.
        levels = PEAK**2 * 1e-10 * 3 * math.prod(record.size_px or (0, 0))
        wrong = branch.values.get("mae", math.inf) * 3 * math.prod(record.size_px or (0, 0))
        if not wrong <= levels:
            findings.error(
                "identical-pixels",
                "psnr says perfect, but the reconstruction's digest is not the original's",
                file=RECORDS_GZ,
                where=where,
                got=branch.values["psnr"],
                expected=f"below {CAP_DB}",
            )


def _close(value: float, perfect: float) -> bool:
    return math.isclose(value, perfect, rel_tol=1e-4, abs_tol=1e-4)


def _check_pixel_errors(
    branch: BranchRecord, n_values: int, versions: Mapping[str, int], where: str, findings: Findings
) -> None:
    """Errors of 8-bit pixels are whole numbers, and bound one another: |d| <= d² <= 255 |d|, mae² <= mse."""
    psnr = branch.values.get("psnr") if versions.get("psnr") == _PSNR[1] else None
    mae = branch.values.get("mae") if versions.get("mae") == _MAE[1] else None
    # What is outside its range was said to be; it has no place in these sums.
    absolute = mae * n_values if mae is not None and 0 <= mae <= PEAK else None
    squared = PEAK**2 * n_values / 10 ** (psnr / 10) if psnr is not None and 0 <= psnr < CAP_DB else None
    for name, total in (("mae", absolute), ("psnr", squared)):
        if total is not None and abs(total - round(total)) > max(_INTEGER_SLACK * total, 1e-6):
            findings.error(
                "not-of-pixels",
                f"{name} cannot come from 8-bit pixels: the sum of errors it means is no whole number",
                file=RECORDS_GZ,
                where=where,
                got=f"{branch.values[name]!r}, a sum of {total:.6f}",
            )
    if absolute is None or squared is None:
        return
    if not absolute <= squared * (1 + 1e-9) + 1e-6 or not squared <= PEAK * absolute * (1 + 1e-9) + 1e-6:
        low, high = (_decibels(total, n_values) for total in (PEAK * absolute, absolute))
        findings.error(
            "psnr-mae",
            "psnr and mae contradict each other",
            file=RECORDS_GZ,
            where=where,
            got=psnr,
            expected=f"{low:.3f} to {high:.3f} dB at a mae of {mae}",
        )
    elif absolute**2 > squared * n_values * (1 + 1e-9):
        high = _decibels(absolute**2 / n_values, n_values)
        findings.error(
            "psnr-mae",
            "psnr and mae contradict each other",
            file=RECORDS_GZ,
            where=where,
            got=psnr,
            expected=f"at most {high:.3f} dB at a mae of {mae}",
        )


def _decibels(squared: float, n_values: int) -> float:
    return math.inf if squared == 0 else 10 * math.log10(PEAK**2 * n_values / squared)


def _check_pooled(result: RunResult, records: Sequence[Record], findings: Findings) -> None:
    """The pooled PSNR follows from the images' where none of them is capped."""
    for value in result.values.values():
        if value.metric != _POOLED[0] or value.status != "ok" or value.value is None:
            continue
        squared, n_values = 0.0, 0
        for record, psnr in _values(records, "psnr", value.branch):
            if not 0 <= psnr < CAP_DB or record.size_px is None:
                break
            n = 3 * math.prod(record.size_px)
            squared += PEAK**2 * n / 10 ** (psnr / 10)
            n_values += n
        else:
            if n_values and not math.isclose(value.value, min(CAP_DB, _decibels(squared, n_values)), rel_tol=1e-9):
                findings.error(
                    "recomputed",
                    "psnr_pooled does not follow from the images' psnr",
                    file=RESULT,
                    where=f"values/{value.key}/value",
                    got=value.value,
                    expected=_decibels(squared, n_values),
                )


def _values(records: Sequence[Record], key: str, branch: str) -> Iterator[tuple[Record, float]]:
    for record in records:
        if branch in record.branches and key in record.branches[branch].values:
            yield record, record.branches[branch].values[key]


def _check_words(branch: BranchRecord, known: Known, where: str, findings: Findings) -> None:
    """Scores of words follow from the label and what was read; all metrics of one recogniser read the same."""
    for region in branch.regions:
        place = f"{where}, region {region.index}"
        read: dict[str, Mapping[str, str]] = {}
        for key, seen in region.seen.items():
            metric: Any = known.metrics.get(key)
            if not isinstance(metric, WordMetric):
                continue
            other = read.setdefault(metric.readings.name, seen)
            if dict(other) != dict(seen):
                findings.error(
                    "readings",
                    "metrics of one recogniser hold different readings",
                    file=RECORDS_GZ,
                    where=place,
                    got=f"{key}: {dict(seen)}",
                    expected=dict(other),
                )
            if key in region.values and "reconstruction" in seen:
                again = float(metric.function(region.label, seen["reconstruction"]))
                if not same(region.values[key], again):
                    findings.error(
                        "readings",
                        f"{key} does not follow from the label and the word that was read",
                        file=RECORDS_GZ,
                        where=place,
                        got=region.values[key],
                        expected=f"{again} for {seen['reconstruction']!r} read, {region.label!r} written",
                    )
