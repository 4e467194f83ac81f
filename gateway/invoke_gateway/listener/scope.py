"""Makes scopes of the heads of requests.

Most clients repeat their requests but for the body, so the parts of the last scope are kept for the next one.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import httptools

from ..asgi import HEADERS, Scope
from ..refusals import Refusal
from .connection_setup import ConnectionSetup
from .head import Unacceptable, normalize
from .pipeline import PipelineProtocol

# Values that no header has, and with which no parsed request begins.
_NO_HOST = b" "
_NO_LINE = b"\0"


class ScopeProtocol(PipelineProtocol):
    """Adds the parser, and the head of the request that is being read."""

    __slots__ = (
        "_first_line",
        "_headers",
        "_host",
        "_is_as_sent",
        "_last_method",
        "_last_scope",
        "_last_url",
        "_repeats_line",
        "_url",
        "parser",
    )

    def __init__(self, setup: ConnectionSetup) -> None:
        super().__init__(setup)
        self.parser = self._make_parser()
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        # The last Host that was found valid: most connections only ever send one.
        self._host = _NO_HOST
        # The last target in origin form, with its method and its scope without headers, and the last first line in
        # canonical form: most are repeated.
        self._last_url = b""
        self._last_method = b""
        self._last_scope: dict[str, Any] = {}
        self._first_line = _NO_LINE
        # Whether the head that is being read begins with that line.
        self._repeats_line = False
        # Whether the newest head goes on as it came.
        self._is_as_sent = False

    def _make_parser(self) -> Any:
        parser = httptools.HttpRequestParser(self)
        # Without the first, a whole request followed by garbage would be lost with it. Versions are judged here.
        parser.set_dangerous_leniencies(lenient_data_after_close=True, lenient_version=True)
        return parser

    # httptools

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    # Scopes.

    def _begins_canonically(self, data: bytes) -> bool:
        """Returns whether a POST request has the first line that the gateway would write: origin form, single
        spaces."""
        end = data.find(b" ", 6)  # a target has no space in it
        if not data.startswith(b"POST /") or not data.startswith(b" HTTP/1.1\r\n", end):
            return False
        self._first_line = data[: end + 11]
        return True

    def _make_scope(self) -> Scope:
        if self._repeats_line:
            version, method = "1.1", b"POST"
            self._repeats_line = False  # the next head in the same piece may begin otherwise
        else:
            version = self.parser.get_http_version()  # which takes as long as ten other calls
            method = self.parser.get_method()
            if version != "1.1":
                version = _read_version(version)
        url, headers = self._url, self._headers
        by_name = dict(headers)
        host = by_name.get(b"host")
        if (
            url == self._last_url
            and host == self._host
            and version == "1.1"
            and method == self._last_method
            and len(by_name) == len(headers)
            and b"expect" not in by_name
            and b"transfer-encoding" not in by_name
        ):
            scope = self._last_scope.copy()
            self._is_as_sent = True
        else:
            raw_path, query, headers, by_name, self._is_as_sent = normalize(method, url, version, headers, by_name)
            self._host = host if host and self._is_as_sent else _NO_HOST
            scope = self._describe(method, version, raw_path, query)
            self._last_url = url if url.startswith(b"/") and version == "1.1" else b""
            self._last_method = method
            self._last_scope = scope.copy()
        scope["headers"] = headers
        scope[HEADERS] = by_name
        return scope

    def _describe(self, method: bytes, version: str, raw_path: bytes, query: bytes) -> dict[str, Any]:
        """Returns the scope of a request, but for its headers."""
        path = raw_path.decode("ascii")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "root_path": "",
            "method": method.decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
        }


def _read_version(version: str) -> str:
    """Returns the version that a request is served by: a later one of HTTP/1 is served as 1.1 (RFC 9110, 2.5)."""
    major, _, minor = version.partition(".")
    if major != "1":
        raise Unacceptable(Refusal.UNKNOWN_VERSION, text=f"HTTP/{version}")
    return "1.0" if minor == "0" else "1.1"
