"""The gate's verdicts and reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.comparison.made_runs import make_run, value_of
from tests.comparison.test_comparison_words import HOSTILE
from tokbench.errors import MetricError, UnknownNameError, UnlikeRunsError, UsageError
from tokbench.gate.check import GateResult, check_runs, gate_json
from tokbench.gate.config import GateConfig, parse_config
from tokbench.gate.items import GateItem
from tokbench.gate.reports import gate_markdown, gate_text, junit, workflow_commands
from tokbench.gate.signed_rank import signed_rank
from tokbench.gate.speed import Round, speed_items


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_run(tmp_path / "base")


def config(**row: Any) -> GateConfig:
    return parse_config(row, where="test")


def checked(base: Path, tmp_path: Path, settings: GateConfig | None = None, **changes: Any) -> GateResult:
    other = make_run(tmp_path / "other", **{"name": "toy/b", "seed": 2, **changes})
    return check_runs(other, base, config=settings)


def item(result: GateResult, name: str) -> GateItem:
    (found,) = [item for item in result.items if item.name == name]
    return found


def test_the_same_run_passes(base: Path) -> None:
    result = check_runs(base, base)
    assert result.passed
    assert {item.status for item in result.items} == {"pass", "not compared"}
    assert item(result, "psnr").status == "pass"
    assert result.task == "toy v1"


def test_a_clear_loss_fails_with_its_whole_interval_beyond_the_tolerance(base: Path, tmp_path: Path) -> None:
    result = checked(base, tmp_path, shift=-1.0)
    assert not result.passed
    psnr = item(result, "psnr")
    assert psnr.status == "fail"
    assert psnr.ci95[1] < -psnr.tolerance
    assert psnr.tolerance == pytest.approx(0.001 * psnr.first)
    assert result.items[0].status == "fail"
    assert "fail" in result.summary
    assert item(result, "mae").status == "fail"


def test_a_gain_is_better_and_a_wide_interval_is_inconclusive(base: Path, tmp_path: Path) -> None:
    result = checked(base, tmp_path, shift=1.0)
    assert item(result, "psnr").status == "better"
    unsure = checked(base, tmp_path / "2", noise=2.0)
    assert unsure.passed
    assert item(unsure, "psnr").status == "inconclusive"
    strict = checked(base, tmp_path / "3", config(inconclusive="fail"), noise=2.0)
    assert not strict.passed
    assert item(strict, "psnr") in strict.failures


def test_a_tolerance_forgives_a_loss_of_that_size(base: Path, tmp_path: Path) -> None:
    kept = checked(base, tmp_path, config(metric={"psnr": {"tolerance": 2.0}}), shift=-1.0)
    assert item(kept, "psnr").status == "pass"
    relative = checked(base, tmp_path / "2", config(tolerance="20%"), shift=-1.0)
    assert item(relative, "psnr").status == "pass"
    assert item(relative, "psnr").tolerance == pytest.approx(0.2 * item(relative, "psnr").first)


def test_the_number_of_gates_is_paid_for() -> None:
    """Evidence that fails one gate alone does not among forty others."""
    from tokbench.estimates import cluster_table, estimate
    from tokbench.gate.items import judged, tested

    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, 50)
    values = (values - values.mean()) / values.std(ddof=1) - 0.36  # t = -2.55, p = 0.014
    bad = estimate(cluster_table(values, np.arange(50)))
    fine = estimate(cluster_table(rng.normal(0.5, 0.1, 50), np.arange(50)))
    blank = GateItem(name="x", direction="higher", first=1.0, second=1.0, difference=0.0)
    assert judged([tested(blank, bad, 0.0)])[0].status == "fail"
    many = judged([tested(blank, bad, 0.0)] + [tested(blank, fine, 0.0)] * 40)
    assert many[0].status == "inconclusive"
    assert "not as one of 41 tested" in many[0].reason
    assert many[0].p_corrected == pytest.approx(41 * many[0].p_value)


def test_directions(base: Path, tmp_path: Path) -> None:
    rules = {"psnr": {"direction": "lower"}, "mae": {"direction": "either", "tolerance": 0.01}}
    result = checked(base, tmp_path, config(metric=rules), shift=1.0)
    assert item(result, "psnr").status == "fail"
    assert item(result, "mae").status == "fail"
    assert item(result, "zipf_exponent").reason.startswith("no direction is better")


def test_numbers_without_an_interval_are_gated_only_by_a_tolerance_of_their_own(base: Path, tmp_path: Path) -> None:
    worse = {"codebook_usage": value_of("codebook_usage", 0.2)}
    plain = checked(base, tmp_path, extra=worse)
    assert item(plain, "codebook_usage").status == "not compared"
    gated = checked(base, tmp_path / "2", config(metric={"codebook_usage": {"tolerance": 0.05}}), extra=worse)
    assert item(gated, "codebook_usage").status == "fail"
    assert "compared as plain numbers" in item(gated, "codebook_usage").reason
    forgiven = checked(base, tmp_path / "3", config(metric={"codebook_usage": {"tolerance": 0.8}}), extra=worse)
    assert item(forgiven, "codebook_usage").status == "pass"
    either = {"zipf_exponent": {"direction": "either", "tolerance": "10%"}}
    moved = checked(
        base, tmp_path / "4", config(metric=either), extra={"zipf_exponent": value_of("zipf_exponent", 0.5)}
    )
    assert item(moved, "zipf_exponent").status == "fail"


def test_size_groups_can_be_gated(base: Path, tmp_path: Path) -> None:
    rules = {"t_acc.toy": {"groups": ["small", "huge"], "tolerance": 0.0}}
    result = checked(base, tmp_path, config(metric=rules), shift=-3.0)
    assert item(result, "t_acc.toy / small").status == "fail"
    assert item(result, "t_acc.toy / huge").status == "not compared"
    assert "groups: small, large" in item(result, "t_acc.toy / huge").reason


def test_required_metrics_must_be_there(base: Path, tmp_path: Path) -> None:
    need = config(metric={"mae": {"required": True}})
    skipped = value_of("mae", None, status="skipped", reason="not installed")
    result = checked(base, tmp_path, need, extra={"mae": skipped})
    assert item(result, "mae").status == "fail"
    assert "not installed" in item(result, "mae").reason
    assert item(checked(base, tmp_path / "2", need, drop=("mae",)), "mae").status == "fail"
    nowhere = config(metric={"lpips": {"required": True}})
    assert item(checked(base, tmp_path / "3", nowhere), "lpips").reason == "required, but neither run was asked for it"
    assert checked(base, tmp_path / "4", need).passed


def test_a_number_that_got_lost_is_inconclusive_one_not_asked_for_is_not(base: Path, tmp_path: Path) -> None:
    failed = value_of("mae", None, status="failed", reason="division by zero")
    assert item(checked(base, tmp_path, extra={"mae": failed}), "mae").status == "inconclusive"
    assert item(checked(base, tmp_path / "2", drop=("mae",)), "mae").status == "not compared"


def test_stored_times_are_never_gated(base: Path, tmp_path: Path) -> None:
    slow = {"encode_s": value_of("encode_s", 100.0)}
    result = checked(base, tmp_path, config(metric={"encode_s": {"tolerance": 0.0}}), extra=slow)
    assert item(result, "encode_s").status == "not compared"
    assert "side by side" in item(result, "encode_s").reason


def test_samples_that_fail_now_fail_the_gate(base: Path, tmp_path: Path) -> None:
    result = checked(base, tmp_path, failed={"image/00003": "no memory"})
    assert not result.passed
    assert item(result, "samples").reason == "1 sample failed that the baseline reconstructs, image/00003 among them"
    assert item(result, "psnr").n == 39
    gone = checked(base, tmp_path / "2", status="failed", reason="all 40 samples failed")
    assert [item.reason for item in gone.failures] == ["the run failed: all 40 samples failed"]


def test_unlike_runs_are_no_verdict(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UnlikeRunsError, match="data digest"):
        checked(base, tmp_path, spec={"manifest_digest": "sha256:ef"})
    with pytest.raises(UnlikeRunsError, match="samples"):
        checked(base, tmp_path / "2", n=39)


def test_a_gate_that_could_not_fail_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing could be gated"):
        checked(base, tmp_path, config(metrics=["codebook"]))
    with pytest.raises(UnknownNameError, match="did you mean psnr"):
        checked(base, tmp_path / "2", config(metric={"pnsr": {"tolerance": 1}}))
    with pytest.raises(UnknownNameError, match="no run has a metric or group 'pixels'"):
        checked(base, tmp_path / "3", config(metrics=["pixels"]))


def test_only_the_metrics_asked_for_and_those_with_rules(base: Path, tmp_path: Path) -> None:
    result = checked(base, tmp_path, config(metrics=["psnr"], metric={"mae": {"tolerance": 1.0}}))
    assert [item.name for item in result.items if item.status != "not compared"] == ["psnr", "mae"]


# ---- speed -------------------------------------------------------------------------------------------------------


def rounds(ratio: float, *, n: int = 12, noise: float = 0.02) -> list[Round]:
    """A machine that slows down steadily; the second tokenizer takes ``ratio`` times as long."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(n):
        speed = 1 + number / 5
        times = [speed * part * float(np.exp(rng.normal(0, noise))) for part in (1.0, ratio)]
        made.append(Round(encode_s=(times[0], times[1]), decode_s=(0.002, 0.002)))
    return made


