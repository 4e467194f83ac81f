"""Sends raw bytes to a gateway that runs in a thread of its own, on the event loop of production.

`Wire` is a client that sends any bytes, blocks, and reads strictly. `Gateway` is the real one, with a `Backend` behind
it that returns each event. Functions whose names begin with `hold` respond only after `release()`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import ssl
import struct
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple, Self, TypeVar

import boto3
import uvloop
from botocore.config import Config

from invoke_gateway.app.limits import make_tables
from invoke_gateway.server.run import RunningGateway, serve_in_process
from invoke_gateway.settings import Settings

from .backends import BackendCall, ScriptedBackend
from .gateways import eventually, make_settings
from .processes import wait_until

LOOPBACK = "127.0.0.1"
PATIENCE = 60.0  # seconds after which what should happen has not happened

_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) [ -~]*")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t -~\x80-\xff]*)")
_T = TypeVar("_T")


class Answer(NamedTuple):
    """Holds one response. Names of headers are lower-case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Returns the one value of a header, `None` without it."""
        values = [value for known, value in self.headers if known == name]
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def refusal_of(answer: Answer) -> tuple[int, str, str]:
    """Returns status, error code and text of a refusal, which must be in Lambda's shape."""
    code = answer.header("x-amzn-errortype")
    members = answer.json
    assert code, f"no x-amzn-ErrorType in {answer}"
    assert answer.header("content-type") == "application/json"
    assert answer.header("date"), "every answer has a Date"
    assert uuid.UUID(answer.header("x-amzn-requestid"))
    assert set(members) <= {"Type", "Reason", "message", "Message"}, members
    (text,) = [members[name] for name in ("message", "Message") if name in members]
    return answer.status, code, text


class Closed(Exception):
    """Reports that the connection ended before a response."""


