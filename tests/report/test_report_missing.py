from __future__ import annotations

import dataclasses
from pathlib import Path

from tests.report.synthetic import value_of
from tests.report.words import read_run
from tokbench.report.html import render_report
from tokbench.report.missing import result_parts
from tokbench.report.runs import ReportRun, make_sections
from tokbench.report.sizes import size_tables
from tokbench.report.table import results_table
from tokbench.report.view import detail_texts, tiles
from tokbench.results import Value

NEEDS = "needs doctr, torchvision: pip install 'tokbench[parseq]'"
SKIPPED = ("t_acc.parseq", "t_ned.parseq", "t_acc.parseq@length=4", "f_sim.parseq")


def skipped(key: str, reason: str = NEEDS, status: str = "skipped") -> Value:
    metric, _, branch = key.partition("@")
    known = "f_sim" if metric.startswith("f_sim") else "t_acc.parseq"
    return value_of(known, None, key=key, metric=metric, branch=branch, n=0, status=status, reason=reason)


def run_with(folder: Path, *values: Value) -> ReportRun:
    return read_run(folder, values={value.key: value for value in values})


def test_metrics_missing_for_one_reason_share_a_line(runs: dict[str, Path]) -> None:
    alone = skipped("t_cer.easyocr", "needs easyocr")
    run = run_with(runs["plain"], *map(skipped, SKIPPED), alone)
    parts = {part.group: part for part in result_parts([run.result])}
    assert [missing.keys for missing in parts["text"].missing] == [("t_acc.parseq", "t_ned.parseq", "f_sim.parseq")]
    assert not parts["face"].missing
    shown = [key for part in parts.values() for keys in part.metrics for key in keys]
    assert len(shown) == len(set(shown)) == len(run.result.values) - len(SKIPPED)
    text = results_table(run.result)
    line = f"  t_acc.parseq, t_ned.parseq, f_sim.parseq: skipped, {NEEDS}"
    assert [shown for shown in text.splitlines() if NEEDS in shown] == [line]
    assert "t_cer.easyocr ↑" in text
    page = render_report([run])
    assert page.count("needs doctr") == 1
    assert page.count("needs easyocr") == 1


def test_what_one_run_measured_is_not_missing(runs: dict[str, Path]) -> None:
    one, two = (run_with(runs[name], *map(skipped, SKIPPED)) for name in ("plain", "other"))
    measured = {**two.result.values, "t_acc.parseq": value_of("t_acc.parseq", 0.5)}
    other = dataclasses.replace(two.result, values=measured)
    keys = [keys for part in result_parts([one.result, other]) for keys in part.metrics]
    assert ("t_acc.parseq",) in keys
    page = render_report([one, dataclasses.replace(two, result=other)])
    assert page.count("needs doctr") == 3  # once where the other run has a number, and in the two runs' shared row


def test_words_read_and_face_similarity_come_first(runs: dict[str, Path]) -> None:
    pixels = value_of("f_sim", 20.0, key="psnr_face", metric="psnr_face", title="PSNR in faces")
    run = read_run(runs["plain"])
    values = {**run.result.values, "psnr_face": pixels}
    (section,) = make_sections([dataclasses.replace(run, result=dataclasses.replace(run.result, values=values))])
    # The task ranks by t_acc.parseq, which was not asked for, and PSNR.
    assert [tile.key for tile in tiles(section, section.results[0])][:3] == ["psnr", "t_acc.rapidocr", "f_sim.dlib"]
    tables = size_tables(section)
    assert [table.metric.key for table in tables.first] == ["t_acc.rapidocr", "f_sim.dlib"]
    assert [table.metric.key for table in tables.more] == ["t_ned.rapidocr", "f_ver.dlib"]


def test_a_skipped_ranking_metric_makes_way_for_a_measured_one(runs: dict[str, Path]) -> None:
    (section,) = make_sections([run_with(runs["plain"], skipped("t_acc.parseq"))])
    assert "t_acc.parseq" not in [tile.key for tile in tiles(section, section.results[0])]
    assert all(table.metric.metric != "t_acc.parseq" for table in size_tables(section).first)
    only = {"t_acc.parseq": skipped("t_acc.parseq")}
    run = read_run(runs["plain"])
    (section,) = make_sections([dataclasses.replace(run, result=dataclasses.replace(run.result, values=only))])
    assert [tile.cell.status for tile in tiles(section, section.results[0])] == ["skipped"]
    assert not size_tables(section).first


def test_details_in_words() -> None:
    details: dict[str, float | int | str] = {
        "n_clusters": 58,
        "n_images": 1,
        "left out: not read": 1234,
        "mse": 0.25,
        "ci95_method": "t",
        "tokens": 7,
    }
    assert detail_texts(details) == (
        "58 independent sources", "1 image", "1,234 left out: not read", "mse 0.2500", "ci95 method t", "tokens 7",
    )  # fmt: skip