def test_speed_is_a_ratio_so_a_slowing_machine_does_not_matter(base: Path, tmp_path: Path) -> None:
    settings = config(speed={"tolerance": "5%"})
    slower = check_runs(base, base, config=settings, speed=speed_items(rounds(1.2), settings))
    assert item(slower, "encode_s, side by side").status == "fail"
    assert item(slower, "decode_s, side by side").status == "pass"
    timed = item(slower, "encode_s, side by side")
    assert timed.second / timed.first == pytest.approx(1.2, rel=0.02)
    assert timed.tolerance == pytest.approx(0.05 * timed.first)
    same = check_runs(base, base, config=settings, speed=speed_items(rounds(1.0), settings))
    assert same.passed
    assert item(
        check_runs(base, base, speed=speed_items(rounds(0.8), GateConfig())), "encode_s, side by side"
    ).status == ("better")


def test_times_too_short_to_tell_are_not_compared() -> None:
    made = speed_items([Round(encode_s=(0.0, 1.0), decode_s=(1.0, 1.0))] * 12, GateConfig())
    assert made[0].status == "not compared"
    assert "too fast for the clock" in made[0].reason
    assert made[1].p_value is not None


def test_a_disturbed_round_changes_little() -> None:
    disturbed = rounds(1.2)
    disturbed[3] = Round(encode_s=(1.0, 500.0), decode_s=(0.002, 0.002))
    calm, loud = (speed_items(turns, GateConfig())[0] for turns in (rounds(1.2), disturbed))
    assert loud.second / loud.first == pytest.approx(calm.second / calm.first, rel=0.02)
    assert loud.p_value < 0.05


