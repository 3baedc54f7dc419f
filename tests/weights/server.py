"""A loopback file server whose behaviour a test writes down: ranges, versions, cuts, errors, redirects."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def random_bytes(n: int, seed: int = 0) -> bytes:
    import numpy as np

    return np.random.default_rng(seed).bytes(n)


@dataclass
class Page:
    """What is behind one path.

    Attributes:
        cuts: for the first requests one by one, after how many bytes of the body the connection is cut.
        statuses: for the first requests one by one, an error status instead of the content (0 serves it).
        status_for_head: HEAD requests count for ``statuses``, too.
        pause_s: before each 16 KiB.
        shift: answered ranges begin so many bytes off.
        location: a redirect to there.
        headers: sent with every answer.
    """

    content: bytes = b""
    etag: str = ""
    changed: str = ""
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    status_for_head: bool = False
    pause_s: float = 0.0
    shift: int = 0
    location: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]

    @property
    def range(self) -> str:
        return self.headers.get("range", "")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, Page] = {}
        self.requests: list[Request] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def other_host(self) -> str:
        """The same server under another name, as a hub's storage is."""
        return f"http://localhost:{self.server_port}"

    def gets(self, path: str = "") -> list[Request]:
        return [request for request in self.requests if request.method == "GET" and path in request.path]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what some tests are about."""


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def put_on_hub(
    server: Server, repo: str, path: str, content: bytes, *, commit: str, branches: tuple[str, ...] = ("main",)
) -> Page:
    """Serve a large file as the hub does: named by its SHA-256, redirected to a storage under another host name.

    Returns:
        The stored file, whose transfer may be made to fail.
    """
    digest = sha256(content)
    headers = {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
    stored = server.pages[f"/storage/{digest}?signature=1"] = Page(content, etag=f'"{digest}"')
    location = f"{server.other_host}/storage/{digest}?signature=1"
    for revision in (commit, *branches):
        server.pages[f"/{repo}/resolve/{revision}/{path}"] = Page(location=location, headers=headers)
    return stored


def put_small_on_hub(
    server: Server, repo: str, path: str, content: bytes, *, commit: str, branches: tuple[str, ...] = ("main",)
) -> str:
    """Serve a small file as the hub does: by itself, named by its git blob's SHA-1, which is returned."""
    etag = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    for revision in (commit, *branches):
        page = Page(content, etag=f'"{etag}"', headers={"X-Repo-Commit": commit})
        server.pages[f"/{repo}/resolve/{revision}/{path}"] = page
    return etag


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.server.lock:
            self.server.requests.append(Request(self.command, self.path, headers))
            page = self.server.pages.get(self.path)
            is_get = self.command == "GET"
            status = page.statuses.pop(0) if page and page.statuses and (is_get or page.status_for_head) else 0
            cut = page.cuts.pop(0) if page and page.cuts and is_get and not status else -1
        if page is None:
            self._send(404, {}, b"")
        elif status:
            self._send(status, page.headers, b"no")
        elif page.location:
            self._send(302, {**page.headers, "Location": page.location}, b"")
        else:
            self._content(page, headers, cut)

    def _content(self, page: Page, headers: dict[str, str], cut: int) -> None:
        more = dict(page.headers)
        if page.etag:
            more.setdefault("ETag", page.etag)
        if page.changed:
            more["Last-Modified"] = page.changed
        condition = headers.get("if-range", "")
        start = 0
        if page.ranges and "range" in headers and (not condition or condition in (page.etag, page.changed)):
            start = int(headers["range"].removeprefix("bytes=").rstrip("-"))
            if start >= len(page.content):
                self._send(416, {**more, "Content-Range": f"bytes */{len(page.content)}"}, b"")
                return
            start += page.shift
            more["Content-Range"] = f"bytes {start}-{len(page.content) - 1}/{len(page.content)}"
        self._send(206 if "Content-Range" in more else 200, more, page.content[start:], page.pause_s, cut)

    def _send(self, status: int, headers: dict[str, str], body: bytes, pause_s: float = 0.0, cut: int = -1) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        body = body if cut < 0 else body[:cut]
        for start in range(0, len(body), 2**14):
            self.wfile.write(body[start : start + 2**14])
            if pause_s:
                time.sleep(pause_s)
        if cut >= 0:
            self.close_connection = True
