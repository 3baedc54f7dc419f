"""Plain downloads against a real server: whole, interrupted, resumed, replaced, refused, wrong, at the same time."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.weights.server import Page, Server, random_bytes, sha256
from tokbench.errors import WeightsError
from tokbench.weights import download as module
from tokbench.weights import web
from tokbench.weights.download import TRIES, Download, download
from tokbench.weights.places import OFFLINE_SWITCHES
from tokbench.weights.progress import Bar, Silent, terminal_progress

CONTENT = random_bytes(300_000)


class Told(Silent):
    """Writes down what a download tells."""

    def __init__(self) -> None:
        self.files: list[tuple[str, int | None, int]] = []
        self.n = 0
        self.waits: list[str] = []
        self.n_finished = 0

    def started(self, name: str, *, total: int | None, done: int) -> None:
        self.files.append((name, total, done))

    def advanced(self, n: int) -> None:
        self.n += n

    def waiting(self, why: str) -> None:
        self.waits.append(why)

    def finished(self) -> None:
        self.n_finished += 1


def get(server: Server, folder: Path, progress: Any = None, **more: Any) -> Path:
    what = {"url": f"{server.url}/w.pth", "path": folder / "w.pth", "sha256": sha256(CONTENT)} | more
    return download(Download(**what), progress=progress or Silent())


def nothing_but(folder: Path, *names: str) -> bool:
    return {path.name for path in folder.iterdir()} == set(names)


def test_a_file_comes_whole_and_alone(server: Server, tmp_path: Path) -> None:
    server.pages["/w.pth"] = Page(CONTENT, etag='"a"')
    told = Told()
    folder = tmp_path / "deep" / "er"
    path = get(server, folder, told)
    assert path.read_bytes() == CONTENT
    assert nothing_but(folder, "w.pth")
    assert told.files == [("w.pth", len(CONTENT), 0)]
    assert told.n == len(CONTENT)
    assert told.n_finished == 1
    assert server.requests[0].headers["user-agent"].startswith("tokbench/")
    assert get(server, folder).read_bytes() == CONTENT
    assert len(server.requests) == 1, "a file that is there is not asked for again"


@pytest.mark.parametrize("sign", [{"etag": '"a"'}, {"changed": "Sat, 05 Dec 2015 00:00:00 GMT"}, {}])
def test_a_cut_connection_is_taken_up_where_it_stopped(server: Server, tmp_path: Path, sign: dict[str, str]) -> None:
    server.pages["/w.pth"] = Page(CONTENT, **sign, cuts=[100_000, 50_000])
    told = Told()
    assert get(server, tmp_path, told).read_bytes() == CONTENT
    assert [request.range for request in server.requests] == ["", "bytes=100000-", "bytes=150000-"]
    assert {request.headers.get("if-range") for request in server.requests[1:]} == {next(iter(sign.values()), None)}
    assert told.n == len(CONTENT), "no byte comes twice"
    assert [done for _, _, done in told.files] == [0, 100_000, 150_000]
    assert "trying again" in told.waits[0]


def test_an_interrupted_download_is_kept_and_resumed_by_the_next_call(server: Server, tmp_path: Path) -> None:
    server.pages["/w.pth"] = page = Page(CONTENT, etag='"a"', cuts=[120_000], statuses=[0] + [503] * TRIES)
    with pytest.raises(WeightsError, match=r"503.*after 5 tries.*0\.1 MB are kept"):
        get(server, tmp_path)
    assert not (tmp_path / "w.pth").exists()
    assert (tmp_path / "w.pth.part").read_bytes() == CONTENT[:120_000]
    page.statuses.clear()
    server.requests.clear()
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [request.range for request in server.requests] == ["bytes=120000-"], "only the rest is asked for"
    assert nothing_but(tmp_path, "w.pth")


def test_a_whole_part_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    server.pages["/w.pth"] = Page(CONTENT)
    (tmp_path / "w.pth.part").write_bytes(CONTENT)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [request.range for request in server.requests] == [f"bytes={len(CONTENT)}-"]


def test_a_part_of_another_version_is_thrown_away(server: Server, tmp_path: Path) -> None:
    server.pages["/w.pth"] = Page(random_bytes(300_000, 1), etag='"old"', cuts=[90_000], statuses=[0] + [500] * TRIES)
    with pytest.raises(WeightsError):
        get(server, tmp_path)
    server.pages["/w.pth"] = Page(CONTENT, etag='"new"')
    server.requests.clear()
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [(request.range, request.headers["if-range"]) for request in server.requests] == [
        ("bytes=90000-", '"old"')
    ], "the server sends all of it at once when the version differs"


@pytest.mark.parametrize("part", [random_bytes(70_000, 2), random_bytes(400_000, 2)], ids=["shorter", "longer"])
def test_a_wrong_part_costs_one_more_try_from_the_start(server: Server, tmp_path: Path, part: bytes) -> None:
    server.pages["/w.pth"] = Page(CONTENT)
    (tmp_path / "w.pth.part").write_bytes(part)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [request.range for request in server.requests] == [f"bytes={len(part)}-", ""]


def test_without_version_and_digest_halves_are_not_joined(server: Server, tmp_path: Path) -> None:
    server.pages["/w.pth"] = Page(CONTENT, cuts=[100_000])
    assert get(server, tmp_path, sha256="").read_bytes() == CONTENT
    assert [request.range for request in server.requests] == ["", ""]


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.pages["/w.pth"] = Page(CONTENT, etag='"a"', ranges=False, cuts=[100_000])
    told = Told()
    assert get(server, tmp_path, told).read_bytes() == CONTENT
    assert [done for _, _, done in told.files] == [0, 0]


def test_another_range_than_asked_for_is_not_appended(server: Server, tmp_path: Path) -> None:
    server.pages["/w.pth"] = Page(CONTENT, etag='"a"', cuts=[100_000], shift=-1)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [request.range for request in server.requests] == ["", "bytes=100000-", ""]


def test_a_wrong_digest_is_an_error_that_names_both(server: Server, tmp_path: Path) -> None:
    other = random_bytes(300_000, 3)
    server.pages["/w.pth"] = Page(other)
    with pytest.raises(WeightsError) as caught:
        get(server, tmp_path)
    assert sha256(other) in str(caught.value)
    assert sha256(CONTENT) in str(caught.value)
    assert nothing_but(tmp_path, "w.pth.lock"), "neither the file nor its part is kept"
    assert len(server.requests) == 1


def test_leading_digits_are_enough_to_check(server: Server, tmp_path: Path) -> None:
    server.pages["/w.pth"] = Page(CONTENT)
    assert get(server, tmp_path, sha256=sha256(CONTENT)[:8]).read_bytes() == CONTENT
    with pytest.raises(WeightsError, match="expected 00000000…"):
        get(server, tmp_path / "b", sha256="00000000")


def test_another_length_is_noticed_before_the_transfer(server: Server, tmp_path: Path) -> None:
    server.pages["/w.pth"] = Page(CONTENT[:-1])
    with pytest.raises(WeightsError, match="has 299999 bytes, expected 300000"):
        get(server, tmp_path, size=300_000)
    assert not list(tmp_path.glob("w.pth*[!k]"))


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_told_at_once_with_the_page(server: Server, tmp_path: Path, status: int) -> None:
    server.pages["/w.pth"] = Page(CONTENT, statuses=[status] * TRIES)
    with pytest.raises(WeightsError, match=rf"answers {status} .*see http://a\.page"):
        get(server, tmp_path, page="http://a.page")
    assert len(server.requests) == 1
    assert not (tmp_path / "w.pth").exists()


def test_a_server_in_trouble_is_asked_again_but_not_for_ever(server: Server, tmp_path: Path) -> None:
    server.pages["/w.pth"] = Page(CONTENT, statuses=[500, 429, 503, 502])
    assert get(server, tmp_path).read_bytes() == CONTENT
    server.pages["/w.pth"] = Page(CONTENT, statuses=[500] * 100)
    server.requests.clear()
    with pytest.raises(WeightsError, match=r"answers 500 .*after 5 tries"):
        get(server, tmp_path / "b")
    assert len(server.requests) == TRIES


def test_the_server_says_how_long_to_wait(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(module.time, "sleep", slept.append)
    monkeypatch.setattr(module, "PAUSE_S", 1.0)
    server.pages["/w.pth"] = Page(CONTENT, statuses=[429, 503, 503], headers={"Retry-After": "7"})
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert slept == [7.0, 7.0, 7.0]
    slept.clear()
    server.pages["/w.pth"] = Page(CONTENT, statuses=[503], headers={"Retry-After": "86400"})
    get(server, tmp_path / "c")
    assert slept == [web.MOST_PATIENCE_S]
    slept.clear()
    server.pages["/w.pth"] = Page(CONTENT, statuses=[503, 503, 503])
    get(server, tmp_path / "b")
    assert slept == [1.0, 2.0, 4.0]


def test_a_silent_server_does_not_hold_a_download_for_ever(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "TIMEOUT_S", 0.2)
    content = CONTENT[:40_000]
    server.pages["/w.pth"] = Page(content, etag='"a"', pause_s=1.0)
    assert get(server, tmp_path, sha256=sha256(content)).read_bytes() == content
    assert [request.range for request in server.requests] == ["", "bytes=16384-", "bytes=32768-"]


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"127\.0\.0\.1:9 cannot be reached: .*after 5 tries.*copy the file"):
        download(Download(url="http://127.0.0.1:9/w.pth", path=tmp_path / "w.pth"), progress=Silent())


def test_redirects_are_followed_but_a_token_stays_at_home(server: Server, tmp_path: Path) -> None:
    server.pages["/w.pth"] = Page(location="/moved")
    server.pages["/moved"] = Page(location=f"{server.other_host}/stored")
    server.pages["/stored"] = Page(CONTENT, etag='"a"', cuts=[100_000])
    assert get(server, tmp_path, headers={"Authorization": "Bearer secret"}).read_bytes() == CONTENT
    sent = [(request.path, request.headers.get("authorization"), request.range) for request in server.requests]
    rest = "bytes=100000-"
    assert sent == [
        ("/w.pth", "Bearer secret", ""), ("/moved", "Bearer secret", ""), ("/stored", None, ""),
        ("/w.pth", "Bearer secret", rest), ("/moved", "Bearer secret", rest), ("/stored", None, rest),
    ]  # fmt: skip


def test_only_the_web_is_asked(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(WeightsError, match="no http or https"):
        download(Download(url=(tmp_path / "a").as_uri(), path=tmp_path / "w.pth"), progress=Silent())


def test_proxies_come_from_the_usual_variables(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    server.pages["http://weights.invalid/w.pth"] = Page(CONTENT)
    assert get(server, tmp_path, url="http://weights.invalid/w.pth").read_bytes() == CONTENT
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server.pages["/w.pth"] = Page(CONTENT)
    assert get(server, tmp_path / "b").read_bytes() == CONTENT


@pytest.mark.parametrize("switch", OFFLINE_SWITCHES)
def test_offline_nothing_is_sent(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switch: str) -> None:
    server.pages["/w.pth"] = Page(CONTENT)
    monkeypatch.setenv(switch, "1")
    with pytest.raises(WeightsError, match=f"{switch}=1 forbids"):
        get(server, tmp_path)
    assert not server.requests
    monkeypatch.setenv(switch, "0")
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_full_disk_is_noticed_before_and_while(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.pages["/w.pth"] = Page(CONTENT, etag='"a"')
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 1000))
        with pytest.raises(WeightsError, match=r"needs 0 MB more in .* set TOKBENCH_WEIGHTS"):
            get(server, tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(module, "_copy", full)
        with pytest.raises(WeightsError, match="no room is left"):
            get(server, tmp_path)
    assert not (tmp_path / "w.pth").exists()
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"w\.pth: .*set TOKBENCH_WEIGHTS"):
        get(server, tmp_path / "file")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(WeightsError, match="cannot be written; or set TOKBENCH_WEIGHTS"):
        get(server, tmp_path / "new")


PROCESS = """
import json, sys
from pathlib import Path
from tokbench.weights.download import Download, download
from tokbench.weights.progress import Silent
what = json.loads(sys.argv[1])
print(download(Download(**{**what, "path": Path(what["path"])}), progress=Silent()))
"""


def in_a_process(server: Server, folder: Path) -> subprocess.Popen[str]:
    what = {"url": f"{server.url}/w.pth", "path": str(folder / "w.pth"), "sha256": sha256(CONTENT)}
    arguments = [sys.executable, "-c", PROCESS, json.dumps(what)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_at_the_same_time_fetch_it_once(server: Server, tmp_path: Path) -> None:
    server.pages["/w.pth"] = Page(CONTENT, etag='"a"', pause_s=0.05)
    running = [in_a_process(server, tmp_path) for _ in range(3)]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert Path(out.strip()).read_bytes() == CONTENT
    assert len(server.gets()) == 1
    assert nothing_but(tmp_path, "w.pth")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_process_leaves_a_part_that_the_next_one_finishes(
    server: Server, tmp_path: Path, end: signal.Signals
) -> None:
    server.pages["/w.pth"] = page = Page(CONTENT, etag='"a"', pause_s=0.1)
    process = in_a_process(server, tmp_path)
    part = tmp_path / "w.pth.part"
    deadline = time.monotonic() + 30
    while not (part.is_file() and part.stat().st_size >= 2**15):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(end)
    process.communicate(timeout=30)
    have = part.stat().st_size
    assert 0 < have < len(CONTENT)
    assert not (tmp_path / "w.pth").exists()
    page.pause_s = 0.0
    server.requests.clear()
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [request.range for request in server.requests] == [f"bytes={have}-"]


def test_who_waits_for_another_process_says_so(server: Server, tmp_path: Path) -> None:
    server.pages["/w.pth"] = Page(CONTENT, etag='"a"', pause_s=0.1)
    process = in_a_process(server, tmp_path)
    while not server.requests:
        time.sleep(0.01)
    told = Told()
    assert get(server, tmp_path, told).read_bytes() == CONTENT
    assert "another process is fetching w.pth" in told.waits[0]
    process.communicate(timeout=30)


def test_the_bar_is_for_terminals(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(terminal_progress(), Silent)
    server.pages["/w.pth"] = Page(CONTENT, cuts=[1000])
    bar = Bar()
    get(server, tmp_path, bar)
    get(server, tmp_path / "b", bar)
    out, err = capsys.readouterr()
    assert out == ""
    assert "w.pth" in err
    assert "300.0/300.0 kB" in err
    assert "trying again" in err