@pytest.mark.parametrize("n", [6, 12, 40])
def test_signed_ranks_agree_with_an_independent_implementation(n: int) -> None:
    from scipy.stats import wilcoxon

    values = np.random.default_rng(n).normal(0.3, 1, n)
    made = signed_rank(values)
    for null in (-0.5, 0.0, 0.31):
        assert made.p_value(null) == pytest.approx(wilcoxon(values - null, method="exact").pvalue, rel=1e-9)
    low, high = made.interval()
    assert low < made.value < high
    assert made.p_value(low - 1e-9) <= 0.05 < made.p_value(low + 1e-9)
    assert made.p_value(high + 1e-9) <= 0.05 < made.p_value(high - 1e-9)
    assert signed_rank(np.zeros(n)).p_value() == 1
    assert signed_rank(np.zeros(n)).interval() == (0, 0)


def test_signed_ranks_need_six_values() -> None:
    with pytest.raises(MetricError, match="needs 6"):
        signed_rank(np.zeros(5))


# ---- reports -----------------------------------------------------------------------------------------------------


def test_junit_counts_and_parses(base: Path, tmp_path: Path) -> None:
    result = checked(base, tmp_path, shift=-1.0, noise=0.4)
    root = ElementTree.fromstring(junit(result))
    suite = root.find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    assert int(suite.get("tests", "")) == len(cases) == len(result.items)
    assert int(suite.get("failures", "")) == len(suite.findall("testcase/failure")) == len(result.failures) > 0
    assert int(suite.get("skipped", "")) == len(suite.findall("testcase/skipped")) > 0
    failure = suite.find("testcase[@name='psnr']/failure")
    assert failure is not None
    assert "tolerated" in (failure.text or "")