class Stream:
    """Splits bytes that arrive in pieces into HTTP/1.1 responses. `receive` returns b"" at the end."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._bytes = b""
        self._has_ended = False

    def answer(self, *, of_head_request: bool = False) -> Answer:
        """Reads the next response, which must be well-formed and whole. Raises `Closed` without one."""
        while b"\r\n\r\n" not in self._bytes:
            if not self._read():
                assert not self._bytes, f"the connection ended inside a head: {self._bytes[:200]!r}"
                raise Closed
        head, self._bytes = self._bytes.split(b"\r\n\r\n", 1)
        status_line, *lines = head.split(b"\r\n")
        found = _STATUS_LINE.fullmatch(status_line)
        assert found, f"no status line: {status_line[:200]!r}"
        status = int(found[1])
        fields = [_HEADER.fullmatch(line) for line in lines]
        assert all(fields), f"no header: {lines}"
        headers = [(field[1].decode().lower(), field[2].decode("latin-1").strip()) for field in fields if field]
        answer = Answer(status, headers, b"")
        if status < 200 or status in (204, 304) or of_head_request:
            return answer
        return answer._replace(body=self._read_body(answer))

    def put(self, data: bytes) -> None:
        """Adds `data` that was received elsewhere."""
        self._bytes += data

    def rest(self) -> bytes:
        """Reads everything until the connection ends."""
        while self._read():
            pass
        rest, self._bytes = self._bytes, b""
        return rest

    def _read_body(self, answer: Answer) -> bytes:
        length, coding = answer.header("content-length"), answer.header("transfer-encoding")
        assert (length is None) != (coding is None), "exactly one of the two says where the body ends"
        if length is not None:
            return self._take(int(length))
        assert coding == "chunked"
        pieces = []
        while size := int(self._take_line(), 16):
            pieces.append(self._take(size))
            assert self._take(2) == b"\r\n"
        assert self._take_line() == b""
        return b"".join(pieces)

    def _take(self, size: int) -> bytes:
        while len(self._bytes) < size:
            assert self._read(), f"the connection ended {size - len(self._bytes)} bytes before the end of the body"
        taken, self._bytes = self._bytes[:size], self._bytes[size:]
        return taken

    def _take_line(self) -> bytes:
        while b"\r\n" not in self._bytes:
            assert self._read(), "the connection ended inside a chunk's head"
        line, self._bytes = self._bytes.split(b"\r\n", 1)
        return line

    def _read(self) -> bool:
        piece = b"" if self._has_ended else self._receive()
        self._has_ended = not piece
        self._bytes += piece
        return bool(piece)


class Wire:
    """Holds a client's connection. A reset by the gateway reads as the end of the connection."""

    def __init__(self, port: int, *, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(PATIENCE)
        try:
            self._socket.connect((LOOPBACK, port))
            if tls is not None:
                self._socket = tls.wrap_socket(self._socket, server_hostname="localhost")
        except BaseException:
            self._socket.close()
            raise
        self._stream = Stream(self._receive)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def send(self, data: bytes) -> Wire:
        """Send all of `data`, or as much of it as the gateway takes before it closes."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(data)
        return self

    def send_until_stuck(self, data: bytes, seconds: float) -> bytes:
        """Sends until nothing more is taken for so long. Returns the rest."""
        self._socket.settimeout(seconds)
        left = memoryview(data)
        with contextlib.suppress(TimeoutError):
            while left:
                left = left[self._socket.send(left[: 1 << 20]) :]
        self._socket.settimeout(PATIENCE)
        return bytes(left)

    def answer(self, *, of_head_request: bool = False) -> Answer:
        return self._stream.answer(of_head_request=of_head_request)

    def answers(self) -> list[Answer]:
        """Reads every response until the connection ends; each must be whole."""
        answers = []
        with contextlib.suppress(Closed):
            while True:
                answers.append(self.answer())
        return answers

    def rest(self) -> bytes:
        return self._stream.rest()

    def take(self, size: int) -> bytes:
        """Takes `size` bytes off the socket, fewer only at the connection's end. `answer()` still returns them."""
        taken = b""
        while len(taken) < size and (piece := self._receive(size - len(taken))):
            taken += piece
        self._stream.put(taken)
        return taken

    def has_ended(self) -> bool:
        """Returns True if the gateway closes the connection without another byte. Waits for it."""
        return self.rest() == b""

    def is_open(self, seconds: float) -> bool:
        """Returns True if neither a byte nor the end of the connection arrives within `seconds`."""
        self._socket.settimeout(seconds)
        try:
            return self._socket.recv(1, socket.MSG_PEEK) is None
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(PATIENCE)

    def finish_sending(self) -> Wire:
        """Closes our half of the connection."""
        self._socket.shutdown(socket.SHUT_WR)
        return self

    def reset(self) -> None:
        """Hangs up without a close."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        self._socket.close()

    def _receive(self, size: int = 1 << 20) -> bytes:
        try:
            return self._socket.recv(size)
        except ConnectionResetError:
            return b""


def invoke(
    function: str = "echo",
    body: bytes = b"{}",
    *headers: str,
    path: str | None = None,
    method: str = "POST",
    length: bool = True,
) -> bytes:
    """Returns the bytes of an invocation. With `length=False` it has no Content-Length, which the caller then gives."""
    lines = [f"{method} {path or f'/2015-03-31/functions/{function}/invocations'} HTTP/1.1", "Host: gateway", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(*pieces: bytes, last: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + last


class Backend:
    """Runs a backend in a thread. Its state is read on its event loop, between two of its steps."""

    def __init__(self) -> None:
        self.backend = ScriptedBackend(self.answer_call)
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self.released: asyncio.Event
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failure: BaseException | None = None

    def start(self) -> Self:
        self._thread.start()
        assert self._is_up.wait(PATIENCE), "it did not start"
        if self._failure is not None:
            raise self._failure
        return self

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "it did not stop"
        if self._failure is not None:
            raise self._failure

    def on_loop(self, do: Callable[[], _T]) -> _T:
        """Returns the result of `do`, called on the loop."""

        async def call() -> _T:
            return do()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(PATIENCE)

    def until(self, is_true: Callable[[], object], what: str) -> None:
        """Waits until `is_true()`, called on the loop, is true."""
        waiting = asyncio.run_coroutine_threadsafe(eventually(is_true, what, PATIENCE), self._loop)
        waiting.result(PATIENCE + 1)

    def until_running(self, count: int) -> None:
        """Waits until the backend works on exactly `count` calls."""
        self.until(lambda: self.backend.running.total() == 2 * count, f"{count} calls at the backend")

    def release(self) -> None:
        """Ends every call that is held."""

        def open_and_shut() -> None:
            self.released.set()
            self.released = asyncio.Event()

        self.on_loop(open_and_shut)

    def forwarded(self) -> list[BackendCall]:
        """Returns everything that has reached the backend, whole or not, since `forget()`."""
        return self.on_loop(lambda: [*self.backend.requests, *self.backend.broken])

    def forget(self) -> None:
        self.on_loop(self.backend.requests.clear)
        self.on_loop(self.backend.broken.clear)

    async def answer_call(self, call: BackendCall) -> None:
        if (call.function or "").startswith("hold"):
            await self.released.wait()
        call.answer(200, call.body, {"Content-Type": "application/json", "X-Amz-Executed-Version": "$LATEST"})

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            self._failure = error
        self._is_up.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop, self.released = asyncio.Event(), asyncio.Event()
        async with self.backend, self._before_it():
            self._is_up.set()
            await self._stop.wait()
            self.released.set()

    @contextlib.asynccontextmanager
    async def _before_it(self) -> AsyncIterator[None]:
        """Returns the other work that runs on the loop."""
        yield


class Gateway(Backend):
    """Runs a gateway with such a backend behind it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self._values = settings
        self.server: RunningGateway

    @contextlib.asynccontextmanager
    async def _before_it(self) -> AsyncIterator[None]:
        async with serve_in_process(self.make_settings()) as self.server:
            yield

    def make_settings(self, **changes: Any) -> Settings:
        """Returns its settings, changed."""
        return make_settings(self.backend.url, **{**self._values, **changes})

    def reload(self, **changes: Any) -> None:
        """Puts the limits of other settings in force."""
        gateway, settings = self.server.gateway, self.make_settings(**changes)
        self.on_loop(lambda: setattr(gateway._tables, "tables", make_tables(settings, at_start=gateway.settings)))

    @property
    def port(self) -> int:
        return self.server.listen.port

    @property
    def url(self) -> str:
        return f"http://{self.server.listen}"

    @property
    def connections(self) -> set[Any]:
        """Returns the clients' connections; read them with `until` or `on_loop`."""
        return self.server._invoke.server_state.connections

    def held(self) -> dict[str, int]:
        return self.on_loop(self.server.gateway.counters.counts)

    def buffered(self) -> int:
        return self.on_loop(lambda: self.server.gateway.buffers.in_use)

    def until_idle(self) -> None:
        """Waits until no slot is held and no byte buffered."""
        gateway = self.server.gateway
        self.until(
            lambda: not gateway.counters.counts() and not gateway.buffers.in_use,
            f"idle; {gateway.counters} {gateway.buffers}",
        )

    def until_no_events(self) -> None:
        """Ends every call that is held, until no event is left."""

        def has_none() -> bool:
            self.release()
            return not self.fetch("/queue").json["events"]

        wait_until(has_none, "the queue is empty", PATIENCE)

    def send(self, data: bytes) -> Answer:
        """The answer to one request on a connection of its own."""
        with Wire(self.port) as wire:
            return wire.send(data).answer()

    def boto3(self, access_key_id: str = "AKIAEXAMPLE") -> Any:
        """Returns a real SDK client of this gateway, which does not retry. It must be closed."""
        return boto3.client(
            "lambda",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=access_key_id,
            aws_secret_access_key="secret",
            config=Config(retries={"total_max_attempts": 1}, read_timeout=PATIENCE, proxies={}),
        )

    def fetch(self, path: str, method: str = "GET", *headers: str) -> Answer:
        """What the admin listener says."""
        return fetch(self.server.admin.port, path, method, *headers)

    def metrics(self) -> dict[str, float]:
        """Returns every sample of /metrics by its name without the prefix, and its labels, as Prometheus reads it."""
        lines = self.fetch("/metrics").body.decode().splitlines()
        samples = (line.removeprefix("invoke_gateway_").rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}


def fetch(port: int, path: str, method: str = "GET", *headers: str) -> Answer:
    """What an admin listener says."""
    lines = [f"{method} {path} HTTP/1.1", "Host: admin", *headers, "", ""]
    with Wire(port) as wire:
        return wire.send("\r\n".join(lines).encode()).answer(of_head_request=method == "HEAD")


@contextlib.contextmanager
def gateway(**settings: Any) -> Iterator[Gateway]:
    """Runs a gateway with these settings, and a backend behind it, for the length of the block."""
    started = Gateway(**settings).start()
    try:
        yield started
    finally:
        started.stop()


@contextlib.contextmanager
def backend() -> Iterator[Backend]:
    """Runs a backend for the length of the block."""
    started = Backend().start()
    try:
        yield started
    finally:
        started.stop()


@contextlib.contextmanager
def calls_under_way(served: Gateway, *functions: str) -> Iterator[None]:
    """Runs a call of each of these functions, whose names begin with `hold`, for the length of the block."""
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(served.port)) for _ in functions]
        for wire, function in zip(wires, functions, strict=True):
            wire.send(invoke(function))
        served.until_running(len(functions))
        yield
        served.release()
        assert [wire.answer().status for wire in wires] == [200] * len(functions)


def wait_seconds(seconds: float) -> None:
    """Waits in real time, for a client that pauses."""
    time.sleep(seconds)
