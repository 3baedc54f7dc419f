"""The guard over ``results/``: every submission in the repository is valid. Pull requests are judged by this."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokbench.submissions.form import read_submission, submission_folders
from tokbench.submissions.known import Known
from tokbench.submissions.validate import Verdict, lines, validate

RESULTS = Path(__file__).resolve().parents[2] / "results"
MAX_BYTES = 4 << 20


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    return validate([RESULTS], known=Known())


def test_every_submission_is_valid(verdicts: list[Verdict]) -> None:
    problems = [f"{verdict.path}\n  " + "\n  ".join(lines(verdict.errors)) for verdict in verdicts if verdict.errors]
    assert not problems, "\n".join(problems)


def test_every_folder_was_looked_at(verdicts: list[Verdict]) -> None:
    folders = submission_folders(RESULTS)
    assert [verdict.path for verdict in verdicts] == [str(folder) for folder in folders]
    assert len(folders) >= 9


def test_every_sample_of_quick_was_measured(verdicts: list[Verdict]) -> None:
    quick = [verdict for verdict in verdicts if verdict.task == "quick"]
    assert quick
    assert {verdict.n_records for verdict in quick} == {96}


def test_results_stay_small() -> None:
    """Pictures and records of a few submissions, not a data set."""
    sizes = {path: path.stat().st_size for path in RESULTS.rglob("*") if path.is_file()}
    per_submission = sum(sizes.values()) / max(1, len(submission_folders(RESULTS)))
    assert per_submission < MAX_BYTES


def test_ceilings_and_orders_are_what_they_must_be() -> None:
    """What needs no trust: nothing lost without a tokenizer, and more codes are better than fewer."""
    submitted = [read_submission(folder) for folder in submission_folders(RESULTS)]
    psnr = {item.submission.tokenizer: item.result["psnr"] for item in submitted if item.submission.task == "quick"}
    assert psnr["identity"] == 100
    by_level = [psnr[f"lbg/d{level}"] for level in (1, 4, 8)]
    assert by_level == sorted(by_level, key=lambda value: value or 0)
