"""Serves one client connection: HTTP/1.1 into ASGI, within bounds.

uvicorn runs the servers (sockets, TLS, start, drain), and this class replaces uvicorn's own protocol classes. It
differs in its bounds: size and number of headers, trailers, the time of a head or a body, the time that a response may
be left untaken. No bound costs a timer per request: `timeouts` checks all open connections. A response with its body is
one write.

A connection is one object: a call between two objects would cost time in every request. Each subject has a class and a
file of its own. Each class inherits from the one before it, and calls none behind it: `transport`, `pipeline`, `scope`,
`rejection`, `progress`, and the one of this file.

A wish to upgrade to another protocol is ignored. The parser stops at such a request and drops its body, so the request
is parsed once more without this wish.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.server import ServerState

from ..asgi import HEADERS, MESSAGE
from ..refusals import Refusal
from ..write_batcher import WriteBatcher
from .body_reader import BodyReader
from .connection_setup import ConnectionSetup, ExtraHeaders, Refuse
from .cycle import Cycle
from .head import Unacceptable, malformed, without_upgrade
from .limits import ListenerLimits
from .pipeline import PIPELINED
from .progress import ProgressProtocol
from .rejection import refuse
from .request_parser import RequestParser, SpareParsers

# One read can bring ten thousand small requests: above this number of waiting ones they are refused.
_FLOOD = 64

_TAB = ord("\t")


class InvokeProtocol(ProgressProtocol):
    """Adds the reading of messages, and serves a connection: the first three arguments are those that uvicorn gives.

    limits: the bounds of this connection
    write_batcher: takes the small responses
    spare_parsers: the parsers that the connections of a listener use in turn
    refuse: renders what the listener itself refuses
    extra_headers: adds headers to those refusals
    """

    __slots__ = ("_spare_parsers",)

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ListenerLimits,
        write_batcher: WriteBatcher,
        spare_parsers: SpareParsers,
        refuse: Refuse = refuse,
        extra_headers: ExtraHeaders | None = None,
    ) -> None:
        loop = _loop or asyncio.get_event_loop()
        super().__init__(ConnectionSetup(config, server_state, loop, limits, write_batcher, refuse, extra_headers))
        self._spare_parsers = spare_parsers

    def data_received(self, data: bytes) -> None:
        self._idle_since = None
        parser = self._parser
        is_between_messages = parser is None
        if parser is None:
            spare = self._spare_parsers
            parser = self._parser = spare.pop() if spare else RequestParser()
            parser.reader = self
            parser.bytes_since_progress = len(data)
        else:
            parser.bytes_since_progress += len(data)
        is_repeated = self._repeats_line = is_between_messages and data.startswith(self._first_line)
        try:
            try:
                parser.http.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._parse_resumed(parser, data, upgrade)
        except httptools.HttpParserError as error:
            self._reject_unparsed(parser, error)
        else:
            cycle = parser.cycle
            # What follows the last request of a connection is dropped by the parser, and must not be passed on.
            if cycle is not None and parser.begun == parser.ended and cycle.keep_alive:
                if (
                    parser.ended == 1
                    and is_between_messages
                    and self._is_as_sent
                    and (is_repeated or self._begins_canonically(data))
                    # Some do not take a tab for a space. And nothing but the body may follow the head.
                    and (_TAB not in data or data.find(b"\t", 0, len(data) - parser.body_bytes) < 0)
                    and (data[-1] not in b"\r\n" or data.find(b"\r\n\r\n") + 4 + parser.body_bytes == len(data))
                ):
                    cycle.scope[MESSAGE] = data
                self._parser = None
                parser.reset()
                self._spare_parsers.append(parser)
            elif parser.bytes_since_progress > self._limits.max_header_bytes:
                self.reject(Refusal.HEAD_TOO_LARGE, limit=f"{self._limits.max_header_bytes} bytes")
        if self._running is not self._served and not self._is_serving:
            self._is_serving = True
            self.write_batcher.run_soon(self._serve)

    def _parse_resumed(self, parser: RequestParser, data: bytes, upgrade: httptools.HttpParserUpgrade) -> None:
        """Parses a request with a wish to upgrade once more, and what follows. Raises `httptools.HttpParserError`."""
        while True:
            (parsed,) = upgrade.args
            assert parser.without_upgrade is not None  # the parser stops nowhere else
            data = parser.without_upgrade + data[parsed:]
            parser.without_upgrade = None
            parser.renew()
            try:
                parser.http.feed_data(data)
                return
            except httptools.HttpParserUpgrade as another:
                upgrade = another

    # RequestReader

    def begin_request(self, parser: RequestParser) -> None:
        self._check_head(parser)
        http = parser.http
        if http.should_upgrade():  # the parser stops behind this head
            method = http.get_method()
            if method == b"CONNECT":
                raise Unacceptable(Refusal.NOT_IMPLEMENTED, text="CONNECT")
            parser.without_upgrade = without_upgrade(method, parser.url, http.get_http_version(), parser.headers)
            return
        parser.bytes_since_progress = 0
        parser.body_bytes = 0
        scope = self._make_scope(parser)
        keep_alive = scope["http_version"] == "1.1" and http.should_keep_alive()
        cycle = self._cycle = parser.cycle = Cycle(self, scope, keep_alive=keep_alive)
        running = self._running
        if running is None or running.response_complete:
            self._running = cycle
        else:
            # Reading goes on, or a client that hangs up would not be noticed; but not for any number of requests.
            self._waiting.append(cycle)
            if len(self._waiting) > PIPELINED:
                self.flow.pause_reading()

    def _check_head(self, parser: RequestParser) -> None:
        limits = self._limits
        if self._waiting and len(self._waiting) >= _FLOOD:
            raise malformed(f"{_FLOOD} others wait for their responses")
        if len(parser.headers) > limits.max_headers:
            raise Unacceptable(Refusal.HEAD_TOO_LARGE, limit=f"{limits.max_headers} headers")
        if parser.bytes_since_progress > limits.max_header_bytes:  # rarely: most heads arrive in one small piece
            size = len(parser.url) + sum(len(name) + len(value) + 4 for name, value in parser.headers)
            if size > limits.max_header_bytes:
                raise Unacceptable(Refusal.HEAD_TOO_LARGE, limit=f"{limits.max_header_bytes} bytes")

    # Large bodies.

    def read_into(self, cycle: object, view: memoryview) -> None:
        """Reads the rest of the newest request's body into `view`, past the parser, which would copy it twice.

        Not done where the parser knows more than the length: of a chunked body, and of a last request, behind which it
        drops what comes.
        """
        parser, newest = self._parser, self._cycle
        if newest is None or newest is not cycle or not newest.keep_alive:
            return
        by_name = newest.scope[HEADERS]
        length = by_name.get(b"content-length")
        if length is None or b"transfer-encoding" in by_name:
            return
        if parser is None or len(view) != int(length) - parser.body_bytes:
            return
        self._read_with(BodyReader(self, view))

    def record_read(self, size: int) -> None:
        parser = self._parser
        assert parser is not None  # it has read the head
        parser.body_bytes += size
        parser.bytes_since_progress = 0

    def end_read(self, view: memoryview) -> None:
        """Goes on with the next request: the body is whole. The parser has missed its end, and is of no more use."""
        self._parser = None
        self._read_with(self)
        cycle = self._cycle
        if cycle is not None and not cycle.response_complete:
            cycle.add_filled(view)
            cycle.end_body()

    def _read_with(self, protocol: asyncio.BaseProtocol) -> None:
        """Hands what comes to `protocol`. The transport chooses its way to read when it starts to."""
        self.flow.pause_reading()
        self.transport.set_protocol(protocol)
        self.flow.resume_reading()

    def __repr__(self) -> str:
        state = "idle" if self._idle_since is not None else "busy"
        return f"<InvokeProtocol {self._client} {state} waiting={len(self._waiting)}>"
