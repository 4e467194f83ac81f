"""Parses the responses of one connection to the backend: heads, framing, bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httptools

from .call import UpstreamCall
from .headers import NOT_RETURNED, SINGLED_OUT, Headers, find_listed, is_persistence

# A response head above this is garbage; real ones are well below 8 KiB.
MAX_HEAD_BYTES = 128 * 1024

# A rest of a body above this does not pass through the parser.
_LARGE_REST = 65_536


class ResponseProtocol(asyncio.Protocol):
    """Records what has been parsed: on the call, and for the class that inherits from this one."""

    __slots__ = (
        "_extra",
        "_feed",
        "_head_bytes",
        "_headers",
        "_is_complete",
        "_is_in_pieces",
        "_is_informational",
        "_keeps_alive",
        "_left",
        "_own_headers",
        "_parser",
        "_reads_until_close",
        "_singled_out",
        "call",
        "keep_alive_seconds",
    )

    def __init__(self) -> None:
        self._renew_parser()
        self.call: UpstreamCall | None = None
        self.keep_alive_seconds: float | None = None
        self._reset()

    def _renew_parser(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        # Takes what is received: the parser, or what takes its place for the rest of a large body.
        self._feed: Callable[[bytes], None] = self._parser.feed_data
        self._left = 0  # bytes of that rest

    def _reset(self) -> None:
        self._head_bytes = 0
        self._is_complete = False
        self._is_informational = False
        self._keeps_alive = False
        self._reads_until_close = False
        self._is_in_pieces = False
        self._extra = False
        # Of the head that is being read: what goes on to the client, what is about this connection, what is noted.
        self._headers: Headers | None = []
        self._own_headers: Headers = []
        self._singled_out: dict[bytes, bytes] = {}

    # httptools

    def on_message_begin(self) -> None:
        if self._is_complete:
            self._extra = True

    def on_header(self, name: bytes, value: bytes) -> None:
        headers = self._headers
        if headers is None:  # trailers are dropped
            return
        name = name.lower()
        if name not in SINGLED_OUT:
            headers.append((name, value))
        elif name in NOT_RETURNED:
            self._own_headers.append((name, value))
        else:
            headers.append((name, value))
            self._singled_out[name] = value

    def on_headers_complete(self) -> None:
        call = self.call
        if call is None or self._is_complete:
            return
        status = self._parser.get_status_code()
        if not 100 <= status <= 599:
            raise ValueError(f"its status is {status}")
        if status < 200:
            if status == 101:
                raise ValueError("it switches protocols unasked")
            self._is_informational = True
            self._headers, self._own_headers, self._singled_out = [], [], {}
            return
        headers, self._headers = self._headers or [], None
        if self._head_bytes > MAX_HEAD_BYTES and _size(headers + self._own_headers) > MAX_HEAD_BYTES:
            raise ValueError("its head is too large")
        call.status = status
        call.has_head = True
        call.headers = headers
        call.singled_out = self._singled_out
        self._reads_until_close = self._learn(call)
        if call.is_head_request:  # whatever length it names, no body follows
            self._extra = True
            self._is_complete = True

    def _learn(self, call: UpstreamCall) -> bool:
        """Records the connection headers of the response, and returns whether its body ends with the connection."""
        is_framed = call.status in (204, 304)
        listed = b""
        for name, value in self._own_headers:
            if name == b"content-length":
                is_framed = True
                call.content_length = value
            elif name == b"transfer-encoding":
                is_framed = True
                if value.lower() != b"chunked":  # the client would take the coded bytes for the body
                    raise ValueError("its Transfer-Encoding is not chunked")
            elif name == b"connection":
                listed = listed + b"," + value if listed else value
            elif name == b"keep-alive":
                self.keep_alive_seconds = _parse_keep_alive(value)
        if listed and not is_persistence(listed):
            names = find_listed(listed)
            call.headers = [header for header in call.headers if header[0] not in names]
        return not is_framed

    def on_body(self, data: bytes) -> None:
        call = self.call
        if call is not None and not self._is_complete:
            call.add(data)

    def on_message_complete(self) -> None:
        if self._is_informational:
            self._is_informational = False
            return
        self._is_complete = True
        self._keeps_alive = self._parser.should_keep_alive()  # the parser has forgotten it once we return

    # Large bodies.

    def _pass_by_parser(self, call: UpstreamCall) -> None:
        """Takes the rest of a large body as it comes, if its length is known. A parser would copy it."""
        if call.content_length is None or any(name == b"transfer-encoding" for name, _ in self._own_headers):
            return
        left = int(call.content_length) - call.received
        if left > _LARGE_REST:
            self._left = left
            self._keeps_alive = self._parser.should_keep_alive()
            self._feed = self._take_body

    def _take_body(self, data: bytes) -> None:
        call = self.call
        assert call is not None  # bytes that no call waits for end before
        self._left -= len(data)
        if self._left <= 0:
            if self._left < 0:  # the start of the next response is unknown
                data = data[: self._left]
                self._extra = True
            self._is_complete = True
            self._renew_parser()
        call.add(data)


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)


def _parse_keep_alive(value: bytes) -> float | None:
    """Returns the seconds of a `Keep-Alive: timeout=5` header."""
    for part in value.split(b","):
        name, _, number = part.strip().partition(b"=")
        if name.lower() == b"timeout" and number.isdigit():
            return float(number)
    return None
