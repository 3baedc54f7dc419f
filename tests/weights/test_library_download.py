"""The whole way to tokenizers inside large checkpoints and to the discrete ones of diffusers, as a user types it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from tests.adapters.library_cases import JANUS, as_shards, transformers_network
from tests.adapters.seeding import seeded_state
from tests.adapters.vqgan_cases import SMALLEST, seeded_checkpoint
from tests.weights.server import Server, put_on_hub, put_small_on_hub, sha256
from tokbench.__main__ import main
from tokbench.errors import WeightsError
from tokbench.tokenizers import load_tokenizer
from tokbench_adapters import emu3, janus, vq_models

COMMIT = "c" * 40
CHAT = "Emu3-community/Emu3-Chat-hf"
EMU3 = {"base_channels": 32, "channel_multiplier": [1, 1, 1, 1], "num_res_blocks": 1, "hidden_size": 32}
"""A small network of which the card stays true: 32,768 codes, 8 px a code."""
INVERSE = (
    (r"^(encoder)\.down_block\.down\.", r"\1.down."),
    (r"^(decoder)\.up_block\.up\.", r"\1.up."),
    (r"\.middle_block\.attn_norm\.", ".mid.attn_1.norm."),
    (r"\.middle_block\.", ".mid."),
    (r"\.attn_norms\.(\d+)\.", r".attn.\1.norm."),
    (r"\.([qkv])_proj\.", r".\1."),
    (r"\.out_proj\.", ".proj_out."),
)

Run = Callable[..., int]


@pytest.fixture(autouse=True)
def _hub(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    pytest.importorskip("transformers", reason="these are its classes")
    monkeypatch.setenv("HF_ENDPOINT", server.url)


@pytest.fixture
def run(photos: Path, tmp_path: Path) -> Run:
    def typed(name: str, out: str = "runs") -> int:
        where = ["--task", "folder", "--data", str(photos), "--size", "64", "--limit", "2"]
        rest = ["--out", str(tmp_path / out), "--no-report", "--device", "cpu", "--metrics", "psnr,bpp"]
        return main(["run", "--tokenizer", name, *where, *rest])

    return typed


def result(tmp_path: Path, out: str = "runs") -> dict[str, Any]:
    (path,) = (tmp_path / out).rglob("result.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def official_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The library's entries under the names of Emu3's authors."""
    found = {}
    for name, entry in state.items():
        is_linear = name.endswith("_proj.weight")
        for pattern, old in INVERSE:
            name = re.sub(pattern, old, name)
        found[name] = entry[:, :, None, None] if is_linear else entry
    return found


def publish_chat(server: Server, folder: Path) -> dict[str, str]:
    """Emu3-Chat-hf, the language model being a stand-in; its weight map."""
    state = transformers_network("Emu3VQVAE", EMU3).state_dict()
    language = {f"language_model.{number:03}.weight": torch.zeros(2) for number in range(3 * len(state))}
    weight_map = as_shards({**language, **{f"vqmodel.{key}": entry for key, entry in state.items()}}, 8, folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "emu3", "vq_config": EMU3}))
    for name in ("config.json", "model.safetensors.index.json"):
        put_small_on_hub(server, CHAT, name, (folder / name).read_bytes(), commit=COMMIT)
    for name in set(weight_map.values()):
        put_on_hub(server, CHAT, name, (folder / name).read_bytes(), commit=COMMIT)
    return weight_map


