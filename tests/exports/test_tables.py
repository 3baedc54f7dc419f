"""Results in other people's formats: what they show, and what they must never do."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tokbench.cards import TokenizerCard
from tokbench.cli.main import cli
from tokbench.errors import UnknownNameError, UsageError
from tokbench.exports.modelcard import model_index, to_front_matter
from tokbench.exports.rows import Row, comparisons
from tokbench.exports.tables import latex_text, markdown_text, to_latex, to_markdown
from tokbench.exports.tabular import neutralise, to_csv, to_parquet
from tokbench.results import RunResult, RunSpec, Value
from tokbench.runfolder import write_result

PAYLOADS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1+1", '=HYPERLINK("http://x","y")')


def value(key: str, number: float | None, **more: Any) -> Value:
    facts: dict[str, Any] = {
        "key": key, "metric": key, "version": 1, "title": key.upper(), "group": "pixel", "kind": "pair", "unit": "dB",
        "better": "higher", "value": number, "n": 10, "ci95": None if number is None else (number - 1.25, number + 1.5),
        "status": "ok" if number is not None else "undefined", "reason": "" if number is not None else "no tokens",
    }  # fmt: skip
    return Value(**{**facts, **more})


def run(name: str, *values: Value, task: str = "quick", digest: str = "a", status: Any = "complete") -> RunResult:
    return RunResult(
        status=status,
        run_id="0123456789abcdef",
        started="2026-01-02T03:04:05Z",
        finished="2026-01-02T03:05:05Z",
        spec=RunSpec(
            task={"name": task, "version": 1, "title": f"Task & {task}"},
            tokenizer=TokenizerCard(name=name),
            metrics={item.metric: item.version for item in values},
            branches=(),
            manifest_digest=f"sha256:{64 * digest}",
            seed=0,
            dtype="float32",
            device="cpu",
            batch_size=8,
            limit=None,
        ),
        manifest={"name": task, "version": 1, "digest": f"sha256:{64 * digest}", "n_samples": 10},
        environment={"tokbench": "0.1.0"},
        counts={"ok": 10, "failed": 0},
        values={item.key: item for item in values},
        records={"n": 10, "sha256": 64 * "0"},
    )


TWO = (
    run("a/one", value("psnr", 30.0), value("mae", 2.0, better="lower", unit="levels"), value("bpp", None)),
    run("b/two_x", value("psnr", 31.0), value("mae", 3.0, better="lower", unit="levels"), value("bpp", 0.5, unit="")),
)


def test_csv_reads_back_to_the_same_numbers() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(TWO))))
    assert [tuple(row) for row in rows] == [Row._fields] * 6
    assert [float(row["value"]) for row in rows if row["key"] == "psnr"] == [30.0, 31.0]
    (missing,) = [row for row in rows if row["status"] == "undefined"]
    assert missing["value"] == missing["ci_low"] == ""
    assert missing["reason"] == "no tokens"
    third = run("c", value("psnr", 1 / 3))
    assert float(next(csv.DictReader(io.StringIO(to_csv([third]))))["value"]) == 1 / 3


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_cell_of_a_csv_is_a_formula(payload: str) -> None:
    result = run("a", value("psnr", -3.5, title=payload, reason=payload))
    (row,) = csv.reader(io.StringIO(to_csv([result]).split("\r\n", 1)[1]))
    texts = [cell for name, cell in zip(Row._fields, row, strict=True) if name in ("title", "reason")]
    assert texts == ["'" + payload] * 2
    assert float(row[Row._fields.index("value")]) == -3.5  # numbers are no text: a minus sign stays


def test_harmless_text_stays_as_it_is() -> None:
    assert [neutralise(text) for text in ("a=b", "", "PSNR", "1-2")] == ["a=b", "", "PSNR", "1-2"]


def test_parquet_holds_the_same_table() -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(to_parquet(TWO)))
    assert table.column_names == list(Row._fields)
    assert table.column("value").to_pylist() == [30.0, 2.0, None, 31.0, 3.0, 0.5]


def test_best_is_bold_by_direction_and_intervals_follow() -> None:
    markdown = to_markdown(TWO, keys=["psnr", "mae"])
    assert "| a/one | 30.00 ± 1.50 | **2.0** ± 1.5 |" in markdown
    assert "| b/two\\_x | **31.00** ± 1.50 | 3.0 ± 1.5 |" in markdown
    latex = to_latex(TWO, keys=["psnr", "mae"])
    assert r"a/one & 30.00 $\pm$ 1.50 & \textbf{2.0} $\pm$ 1.5 \\" in latex
    assert r"b/two\_x & \textbf{31.00} $\pm$ 1.50 & 3.0 $\pm$ 1.5 \\" in latex
    assert r"Task \& quick" in latex


def test_missing_is_shown_as_missing_and_alone_is_never_best() -> None:
    assert "| a/one | – |" in to_markdown(TWO, keys=["bpp"])
    assert "**" not in to_markdown(TWO[:1], keys=["psnr"]).split("\n", 1)[1]
    neither = [run(name, value("x", number, better="neither")) for name, number in (("a", 1.0), ("b", 2.0))]
    assert "**" not in to_markdown(neither).split("\n", 1)[1]


def test_runs_of_other_data_get_a_table_of_their_own() -> None:
    mixed = [TWO[0], run("c", value("psnr", 99.0), digest="b"), run("d", value("psnr", 98.0), task="other")]
    assert [table.tokenizers for table in comparisons(mixed)] == [("a/one",), ("c",), ("d",)]


def test_incomplete_runs_are_marked() -> None:
    text = to_markdown([TWO[0], run("c", value("psnr", 99.0), status="partial")], keys=["psnr"])
    assert "| c\\* |" in text
    assert "not a complete run" in text
    assert "c* &" in to_latex([run("c", value("psnr", 99.0), status="partial")])


def test_versions_of_a_metric_do_not_mix() -> None:
    with pytest.raises(UsageError, match=r"psnr is of the versions 1, 2 .* not comparable"):
        to_markdown([TWO[0], run("c", value("psnr", 9.0, version=2))])


def test_unknown_keys_are_named() -> None:
    with pytest.raises(UnknownNameError, match=r"'psrn' \(did you mean psnr"):
        to_latex(TWO, keys=["psrn"])


def test_latex_of_hostile_text_has_balanced_braces_and_no_commands_of_its_own() -> None:
    hostile = r"\input{/etc/passwd} 100% a_b #1 $x^2$ ~ {} & <script> “q” 中 é"
    text = latex_text(hostile)
    assert r"\input" not in text.replace(r"\textbackslash{}input", "")
    assert re.sub(r"\\[{}]", "", text).count("{") == re.sub(r"\\[{}]", "", text).count("}")
    for char in "%_#&":
        assert re.search(rf"(?<!\\){char}", text) is None
    assert "é" in text
    assert "中" not in text


def test_markdown_of_hostile_text_stays_in_its_cell() -> None:
    text = markdown_text("a|b\n# c <script> [x](y) `z`")
    assert "\n" not in text
    assert r"\|" in text
    assert r"\<script\>" in text
    assert r"\[x\]" in text


def test_front_matter_is_the_model_index_in_yaml() -> None:
    yaml = pytest.importorskip("yaml", reason="pip install pyyaml, which huggingface-hub brings")
    nasty = run(
        "c", value("psnr", 1e-7, title='no: "yes" # not\n---'), value("ssim", 1e22), value("fps", 5.0, kind="cost")
    )
    text = to_front_matter([nasty])
    first, second = text.splitlines()[0], text.splitlines()[-1]
    assert (first, second) == ("---", "---")
    assert text.count("\n---") == 1
    assert yaml.safe_load(text.strip().strip("-")) == {"model-index": model_index([nasty])}
    (metrics,) = [entry["metrics"] for entry in model_index([nasty])[0]["results"]]
    assert [item["type"] for item in metrics] == ["psnr", "ssim"]  # no cost: it belongs to a machine


def test_the_hub_reads_the_model_index_as_it_was_meant() -> None:
    pytest.importorskip("huggingface_hub", reason="pip install huggingface-hub")
    from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

    ours = model_index([TWO[0], run("a/one", value("psnr", 20.0), task="other")])
    name, results = model_index_to_eval_results(ours)
    assert name == "a/one"
    assert [(item.dataset_type, item.metric_type, item.metric_value) for item in results] == [
        ("quick", "psnr", 30.0), ("quick", "mae", 2.0), ("other", "psnr", 20.0),
    ]  # fmt: skip
    assert eval_results_to_model_index(name, results) == ours


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        (TWO, "of one model"),
        ([TWO[0], TWO[0]], "the same task and data"),
        ([run("c", value("psnr", 1.0), status="partial")], "not complete"),
        ([run("c", value("psnr", None))], "no measured value"),
    ],
)
def test_a_model_card_states_whole_runs_of_one_model(runs: list[RunResult], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        model_index(runs)


def test_rows_have_every_value_once() -> None:
    assert {field.name for field in dataclasses.fields(Value)} >= {"value", "n", "unit", "better", "status", "reason"}
    assert len(to_csv(TWO).splitlines()) == 1 + sum(len(result.values) for result in TWO)


def test_the_command_writes_every_format(tmp_path: Path) -> None:
    for name, result in (("one", TWO[0]), ("two", TWO[1])):
        write_result(tmp_path / name, result)
    runs = [str(tmp_path / "one"), str(tmp_path / "two")]
    starts = {"csv": "tokenizer,task,", "latex": "% needs", "markdown": "**Task"}
    for form, start in starts.items():
        shown = CliRunner().invoke(cli, ["export", *runs, "--format", form, "--metrics", "psnr"])
        assert shown.output.startswith(start), form
        assert "31" in shown.output
        assert "mae" not in shown.output.lower()
    card = tmp_path / "cards" / "card.md"
    done = CliRunner().invoke(cli, ["export", runs[0], "--format", "modelcard", "--out", str(card)])
    assert card.read_text() == to_front_matter([TWO[0]])
    assert f"modelcard: {card}" in done.stderr
    parquet = CliRunner().invoke(cli, ["export", *runs, "--format", "parquet"], standalone_mode=False)
    assert isinstance(parquet.exception, UsageError)
    assert "--out" in str(parquet.exception)
