"""Single checks on made-up records: what a tiny run does not have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.submissions.forge import copy_of, known, small_task
from tokbench.cards import TokenizerCard
from tokbench.errors import ManifestError
from tokbench.results import BranchRecord, Record, RegionRecord
from tokbench.submissions.checks.consistency import _check_pixel_errors, _check_words
from tokbench.submissions.checks.ranges import _bits_problem
from tokbench.submissions.checks.samples import _check_duplicates
from tokbench.submissions.findings import Finding, Findings, same
from tokbench.submissions.known import Known
from tokbench.submissions.validate import validate


def branch(**facts: Any) -> BranchRecord:
    defaults: dict[str, Any] = {
        "reconstruction_sha256": 64 * "a", "encoding_bits": None, "n_tokens": None, "clamped": 0.0, "values": {},
    }  # fmt: skip
    return BranchRecord(**{**defaults, **facts})


@pytest.mark.parametrize(
    ("card", "bits", "tokens", "words"),
    [
        ({"latent": "discrete", "codebook_sizes": (1024,)}, 100.0, 10, ""),
        ({"latent": "discrete", "codebook_sizes": (1024,)}, 99.0, 10, "do not follow"),
        ({"latent": "discrete", "codebook_sizes": (16, 1024)}, 70.0, 10, ""),
        ({"latent": "discrete", "codebook_sizes": (16, 1024)}, 39.0, 10, "do not follow"),
        ({"latent": "discrete", "codebook_sizes": (2**64,)}, 640.0, 10, ""),
        ({"latent": "discrete", "codebook_sizes": (1024,)}, None, 10, "have bits and tokens"),
        ({"latent": "discrete"}, 5.0, 3, ""),
        ({"latent": "codec"}, 80.0, None, ""),
        ({"latent": "codec"}, 81.0, None, "whole number of bytes"),
        ({"latent": "codec"}, 0.0, None, "whole number of bytes"),
        ({"latent": "codec"}, 80.0, 4, "has no tokens"),
        ({"latent": "continuous"}, None, None, ""),
        ({"latent": "continuous"}, 8.0, None, "no size in bits"),
        ({"latent": "none"}, None, 4, "has no tokens"),
    ],
)
def test_bits_that_can_be_and_bits_that_cannot(
    card: dict[str, Any], bits: float | None, tokens: int | None, words: str
) -> None:
    problem, expected = _bits_problem(branch(encoding_bits=bits, n_tokens=tokens), TokenizerCard(name="a/b", **card))
    assert (words in problem) if words else problem == ""
    assert bool(problem) == bool(expected)


@pytest.mark.parametrize("n_values", [192, 196_608, 3 * 4096 * 4096])
@pytest.mark.parametrize("share", [1, 7, 1000])
def test_errors_of_real_pixels_always_pass(n_values: int, share: int) -> None:
    """Any whole sum, large or small, in float as the metrics write it."""
    from tokbench.metrics.pixel import decibels

    squared = n_values * 13 // share + 1
    absolute = min(squared, max(1, squared // 9))
    findings = Findings()
    values = {"psnr": decibels(squared, n_values), "mae": absolute / n_values}
    _check_pixel_errors(branch(values=values), n_values, {"psnr": 1, "mae": 1}, "x", findings)
    assert findings.items == []


@pytest.mark.parametrize(
    ("psnr", "mae", "code"),
    [
        (30.0, 5.0, "not-of-pixels"),
        (27.31, 196608 / 196608, "not-of-pixels"),
    ],
)
def test_round_numbers_are_not_of_pixels(psnr: float, mae: float, code: str) -> None:
    findings = Findings()
    _check_pixel_errors(branch(values={"psnr": psnr, "mae": mae}), 196_608, {"psnr": 1, "mae": 1}, "x", findings)
    assert code in {item.code for item in findings.errors}
    other = Findings()  # another version may have other conventions
    _check_pixel_errors(branch(values={"psnr": psnr, "mae": mae}), 196_608, {"psnr": 2, "mae": 2}, "x", other)
    assert other.items == []


def word(values: dict[str, float], seen: dict[str, dict[str, str]]) -> RegionRecord:
    return RegionRecord(
        kind="word", index=0, label="Hello", box=(0.0, 0.0, 9.0, 9.0), group="small", values=values, seen=seen
    )


HELLO, HULLO = ({"reference": "Hello", "reconstruction": text} for text in ("Hello", "Hullo"))


@pytest.mark.parametrize(
    ("values", "seen", "words"),
    [
        ({"t_acc.rapidocr": 1.0}, {"t_acc.rapidocr": HELLO}, ""),
        ({"t_acc.rapidocr": 0.0, "t_ned.rapidocr": 0.8}, {"t_acc.rapidocr": HULLO, "t_ned.rapidocr": HULLO}, ""),
        ({"t_acc.rapidocr": 1.0}, {"t_acc.rapidocr": HULLO}, "does not follow from the label"),
        ({"t_ned.rapidocr": 0.9}, {"t_ned.rapidocr": HULLO}, "does not follow from the label"),
        ({}, {"t_acc.rapidocr": HELLO, "t_ned.rapidocr": HULLO}, "hold different readings"),
        ({"t_acc.rapidocr": 1.0}, {"t_acc.rapidocr": HELLO, "t_acc.parseq": HULLO}, ""),
    ],
)
def test_scores_of_words_follow_from_what_was_read(
    values: dict[str, float], seen: dict[str, dict[str, str]], words: str
) -> None:
    findings = Findings()
    _check_words(branch(regions=(word(values, seen),)), Known(), "x", findings)
    assert [words in str(item) for item in findings.errors] == ([True] if words else [])


def test_a_collapsed_tokenizer_is_noted_and_a_copied_record_is_not_forgiven(run: Path) -> None:
    from tokbench.runfolder import read_result

    def codes(*values: float) -> list[str]:
        records = [
            Record(
                id=str(number), cluster="c", status="ok", reference_sha256=f"{number:064x}",
                branches={"": branch(values={"psnr": value})},
            )
            for number, value in enumerate(values)
        ]  # fmt: skip
        findings = Findings()
        _check_duplicates(read_result(run), records, findings)
        return [item.level for item in findings]

    assert codes(20.0, 21.0) == ["note"]
    assert codes(20.0, 20.0) == ["error"]
    assert codes(20.0) == []


def test_data_that_is_not_here_is_noted_and_counted(honest: Path, tmp_path: Path) -> None:
    task, _ = small_task()

    def missing(_: str) -> Any:
        raise ManifestError("the data is not on this machine")

    elsewhere = Known(tasks={"small": task}, find_manifest=missing)
    (verdict,) = validate([honest], known=elsewhere)
    assert verdict.errors == ()
    assert any("not on this machine" in item.message for item in verdict.findings if item.code == "data-not-here")
    forged = copy_of(honest, tmp_path)
    forged.edit_records(lambda rows: rows.pop())
    assert "missing-sample" in {item.code for item in forged.errors(elsewhere)}
    counted = Known(tasks={"small": replace(task, n_samples=12)}, find_manifest=missing)
    (verdict,) = validate([honest], known=counted)
    assert {item.where for item in verdict.errors} == {"manifest/n_samples", "spec/task/n_samples"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row: row.update(id="../../etc/passwd"), "id is no plain relative name"),
        (lambda row: row.update(id="a\\b"), "id is no plain relative name"),
        (lambda row: row.update(id="<script>alert(1)</script>"), "id is no plain relative name"),
        (lambda row: row.update(cluster="\u202egnp.exe"), "cluster is no plain relative name"),
        (lambda row: region_of(row).update(label="a\x1b[2Jb"), "control or text-reordering"),
        (lambda row: region_of(row).update(seen={"t_acc.x": {"reference": "\u202e"}}), "control or text-reordering"),
    ],
)
def test_texts_of_records_are_looked_at_without_the_data(change: Any, words: str, honest: Path, tmp_path: Path) -> None:
    def missing(_: str) -> Any:
        raise ManifestError("the data is not on this machine")

    elsewhere = Known(tasks={"small": small_task()[0]}, find_manifest=missing)
    forged = copy_of(honest, tmp_path)
    forged.edit_records(lambda rows: change(next(row for row in rows if row["branches"][""].get("regions"))))
    assert [words in str(item) for item in forged.errors(elsewhere) if item.code == "unsafe-text"] == [True]


def region_of(row: dict[str, Any]) -> dict[str, Any]:
    region: dict[str, Any] = row["branches"][""]["regions"][0]
    return region


def test_other_decoders_are_named_beside_other_pixels(honest: Path, shelf: Known, tmp_path: Path) -> None:
    forged = copy_of(honest, tmp_path)
    forged.edit_result(lambda row: row["environment"]["packages"].update(pillow="1.0"))
    forged.edit_records(lambda rows: rows[0].update(reference_sha256=64 * "b"))
    forged.seal()
    (verdict,) = validate([forged.folder], known=shelf)
    (note,) = [item for item in verdict.findings if item.code == "other-decoder"]
    assert "pillow 1.0, here" in note.got
    assert "reference" in {item.code for item in verdict.errors}


def test_an_outdated_metric_is_noted(honest: Path, tmp_path: Path) -> None:
    """Numbers of an older version stay readable, and are not compared with today's."""
    task, manifest = small_task()
    shelf = known(task, manifest)
    metric = shelf.metrics["ssim"]
    newer = replace(shelf, metrics={**shelf.metrics, "ssim": replace(metric, card=replace(metric.card, version=9))})
    (verdict,) = validate([honest], known=newer)
    assert verdict.errors == ()
    assert [item.where for item in verdict.findings if item.code == "metric-outdated"] == ["values/ssim"]


def test_messages_are_short_and_printable() -> None:
    findings = Findings()
    findings.error("x", "is wrong", file="f", where="w", got="\x1b[31m" + 999 * "y", expected=[1.0])
    (item,) = findings
    assert str(item).startswith(r"f, w: is wrong (got \x1b[31myyy")
    assert "(1004 characters)" not in str(item)
    assert len(str(item)) < 300
    assert str(Finding(code="x", level="note", file="", where="", message="alone")) == "alone"


@pytest.mark.parametrize(
    ("got", "expected", "equal"),
    [
        (1.0, 1.0 + 1e-12, True),
        (1.0, 1.001, False),
        (True, 1, False),
        (None, 0.0, False),
        ((1.0, 2), [1, 2.0], True),
        ({"a": 1.0}, {"a": 1}, True),
        ({"a": 1.0}, {"b": 1.0}, False),
        ("a", "a", True),
    ],
)
def test_sameness(got: Any, expected: Any, equal: bool) -> None:
    assert same(got, expected) is equal