def test_markdown_and_annotations_and_text(base: Path, tmp_path: Path) -> None:
    result = checked(base, tmp_path, shift=-1.0)
    page = gate_markdown(result)
    assert page.startswith("### tokbench check: failed\n")
    assert "| **fail** | `psnr` |" in page
    assert "<details><summary>not compared</summary>" in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {9}
    lines = list(workflow_commands(result))
    assert lines[0].startswith("::error title=tokbench check%3A ")
    assert lines[-1].startswith("::notice title=tokbench check::failed: ")
    text = gate_text(result)
    assert text.splitlines()[-1] == result.summary
    assert "\x1b" not in text
    assert "\x1b[1;31m" in gate_text(result, is_terminal=True)
    row = json.loads(json.dumps(gate_json(result), allow_nan=False))
    assert (row["passed"], row["items"][0]["status"]) == (False, "fail")


def test_many_failures_are_few_annotations(base: Path) -> None:
    items = tuple(GateItem(name=f"m{n}", status="fail", reason="worse") for n in range(30))
    lines = list(workflow_commands(GateResult(baseline="a", candidate="b", task="t", items=items)))
    assert len([line for line in lines if line.startswith("::error")]) == 10
    assert "21 more failed: m9, m10" in lines[9]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_stay_names(text: str, base: Path) -> None:
    bad = GateItem(
        name=text, unit=text, status="fail", reason=text, first=1.0, second=0.5, difference=-0.5, n_unit=text
    )
    left = GateItem(name=text, reason=text)
    made = GateResult(baseline=text, candidate=text, task=text, items=(bad, left), notes=(text,))
    suite = ElementTree.fromstring(junit(made)).find("testsuite")
    assert suite is not None
    assert [child.tag for child in suite.iter()] == ["testsuite", "testcase", "failure", "testcase", "skipped"]
    lines = list(workflow_commands(made))
    assert len(lines) == 2
    assert not any("\n" in line or "\r" in line or "\x1b" in line for line in lines)
    assert all(line.count("::") == 2 for line in lines)
    page = gate_markdown(made)
    plain = (GateItem(name="a", status="fail"), GateItem(name="a"))
    tame = GateResult(baseline="a", candidate="a", task="a", items=plain, notes=("a",))
    assert page.count("\n") == gate_markdown(tame).count("\n")
    assert page.count("<") == 4  # details and summary, opened and closed
    assert {line.count("|") for line in page.splitlines() if line.startswith("|")} == {9}
    log = gate_text(made)
    assert "\x1b" not in log
    assert "::" not in log
    assert "##[" not in log
