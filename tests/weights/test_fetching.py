"""Known files: where they are looked for, where they are stored, and what is said when they are missing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.weights.server import Page, Server, random_bytes, sha256
from tokbench.errors import UnknownNameError, WeightsError
from tokbench.weights import digests, places
from tokbench.weights.catalogue import catalogue, known
from tokbench.weights.digests import sha256_of
from tokbench.weights.fetching import can_fetch, destination, fetch
from tokbench.weights.files import WeightsFile, find_weights, missing_weights, require_weights, weights_sha256
from tokbench.weights.hub import HubFile
from tokbench.weights.progress import Silent
from tokbench.weights.users import metrics_by_owner, tokenizers_by_owner, weights_in

CONTENT = random_bytes(50_000)
FILE = WeightsFile(
    owner="net",
    name="net.pth",
    format="state_dict",
    sha256=sha256(CONTENT),
    folders=("torch:hub/checkpoints",),
    aliases=("other-name.pth",),
    source="https://a.page",
)


@pytest.fixture
def file(server: Server) -> WeightsFile:
    server.pages["/net.pth"] = Page(CONTENT, etag='"a"')
    return replace(FILE, url=f"{server.url}/net.pth")


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


PLACES: list[tuple[dict[str, str], str]] = [
    ({}, "~/.cache/torch/hub/checkpoints/net.pth"),
    ({"XDG_CACHE_HOME": "~/xdg"}, "~/xdg/torch/hub/checkpoints/net.pth"),
    ({"XDG_CACHE_HOME": "~/xdg", "TORCH_HOME": "~/torch"}, "~/torch/hub/checkpoints/net.pth"),
    ({"TORCH_HOME": "~/torch", "TOKBENCH_WEIGHTS": "~/own"}, "~/own/net/net.pth"),
]


@pytest.mark.parametrize(("variables", "place"), PLACES)
def test_the_usual_variables_say_where_it_is_stored_and_found(
    file: WeightsFile,
    server: Server,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    place: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find_weights(file) is None
    path = fetch(file, progress=Silent())
    assert path == Path(place).expanduser()
    assert path.read_bytes() == CONTENT
    assert find_weights(file) == require_weights(file) == fetch(file, progress=Silent()) == path
    assert len(server.requests) == 1
    assert missing_weights(file) == ""
    assert weights_sha256(file) == FILE.sha256


def test_without_a_shared_place_it_goes_to_tokbenchs_cache(
    file: WeightsFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKBENCH_CACHE", str(tmp_path))
    for folders in ((), ("package:json/inside",), ("$NOWHERE/x",)):
        assert destination(replace(file, folders=folders)) == tmp_path / "weights" / "net" / "net.pth"
    assert fetch(replace(file, folders=()), progress=Silent()) == tmp_path / "weights" / "net" / "net.pth"
    assert find_weights(FILE) == tmp_path / "weights" / "net" / "net.pth"


def test_every_place_is_searched_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lib" / "a_package_with_weights"
    put(package / "__init__.py", b"raise AssertionError('a search imports nothing')")
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv("TOKBENCH_WEIGHTS", str(tmp_path / "own"))
    monkeypatch.setenv("SOMEWHERE", str(tmp_path / "some"))
    monkeypatch.setenv("TOKBENCH_CACHE", str(tmp_path / "cache"))
    folders = ("$SOMEWHERE/x", "$NOT_SET/x", "package:a_package_with_weights/models", "package:no_such_package/x")
    file = replace(FILE, folders=folders)
    assert find_weights(file) is None
    for path in (
        tmp_path / "cache" / "weights" / "net" / "net.pth",
        package / "models" / "other-name.pth",
        package / "models" / "net.pth",
        tmp_path / "some" / "x" / "net.pth",
        tmp_path / "own" / "net" / "net.pth",
    ):
        put(path)
        assert find_weights(file) == path, "each of these comes before the ones so far"
    assert "a_package_with_weights" not in sys.modules


def test_a_hub_file_is_found_in_the_hubs_cache_and_fetched_into_ones_own_folder(
    server: Server, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = replace(FILE, hub=f"org/net@{'a' * 40}:sub/net.pth", folders=())
    assert destination(file) is None
    cached = home / ".cache/huggingface/hub/models--org--net/snapshots" / ("a" * 40) / "sub/net.pth"
    put(cached)
    assert fetch(file, progress=Silent()) == cached
    cached.unlink()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("TOKBENCH_WEIGHTS", str(tmp_path / "own"))
    headers = {"X-Repo-Commit": "a" * 40}
    server.pages[f"/org/net/resolve/{'a' * 40}/sub/net.pth"] = Page(CONTENT, etag='"0123"', headers=headers)
    assert fetch(file, progress=Silent()) == tmp_path / "own" / "net" / "net.pth"


def test_missing_files_are_named_with_the_command_that_gets_them() -> None:
    assert missing_weights(FILE) == "needs net.pth in $TOKBENCH_WEIGHTS/net: tokbench weights fetch net"
    by_package = replace(FILE, command="pip install net", folders=("~/a", "package:net/models"))
    assert (
        missing_weights(by_package) == "needs net.pth in $TOKBENCH_WEIGHTS/net or package:net/models: pip install net"
    )
    with pytest.raises(WeightsError, match=r"^net needs net\.pth .*: tokbench weights fetch net$"):
        require_weights(FILE)
    with pytest.raises(WeightsError, match="not downloaded by tokbench; get it with: pip install net"):
        fetch(by_package, progress=Silent())
    assert weights_sha256(FILE) == ""


@pytest.mark.parametrize("pinned", [FILE.sha256, FILE.sha256[:8]])
def test_another_file_under_the_name_is_never_used(file: WeightsFile, server: Server, home: Path, pinned: str) -> None:
    path = put(home / ".cache/torch/hub/checkpoints/net.pth", b"another")
    for act in (require_weights, lambda file: fetch(file, progress=Silent())):
        with pytest.raises(WeightsError) as caught:
            act(replace(file, sha256=pinned))
        for part in (str(path), sha256(b"another"), pinned, "delete it, then tokbench weights fetch net"):
            assert part in str(caught.value)
    assert not server.requests
    assert path.read_bytes() == b"another", "a file that is in the way is the user's to delete"


@pytest.mark.parametrize("switch", ["TOKBENCH_OFFLINE", "HF_HUB_OFFLINE"])
@pytest.mark.parametrize("hub", ["", "org/net@main:net.pth"])
def test_offline_says_so_at_once_and_uses_what_is_here(
    file: WeightsFile, server: Server, home: Path, monkeypatch: pytest.MonkeyPatch, switch: str, hub: str
) -> None:
    file = replace(file, hub=hub)
    monkeypatch.setenv(switch, "true")
    with pytest.raises(WeightsError, match=rf"{switch}=true forbids .* copy it to .*net\.pth .*https://a\.page"):
        fetch(file, progress=Silent())
    assert not server.requests
    path = put(home / ".cache/torch/hub/checkpoints/net.pth")
    assert fetch(file, progress=Silent()) == path


def test_a_large_file_is_read_once_for_each_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "REMEMBERED_FROM", 1000)
    reads: list[str] = []
    read: Callable[[str], str] = digests._read
    monkeypatch.setattr(digests, "_read", lambda path: reads.append(path) or read(path))

    def in_a_new_process(**more: bool) -> str:
        digests._known.cache_clear()
        return sha256_of(path, **more)

    path = put(tmp_path / "w", CONTENT)
    assert in_a_new_process() == in_a_new_process() == sha256(CONTENT)
    assert len(reads) == 1
    other = bytes(len(CONTENT))
    times = path.stat()
    path.write_bytes(other)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert in_a_new_process() == sha256(other), "the same length and time of change do not hide another content"
    assert in_a_new_process(read=True) == sha256(other)
    assert len(reads) == 3
    (places.cache_folder() / "weights" / "digests.json").write_text("damaged")
    assert in_a_new_process() == sha256(other)
    small = put(tmp_path / "small", b"x")
    assert sha256_of(small) == sha256(b"x")
    put(small, b"y" * 2)
    assert sha256_of(small) == sha256(b"yy")


def test_the_catalogue_is_whole() -> None:
    for owner, file in catalogue().items():
        assert file.owner == owner
        assert file.licence, owner
        assert file.source.startswith("https://"), owner
        assert can_fetch(file) != bool(file.command), f"{owner} is downloaded by tokbench or comes by a command"
        assert not (file.url and file.hub), owner
        assert file.url == "" or file.url.startswith("https://"), owner
        assert set(file.sha256) <= set("0123456789abcdef"), owner
        assert len(file.sha256) in (0, 8, 64), owner
        assert file.format not in ("torchscript", "onnx") or len(file.sha256) == 64, f"{owner} is a program"
        assert file.folders or can_fetch(file), f"{owner} can be nowhere"
        assert not file.hub or HubFile.parse(file.hub).is_pinned, owner
        assert "/" not in file.name


def test_unpinned_files_are_few_and_hold_no_programs() -> None:
    unpinned = {owner: file.format for owner, file in catalogue().items() if not file.sha256}
    assert unpinned == {"adm_imagenet256": "npz", "adm_imagenet512": "npz"}


OWNERS = (
    "inception", "inception_clean", "adm_imagenet256", "adm_imagenet512", "alexnet", "vgg16", "lpips_alex", "lpips_vgg",
    "dists", "dinov2_vitl14", "clip_vitl14_336", "effnet_lite0", "squeezenet",
)  # fmt: skip


@pytest.mark.parametrize("owner", OWNERS)
def test_networks_find_their_files_by_key(owner: str) -> None:
    assert known(owner).owner == owner


def test_a_mistyped_key_is_helped() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean inception.*tokbench weights list"):
        known("inceptoin")


def test_metrics_say_which_files_they_read() -> None:
    users = metrics_by_owner()
    assert users["lpips_alex"] == ["lpips_alex"]
    assert "lpips_alex" in users["alexnet"]
    assert {"dists", "lpips_vgg"} <= set(users["vgg16"])
    assert all(key.endswith(".dlib") for key in users["dlib"])
    assert set(users) <= set(catalogue())
    assert list(weights_in({"a": [(FILE, FILE)], "b": "text"})) == [FILE]


def test_tokenizers_say_which_files_they_read() -> None:
    users = tokenizers_by_owner()
    assert users["taef2_encoder"] == users["taef2_decoder"] == ["taef2"]
    assert users["vqvae_explore"] == ["vqvae_explore"]
    assert "ta_titok" in users["clip_vitl14_336"]
    assert set(users) <= set(catalogue())
    read = {*users, *metrics_by_owner(), "adm_imagenet512"}  # which rfid_adm reads under tasks of 512 px
    assert set(catalogue()) == read


def test_parts_of_a_network_lie_side_by_side() -> None:
    places = [(file.folder, name) for file in catalogue().values() for name in (file.name, *file.aliases)]
    assert len(set(places)) == len(places)
    assert not {file.network for file in catalogue().values()} & set(catalogue())
