"""HTTP requests of downloads: urllib with its proxies, redirects that keep secrets, and errors worth another try."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

from tokbench.environment import package_version
from tokbench.errors import WeightsError
from tokbench.weights import places

TIMEOUT_S = 30.0
"""Without a byte; then the request counts as failed."""

MOST_PATIENCE_S = 60.0
"""However long a server asks to wait."""

_MOST_REDIRECTS = 5
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429, 500, 502, 503, 504})


class PassingError(Exception):
    """A failure that another try may not meet.

    Attributes:
        retry_after_s: how long the server asks to wait, 0.0 if it does not say.
    """

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RefusedError(Exception):
    """The server answers, and its answer will not change.

    Attributes:
        status, reason: of HTTP.
        headers: of the answer, by lower-case name.
    """

    def __init__(self, *, status: int, reason: str, headers: Mapping[str, str]) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.headers = {name.lower(): value for name, value in headers.items()}


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, without taking a token to another host or leaving https."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if before.scheme == "https" and after.scheme != "https":
            raise WeightsError(f"{req.full_url} redirects to {newurl}, which is not https; nothing was downloaded")
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None:
            new.method = req.get_method()  # a HEAD stays one
            if before.netloc != after.netloc:
                new.remove_header("Authorization")
        return new


class _Stay(urllib.request.HTTPRedirectHandler):
    """Hands a redirect back instead of following it."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def open_url(url: str, *, headers: Mapping[str, str] | None = None) -> Any:
    """The open response of a GET; proxies come from the usual variables.

    Raises:
        PassingError: no connection, a timeout, or a status that another try may not meet.
        RefusedError: any other error status.
        WeightsError: an offline switch is on.
    """
    return _send(url, "GET", headers, _Redirects())


def head(url: str, *, headers: Mapping[str, str] | None = None) -> Mapping[str, str]:
    """The headers that a server has for a URL, by lower-case name; follows redirects within the host and no others.

    Raises:
        PassingError, RefusedError, WeightsError: as :func:`open_url`.
    """
    for _ in range(_MOST_REDIRECTS):
        try:
            with _send(url, "HEAD", headers, _Stay()) as response:
                return {name.lower(): value for name, value in response.headers.items()}
        except RefusedError as err:
            if err.status not in (301, 302, 303, 307, 308):
                raise
            target = urljoin(url, err.headers.get("location", ""))
            if urlsplit(target).netloc != urlsplit(url).netloc or "x-repo-commit" in err.headers:
                return err.headers
            url = target
    raise WeightsError(f"{url} redirects in circles")


def _send(
    url: str, method: str, headers: Mapping[str, str] | None, redirects: urllib.request.HTTPRedirectHandler
) -> Any:
    if switch := places.offline_switch():
        raise WeightsError(f"{url} is not asked for: {switch} forbids it")
    if urlsplit(url).scheme not in ("http", "https"):
        raise WeightsError(f"{url} is no http or https address")
    agent = f"tokbench/{package_version('tokbench') or '0'}"
    sent = {"User-Agent": agent, "Accept-Encoding": "identity", **(headers or {})}
    request = urllib.request.Request(url, method=method, headers=sent)
    try:
        return urllib.request.build_opener(redirects).open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as err:
        err.close()
        if err.code in _WORTH_ANOTHER_TRY:
            wait = err.headers.get("Retry-After", "")
            seconds = min(float(wait), MOST_PATIENCE_S) if wait.isdigit() else 0.0
            message = f"{urlsplit(url).netloc} answers {err.code} {err.reason}"
            raise PassingError(message, retry_after_s=seconds) from err
        raise RefusedError(status=err.code, reason=str(err.reason), headers=dict(err.headers.items())) from err
    except urllib.error.URLError as err:
        raise PassingError(f"{urlsplit(url).netloc} cannot be reached: {err.reason}") from err
    except (OSError, http.client.HTTPException) as err:
        raise PassingError(f"{urlsplit(url).netloc} cannot be reached: {type(err).__name__} {err}".rstrip()) from err
