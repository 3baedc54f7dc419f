"""Programs as weights: NVIDIA's TorchScript files from a hub on loopback, refused, then trusted, as a user types it."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.adapters.cosmos_cases import programs
from tests.weights.server import Server, put_on_hub, sha256
from tokbench.__main__ import main
from tokbench.errors import WeightsError
from tokbench.weights.trust import trusting
from tokbench_adapters import cosmos

COMMIT = "c" * 40
NAME, REPO = "cosmos_di/16x16", "nvidia/Cosmos-0.1-Tokenizer-DI16x16"
(CARD,) = (card for card in cosmos.CARDS if card.name == NAME)
CONTENTS = dict(zip(cosmos.FILES, programs(is_discrete=True, contrast=0.1), strict=True))
DIGESTS = {name: sha256(content) for name, content in CONTENTS.items()}

Run = Callable[..., int]


@pytest.fixture(autouse=True)
def _hub(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    for name, content in CONTENTS.items():
        put_on_hub(server, REPO, name, content, commit=COMMIT)


@pytest.fixture
def run(photos: Path, tmp_path: Path) -> Run:
    def typed(*more: str) -> int:
        where = ["--task", "folder", "--data", str(photos), "--size", "64", "--limit", "2", "--no-report"]
        rest = ["--metrics", "psnr,bpp", "--out", str(tmp_path / "runs"), "--device", "cpu", *more]
        return main(["run", "--tokenizer", NAME, *where, *rest])

    return typed


def card_of_run(tmp_path: Path) -> dict[str, object]:
    (path,) = (tmp_path / "runs").rglob("result.json")
    result = json.loads(path.read_text())
    assert result["values"]["bpp"]["value"] == pytest.approx(16 * 15.965784 / 64**2)
    assert result["values"]["psnr"]["status"] == "ok"
    card: dict[str, object] = result["spec"]["tokenizer"]
    return card


def test_both_programs_are_refused_at_once_and_what_is_said_works(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 1
    message = capsys.readouterr().err
    for words in ("encoder.jit and decoder.jit", REPO, "would run with your account", "no digest is published"):
        assert words in message
    switches = message.partition("name them: ")[2].partition(", or set")[0]
    assert run(*shlex.split(switches)) == 0
    card = card_of_run(tmp_path)
    assert card["weights"] == [[name, DIGESTS[name]] for name in cosmos.FILES]
    for name, digest in DIGESTS.items():
        assert (
            f"The code in {name} (sha256 {digest}) was let run: whoever measured trusted that very file."
            in (
                card["notes"]  # type: ignore[operator]
            )
        )


def test_the_variable_names_both(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 1
    said = capsys.readouterr().err.partition("TOKBENCH_TRUST=")[2].split()[0]
    monkeypatch.setenv("TOKBENCH_TRUST", said.split(os.pathsep)[0])
    assert run() == 1
    message = capsys.readouterr().err
    assert "decoder.jit of" in message
    assert "needs encoder.jit" not in message, "that one is trusted already"
    assert message.partition("TOKBENCH_TRUST=")[2].split()[0] == said
    monkeypatch.setenv("TOKBENCH_TRUST", said)
    assert run() == 0
    assert card_of_run(tmp_path)["name"] == NAME


def test_trust_by_digest_is_for_these_bytes_alone(server: Server) -> None:
    put_on_hub(server, REPO, "decoder.jit", programs(is_discrete=True, contrast=0.2)[1], commit="d" * 40)
    with trusting(*DIGESTS.values()):
        with pytest.raises(WeightsError, match=r"needs decoder\.jit of nvidia/.*: TorchScript"):
            cosmos.load(CARD, device="cpu", dtype="float32")
        put_on_hub(server, REPO, "decoder.jit", CONTENTS["decoder.jit"], commit=COMMIT)
        assert cosmos.load(CARD, device="cpu", dtype="float32").card.weights == tuple(DIGESTS.items())


def test_a_pinned_program_needs_no_trust_and_another_is_refused() -> None:
    pinned = replace(CARD, hub=f"{REPO}@{COMMIT}", weights=tuple(DIGESTS.items()))
    assert cosmos.load(pinned, device="cpu", dtype="float32").card == pinned
    half = replace(pinned, weights=(("encoder.jit", DIGESTS["encoder.jit"]),))
    with pytest.raises(WeightsError, match=r"needs decoder\.jit of nvidia/.*: TorchScript"):
        cosmos.load(half, device="cpu", dtype="float32")
    wrong = replace(pinned, weights=(*half.weights, ("decoder.jit", "0" * 64)))
    with pytest.raises(WeightsError, match=f"has sha256 {DIGESTS['decoder.jit']}, expected {'0' * 64}"):
        cosmos.load(wrong, device="cpu", dtype="float32")


def test_a_program_of_another_type_says_what_to_type(
    run: Run, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    halves = programs(is_discrete=True, dtype="bfloat16", contrast=0.1)
    for name, content in zip(cosmos.FILES, halves, strict=True):
        put_on_hub(server, REPO, name, content, commit="e" * 40)
    trusted = [sha256(content) for content in halves]
    assert run(*(part for digest in trusted for part in ("--trust", digest))) == 2
    assert "written in bfloat16 and do not run in float32: use --dtype bfloat16" in capsys.readouterr().err
    with trusting(*trusted):
        assert cosmos.load(CARD, device="cpu", dtype="bfloat16").card.name == NAME
