"""`tokbench weights` as a user types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.weights.server import Page, Server, random_bytes, sha256
from tokbench import registry
from tokbench.__main__ import main
from tokbench.weights import catalogue as module
from tokbench.weights.catalogue import catalogue
from tokbench.weights.download import TRIES
from tokbench.weights.files import WeightsFile

CONTENT = random_bytes(40_000)


@pytest.fixture
def files(server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, WeightsFile]:
    """A catalogue of four: two downloads, one of the hub, one that comes with a package."""
    server.pages["/a.pth"] = Page(CONTENT, etag='"a"')
    server.pages["/b.npz"] = Page(b"bbb")
    headers = {"X-Repo-Commit": "c" * 40}
    server.pages[f"/org/net/resolve/{'c' * 40}/c.safetensors"] = Page(b"ccc", etag='"cc"', headers=headers)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    known = {
        "a": WeightsFile(
            owner="a",
            name="a.pth",
            format="state_dict",
            sha256=sha256(CONTENT),
            size=len(CONTENT),
            url=f"{server.url}/a.pth",
            folders=("torch:hub/checkpoints",),
            licence="MIT",
            source="https://a.page",
        ),
        "b": WeightsFile(owner="b", name="b.npz", format="npz", url=f"{server.url}/b.npz", licence="BSD-3-Clause"),
        "c": WeightsFile(
            owner="c", name="c.safetensors", format="safetensors", hub=f"org/net@{'c' * 40}:c.safetensors"
        ),
        "d": WeightsFile(owner="d", name="d.onnx", format="onnx", sha256="d" * 64, command="pip install d"),
    }
    registry.metrics()  # engines and networks look up their own files when they are imported
    monkeypatch.setattr(module, "catalogue", lambda: known)
    return known


@pytest.fixture
def tokbench(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["weights", *arguments])
        return code, *capsys.readouterr()

    return run


Command = Callable[..., tuple[int, str, str]]


def test_fetch_path_verify_and_list_go_together(files: dict[str, WeightsFile], home: Path, tokbench: Command) -> None:
    path = home / ".cache/torch/hub/checkpoints/a.pth"
    assert tokbench("path", "a") == (
        1, "", "tokbench: a needs a.pth in $TOKBENCH_WEIGHTS/a: tokbench weights fetch a\n"
    )  # fmt: skip
    assert tokbench("fetch", "a") == (0, f"a: {path}\n", "")
    assert path.read_bytes() == CONTENT
    assert tokbench("path", "a") == (0, f"{path}\n", "")
    assert tokbench("verify", "a") == (0, f"ok       a  {path}  {sha256(CONTENT)}\n", "")
    code, out, _ = tokbench("list")
    assert code == 0
    rows = {line.split()[0]: line.split()[1] for line in out.splitlines()[1:]}
    assert rows == {"a": "yes", "b": "missing", "c": "missing", "d": "missing"}
    path.write_bytes(b"another")
    code, out, err = tokbench("verify")
    assert (code, out) == (1, f"wrong    a  {path}  {sha256(b'another')}\n")
    assert sha256(CONTENT) in err
    assert tokbench("path", "a")[0] == tokbench("fetch", "a")[0] == 1
    assert "delete it" in tokbench("path", "a")[2]
    assert "wrong" in tokbench("list")[1]


def test_everything_is_fetched_but_what_comes_by_other_means(
    files: dict[str, WeightsFile], server: Server, tokbench: Command
) -> None:
    code, out, err = tokbench("fetch", "--all")
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()] == ["a", "b", "c"]
    assert err == "d: not downloaded by tokbench; get it with: pip install d\n"
    code, out, _ = tokbench("verify", "--json")
    assert code == 0
    assert {row["key"]: row["status"] for row in json.loads(out)} == {
        "a": "ok", "b": "unpinned", "c": "unpinned", "d": "missing"
    }  # fmt: skip
    assert json.loads(out)[1]["sha256"] == sha256(b"bbb")
    n = len(server.requests)
    assert tokbench("fetch", "--all")[0] == 0
    assert len(server.requests) == n
    assert tokbench("fetch", "d")[0] == 1
    assert tokbench("verify", "d")[0] == 1


def test_one_that_fails_does_not_stop_the_others(
    files: dict[str, WeightsFile], server: Server, tokbench: Command
) -> None:
    server.pages["/a.pth"].statuses = [404]
    server.pages["/b.npz"].statuses = [500] * TRIES
    code, out, err = tokbench("fetch", "a", "b", "c")
    assert code == 1
    assert [line.split(":")[0] for line in out.splitlines()] == ["c"]
    assert "failed: a: " in err
    assert "failed: b: " in err
    assert "see https://a.page" in err


def test_list_tells_all_there_is_to_know(files: dict[str, WeightsFile], tokbench: Command) -> None:
    code, out, _ = tokbench("list", "--json")
    assert code == 0
    row = json.loads(out)[0]
    assert row["key"] == "a"
    assert (row["sha256"], row["size"], row["licence"]) == (sha256(CONTENT), len(CONTENT), "MIT")
    assert (row["source"], row["command"], row["status"]) == ("https://a.page", "tokbench weights fetch a", "missing")
    out = tokbench("list", "a", "d")[1]
    for part in (sha256(CONTENT), "https://a.page", "40.0 kB", "not here; tokbench weights fetch a", "pip install d"):
        assert part in out
    assert tokbench("list", "nothing")[0] == 2


def test_what_metrics_need_is_fetched_by_their_keys(tokbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKBENCH_OFFLINE", "1")
    code, _, err = tokbench("fetch", "--metrics", "lpips_vgg")
    assert code == 1
    assert "failed: vgg16: vgg16-397923af.pth is not on this machine and TOKBENCH_OFFLINE=1" in err
    assert "alexnet" not in err
    assert tokbench("fetch", "--metrics", "psnr") == (0, "", "these metrics need no weights\n")
    assert tokbench("fetch", "--metrics", "nothing")[0] == 2


def test_the_real_catalogue_is_listed_with_its_users(tokbench: Command) -> None:
    code, out, _ = tokbench("list", "--json")
    rows = {row["key"]: row for row in json.loads(out)}
    assert code == 0
    assert set(rows) == set(catalogue())
    assert {"dists", "lpips_vgg"} <= set(rows["vgg16"]["metrics"])
    assert rows["rapidocr"]["status"] == "yes"


@pytest.mark.parametrize("arguments", [["fetch"], ["fetch", "a", "--all"], ["fetch", "--all", "--metrics", "psnr"]])
def test_a_request_must_say_which(
    files: dict[str, WeightsFile], server: Server, tokbench: Command, arguments: list[str]
) -> None:
    code, _, err = tokbench(*arguments)
    assert code == 2
    assert "tokbench weights list" in err
    assert not server.requests


def test_doctor_counts_the_files_and_names_what_is_wrong(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tokbench.diagnosis import _known_weights

    before = next(iter(_known_weights())).found
    assert "known files of weights are here" in before
    assert "TOKBENCH_WEIGHTS is not set" in before
    own = tmp_path / "own" / "vgg16"
    own.mkdir(parents=True)
    (own / "vgg16-397923af.pth").write_bytes(b"half")
    monkeypatch.setenv("TOKBENCH_WEIGHTS", str(own.parent))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    checks = {check.name: check for check in _known_weights()}
    assert f"TOKBENCH_WEIGHTS is {own.parent}" in checks["weights"].found
    assert sha256(b"half") in checks["weights vgg16"].found
    assert checks["weights vgg16"].fix == f"delete {own / 'vgg16-397923af.pth'}, then tokbench weights fetch vgg16"
    assert checks["network"].fix == "unset HF_HUB_OFFLINE"


def test_a_run_skips_what_lacks_weights_and_downloads_nothing(
    home: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = ["run", "--tokenizer", "identity", "--task", "folder", "--data", str(photos), "--size", "64"]
    request += ["--metrics", "psnr,lpips_vgg", "--out", str(tmp_path), "--no-report", "--json"]
    assert main(request) == 0
    values = json.loads(capsys.readouterr().out)["values"]
    assert values["lpips_vgg"]["status"] == "skipped"
    assert values["lpips_vgg"]["reason"].endswith("tokbench weights fetch vgg16")
    assert values["psnr"]["status"] == "ok"
    assert main([*request, "--strict"]) == 1
    assert not list(home.rglob("*.part"))
