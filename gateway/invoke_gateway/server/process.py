"""Serves the Invoke API in one process. A gateway is one such process, or several workers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import signal
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import cast

import uvicorn

from ..admin.access import AdminAccess, TokenCheck
from ..admin.host_check import LoopbackNames
from ..admin.json_documents import refuse
from ..app.gateway import Gateway
from ..asgi import App
from ..background import BackgroundTasks
from ..listener import InvokeProtocol, ListenerLimits, enforce_timeouts, make_spare_parsers
from ..settings import Settings
from ..signals import IGNORED
from ..telemetry.file_descriptors import keep_watching_files
from ..telemetry.logs.log import reopen_access_log
from ..telemetry.loop_lag import keep_measuring_loop_lag
from ..write_batcher import WriteBatcher
from .http_server import Server, configure, serve_on
from .sockets import Listeners

log = logging.getLogger("invoke_gateway")

# Garbage comes from cycles only, and a request makes hardly any: collecting less often saves time per request.
_GC_THRESHOLD = 50_000


class ServingGateway:
    """Joins a gateway and the server that accepts its connections."""

    def __init__(self, gateway: Gateway, server: Server) -> None:
        self.gateway = gateway
        self.server = server

    def cut_short(self) -> None:
        """Ends the wait for what still runs."""
        self.server.force_exit = True
        self.gateway.cut_short()


@contextlib.asynccontextmanager
async def open_gateway(
    settings: Settings, backend_url: str, name: str | None = None, tasks: BackgroundTasks | None = None
) -> AsyncIterator[Gateway]:
    """Opens a gateway until the block ends.

    backend_url: the address of its backend
    name: its name at the store of shared counters
    tasks: the owner of its background tasks
    """
    gateway = Gateway(settings, backend_url=backend_url, name=name, tasks=tasks)
    asyncio.get_running_loop().set_exception_handler(gateway.tasks.handle_exception)
    try:
        await gateway.start()
        running = gateway.tasks.running
        async with (
            running(gateway.admin.samples.keep_sampling, "sparklines"),
            running(gateway.backend_watch.keep_checking, "watch of the backend"),
        ):
            yield gateway
    finally:
        await gateway.close()


@contextlib.asynccontextmanager
async def serve_invoke(gateway: Gateway, listeners: Listeners) -> AsyncIterator[ServingGateway]:
    """Serves the Invoke API on bound sockets until the block ends, then drains for at most `drain_seconds`. Raises
    `CannotListen`."""
    server = Server(_configure_invoke(gateway, gateway.settings))
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(_serve(server, listeners, gateway.settings, gateway.tasks))
        lag = partial(keep_measuring_loop_lag, gateway.totals.loop_lag)
        await stack.enter_async_context(gateway.tasks.running(lag, "event loop lag"))
        files = partial(keep_watching_files, gateway.totals)
        await stack.enter_async_context(gateway.tasks.running(files, "watch of file descriptors"))
        try:
            yield ServingGateway(gateway, server)
        finally:
            gateway.drain()


@contextlib.asynccontextmanager
async def serve_admin(
    app: App, access: AdminAccess, listeners: Listeners, settings: Settings, tasks: BackgroundTasks
) -> AsyncIterator[None]:
    """Serves the admin listener's application on bound sockets until the block ends. Raises `CannotListen`.

    access: decides which requests reach the application
    """
    http = partial(
        InvokeProtocol,
        limits=_bounds(settings),
        write_batcher=WriteBatcher(),
        spare_parsers=make_spare_parsers(),
        refuse=refuse,
    )
    config = configure(
        LoopbackNames(TokenCheck(app, access), settings.admin.host),
        http=http,
        keep_alive_seconds=settings.keep_alive_seconds,
        drain_seconds=1,
    )
    async with _serve(Server(config), listeners, settings, tasks):
        yield


@contextlib.asynccontextmanager
async def _serve(
    server: Server, listeners: Listeners, settings: Settings, tasks: BackgroundTasks
) -> AsyncIterator[None]:
    """Serves with the gateway's own protocol, and enforces the time-outs of its connections."""
    async with serve_on(server, listeners, tasks):
        connections = cast("set[InvokeProtocol]", server.server_state.connections)
        close_stalled = partial(
            enforce_timeouts, connections, settings.read_timeout_seconds, settings.keep_alive_seconds
        )
        async with tasks.running(close_stalled, "sweep of connections"):
            yield


def _configure_invoke(gateway: Gateway, settings: Settings) -> uvicorn.Config:
    tls = settings.tls
    return configure(
        gateway.invoke,
        http=partial(
            InvokeProtocol,
            limits=_bounds(settings),
            write_batcher=gateway.write_batcher,
            spare_parsers=make_spare_parsers(),
            extra_headers=gateway.cors.for_response if gateway.cors is not None else None,
        ),
        keep_alive_seconds=settings.keep_alive_seconds,
        drain_seconds=settings.drain_seconds,
        certificate=str(tls.certificate) if tls else None,
        key=str(tls.key) if tls else None,
    )


def _bounds(settings: Settings) -> ListenerLimits:
    return ListenerLimits(
        settings.max_connections,
        settings.max_header_bytes,
        settings.max_headers,
        settings.read_timeout_seconds,
    )


def freeze_garbage() -> None:
    """Excludes all present objects from garbage collection: they live as long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 20, 20)


def handle_signals(
    loop: asyncio.AbstractEventLoop, stop: Callable[[], None], reopen: Callable[[], bool] = reopen_access_log
) -> None:
    """Calls `stop` for signals that end a gateway, and `reopen` for SIGUSR1. Logs each signal that has no effect once.

    reopen: opens the access log again; returns False if it is no file
    """

    def on_other(number: int) -> None:
        has_effect = number == signal.SIGUSR1 and reopen()
        if not has_effect and number not in logged:
            logged.add(number)
            why = "there is no access log file to reopen" if number == signal.SIGUSR1 else "it has no meaning here"
            log.info("%s is ignored: %s", signal.Signals(number).name, why)

    logged: set[int] = set()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        loop.add_signal_handler(number, stop)
    for number in (*IGNORED, signal.SIGALRM):
        loop.add_signal_handler(number, on_other, number)


def new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # uvloop has no build for this platform
        return asyncio.new_event_loop()
    return cast("asyncio.AbstractEventLoop", uvloop.new_event_loop())


def raise_file_limit() -> None:
    """Raises the soft limit of file descriptors to the hard one. An invocation needs two descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
