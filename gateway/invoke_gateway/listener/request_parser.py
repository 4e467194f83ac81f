"""Parses requests: collects the head of one, and passes its body on.

A connection has a parser only while it reads a request, because a parser with its callbacks takes 1.1 kB. A request in
flight and an idle connection have none.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

import httptools

from .cycle import Cycle

# So many parsers are kept for the next requests. Most requests come in one piece, so one parser serves them all.
_MOST_SPARE_PARSERS = 64


class RequestReader(Protocol):
    """Reads requests from a connection: `InvokeProtocol`."""

    def begin_request(self, parser: RequestParser) -> None:
        """Acts upon the head that `parser` has collected. Raises `Unacceptable`."""


class RequestParser:
    """Parses the requests that come on one connection, one behind the other.

    reader: the connection, set before the first bytes (a `RequestReader`)
    cycle: the newest request, whose body is read; set by the reader (a `Cycle`), None before the first head
    begun, ended: how many messages have begun, and ended
    body_bytes: the size of the newest body so far
    bytes_since_progress: the bytes since the head or the body last got on; of any size, heads and trailers only add
    without_upgrade: the head of a request that wished for an upgrade, without that wish, until it is parsed once more
    http: the parser of httptools
    """

    __slots__ = (
        "begun",
        "body_bytes",
        "bytes_since_progress",
        "cycle",
        "ended",
        "headers",
        "http",
        "reader",
        "url",
        "without_upgrade",
    )

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body_bytes = 0
        self.bytes_since_progress = 0
        self.without_upgrade: bytes | None = None
        self.reset()
        self.renew()

    def renew(self) -> None:
        """Parses what comes from now on as if nothing had come before."""
        self.http: Any = httptools.HttpRequestParser(self)
        # Without the first, a whole request followed by garbage would be lost with it. Versions are judged here.
        self.http.set_dangerous_leniencies(lenient_data_after_close=True, lenient_version=True)

    def reset(self) -> None:
        """Makes ready for another connection, behind a message that has ended and left its connection open."""
        self.reader: Any = None
        self.cycle: Cycle | None = None
        self.begun = 0
        self.ended = 0

    # httptools

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.reader.begin_request(self)
        self.headers = []  # trailers must not join the headers that have been acted upon
        self.url = b""

    def on_body(self, body: bytes) -> None:
        self.bytes_since_progress = 0
        self.body_bytes += len(body)
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.add_body(body)

    def on_message_complete(self) -> None:
        self.ended += 1
        if self.without_upgrade is not None:
            return
        self.bytes_since_progress = 0
        if self.headers:  # trailers; what comes now is the next request
            self.headers = []
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.end_body()


SpareParsers = deque[RequestParser]
"""Holds the parsers that no connection uses."""


def make_spare_parsers() -> SpareParsers:
    return deque(maxlen=_MOST_SPARE_PARSERS)
