"""Tokenizers whose weights lie at plain addresses, or on the hub in the library's form: the whole way, as typed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from tests.adapters import taesd_cases, vqvae_explore_cases
from tests.weights.server import Page, Server, put_on_hub, sha256
from tokbench.__main__ import main
from tokbench.cards import TokenizerCard
from tokbench.errors import WeightsError
from tokbench.tokenizers import load_tokenizer
from tokbench.weights import catalogue as module
from tokbench.weights.catalogue import catalogue
from tokbench.weights.files import WeightsFile
from tokbench.weights.places import store_folder
from tokbench_adapters import taesd, vqvae_explore

Run = Callable[..., int]
COMMIT = "c" * 40


def torch_file(tensors: dict[str, torch.Tensor]) -> bytes:
    file = io.BytesIO()
    torch.save({key: tensor.half() for key, tensor in tensors.items()}, file)
    return file.getvalue()


def halves() -> dict[str, bytes]:
    """The two files of a small taef2, as upstream publishes them."""
    tensors = dict(taesd_cases.seeded(taesd_cases.TINY_SHAPES["taef2"]))
    tensors["decoder.19.weight"] = 0.1 * tensors["decoder.19.weight"]  # a random network paints far outside [0, 1],
    tensors["decoder.19.bias"] = 0.5 + tensors["decoder.19.bias"]  # which a run refuses
    return {
        f"taef2_{half}": torch_file(
            {key.removeprefix(f"{half}."): entry for key, entry in tensors.items() if key.startswith(half)}
        )
        for half in taesd.HALVES
    }


@pytest.fixture
def contents() -> dict[str, bytes]:
    return {"vqvae_explore": torch_file(vqvae_explore_cases.seeded()), **halves()}


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch: pytest.MonkeyPatch, server: Server, contents: dict[str, bytes]) -> None:
    """The catalogue's entries with other addresses and digests, and the networks these files are of."""
    known = dict(catalogue())
    for key, content in contents.items():
        server.pages[f"/{key}.pth"] = Page(content, etag=f'"{key}"')
        known[key] = replace(
            known[key],
            url=f"{server.url}/{key}.pth",
            sha256=sha256(content),
            size=len(content),
            source="https://a.page",
        )
    monkeypatch.setattr(module, "catalogue", lambda: known)
    for name, shape in taesd_cases.TINY_SHAPES.items():
        monkeypatch.setitem(taesd.NETWORKS, name, shape)
    for name, size in vqvae_explore_cases.SMALL.items():
        monkeypatch.setitem(vqvae_explore.SHAPE, name, size)
    monkeypatch.setenv("HF_ENDPOINT", server.url)


@pytest.fixture
def run(photos: Path, tmp_path: Path) -> Run:
    """``tokbench run --tokenizer NAME`` on two photographs → its exit code."""

    def typed(name: str, out: str = "runs") -> int:
        where = ["--task", "folder", "--data", str(photos), "--size", "64", "--limit", "2"]
        rest = ["--out", str(tmp_path / out), "--no-report", "--device", "cpu", "--metrics", "psnr,tokens"]
        return main(["run", "--tokenizer", name, *where, *rest])

    return typed


def values(tmp_path: Path, out: str = "runs") -> dict[str, dict[str, object]]:
    (path,) = (tmp_path / out).rglob("result.json")
    found: dict[str, dict[str, object]] = json.loads(path.read_text())["values"]
    return found


