"""Runs uvicorn's servers on bound sockets."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import uvicorn

from ..asgi import App
from ..background import BackgroundTasks
from ..demo import DemoBackend
from ..settings import Address
from .sockets import CannotListen, Listeners, bind

_TICK_SECONDS = 1.0
_CLOSING_TURNS = 3  # turns of the loop: a connection that was just accepted is made, and a closed one is lost


class Server(uvicorn.Server):
    """Runs uvicorn without signal handlers of its own: a process has two servers, and one place that ends both."""

    is_shut_down = False

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Ends `keep_serving` after a drain."""
        self.should_exit = True
        self._ending.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def keep_serving(self, sockets: list[socket.socket]) -> None:
        """Serves on `sockets` until `end`. A second call continues where the first one ended: connections were
        served meanwhile."""
        if self.started:
            await self.main_loop()
            await self.shutdown(sockets)
        else:
            await self.serve(sockets)

    async def main_loop(self) -> None:
        """Sets the date of responses once a second. uvicorn wakes up ten times as often, and so ends later."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_SECONDS):
                    await self._ending.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drains. uvicorn waits for a tenth of a second, also where there is nothing to wait for."""
        if not await self._has_closed_idle(sockets or []):
            await super().shutdown(sockets)
        self.is_shut_down = True

    async def _has_closed_idle(self, sockets: list[socket.socket]) -> bool:
        """Closes the sockets and the idle connections. Returns False where something may still run."""
        for server in self.servers:
            server.close()
        for one in sockets:
            one.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        for _ in range(_CLOSING_TURNS):
            await asyncio.sleep(0)
        is_handshake_possible = self.config.is_ssl  # such a connection is in no list yet
        return not (self.server_state.connections or self.server_state.tasks or is_handshake_possible)


def configure(
    app: App,
    *,
    drain_seconds: float,
    http: Any = "httptools",
    keep_alive_seconds: float = 65,
    certificate: str | None = None,
    key: str | None = None,
) -> uvicorn.Config:
    return uvicorn.Config(
        cast("Any", app),
        http=http,
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=True,
        log_config=None,
        timeout_keep_alive=cast("int", keep_alive_seconds),
        timeout_graceful_shutdown=cast("int", drain_seconds),
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )


@contextlib.asynccontextmanager
async def serve_on(server: Server, listeners: Listeners, tasks: BackgroundTasks) -> AsyncIterator[None]:
    """Serves on bound sockets until the block ends, then drains. Raises `CannotListen`."""
    task = tasks.start(functools.partial(server.keep_serving, listeners.sockets), "HTTP server")
    while not server.started:
        if not task.is_running:
            task.cancel()
            raise CannotListen(f"The server on {listeners.addresses[0]} did not start; the log has the details.")
        await asyncio.sleep(0.005)
    try:
        yield
    finally:
        server.end()
        await task.finish()
        if not server.is_shut_down:
            await server.shutdown(listeners.sockets)


@contextlib.asynccontextmanager
async def serve_demo(region: str, tasks: BackgroundTasks) -> AsyncIterator[str]:
    """Serves the demo backend on a loopback port, with functions of `region`, as any other backend."""
    with contextlib.closing(bind(Address("127.0.0.1", 0), "backend.url")) as listeners:
        demo = DemoBackend(region=region)
        async with serve_on(Server(configure(demo, drain_seconds=1)), listeners, tasks):
            yield f"http://{listeners.addresses[0]}"
            demo.close()  # no call waits for functions that still sleep
