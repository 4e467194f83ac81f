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

# One read can bring ten thousand small requests: above this number of waiting ones they are refused.
_FLOOD = 64


class InvokeProtocol(ProgressProtocol):
    """Adds the reading of messages, and serves a connection: the first three arguments are those that uvicorn gives.

    limits: the bounds of this connection
    write_batcher: takes the small responses
    refuse: renders what the listener itself refuses
    extra_headers: adds headers to those refusals
    """

    __slots__ = (
        "_begun",
        "_ended",
        "_without_upgrade",
    )

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ListenerLimits,
        write_batcher: WriteBatcher,
        refuse: Refuse = refuse,
        extra_headers: ExtraHeaders | None = None,
    ) -> None:
        loop = _loop or asyncio.get_event_loop()
        super().__init__(ConnectionSetup(config, server_state, loop, limits, write_batcher, refuse, extra_headers))
        # How many messages the parser has met.
        self._begun = 0
        self._ended = 0
        # The head of a request that wished for an upgrade, without that wish, until it is parsed once more.
        self._without_upgrade: bytes | None = None

    def data_received(self, data: bytes) -> None:
        self._idle_since = None
        self._bytes_since_progress += len(data)
        ended = self._ended
        is_between_messages = self._begun == ended
        is_repeated = self._repeats_line = is_between_messages and data.startswith(self._first_line)
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._parse_resumed(data, upgrade)
        except httptools.HttpParserError as error:
            self._reject_unparsed(error)
        else:
            if is_between_messages and self._begun == self._ended == ended + 1:
                cycle = self._cycle
                # What follows the last request of a connection is dropped by the parser, and must not be passed on.
                if (
                    cycle is not None
                    and cycle.keep_alive
                    and self._is_as_sent
                    and (is_repeated or self._begins_canonically(data))
                    # Some do not take a tab for a space. And nothing but the body may follow the head.
                    and data.find(b"\t", 0, len(data) - self._body_bytes) < 0
                    and (data[-1] not in b"\r\n" or data.find(b"\r\n\r\n") + 4 + self._body_bytes == len(data))
                ):
                    cycle.scope[MESSAGE] = data
            if self._bytes_since_progress > self._limits.max_header_bytes:
                self.reject(Refusal.HEAD_TOO_LARGE, limit=f"{self._limits.max_header_bytes} bytes")
        if self._running is not self._served and not self._is_serving:
            self._is_serving = True
            self.write_batcher.defer(self._serve)

    def _parse_resumed(self, data: bytes, upgrade: httptools.HttpParserUpgrade) -> None:
        """Parses a request with a wish to upgrade once more, and what follows. Raises `httptools.HttpParserError`."""
        while True:
            (parsed,) = upgrade.args
            assert self._without_upgrade is not None  # the parser stops nowhere else
            data = self._without_upgrade + data[parsed:]
            self._without_upgrade = None
            self.parser = self._make_parser()
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as another:
                upgrade = another

    # httptools

    def on_message_begin(self) -> None:
        self._begun += 1

    def on_headers_complete(self) -> None:
        self._check_head()
        if self.parser.should_upgrade():  # the parser stops behind this head
            method = self.parser.get_method()
            if method == b"CONNECT":
                raise Unacceptable(Refusal.NOT_IMPLEMENTED, text="CONNECT")
            self._without_upgrade = without_upgrade(method, self._url, self.parser.get_http_version(), self._headers)
            self._headers = []
            self._url = b""
            return
        self._bytes_since_progress = 0
        self._body_bytes = 0
        scope = self._make_scope()
        keep_alive = scope["http_version"] == "1.1" and self.parser.should_keep_alive()
        cycle = self._cycle = Cycle(self, scope, keep_alive=keep_alive)
        # Trailers must not join the headers that have been acted upon.
        self._headers = []
        self._url = b""
        running = self._running
        if running is None or running.response_complete:
            self._running = cycle
        else:
            # Reading goes on, or a client that hangs up would not be noticed; but not for any number of requests.
            self._waiting.append(cycle)
            if len(self._waiting) > PIPELINED:
                self.flow.pause_reading()

    def _check_head(self) -> None:
        limits = self._limits
        if len(self._waiting) >= _FLOOD:
            raise malformed(f"{_FLOOD} others wait for their responses")
        if len(self._headers) > limits.max_headers:
            raise Unacceptable(Refusal.HEAD_TOO_LARGE, limit=f"{limits.max_headers} headers")
        if self._bytes_since_progress > limits.max_header_bytes:  # rarely: most heads arrive in one small piece
            size = len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers)
            if size > limits.max_header_bytes:
                raise Unacceptable(Refusal.HEAD_TOO_LARGE, limit=f"{limits.max_header_bytes} bytes")

    def on_body(self, body: bytes) -> None:
        self._bytes_since_progress = 0
        self._body_bytes += len(body)
        cycle = self._cycle
        if cycle is not None and not cycle.response_complete:
            cycle.add_body(body)

    def on_message_complete(self) -> None:
        self._ended += 1
        if self._without_upgrade is not None:
            return
        self._bytes_since_progress = 0
        if self._headers:  # trailers; what comes now is the next request
            self._headers = []
        cycle = self._cycle
        if cycle is not None and not cycle.response_complete:
            cycle.end_body()

    # Large bodies.

    def read_into(self, cycle: Cycle, view: memoryview) -> None:
        """Reads the rest of the newest request's body into `view`, past the parser, which would copy it twice.

        Not done where the parser knows more than the length: of a chunked body, and of a last request, behind which it
        drops what comes.
        """
        by_name = cycle.scope[HEADERS]
        length = by_name.get(b"content-length")
        if cycle is not self._cycle or not cycle.keep_alive or length is None or b"transfer-encoding" in by_name:
            return
        if len(view) != int(length) - self._body_bytes:
            return
        self._read_with(BodyReader(self, view))

    def record_read(self, size: int) -> None:
        self._body_bytes += size
        self._bytes_since_progress = 0

    def end_read(self, view: memoryview) -> None:
        """Goes on with the next request: the body is whole."""
        self.parser = self._make_parser()
        self._read_with(self)
        cycle = self._cycle
        if cycle is not None and not cycle.response_complete:
            cycle.add_filled(view)
        self.on_message_complete()

    def _read_with(self, protocol: asyncio.BaseProtocol) -> None:
        """Hands what comes to `protocol`. The transport chooses its way to read when it starts to."""
        self.flow.pause_reading()
        self.transport.set_protocol(protocol)
        self.flow.resume_reading()

    def __repr__(self) -> str:
        state = "idle" if self._idle_since is not None else "busy"
        return f"<InvokeProtocol {self._client} {state} waiting={len(self._waiting)}>"