@pytest.mark.parametrize("name", ["vqvae_explore", "taef2"])
def test_downloaded_by_the_first_run_and_read_without_network_after(
    name: str, run: Run, server: Server, contents: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(name, "first") == 0
    assert [request.path for request in server.gets()] == [f"/{key}.pth" for key in card_of(name).weights_keys]
    stored = [path.read_bytes() for path in store_folder(name).iterdir() if path.suffix in (".pt", ".pth")]
    assert sorted(stored) == sorted(contents[key] for key in card_of(name).weights_keys)
    monkeypatch.setenv("TOKBENCH_OFFLINE", "1")
    server.requests.clear()
    assert run(name, "second") == 0
    assert not server.requests
    first, second = values(tmp_path, "first"), values(tmp_path, "second")
    assert first["psnr"]["value"] == second["psnr"]["value"]
    assert first["psnr"]["status"] == "ok"


def card_of(name: str) -> TokenizerCard:
    (card,) = (card for card in (*taesd.CARDS, *vqvae_explore.CARDS) if card.name == name)
    return card


def test_without_network_and_file_it_says_where_to_copy_which_one(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKBENCH_OFFLINE", "1")
    assert run("taef2") == 1
    message = capsys.readouterr().err
    place = store_folder("taef2") / "taef2_encoder.pth"
    for part in (
        "taef2 needs taef2_encoder",
        "TOKBENCH_OFFLINE=1 forbids",
        f"copy it to {place}",
        f"{server.url}/taef2_",
    ):
        assert part in message
    assert not server.requests


def test_an_own_folder_is_read_first_and_stored_in(
    run: Run, server: Server, contents: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    monkeypatch.setenv("TOKBENCH_WEIGHTS", str(own))
    (own / "taef2").mkdir(parents=True)
    (own / "taef2" / "taef2_encoder.pth").write_bytes(contents["taef2_encoder"])
    assert run("taef2") == 0
    assert [request.path for request in server.gets()] == ["/taef2_decoder.pth"]
    assert (own / "taef2" / "taef2_decoder.pth").read_bytes() == contents["taef2_decoder"]


def test_a_file_with_another_digest_is_not_used(
    run: Run, server: Server, contents: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    another = bytes(len(contents["vqvae_explore"]))
    server.pages["/vqvae_explore.pth"].content = another
    assert run("vqvae_explore") == 1
    assert sha256(another) in capsys.readouterr().err
    assert not (store_folder("vqvae_explore") / "vqvae.pt").exists()


def test_the_librarys_form_comes_from_the_hub(run: Run, server: Server, tmp_path: Path) -> None:
    config = taesd_cases.TINY_SHAPES["taesd3"]
    library = {}
    for key, entry in taesd_cases.seeded(config).items():
        half, place, *rest = key.split(".")
        library[".".join([half, "layers", str(int(place) - (half == "decoder")), *rest])] = entry
    repo, _, revision = card_of("taesd3").hub.partition("@")
    put_on_hub(server, repo, taesd.FILE, save(library), commit=revision)
    assert run("taesd3") == 0
    assert values(tmp_path)["psnr"]["status"] == "ok"
    images = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    seeded = taesd_cases.tokenizer_of("taesd3", config).encode(images)
    assert torch.equal(load_tokenizer("taesd3", device="cpu").encode(images).values, seeded.values)  # type: ignore[union-attr]


def test_a_file_is_fetched_and_listed_by_its_tokenizer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "fetch", "--tokenizers", "taef2,taef2,identity,taesd"]) == 0
    out, err = capsys.readouterr()
    assert [line.partition(":")[0] for line in out.splitlines()] == ["taef2_encoder", "taef2_decoder"]
    assert "identity needs none of these files" in err
    assert "taesd: its checkpoint, madebyollin/taesd, is downloaded from the hub on first use" in err
    assert main(["weights", "fetch", "--tokenizers", "identity"]) == 0
    assert capsys.readouterr().out == "", "nothing is asked for, so nothing is fetched"
    assert main(["weights", "fetch", "--tokenizers", "taef"]) == 2
    assert main(["weights", "list", "--json"]) == 0
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["taef2_encoder"]["tokenizers"] == ["taef2"]
    assert rows["taef2_encoder"]["metrics"] == []
    assert "ta_titok" in rows["clip_vitl14_336"]["tokenizers"]
    assert {key for key, row in rows.items() if row["status"] == "yes"} >= {"taef2_encoder", "taef2_decoder"}


def test_what_a_tokenizer_still_needs_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    def needs() -> str:
        assert main(["list", "tokenizers", "--json"]) == 0
        rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
        found: str = rows["taef2"]["needs"]
        return found

    assert "taef2_encoder" in needs()
    assert "taef2_decoder" in needs()
    assert main(["weights", "fetch", "taef2_encoder"]) == 0
    capsys.readouterr()
    assert "taef2_encoder" not in needs()
    assert "taef2_decoder" in needs()


def test_looking_a_machine_over_downloads_nothing(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    from tokbench.diagnosis import _tokenizers

    names = {check.name for check in _tokenizers()}
    assert not names & {"weights taef2", "weights vqvae_explore"}
    assert not server.requests


def test_files_of_one_network_share_a_folder() -> None:
    file = catalogue()["taef2_encoder"]
    assert (file.owner, file.folder) == ("taef2_encoder", "taef2")
    assert catalogue()["vqvae_explore"].folder == "vqvae_explore"
    assert WeightsFile(owner="a", name="b", format="npz").folder == "a"


def test_a_damaged_file_of_the_right_digest_is_named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.pages["/vqvae_explore.pth"].content = b"no torch file"
    known = {**module.catalogue()}
    known["vqvae_explore"] = replace(known["vqvae_explore"], sha256=sha256(b"no torch file"), size=0)
    monkeypatch.setattr(module, "catalogue", lambda: known)
    with pytest.raises(WeightsError, match=r"vqvae_explore needs .*cannot be read as a torch file"):
        load_tokenizer("vqvae_explore", device="cpu")
