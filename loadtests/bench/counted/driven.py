"""Serves a gateway with its defaults in this process, and sends it calls one after the other on one connection.

Client and backend are threads, so that a tracer of the main thread sees the gateway alone. `python -m
loadtests.bench.counted.driven PATH CALLS` does the same under a tracer of system calls.
"""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from invoke_gateway.chaos.store import find_server
from invoke_gateway.server.process import new_event_loop
from invoke_gateway.server.run import serve_in_process
from invoke_gateway.settings import Settings
from loadtests.bench.calls import ACCESS_KEY, ANSWER, SECRET, hold, invocation, is_whole
from loadtests.bench.paths import FORWARDED, PATHS, REFUSED
from loadtests.bench.processes import Trouble
from loadtests.bench.stage import PLENTY

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(ANSWER),
    ANSWER.encode(),
)
VERIFIED, SIGNED = "verified", "signed"
"""Name forwarded calls whose signature the gateway verifies, and those that it signs for its backend."""

SHARED = "forwarded, shared counters"
"""Names forwarded calls that a store counts: one exchange takes the slot, another releases it."""

COUNTED_PATHS = (*PATHS, VERIFIED, SIGNED, SHARED)

STATUSES = {FORWARDED: b"200", REFUSED: b"429", VERIFIED: b"200", SIGNED: b"200", SHARED: b"200"}
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
    with closing(Backend()) as backend, _run_store() if path == SHARED else nullcontext() as store:
        account = {"concurrent_executions": 1 if path == REFUSED else PLENTY, "functions": functions}
        values: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "admin": "127.0.0.1:0",
            **_SETTINGS.get(path, {}),
            "accounts": {"default": account},
        }
        values["backend"] = {"url": backend.url, "connect_timeout_seconds": SECONDS, **values.get("backend", {})}
        if store is not None:
            values["counters"] = store
            # A tracer slows the exchanges. The heartbeat comes seldom, and no other gateway is awaited.
            values["shared"] = {"lease_seconds": 4 * SECONDS, "store_timeout_seconds": SECONDS, "expected_gateways": 1}
        async with serve_in_process(Settings.model_validate(values)) as server:
            port = server.listen.port
            if path != REFUSED:
                yield port
                return
            with closing(hold(port)):
                await asyncio.to_thread(backend.is_holding.wait, SECONDS)
                yield port
                backend.close()


@contextmanager
def _run_store() -> Iterator[str]:
    """Runs a store of its own until the block ends. Yields its URL."""
    with TemporaryDirectory(prefix="counted-") as folder:
        path = Path(folder, "s")
        command = [find_server(), "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                end = time.monotonic() + SECONDS
                while not path.exists():
                    if process.poll() is not None or time.monotonic() > end:
                        raise Trouble(f"{command[0]} did not start")
                    time.sleep(0.01)
                yield f"unix://{path}"
            finally:
                process.terminate()


if __name__ == "__main__":
    drive(sys.argv[1], int(sys.argv[2]))
