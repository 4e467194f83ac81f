"""Serves a gateway with its defaults in this process, and sends it calls one after the other on one connection.

Client and backend are threads, so that a tracer of the main thread sees the gateway alone. `python -m
loadtests.bench.counted.driven PATH CALLS` does the same under a tracer of system calls.
"""

import asyncio
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, closing, nullcontext, suppress
from typing import Any

from invoke_gateway.server.process import new_event_loop
from invoke_gateway.server.run import serve_in_process
from invoke_gateway.settings import Settings
from loadtests.bench.calls import ACCESS_KEY, ANSWER, SECRET, hold, invocation, is_whole
from loadtests.bench.paths import FORWARDED, PATHS, REFUSED
from loadtests.bench.stage import PLENTY

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(ANSWER),
    ANSWER.encode(),
)
VERIFIED, SIGNED = "verified", "signed"
"""Name forwarded calls whose signature the gateway verifies, and those that it signs for its backend."""

COUNTED_PATHS = (*PATHS, VERIFIED, SIGNED)

STATUSES = {FORWARDED: b"200", REFUSED: b"429", VERIFIED: b"200", SIGNED: b"200"}
_CALLER = {"secret": "env:BENCH_SECRET", "arn": "arn:aws:iam::111122223333:user/bench"}
_SETTINGS: dict[str, dict[str, Any]] = {
    VERIFIED: {"signatures": "verify", "callers": {ACCESS_KEY: _CALLER}},
    SIGNED: {"backend": {"sign": {"service": "lambda", "credentials": "env"}}},
}
_ENVIRONMENT = {"BENCH_SECRET": SECRET, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
SECONDS = 60.0


class Backend:
    """Answers each call with 1 KiB, except for a call of the function `hold`, which waits until the end."""

    def __init__(self) -> None:
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        self.url = f"http://127.0.0.1:{self._sockets[0].getsockname()[1]}"
        self.is_holding = threading.Event()
        threading.Thread(target=self._accept, args=self._sockets, daemon=True).start()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:  # closed
                return
            self._sockets.append(connection)
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        while request := receive(connection):
            if b"/functions/hold/" in request:
                self.is_holding.set()
                return
            connection.sendall(RESPONSE)

    def close(self) -> None:
        for each in self._sockets:
            with suppress(OSError):  # its peer has closed it
                each.shutdown(socket.SHUT_RDWR)  # `close` alone would not end a read of another thread
            each.close()


def receive(connection: socket.socket) -> bytes:
    """Returns a whole message; less at the end of the connection."""
    received = b""
    while not received or not is_whole(received):
        piece = connection.recv(65536)
        if not piece:
            break
        received += piece
    return received


def send_calls(port: int, path: str, function: str, count: int) -> None:
    """Sends calls on one connection. Raises `RuntimeError` at a response that is not one of `path`."""
    request = invocation(function, port)
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        for _ in range(count):
            connection.sendall(request)
            response = receive(connection)
            if response[9:12] != STATUSES[path]:
                raise RuntimeError(f"a {path} call was answered with {response[:200]!r}")


def drive(
    path: str,
    count: int,
    tracing: AbstractContextManager[object] | None = None,
    *,
    function: str = "echo",
    functions: Mapping[str, Any] | None = None,
) -> None:
    """Serves the gateway, and sends it `count` calls while `tracing` is entered.

    function: the function that is called, with its version
    functions: the settings of functions; None: the defaults of the gateway
    """
    os.environ |= _ENVIRONMENT

    async def send() -> None:
        async with _serve(path, functions or {}) as port:
            with tracing or nullcontext():
                await asyncio.to_thread(send_calls, port, path, function, count)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(send())


@asynccontextmanager
async def _serve(path: str, functions: Mapping[str, Any]) -> AsyncIterator[int]:
    """Serves the gateway until the block ends, on the port that it yields. On the refused path its slot is taken."""
    with closing(Backend()) as backend:
        account = {"concurrent_executions": 1 if path == REFUSED else PLENTY, "functions": functions}
        values: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "admin": "127.0.0.1:0",
            **_SETTINGS.get(path, {}),
            "accounts": {"default": account},
        }
        values["backend"] = {"url": backend.url, **values.get("backend", {})}
        async with serve_in_process(Settings.model_validate(values)) as server:
            port = server.listen.port
            if path != REFUSED:
                yield port
                return
            with closing(hold(port)):
                await asyncio.to_thread(backend.is_holding.wait, SECONDS)
                yield port
                backend.close()


if __name__ == "__main__":
    drive(sys.argv[1], int(sys.argv[2]))
