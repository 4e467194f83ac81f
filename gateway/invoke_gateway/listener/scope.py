"""Makes scopes of the heads of requests.

Most clients repeat their requests but for the body, so the last scope without its headers is kept for the next one. All
connections share such templates.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from ..asgi import HEADERS, Scope
from ..refusals import Refusal
from .connection_setup import ConnectionSetup
from .head import Unacceptable, normalize
from .pipeline import PipelineProtocol
from .request_parser import RequestParser

# Values that no header has, and with which no parsed request begins.
_NO_HOST = b" "
_NO_LINE = b"\0"

# The bounds of what is shared: few targets are longer, and no client can fill the memory with others.
_MOST_SHARED = 1024
_LONGEST_SHARED = 512


class ScopeProtocol(PipelineProtocol):
    """Adds the parser of the request that is being read, and what is kept of its head."""

    __slots__ = (
        "_first_line",
        "_host",
        "_is_as_sent",
        "_parser",
        "_repeats_line",
        "_template",
    )

    def __init__(self, setup: ConnectionSetup) -> None:
        super().__init__(setup)
        self._parser: RequestParser | None = None
        # The last Host that was found valid: most connections only ever send one.
        self._host = _NO_HOST
        # The scope of the last request, without client and headers, and its first line if that is in canonical form.
        self._template: dict[str, Any]
        self._first_line = _NO_LINE
        # Whether the head that is being read begins with that line.
        self._repeats_line = False
        # Whether the newest head goes on as it came.
        self._is_as_sent = False

    def _begins_canonically(self, data: bytes) -> bool:
        """Returns whether a POST request has the first line that the gateway would write: origin form, single
        spaces."""
        end = data.find(b" ", 6)  # a target has no space in it
        if not data.startswith(b"POST /") or not data.startswith(b" HTTP/1.1\r\n", end):
            return False
        line = data[: end + 11]
        self._first_line = _share_line(line) if end <= _LONGEST_SHARED else line
        return True

    def _make_scope(self, parser: RequestParser) -> Scope:
        headers = parser.headers
        by_name = dict(headers)
        if (
            self._repeats_line
            and by_name.get(b"host") == self._host
            and len(by_name) == len(headers)
            and b"expect" not in by_name
            and b"transfer-encoding" not in by_name
        ):
            self._is_as_sent = True
        else:
            method = parser.http.get_method()
            version = _read_version(parser.http.get_http_version())
            host = by_name.get(b"host")
            path, query, headers, by_name, self._is_as_sent = normalize(method, parser.url, version, headers, by_name)
            self._host = host if host and self._is_as_sent else _NO_HOST
            self._first_line = _NO_LINE
            make = _share_template if len(path) + len(query) <= _LONGEST_SHARED else _make_template
            self._template = make(method, version, path, query, self._scheme, self._server)
        self._repeats_line = False  # the next head in the same piece may begin otherwise
        scope = self._template.copy()
        scope["client"] = self._client
        scope["headers"] = headers
        scope[HEADERS] = by_name
        return scope


def _make_template(
    method: bytes, version: str, raw_path: bytes, query: bytes, scheme: str, server: tuple[str, int | None] | None
) -> dict[str, Any]:
    """Returns the scope of a request, but for its client and its headers."""
    path = raw_path.decode("ascii")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": version,
        "server": server,
        "client": None,
        "scheme": scheme,
        "root_path": "",
        "method": method.decode("ascii"),
        "path": unquote(path) if "%" in path else path,
        "raw_path": raw_path,
        "query_string": query,
    }


_share_template = lru_cache(_MOST_SHARED)(_make_template)


@lru_cache(_MOST_SHARED)
def _share_line(line: bytes) -> bytes:
    """Returns one object for all equal lines."""
    return line


def _read_version(version: str) -> str:
    """Returns the version that a request is served by: a later one of HTTP/1 is served as 1.1 (RFC 9110, 2.5)."""
    major, _, minor = version.partition(".")
    if major != "1":
        raise Unacceptable(Refusal.UNKNOWN_VERSION, text=f"HTTP/{version}")
    return "1.0" if minor == "0" else "1.1"
