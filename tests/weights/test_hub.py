"""Files of the hub, against a loopback server that speaks its API: cache, offline, resumed, gated, missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.weights.server import Page, Server, put_on_hub, put_small_on_hub, random_bytes, sha256
from tokbench.errors import UsageError, WeightsError
from tokbench.weights import hub
from tokbench.weights.download import TRIES
from tokbench.weights.hub import HubFile, find_hub_file
from tokbench.weights.progress import Silent

CONTENT = random_bytes(200_000)
COMMIT, NEXT_COMMIT = "a" * 40, "b" * 40
REPO, PATH = "org/titok", "nested/model.safetensors"


def put(server: Server, content: bytes = CONTENT, *, commit: str = COMMIT) -> Page:
    return put_on_hub(server, REPO, PATH, content, commit=commit)


def put_small(server: Server, content: bytes) -> str:
    return put_small_on_hub(server, REPO, "config.json", content, commit=COMMIT)


@pytest.fixture(autouse=True)
def _endpoint(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)


def get(revision: str = COMMIT, digest: str = "", path: str = PATH) -> Path:
    return hub.fetch(REPO, path, revision, digest, progress=Silent())


def snapshot(cache: Path, commit: str = COMMIT) -> Path:
    return cache / "models--org--titok" / "snapshots" / commit / PATH


def test_a_file_comes_into_the_shared_cache_once(server: Server, home: Path) -> None:
    put(server)
    path = get(digest=sha256(CONTENT))
    cache = home / ".cache" / "huggingface" / "hub"
    assert path == snapshot(cache)
    assert path.read_bytes() == CONTENT
    assert path.resolve() == cache / "models--org--titok" / "blobs" / sha256(CONTENT)
    n = len(server.requests)
    assert get(digest=sha256(CONTENT)) == path
    assert len(server.requests) == n, "a file at a commit is asked for once"
    leftovers = [item for item in cache.rglob("*") if item.suffix in (".part", ".json", ".lock")]
    assert not leftovers


def test_small_files_are_served_by_the_hub_itself(server: Server, home: Path) -> None:
    etag = put_small(server, b'{"a": 1}')
    assert get(path="config.json").read_bytes() == b'{"a": 1}'
    assert get(path="config.json").resolve().name == etag
    with pytest.raises(WeightsError, match=r"config\.json has sha256 .*expected 00…"):
        get(path="config.json", digest="00")


def test_files_of_one_commit_lie_in_one_folder(server: Server) -> None:
    put(server)
    put_small(server, b"{}")
    assert get().parent.parent == get(path="config.json").parent


def test_offline_the_second_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    put(server)
    by_branch = get("main")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    server.requests.clear()
    assert get() == by_branch
    assert get("main", sha256(CONTENT)) == by_branch
    with pytest.raises(WeightsError, match=r"org/titok@main:other is not on this machine and HF_HUB_OFFLINE=1"):
        get("main", path="other")
    assert not server.requests


def test_a_branch_that_moves_is_followed_and_a_commit_stays(server: Server) -> None:
    put(server)
    before = get("main")
    new = random_bytes(1000, 1)
    put(server, new, commit=NEXT_COMMIT)
    assert get("main").read_bytes() == new
    assert get().read_bytes() == CONTENT
    assert get() == before


def test_a_hub_that_does_not_answer_is_no_silent_fallback(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    put(server)
    path = get("main")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=rf"after {TRIES} tries; .* HF_HUB_OFFLINE=1 to use the copy in {path}"):
        get("main")
    assert get() == path


def test_an_interrupted_transfer_is_resumed_by_the_next_call(server: Server, home: Path) -> None:
    stored = put(server)
    stored.cuts, stored.statuses = [80_000], [0] + [503] * TRIES
    with pytest.raises(WeightsError, match="503"):
        get()
    cache = home / ".cache" / "huggingface" / "hub"
    assert not snapshot(cache).exists()
    assert [blob.name for blob in (cache / "models--org--titok" / "blobs").iterdir() if blob.suffix == ""] == []
    stored.statuses.clear()
    server.requests.clear()
    assert get().read_bytes() == CONTENT
    assert [request.range for request in server.gets("/storage")] == ["bytes=80000-"]


def test_the_token_goes_to_the_hub_and_not_to_its_storage(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(server)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    get()
    for request in server.requests:
        wanted = None if "/storage" in request.path else "Bearer hf_secret"
        assert request.headers.get("authorization") == wanted
    assert server.gets("/storage")
    monkeypatch.delenv("HF_TOKEN")
    saved = home / ".cache" / "huggingface" / "token"
    saved.write_text("hf_saved\n")
    server.requests.clear()
    get("main")
    assert server.requests[0].headers["authorization"] == "Bearer hf_saved"


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, "GatedRepo", r"org/titok is gated: accept its terms on {url}/org/titok .*HF_TOKEN"),
        (401, "GatedRepo", r"org/titok is gated: accept its terms on {url}/org/titok"),
        (401, "RepoNotFound", r"no repository org/titok for you on the hub \(401\); see {url}/org/titok; if it is pri"),
        (404, "RepoNotFound", r"no repository org/titok"),
        (404, "EntryNotFound", rf"has no file {PATH} at main; see {{url}}/org/titok"),
        (404, "RevisionNotFound", r"has no revision main; see {url}/org/titok"),
        (404, "", rf"has no file {PATH}"),
        (418, "", r"answers 418"),
    ],
)
def test_refusals_name_the_page_to_visit(server: Server, status: int, code: str, message: str) -> None:
    answer = {"X-Error-Code": code} if code else {}
    server.pages[f"/{REPO}/resolve/main/{PATH}"] = Page(statuses=[status] * 3, status_for_head=True, headers=answer)
    with pytest.raises(WeightsError, match=message.format(url=server.url)):
        get("main")
    assert len(server.requests) == 1


def test_a_wrong_token_is_suspected_where_there_is_one(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "old")
    headers = {"X-Error-Code": "RepoNotFound"}
    server.pages[f"/{REPO}/resolve/main/{PATH}"] = Page(statuses=[401], status_for_head=True, headers=headers)
    with pytest.raises(WeightsError, match="HF_TOKEN may be wrong"):
        get("main")


def test_another_digest_on_the_hub_is_noticed_before_the_transfer(server: Server, home: Path) -> None:
    put(server)
    with pytest.raises(WeightsError, match=f"has sha256 {sha256(CONTENT)} on the hub, expected {'0' * 64}; nothing"):
        get(digest="0" * 64)
    assert not server.gets()


def test_a_file_that_differs_from_its_name_is_not_kept(server: Server, home: Path) -> None:
    stored = put(server)
    stored.content = random_bytes(len(CONTENT), 9)
    with pytest.raises(WeightsError, match=f"has sha256 {sha256(stored.content)}, expected {sha256(CONTENT)}"):
        get()
    cache = home / ".cache" / "huggingface" / "hub"
    assert [file for file in cache.rglob("*") if file.is_file() and file.suffix != ".lock"] == []


def test_a_changed_file_in_the_cache_is_noticed(server: Server) -> None:
    put(server)
    path = get()
    path.write_bytes(b"changed")
    with pytest.raises(WeightsError, match=f"delete {path.resolve()} and try again"):
        get(digest=sha256(CONTENT))
    path.resolve().unlink()
    assert get(digest=sha256(CONTENT)).read_bytes() == CONTENT


def test_something_else_at_the_address(server: Server) -> None:
    server.pages[f"/{REPO}/resolve/main/{PATH}"] = Page(b"<html>log in to the network</html>")
    with pytest.raises(WeightsError, match="does not answer as the hub does; check HF_ENDPOINT and the proxy"):
        get("main")


def test_a_renamed_repository_is_followed(server: Server) -> None:
    put(server)
    server.pages["/old/titok/resolve/main/" + PATH] = Page(location=f"/{REPO}/resolve/main/{PATH}")
    server.pages[f"/old/titok/resolve/{COMMIT}/" + PATH] = Page(location=f"/{REPO}/resolve/{COMMIT}/{PATH}")
    assert hub.fetch("old/titok", PATH, "main", progress=Silent()).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, ".cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "~/xdg"}, "xdg/huggingface/hub"),
        ({"XDG_CACHE_HOME": "~/xdg", "HF_HOME": "~/hf"}, "hf/hub"),
        ({"HF_HOME": "~/hf", "HF_HUB_CACHE": "$HOME/cache"}, "cache"),
        ({"HF_HOME": "~/hf", "HUGGINGFACE_HUB_CACHE": "~/old"}, "old"),
    ],
)
def test_the_usual_variables_say_where(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], place: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    put(server)
    assert get() == snapshot(home / place)


def test_a_folder_of_ones_own(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(server)
    monkeypatch.setenv("TOKBENCH_WEIGHTS", str(tmp_path / "own"))
    path = get(digest=sha256(CONTENT))
    assert path == tmp_path / "own" / REPO / PATH
    assert path.read_bytes() == CONTENT
    monkeypatch.setenv("TOKBENCH_OFFLINE", "1")
    assert get("main") == path, "what lies there is the user's own choice of revision"
    path.write_bytes(b"mine")
    with pytest.raises(WeightsError, match="expected"):
        get(digest=sha256(CONTENT))


@pytest.mark.parametrize(
    "text", ["org/repo", "org/repo@main", "@main:x", "o/r@m:../x", "o/r@m:/x", "o/r@../m:x", "o/r/s@m:x", "-@m:x"]
)
def test_addresses_are_checked(text: str) -> None:
    with pytest.raises(UsageError, match="expected ORG/REPO@REVISION:PATH"):
        HubFile.parse(text)


def test_an_address_reads_back() -> None:
    assert str(HubFile.parse("org/repo@refs/pr/1:a/b.pt")) == "org/repo@refs/pr/1:a/b.pt"
    assert HubFile.parse("org/repo@refs/pr/1:a b.pt").url.endswith("/org/repo/resolve/refs%2Fpr%2F1/a%20b.pt")


def test_huggingface_hub_finds_what_we_fetch_and_the_other_way_round(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = pytest.importorskip("huggingface_hub", reason="pip install huggingface-hub")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    put(server)
    put_small(server, b"{}")
    ours = get("main")
    for revision in ("main", COMMIT):
        found = theirs.hf_hub_download(
            REPO, PATH, revision=revision, cache_dir=tmp_path, local_files_only=True, endpoint=server.url
        )
        assert ours.samefile(found)
    fetched = theirs.hf_hub_download(REPO, "config.json", revision=COMMIT, cache_dir=tmp_path, endpoint=server.url)
    server.requests.clear()
    assert find_hub_file(HubFile(repo=REPO, path="config.json", revision=COMMIT)) == Path(fetched)
    assert get(path="config.json") == Path(fetched)
    assert not server.requests
