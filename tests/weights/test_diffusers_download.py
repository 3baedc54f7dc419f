"""The whole way to a published autoencoder, typed as a user types it: a hub on loopback serves tiny seeded ones."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from tests.adapters.autoencoder_cases import WEIGHTS, LdmNetwork, files_of, images
from tests.adapters.seeding import seeded_state
from tests.weights.server import Page, Server, put_on_hub, put_small_on_hub, sha256
from tokbench.__main__ import main
from tokbench.encodings import Latents
from tokbench.errors import WeightsError
from tokbench.tokenizers import load_tokenizer
from tokbench_adapters import mar_vae
from tokbench_adapters._libraries.ldm_names import kl_config

COMMIT, REPO = "d" * 40, "somebody/Some-VAE"
EVERY = ["config.json", WEIGHTS]

Run = Callable[..., int]


@pytest.fixture(autouse=True)
def _hub(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)


@pytest.fixture
def run(photos: Path, tmp_path: Path) -> Run:
    def typed(name: str, out: str = "runs") -> int:
        where = ["--task", "folder", "--data", str(photos), "--size", "64", "--limit", "2"]
        rest = ["--out", str(tmp_path / out), "--no-report", "--device", "cpu", "--metrics", "psnr,bpp"]
        return main(["run", "--tokenizer", name, *where, *rest])

    return typed


def publish(server: Server, repo: str, kind: str, *, subfolder: str = "", commit: str = COMMIT) -> dict[str, bytes]:
    """A tiny autoencoder on the hub as the library uploads one."""
    files = files_of(kind, calm=True)
    prefix = f"{subfolder}/" if subfolder else ""
    put_small_on_hub(server, repo, f"{prefix}config.json", files["config.json"], commit=commit)
    put_on_hub(server, repo, f"{prefix}{WEIGHTS}", files[WEIGHTS], commit=commit)
    return files


def result(tmp_path: Path, out: str = "runs") -> dict[str, Any]:
    (path,) = (tmp_path / out).rglob("result.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def records(tmp_path: Path, out: str) -> bytes:
    (path,) = (tmp_path / out).rglob("records.jsonl")
    return path.read_bytes()


def test_any_repository_is_measured_and_kept_for_runs_without_network(
    run: Run, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = publish(server, REPO, "kl")
    assert run(f"diffusers:{REPO}", "first") == 0
    found = result(tmp_path, "first")
    card = found["spec"]["tokenizer"]
    assert card["opened_as"] == f"diffusers:{REPO}"
    assert card["name"] == "diffusers/somebody.some-vae"
    assert card["weights"] == [[name, sha256(files[name])] for name in EVERY]
    assert found["values"]["psnr"]["status"] == "ok"
    assert found["values"]["bpp"]["status"] == "undefined", "continuous latents have no size in bits"
    server.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert run(f"diffusers:{REPO}", "second") == 0
    assert not server.requests
    assert records(tmp_path, "first") == records(tmp_path, "second")


def test_a_folder_is_measured(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, content in files_of("kl", calm=True).items():
        (folder / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    assert run("diffusers:./mine?posterior=sample") == 0
    card = result(tmp_path)["spec"]["tokenizer"]
    assert (card["name"], card["opened_as"]) == ("diffusers/mine", "diffusers:./mine?posterior=sample")
    assert (card["posterior"], card["hub"]) == ("sample", "")


def test_a_published_name_finds_its_repository_and_folder(run: Run, server: Server, tmp_path: Path) -> None:
    files = publish(server, "black-forest-labs/FLUX.1-schnell", "kl f8 16 channels", subfolder="vae")
    assert run("flux1_vae") == 0
    card = result(tmp_path)["spec"]["tokenizer"]
    assert card["name"] == "flux1_vae/schnell"
    assert card["weights"] == [[f"vae/{name}", sha256(files[name])] for name in EVERY]


def test_a_published_name_refuses_another_network(run: Run, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    publish(server, "stabilityai/sd-vae-ft-mse", "kl")
    assert run("sd15_vae") == 1
    message = capsys.readouterr().err
    assert "stabilityai/sd-vae-ft-mse is not what the card sd15_vae/ft_mse says: downsampling 4 instead of 8" in message


def test_a_sampled_run_does_not_depend_on_its_batches(server: Server, photos: Path, tmp_path: Path) -> None:
    publish(server, REPO, "kl")
    where = ["--task", "folder", "--data", str(photos), "--size", "64", "--limit", "3", "--metrics", "psnr"]
    for size in ("1", "3"):
        out = ["--out", str(tmp_path / size), "--no-report", "--device", "cpu", "--batch-size", size]
        assert main(["run", "--tokenizer", f"diffusers:{REPO}?posterior=sample", *where, *out]) == 0
    assert records(tmp_path, "1") == records(tmp_path, "3")


def test_a_revision_is_asked_for_by_name(server: Server) -> None:
    other = "e" * 40
    publish(server, REPO, "kl")
    publish(server, REPO, "dc", subfolder="vae", commit=other)
    card = load_tokenizer(f"diffusers:{REPO}/vae@{other}", device="cpu").card
    assert card.hub == f"{REPO}@{other}"
    assert card.title == "AutoencoderDC (f2, 4 channels)"
    assert not any("newest files" in note for note in card.notes)
    assert any("newest files" in note for note in load_tokenizer(f"diffusers:{REPO}", device="cpu").card.notes)


def test_a_repository_with_pickled_weights_only_is_read(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_of("kl", calm=True)
    stream = io.BytesIO()
    torch.save(load(files[WEIGHTS]), stream)
    pickled = "diffusion_pytorch_model.bin"
    put_small_on_hub(server, REPO, "config.json", files["config.json"], commit=COMMIT)
    put_on_hub(server, REPO, pickled, stream.getvalue(), commit=COMMIT)
    online = load_tokenizer(f"diffusers:{REPO}", device="cpu")
    assert [name for name, _ in online.card.weights] == ["config.json", pickled]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offline = load_tokenizer(f"diffusers:{REPO}", device="cpu")
    one, two = (tokenizer.encode(images(1, 16), seeds=[0]) for tokenizer in (online, offline))
    assert isinstance(one, Latents)
    assert isinstance(two, Latents)
    assert torch.equal(one.values, two.values)


def test_a_repository_without_weights_says_which_were_looked_for(server: Server) -> None:
    put_small_on_hub(server, REPO, "config.json", files_of("kl")["config.json"], commit=COMMIT)
    with pytest.raises(WeightsError, match=rf"{REPO} on the hub has none of {WEIGHTS}, .*diffusion_pytorch_model.bin"):
        load_tokenizer(f"diffusers:{REPO}", device="cpu")


def test_a_pipelines_repository_says_to_name_the_folder(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"diffusers:{REPO}") == 1
    message = capsys.readouterr().err.replace("\n", " ")
    assert f"{REPO} has no file config.json at main" in message
    assert f"name that too (`{REPO}/vae`)" in message


def test_a_gated_repository_names_the_page_and_the_terms(
    run: Run, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = "stabilityai/stable-diffusion-3.5-medium"
    page = Page(statuses=[403] * 9, status_for_head=True, headers={"X-Error-Code": "GatedRepo"})
    server.pages[f"/{repo}/resolve/main/vae/config.json"] = page
    assert run("sd35_vae") == 1
    message = capsys.readouterr().err.replace("\n", " ")
    assert "the Stability AI community licence must be accepted on its page" in message
    assert f"{repo} is gated: accept its terms on {server.url}/{repo}" in message
    assert "HF_TOKEN" in message


def test_without_network_the_switch_and_the_way_are_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert run(f"diffusers:{REPO}") == 1
    message = capsys.readouterr().err.replace("\n", " ")
    assert "HF_HUB_OFFLINE=1 forbids to download it" in message
    assert f"`tokbench run --tokenizer diffusers:{REPO}` without that switch downloads it" in message


@pytest.mark.parametrize("file", mar_vae.FILES)
def test_mars_checkpoint_is_found_where_it_lies(server: Server, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape: dict[str, Any] = {"encoder_attends": True, "decoder_attends": False, "width": 32}
    state = LdmNetwork(16, (1, 1, 1, 1, 1), **shape).state_dict()
    monkeypatch.setattr(mar_vae, "CONFIG", kl_config(16, (1, 1, 1, 1, 1), **shape))
    stream = io.BytesIO()
    torch.save({"model": seeded_state(state), "epoch": 1}, stream)
    put_on_hub(server, mar_vae.KL16.hub, file, stream.getvalue(), commit=COMMIT)
    tokenizer = load_tokenizer("mar_vae", device="cpu")
    assert tokenizer.card.weights == ((file, sha256(stream.getvalue())),)
    encoding = tokenizer.encode(images(1, 32), seeds=[0])
    assert isinstance(encoding, Latents)
    assert encoding.values.shape == (1, 16, 2, 2)
    assert tokenizer.model.latent_statistics() == (0.0, 1 / 0.2325)


def test_a_repository_of_codes_goes_the_same_way(server: Server) -> None:
    from diffusers import VQModel

    network = VQModel(block_out_channels=(32,), num_vq_embeddings=16, vq_embed_dim=4, latent_channels=4)
    config = {"_class_name": "VQModel", "block_out_channels": [32], "num_vq_embeddings": 16, "vq_embed_dim": 4}
    content = json.dumps({**config, "latent_channels": 4}).encode()
    put_small_on_hub(server, REPO, "vqvae/config.json", content, commit=COMMIT)
    put_on_hub(server, REPO, f"vqvae/{WEIGHTS}", save(dict(network.state_dict())), commit=COMMIT)
    tokenizer = load_tokenizer(f"diffusers:{REPO}?subfolder=vqvae", device="cpu")
    assert (tokenizer.card.latent, tokenizer.card.codebook_sizes) == ("discrete", (16,))
