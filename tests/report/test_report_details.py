"""What a report says of the tokenizer, and the command that measures it again."""

from __future__ import annotations

from pathlib import Path

from tests.report.synthetic import make_card, make_run
from tokbench.report.details import command, tokenizer_facts
from tokbench.results import RunResult
from tokbench.runfolder import read_result


def result_of(folder: Path, **card: object) -> RunResult:
    return read_result(make_run(folder, card=card))


def facts(result: RunResult) -> dict[str, str]:
    return {fact.label: fact.text for fact in tokenizer_facts(result)}


def test_what_changes_scores_is_among_the_facts(tmp_path: Path) -> None:
    result = result_of(
        tmp_path / "run", latent="continuous", codebook_sizes=(), posterior="sample",
        opened_as="diffusers:org/repo?posterior=sample", hub="org/repo", page="",
    )  # fmt: skip
    found = facts(result)
    assert found["Opened as"] == "diffusers:org/repo?posterior=sample"
    assert found["Posterior"] == "a sample is decoded, seeded for each image"
    assert found["Weights"] == "org/repo"
    assert "--tokenizer 'diffusers:org/repo?posterior=sample'" in command(result)
    page = facts(result_of(tmp_path / "page", posterior="mode", page="https://example.org/share"))
    assert page["Posterior"] == "decoded at its mode"
    assert page["Weights"] == "https://example.org/share"


def test_what_does_not_apply_is_left_out(tmp_path: Path) -> None:
    result = result_of(tmp_path / "run")
    assert not {"Opened as", "Posterior", "Weights"} & facts(result).keys()
    assert f"--tokenizer {make_card().name}" in command(result)
