"""Curves on the page: those of metrics' details, and rate against quality."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.report.synthetic import HOSTILE, make_run, value_of
from tests.report.test_report_html import Page, check_self_contained, page_of
from tokbench.curves import Comparison, Kept
from tokbench.report.detail_curves import read_curve
from tokbench.report.html import render_report
from tokbench.report.runs import ReportRun, load_run, make_sections
from tokbench.report.topics import topics
from tokbench.report.tradeoff import make_tradeoff
from tokbench.report.xyplot import Axis, Line, Point, xy_plot
from tokbench.results import Value


def with_values(folder: Path, **values: Value) -> ReportRun:
    run = load_run(folder)
    more = {value.key: value for value in values.values()}
    return dataclasses.replace(run, result=dataclasses.replace(run.result, values={**run.result.values, **more}))


# ---- reading -----------------------------------------------------------------------------------------------------


def test_rows_become_a_curve_for_each_number_after_x() -> None:
    found = read_curve("[[1, 0.5, 8], [2, 0.25, 4]]")
    assert found is not None
    assert [[(p.x, p.y) for p in column[""]] for column in found.columns] == [[(1, 0.5), (2, 0.25)], [(1, 8), (2, 4)]]


def test_objects_become_series_with_intervals_and_words() -> None:
    points = [
        {"x": 0.1, "y": 2, "low": 1, "high": 3, "series": "a", "label": "delta=200"},
        {"x": 0.2, "y": 4, "series": "a"},
        {"x": 0.1, "y": 5, "series": "b"},
    ]
    for text in (json.dumps(points), json.dumps({"points": points})):
        found = read_curve(text)
        assert found is not None
        (column,) = found.columns
        assert list(column) == ["a", "b"]
        assert column["a"][0] == Point(x=0.1, y=2, ci95=(1, 3), words="delta=200")
        assert column["a"][1].ci95 is None


def test_the_object_form_says_what_its_axes_are() -> None:
    found = read_curve(json.dumps({"x_title": "alpha", "y_title": "dB", "log_x": True, "points": [[1, 2]]}))
    assert found is not None
    assert (found.x_title, found.y_title, found.log_x, found.log_y) == ("alpha", "dB", True, False)


@pytest.mark.parametrize(
    "text",
    [
        *HOSTILE, "", "null", "3", "[]", "{}", '"text"', "[1, 2]", "[[1]]", "[[1, 2], [3]]", "[[1, NaN]]",
        "[[1, Infinity]]", "[[1, 1e999]]", f"[[1, {10**400}]]", "[[1, true]]", '[[1, "2"]]', "[[1, null]]",
        '[{"x": 1}]', '[{"x": 1, "y": 2, "low": 1}]', '[{"x": 1, "y": 2, "low": 3, "high": 1}]',
        '[{"x": 1, "y": 2, "label": 3}]', '{"points": [[1, 2]], "log_x": 1}', '{"points": {"x": 1}}',
        json.dumps([[i, i] for i in range(257)]), "[" * 100_000,
        json.dumps([{"x": 1, "y": 1, "series": str(i)} for i in range(13)]), '[[1, 2], {"x": 1, "y": 2}]',
        '[{"x": 1, "y": 2}, [1, 2]]', 7, None, [[1, 2]],
    ],
)  # fmt: skip
def test_what_is_no_curve_is_not_read(text: Any) -> None:
    assert read_curve(text) is None


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=8),
        lambda part: (
            st.lists(part, max_size=4)
            | st.dictionaries(st.sampled_from(["x", "y", "low", "high", "points", "series", "log_x"]), part, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_any_json_is_read_or_not_but_never_raises(raw: Any) -> None:
    read_curve(json.dumps(raw))


# ---- drawing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "points", [[(1, 1)], [(0, 0), (0, 0)], [(1e-9, 1e12), (5, 3)], [(-1, -2), (3, 1e-30)], [(1, 1), (1e6, 1e-6)]]
)
@pytest.mark.parametrize("is_log", [False, True])
def test_every_point_lies_within_the_picture(points: list[tuple[float, float]], is_log: bool) -> None:
    line = Line(label="a", points=tuple(Point(x=x, y=y, ci95=(y, y)) for x, y in points))
    svg = xy_plot([line], x=Axis(title="t", is_log=is_log), y=Axis(is_log=is_log), title="t")
    places = re.findall(r'<circle cx="([^"]+)" cy="([^"]+)" r="3.5"', svg)
    assert len(places) == len(points)
    for x, y in places:
        assert 0 < float(x) < 440
        assert 0 < float(y) < 250
    assert "nan" not in svg


# ---- topics ------------------------------------------------------------------------------------------------------


def topic_titles(*runs: ReportRun) -> list[str]:
    (section,) = make_sections(runs)
    return [topic.title for topic in topics(section)]


def test_parts_without_anything_to_show_are_absent(runs: dict[str, Path]) -> None:
    run = load_run(runs["plain"])
    bare = {key: value for key, value in run.result.values.items() if value.group in ("pixel", "text")}
    assert topic_titles(dataclasses.replace(run, result=dataclasses.replace(run.result, values=bare))) == []
    text = render_report([dataclasses.replace(run, result=dataclasses.replace(run.result, values=bare))])
    assert not re.search(r">(Codebook|Language of the tokens|Rate|Robustness|Distribution|Cost)</h3>", text)


def test_each_side_of_a_tokenizer_has_its_part(runs: dict[str, Path]) -> None:
    code = {"kind": "code", "group": "codebook", "n_unit": "tokens"}
    rank = json.dumps([[1, 0.5], [2, 0.25], [4, 0.125]])
    levels = json.dumps([[1, 0.9, 7.5], [2, 0.95, 7.8]])
    run = with_values(
        runs["plain"],
        usage=value_of("code_usage", 0.9, key="codebook_usage", metric="codebook_usage"),
        var=value_of(
            "code_usage",
            0.8,
            key="codebook_usage_var",
            metric="codebook_usage_var",
            details={"usage_entropy_curve": levels},
        ),
        zipf=value_of(
            "code_usage",
            1.0,
            key="zipf_exponent",
            metric="zipf_exponent",
            **code,
            details={"ranks": 3, "rank_frequency_curve": rank},
        ),
        mi=value_of(
            "code_usage",
            0.8,
            key="neighbour_mi",
            metric="neighbour_mi",
            **code,
            details={"across_bits": 0.9, "down_bits": 0.7},
        ),
        nominal=value_of("bpp", 1.25, key="bpp", metric="bpp"),
        coded=value_of("bpp", 1.1, key="bpp_adaptive1", metric="bpp_adaptive1", ci95=(1.0, 1.2)),
        encode=value_of("encode_time", 0.05, key="encode_s", metric="encode_s"),
        pfid=value_of(
            "rfid",
            31.0,
            key="pfid",
            metric="pfid",
            group="robustness",
            details={
                "pfid_curve": json.dumps([{"x": 0.1, "y": 31, "label": "delta=200"}]),
                "broken_curve": "[[1, NaN]]",
            },
        ),
    )
    assert topic_titles(run) == ["Codebook", "Language of the tokens", "Rate", "Robustness", "Distribution", "Cost"]
    text = render_report([run])
    page = Page(text)
    check_self_contained(text, page)
    shown = page.text["page"]
    for words in (
        "over this set", "Usage by level", "Entropy by level", "Rank and frequency", "Dashed: the fitted exponent",
        "side by side", "image by image, previous token as context", "delta=200", "not readable: broken_curve",
        "encode an image",
    ):  # fmt: skip
        assert words in text, words
    assert "[[1, 0.9" not in shown  # curves are drawn, not written out


def test_the_fitted_line_has_the_slope_of_the_exponent(runs: dict[str, Path]) -> None:
    points = json.dumps([[rank, 0.3 / rank] for rank in (1, 2, 4, 8, 16, 32)])
    changes: dict[str, Any] = {
        "kind": "code",
        "group": "codebook",
        "details": {"ranks": 32, "rank_frequency_curve": points},
    }
    run = with_values(
        runs["plain"], zipf=value_of("code_usage", 1.0, key="zipf_exponent", metric="zipf_exponent", **changes)
    )
    (section,) = make_sections([run])
    chart = next(c for t in topics(section) for c in t.charts if c.title == "Rank and frequency")
    solid, dashed = re.findall(r'<path d="M([^"]+)"', chart.svg or "")
    ends = [solid.split("L")[0], solid.split("L")[-1]]
    assert dashed.split("L") == ends  # an exact power law lies on its own fit


def test_several_runs_share_a_chart(runs: dict[str, Path]) -> None:
    curve = json.dumps([{"x": 0.1, "y": 1, "series": "s"}, {"x": 0.2, "y": 2, "series": "t"}])
    value = value_of("rfid", 1.0, key="pfid", metric="pfid", group="robustness", details={"pfid_curve": curve})
    made = [with_values(runs[name], pfid=value) for name in ("plain", "other")]
    (section,) = make_sections(made)
    (chart,) = [chart for topic in topics(section) if topic.title == "Robustness" for chart in topic.charts]
    assert [key.label for key in chart.keys] == [f"{label} · {s}" for label in section.labels for s in ("s", "t")]
    assert [key.is_dashed for key in chart.keys] == [False, True, False, True]


# ---- rate and distortion -----------------------------------------------------------------------------------------


def test_a_sweep_has_its_curves_and_its_deltas(sweep_run: Path) -> None:
    text, page = page_of(sweep_run)
    check_self_contained(text, page)
    (section,) = make_sections([load_run(sweep_run)])
    part = make_tradeoff(section)
    assert part is not None
    assert [key.label for key in part.keys] == ["vary/length", "jpeg"]
    assert {chart.key for chart in part.charts} == {"psnr", "ssim", "lpips", "t_acc.parseq", "f_sim", "rfid"}
    psnr = next(chart for chart in part.charts if chart.key == "psnr")
    assert len(re.findall(r'class="dot', str(psnr.svg))) == 9
    assert "Encoding length" not in text  # its points are all among the curve's
    assert "against <bdi>jpeg</bdi>" in text
    (table,) = part.tables
    row = next(row for row in table.rows if row.metric.metric == "psnr")
    assert row.cells[0] is not None
    assert row.cells[0].rate.endswith("%")
    assert row.cells[0].no_interval


def test_deltas_are_coloured_only_where_they_are_sure(sweep_run: Path) -> None:
    def cell(low: float, high: float) -> str:
        facts = {"metric": "psnr", "rate": "bpp", "test": "vary", "anchor": "jpeg", "anchor_rate": "bpp"}
        one = Comparison(
            **facts,
            bd_rate=(low + high) / 2,
            bd_rate_ci95=(low, high),
            bd_metric=1.0,
            bd_metric_ci95=(0.5, 1.5),
            overlap=0.4,
        )
        run = dataclasses.replace(load_run(sweep_run), curves=Kept(rates=("bpp",), comparisons=(one,), covers="words"))
        return render_report([run])

    assert '<span class="value good">-15.0 %</span>' in cell(-20, -10)
    assert '<span class="value bad">+15.0 %</span>' in cell(10, 20)
    assert '<span class="value ">' in cell(-10, 20)
    assert "0.50 – 1.50" in cell(-10, 20)
    assert "Intervals: words." in cell(-10, 20)


def test_the_command_that_repeats_a_sweep(sweep_run: Path) -> None:
    from tokbench.report.details import command

    words = command(load_run(sweep_run).result)
    assert words.startswith("tokbench sweep --tokenizer vary/length --task quick")
    assert "--lengths 1,2,3,64 --against jpeg" in words


def test_single_points_of_several_runs_share_the_chart(runs: dict[str, Path], sweep_run: Path) -> None:
    (section,) = make_sections([load_run(sweep_run), load_run(runs["plain"]), load_run(runs["lengths"])])
    part = make_tradeoff(section)
    assert part is not None
    assert [key.label for key in part.keys] == [*section.labels, "jpeg"]
    psnr = next(chart for chart in part.charts if chart.key == "psnr")
    assert len(re.findall(r'class="dot', str(psnr.svg))) == 4 + 5 + 1 + 3
    assert len({key.colour for key in part.keys}) == 4


def test_one_ordinary_run_has_no_such_part(runs: dict[str, Path]) -> None:
    for name in ("plain", "lengths"):
        (section,) = make_sections([load_run(runs[name])])
        assert make_tradeoff(section) is None


def test_runs_without_a_rate_have_none_either(tmp_path: Path, runs: dict[str, Path]) -> None:
    def bare(folder: Path) -> ReportRun:
        run = load_run(folder)
        values = {key: value for key, value in run.result.values.items() if value.group != "rate"}
        return dataclasses.replace(run, records=(), result=dataclasses.replace(run.result, values=values))

    (section,) = make_sections([bare(runs["plain"]), bare(make_run(tmp_path / "twin"))])
    assert make_tradeoff(section) is None


def test_many_branches_are_folded_in_the_terminal(sweep_run: Path, runs: dict[str, Path]) -> None:
    from tokbench.report.table import results_table

    many = load_run(sweep_run).result
    more = {f"psnr@b{i}": value_of("psnr", 30.0 + i, branch=f"b{i}") for i in range(9)}
    text = results_table(dataclasses.replace(many, values={"psnr": many.values["psnr"], **more}))
    assert "9 branches  in result.json and the report" in text
    assert "b3" not in text
    assert "length=4" in results_table(load_run(runs["lengths"]).result)
