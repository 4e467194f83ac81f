"""Serves one client connection: HTTP/1.1 into ASGI, within bounds.

uvicorn runs the servers (sockets, TLS, start, drain), and this class replaces uvicorn's own protocol classes. It
differs in its bounds: size and number of headers, trailers, the time of a head or a body, the time that a response may
be left untaken. No bound costs a timer per request: `timeouts` checks all open connections. A response with its body is
one write.

A wish to upgrade to another protocol is ignored. The parser stops at such a request and drops its body, so the request
is parsed once more without this wish.

This file is longer than 300 lines. The parts of its one class share the state of one parser, and a call between two
objects would cost time in every request.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Generator, Hashable, Mapping
from functools import partial
from types import CoroutineType, coroutine
from typing import Any, NamedTuple, Protocol, cast
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from ..asgi import CALL, DONE, HEADERS, MESSAGE, App, Scope
from ..exchange import new_request_id
from ..refusals import Refusal, Rendered, render
from ..write_batcher import WriteBatcher
from .body_reader import BodyReader
from .cycle import STATUS_LINES, Cycle
from .flow_control import FlowControl
from .head import Unacceptable, malformed, normalize, without_upgrade
from .overflow import Overflow
from .unacknowledged import count_unacknowledged

log = logging.getLogger("invoke_gateway")

# A body must bring this much within each read time-out, so that dribbling does not count as progress.
PROGRESS_BYTES = 65_536

# Requests that may wait on one connection behind the served one; above this number no more are read. One read can bring
# ten thousand small requests: above the second number they are refused.
_PIPELINED = 16
_FLOOD = 64

_RESET = struct.pack("ii", 1, 0)

# Values that no header has, and with which no parsed request begins.
_NO_HOST = b" "
_NO_LINE = b"\0"

# Connections above the ceiling that get a refusal at one time; further ones are only cut.
_ANSWERED_EXCESS = 256


class ListenerLimits(NamedTuple):
    max_connections: int = 16_384
    max_header_bytes: int = 65_536
    max_headers: int = 128
    read_timeout_seconds: float = 60


Refuse = Callable[..., Rendered]
"""Renders a refusal, with the values of its text, as the listener's clients read it."""

ExtraHeaders = Callable[[Mapping[bytes, bytes]], list[tuple[bytes, bytes]]]
"""Returns the further headers of the answer to a request with these headers."""


def refuse(refusal: Refusal, **values: object) -> Rendered:
    """Renders a refusal in Lambda's shape."""
    rendered = render(refusal, **values)
    request_id = (b"x-amzn-requestid", new_request_id().encode())
    return rendered._replace(headers=(*rendered.headers, request_id))


class AwaitedCall(Protocol):
    """Is the call to the backend that a request waits for."""

    has_ended: bool

    def resume_at_end(self, resume: Callable[[], None] | None) -> None:
        """Has `resume` called once, at the end of the call; None: not called."""