def test_of_a_large_checkpoint_only_the_tokenizers_files_are_fetched(
    run: Run, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "chat").mkdir()
    weight_map = publish_chat(server, tmp_path / "chat")
    used = sorted({file for name, file in weight_map.items() if name.startswith("vqmodel.")})
    assert len(used) == 3
    assert run("emu3/chat_hf", "first") == 0
    asked = {request.path.rpartition("/")[2] for request in server.requests if "/resolve/" in request.path}
    assert asked == {"config.json", "model.safetensors", "model.safetensors.index.json", *used}
    assert len(server.gets("storage")) == len(used), "nobody asked for the other five, not even for their sizes"
    card = result(tmp_path, "first")["spec"]["tokenizer"]
    read = (*used, "config.json")
    assert card["weights"] == [[name, sha256((tmp_path / "chat" / name).read_bytes())] for name in read]
    assert result(tmp_path, "first")["values"]["bpp"]["value"] == 15 / 64
    server.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert run("emu3/chat_hf", "second") == 0
    assert not server.requests
    (first,), (second,) = ((tmp_path / out).rglob("records.jsonl") for out in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_the_same_part_is_opened_by_name(server: Server, tmp_path: Path) -> None:
    publish_chat(server, tmp_path)
    tokenizer = load_tokenizer(f"transformers:{CHAT}@{COMMIT}", device="cpu")
    assert tokenizer.card.hub == f"{CHAT}@{COMMIT}"
    assert tokenizer.card.codebook_sizes == (32768,)
    assert len(tokenizer.card.weights) == len(server.gets("storage")) + 1 == 4, "the configuration is small"


def test_shards_go_to_a_folder_of_the_users_own(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the index is found although another of the repository's files is there already."""
    (tmp_path / "chat").mkdir()
    publish_chat(server, tmp_path / "chat")
    monkeypatch.setenv("TOKBENCH_WEIGHTS", str(tmp_path / "own"))
    first = load_tokenizer("emu3/chat_hf", device="cpu")
    stored = {path.name for path in (tmp_path / "own" / CHAT).iterdir()}
    assert stored == {"config.json", "model.safetensors.index.json", *(name for name, _ in first.card.weights)}
    server.pages.clear()
    assert load_tokenizer("emu3/chat_hf", device="cpu").card == first.card


def test_a_missing_shard_is_named_with_its_repository(server: Server, tmp_path: Path) -> None:
    weight_map = publish_chat(server, tmp_path)
    lost = max(file for name, file in weight_map.items() if name.startswith("vqmodel."))
    del server.pages[f"/{CHAT}/resolve/main/{lost}"]
    with pytest.raises(WeightsError, match=rf"emu3/chat_hf needs {lost} of {CHAT} on the hub: .* has no file {lost}"):
        load_tokenizer("emu3/chat_hf", device="cpu")


def test_the_authors_checkpoint_is_read_under_its_own_names(run: Run, server: Server, tmp_path: Path) -> None:
    """One file, and the same codes as from the language model's checkpoint."""
    state = transformers_network("Emu3VQVAE", EMU3).state_dict()
    named = official_names(dict(state))
    assert len(named.keys() - state.keys()) > 50
    again = emu3.library_names(named)
    assert again.keys() == state.keys()
    repo = emu3.CARDS[0].hub
    said = {"model_type": "Emu3VisionVQ", "ch": 32, "ch_mult": [1, 1, 1, 1], "num_res_blocks": 1, "auto_map": {}}
    config = json.dumps(said).encode()
    put_small_on_hub(server, repo, "config.json", config, commit=COMMIT)
    content = save({key: entry.contiguous() for key, entry in named.items()})
    put_on_hub(server, repo, "model.safetensors", content, commit=COMMIT)
    assert run("emu3") == 0
    card = result(tmp_path)["spec"]["tokenizer"]
    assert card["name"] == "emu3/vision_tokenizer"
    assert card["weights"] == [["model.safetensors", sha256(content)], ["config.json", sha256(config)]]
    (tmp_path / "chat").mkdir()
    publish_chat(server, tmp_path / "chat")
    images = torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        official, chat = (load_tokenizer(name, device="cpu").encode(images) for name in ("emu3", "emu3/chat_hf"))
    assert torch.equal(official.streams[0].indices, chat.streams[0].indices)  # type: ignore[union-attr]


def test_janus_7b_is_read_from_the_file_that_holds_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = janus.build
    monkeypatch.setattr(janus, "build", lambda *parts, **rest: build(*parts, **{"config": SMALLEST, **rest}))
    weights = {f"{janus.PREFIX}{key}": entry for key, entry in seeded_checkpoint(SMALLEST).items()}
    weights[f"{janus.PREFIX}quantize.codebook_used"] = torch.zeros(65536)
    language = {f"language_model.{number:03}.weight": torch.zeros(2) for number in range(len(weights))}
    weight_map = as_shards({**weights, **language}, 2, tmp_path, suffix="bin")
    repo = "deepseek-ai/Janus-Pro-7B"
    for name in ("pytorch_model.bin.index.json", *set(weight_map.values())):
        put_on_hub(server, repo, name, (tmp_path / name).read_bytes(), commit=COMMIT)
    (used,) = {weight_map[name] for name in weights}
    tokenizer = load_tokenizer("janus/pro_7b", device="cpu")
    assert [name for name, _ in tokenizer.card.weights] == [used]
    fetched = {request.path for request in server.requests if request.path.endswith(".bin")}
    assert {path.rpartition("/")[2] for path in fetched} == {"pytorch_model.bin", used}
    assert any("only those that hold the tokenizer" in note for note in tokenizer.card.notes)


AMUSED = {
    "_class_name": "VQModel",
    "block_out_channels": [32] * 5,
    "down_block_types": ["DownEncoderBlock2D"] * 5,
    "up_block_types": ["UpDecoderBlock2D"] * 5,
    "layers_per_block": 1,
    "latent_channels": 64,
    "num_vq_embeddings": 8192,
    "lookup_from_codebook": True,
    "mid_block_add_attention": False,
    "force_upcast": True,
}
"""A small network of which the card of ``amused/512`` stays true."""


def test_a_discrete_autoencoder_of_diffusers_is_fetched_from_its_subfolder(
    run: Run, server: Server, tmp_path: Path
) -> None:
    diffusers = pytest.importorskip("diffusers", reason="it is its class")
    (card,) = (card for card in vq_models.CARDS if card.name == "amused/512")
    repo = card.hub
    state = seeded_state(diffusers.VQModel.from_config(AMUSED).state_dict())
    state["decoder.conv_out.weight"] *= 0.1  # a random network paints far outside [0, 1], which a run refuses
    state["decoder.conv_out.bias"] += 0.5
    files = {"config.json": json.dumps(AMUSED).encode(), "diffusion_pytorch_model.safetensors": save(state)}
    for name, content in files.items():
        put_on_hub(server, repo, f"vqvae/{name}", content, commit=COMMIT)
    assert run("amused/512") == 0
    found = result(tmp_path)
    assert found["spec"]["tokenizer"]["weights"] == [[f"vqvae/{name}", sha256(files[name])] for name in files]
    assert found["values"]["bpp"]["value"] == 13 / 256
    assert found["counts"] == {"ok": 2, "failed": 0}


def test_an_opened_janus_says_what_it_takes_and_how_it_differs(server: Server) -> None:
    repo, small = "deepseek-community/Janus-Pro-1B", {**JANUS, "num_patches": 16}
    state = transformers_network("JanusVQVAE", small).state_dict()
    content = save({f"model.vqmodel.{key}": entry.contiguous() for key, entry in state.items()})
    config = json.dumps({"model_type": "janus", "vq_config": small}).encode()
    put_small_on_hub(server, repo, "config.json", config, commit=COMMIT)
    put_on_hub(server, repo, "model.safetensors", content, commit=COMMIT)
    tokenizer = load_tokenizer(f"transformers:{repo}", device="cpu")
    assert tokenizer.card.name == "transformers/deepseek-community.janus-pro-1b"
    assert tokenizer.card.fixed_size_px == 32
    assert any("searches codes by plain distance" in note for note in tokenizer.card.notes)
