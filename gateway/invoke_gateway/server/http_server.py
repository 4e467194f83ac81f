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


class Server(uvicorn.Server):
    """Runs uvicorn without signal handlers of its own: a process has two servers, and one place that ends both."""

    is_shut_down = False

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def keep_serving(self, sockets: list[socket.socket]) -> None:
        """Serves on `sockets` until `should_exit`. A second call continues where the first one ended: connections were
        served meanwhile."""
        if self.started:
            await self.main_loop()
            await self.shutdown(sockets)
        else:
            await self.serve(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        self.is_shut_down = True


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
        server.should_exit = True
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
