"""The whole way to official weights, typed as a user types it: a hub on loopback serves a tiny seeded TiTok."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from tests.adapters.seeding import golden, pattern, seeded_state, seeded_weights
from tests.weights.server import Page, Server, put_on_hub, sha256
from tokbench.__main__ import main
from tokbench.errors import WeightsError
from tokbench.submissions.checks.identity import check_tokenizer
from tokbench.submissions.findings import Findings
from tokbench.submissions.known import Known
from tokbench.weights.download import TRIES
from tokbench.weights.hub import is_repository_here
from tokbench_adapters import one_d_piece, ta_titok, taming, titok
from tokbench_adapters._networks import clip_text
from tokbench_adapters._networks.titok import TiTokNetwork
from tokbench_adapters._networks.titok_config import PixelDecoderSize, TransformerSize

COMMIT = "c" * 40
REPO, FILE = "yucornetto/tokenizer_titok_l32_imagenet", "model.safetensors"
TINY = replace(
    titok.VARIANTS["l32"],
    encoder=TransformerSize(width=32, depth=1, n_heads=2),
    decoder=TransformerSize(width=32, depth=1, n_heads=2),
    pixels=PixelDecoderSize(codebook_size=64, codebook_width=32, channels=32, multipliers=(1,) * 5, n_blocks=1),
)
"""The card of titok/l32 stays true of it: 32 tokens, 4096 codes, 256 px."""

Run = Callable[..., int]


def checkpoint(config: titok.TiTokConfig = TINY) -> bytes:
    with torch.device("meta"):
        network = TiTokNetwork(config)
    weights = seeded_weights(network)
    if config.pixels is not None:  # a random network paints far outside [0, 1], which a run refuses
        weights["pixel_decoder.conv_out.weight"] *= 0.1
        weights["pixel_decoder.conv_out.bias"] += 0.5
    return save(weights)


CONTENT = checkpoint()


@pytest.fixture(autouse=True)
def _a_tiny_l32(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setitem(titok.VARIANTS, "l32", TINY)


@pytest.fixture
def run(photos: Path, tmp_path: Path) -> Run:
    """``tokbench run --tokenizer titok`` on two photographs → its exit code."""

    def typed(out: str = "runs", metrics: str = "psnr,bpp,codebook_usage") -> int:
        where = ["--task", "folder", "--data", str(photos), "--size", "256", "--limit", "2"]
        rest = ["--out", str(tmp_path / out), "--no-report", "--device", "cpu"]
        return main(["run", "--tokenizer", "titok", "--metrics", metrics, *where, *rest])

    return typed


def result(tmp_path: Path, out: str = "runs") -> dict[str, object]:
    (path,) = (tmp_path / out).rglob("result.json")
    found: dict[str, object] = json.loads(path.read_text())
    return found


def records(tmp_path: Path, out: str) -> bytes:
    (path,) = (tmp_path / out).rglob("records.jsonl")
    return path.read_bytes()


def test_downloaded_once_then_from_the_cache_then_without_network(
    run: Run,
    server: Server,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_on_hub(server, REPO, FILE, CONTENT, commit=COMMIT)
    assert run("first") == 0
    found = result(tmp_path, "first")
    card = found["spec"]["tokenizer"]  # type: ignore[index]
    assert card["name"] == "titok/l32"
    assert card["weights"] == [[FILE, sha256(CONTENT)]], "the run says which file it measured"
    assert found["values"]["bpp"]["value"] == 32 * 12 / 256**2  # type: ignore[index]
    assert found["values"]["psnr"]["status"] == "ok"  # type: ignore[index]
    stored = home / ".cache/huggingface/hub/models--yucornetto--tokenizer_titok_l32_imagenet/snapshots" / COMMIT / FILE
    assert stored.read_bytes() == CONTENT
    n = len(server.gets())
    assert run("second") == 0
    assert len(server.gets()) == n, "the hub is asked for the branch, and the file is not fetched again"
    server.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert run("third") == 0
    assert not server.requests
    assert records(tmp_path, "first") == records(tmp_path, "second") == records(tmp_path, "third")


def test_an_interrupted_transfer_goes_on_in_the_next_run(
    run: Run,
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stored = put_on_hub(server, REPO, FILE, CONTENT, commit=COMMIT)
    stored.cuts = [100_000] + [0] * (TRIES - 1)
    assert run() == 1
    message = capsys.readouterr().err
    assert "0.1 MB are kept and the next try goes on from there" in message
    assert f"titok/l32 needs {FILE} of {REPO} on the hub" in message
    assert run() == 0
    assert server.gets("storage")[-1].range == "bytes=100000-"
    assert result(tmp_path)["counts"] == {"ok": 2, "failed": 0}


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (404, "EntryNotFound", ["has no file model.safetensors at main"]),
        (401, "RepoNotFound", [f"no repository {REPO} for you on the hub (401)", "HF_TOKEN"]),
        (403, "GatedRepo", [f"{REPO} is gated: accept its terms on", "hf auth login"]),
    ],
)
def test_a_missing_or_gated_repository_names_the_page_to_visit(
    run: Run,
    server: Server,
    status: int,
    code: str,
    words: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = Page(statuses=[status], status_for_head=True, headers={"X-Error-Code": code})
    server.pages[f"/{REPO}/resolve/main/{FILE}"] = page
    assert run() == 1
    message = capsys.readouterr().err
    for word in (f"titok/l32 needs {FILE} of {REPO}", f"{server.url}/{REPO}", "$TOKBENCH_WEIGHTS/yucornetto", *words):
        assert word in message


def test_without_network_and_weights_the_hub_id_and_the_command_are_named(
    run: Run,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TOKBENCH_OFFLINE", "1")
    assert run() == 1
    message = capsys.readouterr().err
    assert REPO in message
    assert "TOKBENCH_OFFLINE=1 forbids" in message
    assert "`tokbench run --tokenizer titok/l32` without that switch downloads it" in message
    assert not server.requests


def test_a_copy_of_ones_own_is_enough(
    run: Run,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "weights" / REPO / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    monkeypatch.setenv("TOKBENCH_WEIGHTS", str(tmp_path / "weights"))
    assert run() == 0
    assert not server.requests


def needs(capsys: pytest.CaptureFixture[str], name: str) -> str:
    capsys.readouterr()
    assert main(["list", "tokenizers", "--json"]) == 0
    return str(next(row["needs"] for row in json.loads(capsys.readouterr().out) if row["name"] == name))


def test_the_list_says_what_is_still_to_be_downloaded(
    run: Run, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert needs(capsys, "titok/l32") == f"downloads {REPO}"
    assert needs(capsys, "lbg/d8") == ""
    assert not server.requests, "listing asks nobody"
    put_on_hub(server, REPO, FILE, CONTENT, commit=COMMIT)
    assert run() == 0
    assert needs(capsys, "titok/l32") == ""
    assert needs(capsys, "titok/s128") == f"downloads {REPO.replace('l32', 's128')}"
    assert is_repository_here(f"{REPO}@{COMMIT}")
    assert not is_repository_here(f"{REPO}@{'d' * 40}")
    copy = tmp_path / "weights" / REPO.replace("l32", "s128") / FILE
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"")
    monkeypatch.setenv("TOKBENCH_WEIGHTS", str(tmp_path / "weights"))
    assert needs(capsys, "titok/s128") == ""
    assert main(["list", "tokenizers"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("titok "))
    assert line.split()[:4] == ["titok", "9", "32", "4,096"]
    assert main(["show", "titok/s128"]) == 0
    assert "yucornetto/tokenizer_titok_s128_imagenet on the hub" in capsys.readouterr().out
    assert main(["doctor"]) == 0
    assert not [request for request in server.requests if "s128" in request.path]


def test_another_networks_checkpoint_is_refused_by_name(
    run: Run,
    server: Server,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put_on_hub(server, REPO, FILE, checkpoint(replace(TINY, pixels=None)), commit=COMMIT)
    assert run() == 1
    message = capsys.readouterr().err
    assert f"{REPO} is not the checkpoint this network is read from: it lacks decoder.ffn.2.bias" in message
    assert "has more than the network: decoder.conv_out.bias" in message


def test_a_pinned_digest_is_insisted_on(server: Server) -> None:
    put_on_hub(server, REPO, FILE, CONTENT, commit=COMMIT)
    pinned = replace(titok.CARDS[0], hub=f"{REPO}@{COMMIT}", weights=((FILE, sha256(CONTENT)),))
    assert titok.load(pinned, device="cpu", dtype="float32").card == pinned
    wrong = replace(pinned, hub=f"{REPO}@main", weights=((FILE, "0" * 64),))
    with pytest.raises(WeightsError, match=f"has sha256 {sha256(CONTENT)} on the hub, expected {'0' * 64}"):
        titok.load(wrong, device="cpu", dtype="float32")


def test_a_run_of_unpinned_weights_can_be_submitted(server: Server) -> None:
    """Its card names the file that was measured, where the registered card can name none."""
    put_on_hub(server, REPO, FILE, CONTENT, commit=COMMIT)
    registered = titok.CARDS[0]
    measured = titok.load(registered, device="cpu", dtype="float32").card
    assert measured.weights == ((FILE, sha256(CONTENT)),)
    known = Known(tokenizer_cards={registered.name: registered})
    findings = Findings()
    check_tokenizer(measured, known, findings)
    assert not findings.items
    check_tokenizer(replace(measured, codebook_sizes=(8,)), known, findings)
    assert [finding.where for finding in findings.items] == ["spec/tokenizer/codebook_sizes"]
    pinned = replace(registered, weights=((FILE, "0" * 64),))
    findings = Findings()
    check_tokenizer(measured, Known(tokenizer_cards={registered.name: pinned}), findings)
    assert [finding.where for finding in findings.items] == ["spec/tokenizer/weights"]


def test_a_run_of_weights_from_a_page_can_be_submitted() -> None:
    """As of those on the hub: nobody publishes a digest that the registered card could name."""
    registered = next(card for card in taming.CARDS if card.page)
    assert not registered.hub
    measured = replace(registered, weights=(("vqgan.ckpt", "0" * 64),))
    findings = Findings()
    check_tokenizer(measured, Known(tokenizer_cards={registered.name: registered}), findings)
    assert not findings.items


def test_ta_titok_also_gets_the_captions_encoder(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    size = TransformerSize(width=32, depth=1, n_heads=2)
    config = replace(ta_titok.VARIANTS["bl32_vq"], encoder=size, decoder=size)
    put_on_hub(server, "turkeyju/tokenizer_tatitok_bl32_vq", FILE, checkpoint(config), commit=COMMIT)
    monkeypatch.setitem(ta_titok.VARIANTS, "bl32_vq", config)
    card = next(card for card in ta_titok.CARDS if card.variant == "bl32_vq")
    ta_titok.caption_states.cache_clear()
    with pytest.raises(WeightsError, match=r"clip-vit-large-patch14-336 .*pytorch_model\.bin"):
        ta_titok.load(card, device="cpu", dtype="float32")  # this hub has no such repository
    asked: list[str] = []
    shapes = golden("clip_text")["variants"]["depth_2"]["shapes"]
    state = seeded_state({key: torch.empty(shape, device="meta") for key, shape in shapes.items()})
    monkeypatch.setattr(ta_titok, "fetch", lambda weights: asked.append(weights.owner))
    monkeypatch.setattr(ta_titok, "load_state_dict", lambda weights: state)
    monkeypatch.setattr(clip_text, "text_states", partial(clip_text.text_states, depth=2))
    first = ta_titok.load(card, device="cpu", dtype="float32")
    assert asked == ["clip_vitl14_336"]
    images = pattern(2, 256, 256)
    codes = first.encode(images)
    decoded = first.decode(codes, seeds=[0, 0])
    monkeypatch.setattr(ta_titok, "CAPTION_TOKENS", (49406, 49407))
    ta_titok.caption_states.cache_clear()
    second = ta_titok.load(card, device="cpu", dtype="float32")
    ta_titok.caption_states.cache_clear()
    assert not torch.equal(second.decode(codes, seeds=[0, 0]), decoded), "the caption is read"


def test_lengths_of_one_d_piece_are_prefixes_of_one_encoding(
    photos: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(one_d_piece.VARIANTS["s256"], encoder=TINY.encoder, decoder=TINY.decoder, pixels=TINY.pixels)
    monkeypatch.setitem(one_d_piece.VARIANTS, "s256", config)
    put_on_hub(server, "turing-motors/One-D-Piece-S-256", FILE, checkpoint(config), commit=COMMIT)
    where = [
        "--task",
        "folder",
        "--data",
        str(photos),
        "--size",
        "256",
        "--limit",
        "2",
        "--out",
        str(tmp_path / "runs"),
    ]
    what = ["--tokenizer", "one_d_piece/s256", "--lengths", "8,64", "--metrics", "psnr,bpp", "--device", "cpu"]
    assert main(["run", *what, *where, "--no-report"]) == 0
    found = result(tmp_path)
    values = json.dumps(found)
    assert found["values"]["bpp"]["value"] == 256 * 12 / 256**2  # type: ignore[index]
    for length in (8, 64):
        assert str(length * 12 / 256**2) in values


@pytest.mark.slow
def test_all_metrics_run_on_it(run: Run, server: Server, tmp_path: Path) -> None:
    put_on_hub(server, REPO, FILE, CONTENT, commit=COMMIT)
    assert run(metrics="all") == 0
    values = result(tmp_path)["values"]
    assert not [key for key, value in values.items() if value["status"] == "failed"]  # type: ignore[attr-defined]
    for key in ("psnr", "ssim", "fd_effnet", "psnr_perturbed", "codebook_usage", "bpp", "parameters"):
        assert values[key]["status"] == "ok", values[key]  # type: ignore[index]
