"""Parses responses of the backend: heads, framing, bodies.

A connection has a parser only while it reads a response, because a parser with its callbacks takes 1.1 kB. A call in
flight and an idle connection have none.
"""

from __future__ import annotations

from collections.abc import Callable

import httptools

from .call import UpstreamCall
from .headers import NOT_RETURNED, SINGLED_OUT, Headers, find_listed, is_persistence

# A response head above this is garbage; real ones are well below 8 KiB.
MAX_HEAD_BYTES = 128 * 1024

# A rest of a body above this does not pass through the parser.
_LARGE_REST = 65_536


class ResponseParser:
    """Parses one response at a time: records it on `call`, and what it means for its connection in its own attributes.

    call: the call whose response is parsed; set before the first bytes
    feed: takes what is received: the parser, or what takes its place for the rest of a large body
    received: the bytes of the response, its head included
    is_complete: the end of the response is parsed
    is_in_pieces: the response did not come in one piece
    is_followed: bytes came that are no part of the response
    keeps_alive: the response leaves the connection open
    keep_alive_seconds: the time for which it announces so; None: it does not
    reads_until_close: the body ends with the connection
    """

    __slots__ = (
        "_headers",
        "_is_informational",
        "_left",
        "_own_headers",
        "_parser",
        "_singled_out",
        "call",
        "feed",
        "is_complete",
        "is_followed",
        "is_in_pieces",
        "keep_alive_seconds",
        "keeps_alive",
        "reads_until_close",
        "received",
    )

    def __init__(self) -> None:
        self._renew_parser()
        self.call: UpstreamCall
        self._is_informational = False
        self.keeps_alive = False
        self.keep_alive_seconds: float | None = None
        self.reads_until_close = False
        self.is_in_pieces = False
        self.is_followed = False
        self.reset()

    def _renew_parser(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.feed: Callable[[bytes], None] = self._parser.feed_data
        self._left = 0  # bytes of the rest of a large body

    def reset(self) -> None:
        """Makes ready for the next response, behind one that has left its connection open. Each response sets the other
        attributes before they are read."""
        self.received = 0
        self.is_complete = False
        # Of the head that is being read: what goes on to the client, what is about this connection, what is noted.
        self._headers: Headers | None = []
        self._own_headers: Headers = []
        self._singled_out: dict[bytes, bytes] = {}

    # httptools

    def on_message_begin(self) -> None:
        if self.is_complete:
            self.is_followed = True

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
        if self.is_complete:
            return
        call = self.call
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
        if self.received > MAX_HEAD_BYTES and _size(headers + self._own_headers) > MAX_HEAD_BYTES:
            raise ValueError("its head is too large")
        call.status = status
        call.has_head = True
        call.headers = headers
        call.singled_out = self._singled_out
        self.reads_until_close = self._learn(call)
        if call.is_head_request:  # whatever length it names, no body follows
            self.is_followed = True
            self.is_complete = True

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
        if not self.is_complete:
            self.call.add(data)

    def on_message_complete(self) -> None:
        if self._is_informational:
            self._is_informational = False
            return
        self.is_complete = True
        self.keeps_alive = self._parser.should_keep_alive()  # the parser has forgotten it once we return

    # Large bodies.

    def pass_by_parser(self, call: UpstreamCall) -> None:
        """Takes the rest of a large body as it comes, if its length is known. A parser would copy it."""
        if call.content_length is None or any(name == b"transfer-encoding" for name, _ in self._own_headers):
            return
        left = int(call.content_length) - call.received
        if left > _LARGE_REST:
            self._left = left
            self.keeps_alive = self._parser.should_keep_alive()
            self.feed = self._take_body

    def _take_body(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left <= 0:
            if self._left < 0:  # the start of the next response is unknown
                data = data[: self._left]
                self.is_followed = True
            self.is_complete = True
            self._renew_parser()
        self.call.add(data)


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)


def _parse_keep_alive(value: bytes) -> float | None:
    """Returns the seconds of a `Keep-Alive: timeout=5` header."""
    for part in value.split(b","):
        name, _, number = part.strip().partition(b"=")
        if name.lower() == b"timeout" and number.isdigit():
            return float(number)
    return None