class InvokeProtocol(asyncio.Protocol):
    """Serves one client connection. The first three arguments are those that uvicorn gives to every protocol class.

    limits: the bounds of this connection
    write_batcher: takes the small responses
    refuse: renders what the listener itself refuses
    extra_headers: adds headers to those refusals
    """

    __slots__ = (
        "_answers_head",
        "_app",
        "_begun",
        "_body_bytes",
        "_bytes_since_progress",
        "_call",
        "_client",
        "_connections",
        "_cycle",
        "_date",
        "_ended",
        "_extra_headers",
        "_first_line",
        "_headers",
        "_host",
        "_idle_since",
        "_is_as_sent",
        "_is_lost",
        "_is_serving",
        "_keep_alive_seconds",
        "_last_method",
        "_last_scope",
        "_last_url",
        "_limits",
        "_next_rest",
        "_pending",
        "_refuse",
        "_repeats_line",
        "_rest",
        "_running",
        "_scheme",
        "_served",
        "_server",
        "_url",
        "_waiting",
        "_without_upgrade",
        "_worker",
        "flow",
        "loop",
        "parser",
        "server_state",
        "stalled_at",
        "stalled_step",
        "transport",
        "write_batcher",
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
        self.loop = _loop or asyncio.get_event_loop()
        self.server_state = server_state
        # What a drain waits for, and cancels at its end: tasks, and connections that wait for a call.
        self._pending = cast("set[object]", server_state.tasks)
        self.parser = self._make_parser()
        self.transport: asyncio.Transport
        self.flow: FlowControl
        self._app = cast("App", config.loaded_app)
        self._connections = cast("set[InvokeProtocol]", server_state.connections)
        # The real type, where uvicorn names another one: a compiled module would check for that.
        self._keep_alive_seconds: float = cast("Any", config).timeout_keep_alive
        self.write_batcher = write_batcher
        self._limits = limits
        self._refuse = refuse
        self._extra_headers = extra_headers
        self._server: tuple[str, int | None] | None = None
        self._client: tuple[str, int] | None = None
        self._scheme = "http"
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
        # Whether what is refused is a HEAD request, whose answer has no body.
        self._answers_head = False
        # The head of a request that wished for an upgrade, without that wish, until it is parsed once more.
        self._without_upgrade: bytes | None = None
        # The newest request, the one that is being served, and those between them.
        self._cycle: Cycle | None = None
        self._running: Cycle | None = None
        self._waiting: list[Cycle] = []  # at most some dozens, and nearly always none
        # The request that the application was last called for, whether it is still at it, and what is left to be done.
        self._served: Cycle | None = None
        self._is_serving = False
        self._rest: Any = None
        self._call: AwaitedCall | None = None
        self._worker: asyncio.Task[None] | None = None
        self._next_rest: asyncio.Future[None] | None = None
        self._is_lost = False
        self._date: tuple[object, bytes] = (None, b"")
        # How many messages the parser has met.
        self._begun = 0
        self._ended = 0
        # Bytes since the head or the body last got on; a head, or trailers, of any size would only make this grow.
        self._bytes_since_progress = 0
        self._body_bytes = 0
        self._idle_since: float | None = None
        self.stalled_at: float | None = None
        self.stalled_step: Hashable = None

    def default_headers(self) -> bytes:
        """Returns the headers of every response as bytes: the Date, which changes each second."""
        headers = self.server_state.default_headers
        if headers is not self._date[0]:
            self._date = (headers, b"".join(b"%b: %b\r\n" % header for header in headers))
        return self._date[1]

    def _make_parser(self) -> Any:
        parser = httptools.HttpRequestParser(self)
        # Without the first, a whole request followed by garbage would be lost with it. Versions are judged here.
        parser.set_dangerous_leniencies(lenient_data_after_close=True, lenient_version=True)
        return parser

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.flow = FlowControl(self.transport, self.loop)
        self._connections.add(self)
        self._server = get_local_addr(self.transport)
        self._client = get_remote_addr(self.transport)
        self._scheme = "https" if is_ssl(self.transport) else "http"
        excess = len(self._connections) - self._limits.max_connections
        if excess > 0:
            self._app = Overflow(self._limits.max_connections, self._refuse, self._extra_headers)
            if excess > _ANSWERED_EXCESS:
                self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._waiting.clear()
        self._is_lost = True
        if self._worker is not None:
            self._wake_worker()
        for cycle in (self._running, self._cycle):
            if cycle is not None:
                cycle.disconnect()
        self.flow.resume_writing()
        self.transport.close()

    def eof_received(self) -> None:
        """Takes a client that has closed its side to be gone: the transport closes itself."""

    def pause_writing(self) -> None:
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        self.flow.resume_writing()

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

    def _begins_canonically(self, data: bytes) -> bool:
        """Returns whether a POST request has the first line that the gateway would write: origin form, single
        spaces."""
        end = data.find(b" ", 6)  # a target has no space in it
        if not data.startswith(b"POST /") or not data.startswith(b" HTTP/1.1\r\n", end):
            return False
        self._first_line = data[: end + 11]
        return True

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

    def _reject_unparsed(self, error: Exception) -> None:
        cause = error.__context__
        if isinstance(cause, Unacceptable):
            self._answers_head = self.parser.get_method() == b"HEAD"
            self.reject(cause.refusal, **cause.values)
        elif self.parser.get_method() == b"PRI":
            self.reject(Refusal.UNKNOWN_VERSION, text="HTTP/2.0")
        else:
            self.reject(Refusal.MALFORMED, text=str(error) or type(error).__name__)

    def write(self, data: bytes) -> None:
        """Writes immediately, behind the content of the batcher."""
        self.write_batcher.flush()
        self.transport.write(data)

    def write_together(self, *pieces: bytes) -> None:
        """Writes the pieces immediately, without making one of them."""
        self.write_batcher.flush()
        self.transport.writelines(pieces)

    def close(self) -> None:
        """Closes once everything is written."""
        self.write_batcher.flush()
        self.transport.close()

    def reset(self) -> None:
        """Cuts the connection, so that the client sees no orderly end."""
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    # httptools

    def on_message_begin(self) -> None:
        self._begun += 1

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

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
            if len(self._waiting) > _PIPELINED:
                self.flow.pause_reading()

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

    # Requests in turn.

    def _serve(self) -> None:
        """Calls the application for one request after the other, until one of them has to wait."""
        while not self._is_lost:
            cycle = self._running
            if cycle is self._served:
                if not self._waiting:
                    self._is_serving = False
                    return
                cycle = self._running = self._waiting.pop(0)
            assert cycle is not None  # nothing was served before the first
            self._served = cycle
            try:
                rest = self._app(cycle.scope, cycle.receive, cycle.send)
            except Exception:  # whatever it is, the requests that wait behind this one get their turn
                log.exception("the application failed")
                rest = DONE
            if rest is not DONE:
                self._serve_rest(rest, cycle)
                return
            self._end_service(cycle)

    def _serve_rest(self, rest: Awaitable[None], cycle: Cycle) -> None:
        """Has the rest of a request served later: once its call has ended, or by the task of this connection."""
        self._rest = rest
        call: AwaitedCall | None = cycle.scope.pop(CALL, None)
        # By what a coroutine can do: those of compiled modules have a type of their own.
        if call is None or call.has_ended or not hasattr(rest, "send"):
            self._wake_worker()
        else:
            self._call = call
            call.resume_at_end(partial(self.write_batcher.defer, self._resume))
            self._pending.add(self)

    def _resume(self) -> None:
        """Serves the rest of a request whose call has ended. That is one step, without a task, if the client takes the
        response at once."""
        if self._call is None:  # cancelled meanwhile
            return
        rest: CoroutineType[Any, None, None] = self._rest
        self._rest = self._call = None
        self._pending.discard(self)
        try:
            waits_for = rest.send(None)
        except StopIteration:
            pass
        except Exception:
            log.exception("the application failed")
        else:
            self._rest = _go_on(rest, waits_for)
            self._wake_worker()
            return
        assert self._served is not None  # it has the response
        self._end_service(self._served)
        self._serve()

    def cancel(self, msg: object = None) -> bool:
        """Cancels a request that waits for the end of its call, as if it were a task: uvicorn does so at the end of
        a drain."""
        if self._call is None:
            return False
        self._call.resume_at_end(None)
        self._call = None
        self._wake_worker()
        assert self._worker is not None  # it has been woken
        self.loop.call_soon(self._worker.cancel, msg)  # behind its first step: what is cancelled has begun
        self.loop.call_soon(self._pending.discard, self)  # not now: all of them are being cancelled
        return True

    async def _work(self) -> None:
        """Serves the rests of those requests of this connection that have to wait. One task serves all of them: a task
        for each is expensive, above all before Python 3.12."""
        worker = self._worker
        assert worker is not None  # it is this task
        while True:
            if self._rest is None or self._call is not None:
                if self._is_lost:
                    return
                self._next_rest = self.loop.create_future()
                await self._next_rest
                continue
            rest, self._rest = self._rest, None
            served = self._served
            assert served is not None  # the rest is its
            self._pending.add(worker)
            try:
                await rest
            except Exception:
                log.exception("the application failed")
            finally:
                self._pending.discard(worker)
                self._end_service(served)
            self._serve()

    def _end_service(self, cycle: Cycle) -> None:
        """Cuts a response that the application has left unfinished."""
        if not cycle.response_complete and not cycle.disconnected:
            cycle.cut()  # nothing more will come, and what the client has is not all

    def _wake_worker(self) -> None:
        if self._worker is None or self._worker.done():
            self._worker = self.loop.create_task(self._work())
            self._worker.add_done_callback(self._on_worker_end)
        elif self._next_rest is not None and not self._next_rest.done():
            self._next_rest.set_result(None)

    def _on_worker_end(self, worker: asyncio.Task[None]) -> None:
        """Closes a connection whose task has ended: further requests on it would wait forever."""
        if not self._is_lost:
            self.close()

    def end_response(self) -> None:
        """Goes on to the next request: the response to the running one is complete."""
        if self.transport.is_closing():
            self._waiting.clear()
            return
        if self.flow.read_paused and len(self._waiting) <= _PIPELINED:
            self.flow.resume_reading()
        if not self._waiting:
            self._idle_since = self.loop.time()

    def shutdown(self) -> None:
        """Finishes the running request and takes no more. uvicorn calls this to drain."""
        cycle = self._cycle
        if cycle is None or cycle.response_complete:
            self.close()
        else:
            cycle.keep_alive = False

    # What cannot become a request.

    def reject(self, refusal: Refusal, **values: object) -> None:
        """Refuses bytes that cannot become a request, and closes. A whole request before them gets its
        response first."""
        if self.transport.is_closing():
            return
        running = self._running
        if running is None or running.response_complete:
            self._write_refusal(refusal, **values)
        elif running is self._cycle and running.more_body:
            if running.response_started:
                self.close()
            else:
                self._write_refusal(refusal, **values)
            running.disconnect()
        else:
            running.keep_alive = False
            self._cycle = running
            self._waiting.clear()
            self.flow.resume_reading()  # to drop it: closing over unread bytes would reset that response away

    def _write_refusal(self, refusal: Refusal, **values: object) -> None:
        rendered = self._refuse(refusal, **values)
        lines = [STATUS_LINES[rendered.status], self.default_headers()]
        extra = self._find_extra_headers() if self._extra_headers is not None else ()
        for name, value in (*rendered.headers, *extra, (b"connection", b"close")):
            lines += (name, b": ", value, b"\r\n")
        self.write(b"".join([*lines, b"\r\n", b"" if self._answers_head else rendered.body]))
        self.close()

    def _find_extra_headers(self) -> list[tuple[bytes, bytes]]:
        """Returns the further headers, by the request whose body is awaited, else by the head as far as it has come."""
        assert self._extra_headers is not None
        cycle = self._cycle
        headers = cycle.scope["headers"] if cycle is not None and cycle.more_body else self._headers
        return self._extra_headers(dict(headers))

    # For the sweep.

    def has_idled(self, now: float) -> bool:
        """Returns whether the connection was kept alive without a request for the whole time."""
        return self._idle_since is not None and now - self._idle_since >= self._keep_alive_seconds

    def waits_for_client(self) -> Hashable:
        """Returns the step for which this connection waits for its client; the value changes with each step."""
        cycle = self._cycle
        if cycle is None or cycle.response_complete:
            return None if self._idle_since is not None else ("head", id(cycle))
        if self.flow.write_paused:
            return ("take", id(cycle), count_unacknowledged(self.transport))
        if cycle.more_body and not self.flow.read_paused:
            return ("body", id(cycle), self._body_bytes // PROGRESS_BYTES)
        return None

    def cut(self, seconds: float) -> None:
        """Closes a connection whose client has stalled for `seconds`, with a refusal if the client can still
        read one."""
        if self.transport.is_closing() or self.flow.write_paused:
            self.transport.abort()
        elif not self._bytes_since_progress and (self._cycle is None or self._cycle.response_complete):
            self.close()  # no request has begun: an answer would be taken for that to the next one
        else:
            self.reject(Refusal.READ_TIMEOUT, seconds=seconds)

    def __repr__(self) -> str:
        state = "idle" if self._idle_since is not None else "busy"
        return f"<InvokeProtocol {self._client} {state} waiting={len(self._waiting)}>"


@coroutine
def _go_on(rest: CoroutineType[Any, None, None], waits_for: object) -> Generator[object, None, None]:
    """Runs a coroutine to its end, inside of a task, that began outside and now waits for something."""
    while True:
        try:
            yield waits_for
        except BaseException as error:
            step = partial(rest.throw, error)
        else:
            step = partial(rest.send, None)
        try:
            waits_for = step()
        except StopIteration:
            return


def _read_version(version: str) -> str:
    """Returns the version that a request is served by: a later one of HTTP/1 is served as 1.1 (RFC 9110, 2.5)."""
    major, _, minor = version.partition(".")
    if major != "1":
        raise Unacceptable(Refusal.UNKNOWN_VERSION, text=f"HTTP/{version}")
    return "1.0" if minor == "0" else "1.1"
