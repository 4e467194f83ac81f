"""Runs a gateway: sockets, two uvicorn servers on one event loop, signals, reload and drain."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import uvicorn

from .app import Gateway
from .asgi import App
from .demo import DemoBackend
from .faults import BackendFault
from .listener import InvokeProtocol, ListenerLimits, keep_sweeping
from .operations.app import Operations
from .operations.fault_scripts import FaultEndpoint
from .operations.history import keep_looking
from .operations.host import LoopbackNames
from .operations.limits import describe_limits
from .reloading import keep_reloading, read_bytes, watch
from .settings import Address, Settings
from .telemetry.lag import keep_measuring_lag
from .telemetry.log import set_up_logging

log = logging.getLogger("gateway")

_BACKLOG = 4096
# Garbage comes from cycles only, and a request makes hardly any: collecting less often saves time per request.
_GC_THRESHOLD = 50_000


class CannotListen(Exception):
    """An address cannot be listened on."""


class Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: there are two servers here, and one who decides."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class RunningGateway:
    """A gateway that accepts connections. `listen` and `operations` are the addresses really bound."""

    def __init__(self, gateway: Gateway, invoke: Server, invoke_address: Address, operations_address: Address) -> None:
        self.gateway = gateway
        self.listen = invoke_address
        self.operations = operations_address
        self._invoke = invoke

    def cut_short(self) -> None:
        """Do not wait for what still runs."""
        self._invoke.force_exit = True


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[RunningGateway]:
    """Serve `settings` until the block ends, then drain: finish what was admitted, for `drain_seconds` at most.

    Raises `CannotListen` where an address is taken.
    """
    async with contextlib.AsyncExitStack() as stack:
        sockets = [
            stack.enter_context(contextlib.closing(_bind(address, key)))
            for key, address in (("listen", settings.listen), ("operations", settings.operations))
        ]
        backend_url = settings.backend.url
        if backend_url == "demo":
            backend_url = await stack.enter_async_context(_demo_backend())
        gateway = Gateway(settings, backend_url=backend_url)
        stack.push_async_callback(gateway.close)
        await gateway.start()
        operations = Server(_configure(_make_operations(gateway), drain_seconds=1))
        await stack.enter_async_context(_serving(operations, sockets[1]))
        await stack.enter_async_context(_task(keep_looking(gateway.history), "history"))
        stack.callback(gateway.watchers.close)  # after the drain, which they see; their streams hold nobody up
        invoke = Server(_configure_invoke(gateway, settings))
        await stack.enter_async_context(_serving(invoke, sockets[0]))
        connections = cast("set[InvokeProtocol]", invoke.server_state.connections)
        await stack.enter_async_context(
            _task(
                keep_sweeping(connections, settings.read_timeout_seconds, settings.keep_alive_seconds),
                "sweep of connections",
            )
        )
        await stack.enter_async_context(_task(keep_measuring_lag(gateway.totals.loop_lag), "event loop lag"))
        try:
            yield RunningGateway(gateway, invoke, _address_of(sockets[0]), _address_of(sockets[1]))
        finally:
            gateway.is_draining = True


def run(settings: Settings, *, reload: Callable[[], Settings], config: Path | None) -> int:
    """Serve until SIGTERM or SIGINT, then drain. Returns the exit status: 0, or 2 where it could not start."""
    set_up_logging()
    _raise_file_limit()
    content = read_bytes(config) if config is not None else None  # first of all: later bytes are compared with these
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        try:
            runner.run(_run(settings, reload, config.absolute() if config else None, content))
        except CannotListen as error:
            log.error("%s", error)
            return 2
    return 0


async def _run(settings: Settings, reload: Callable[[], Settings], config: Path | None, content: bytes | None) -> None:
    async with running(settings) as server:
        gateway = server.gateway
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_stop() -> None:
            if stop.is_set():
                server.cut_short()
            stop.set()

        changed = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_stop)
        loop.add_signal_handler(signal.SIGHUP, changed.set)
        await _announce(server)
        # What exists now lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD, 20, 20)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(_task(keep_reloading(gateway, reload, changed), "reload"))
            if settings.watch and config is not None:
                await stack.enter_async_context(_task(watch(config, content, changed), "watch of the settings file"))
            await stop.wait()
        log.info("draining: %d invocations in flight", gateway.pool.busy)
    log.info("stopped")


async def _announce(server: RunningGateway) -> None:
    gateway = server.gateway
    log.info("Invoke API on http%s://%s", "s" if gateway.settings.tls else "", server.listen)
    faults = " /faults" if gateway.fault_scripts is not None else ""
    log.info("live page on http://%s/", server.operations)
    paths = f"/metrics /healthz /readyz /limits /holds /refusals{faults}"
    log.info("operations on http://%s (%s)", server.operations, paths)
    url = gateway.settings.backend.url
    log.info("backend %s", "demo (embedded: echo, sleep, fail, blob, stream)" if url == "demo" else url)
    try:
        await gateway.pool.probe()
    except BackendFault as fault:
        log.warning("serving all the same: %s", fault)


def _make_operations(gateway: Gateway) -> App:
    def limits(rows: int) -> dict[str, object]:
        held = gateway.holds.by_counter()
        shared = gateway.shared
        sums = shared.sums if shared else None
        accounts = describe_limits(gateway.tables.limits, gateway.counters, gateway.totals, rows, held, sums)
        document: dict[str, object] = {"accounts": accounts, "draining": gateway.is_draining}
        if shared is not None:
            document["shared"] = shared.describe()
        return document

    operations = Operations(
        collector=gateway.collector,
        describe_limits=limits,
        shared=gateway.shared,
        holds=gateway.holds,
        faults=FaultEndpoint(
            gateway.fault_scripts,
            find_account=lambda account: gateway.tables.limits.of(account).account,
            is_draining=lambda: gateway.is_draining,
        ),
        watchers=gateway.watchers,
        refusals=gateway.last_refusals,
        probe=gateway.pool.probe,
        is_draining=lambda: gateway.is_draining,
    )
    return LoopbackNames(cast("App", operations.app))


def _configure_invoke(gateway: Gateway, settings: Settings) -> uvicorn.Config:
    limits = ListenerLimits(
        settings.max_connections,
        settings.max_header_bytes,
        settings.max_headers,
        settings.read_timeout_seconds,
    )
    tls = settings.tls
    return _configure(
        gateway.invoke,
        http=partial(InvokeProtocol, limits=limits, outbox=gateway.outbox),
        keep_alive_seconds=settings.keep_alive_seconds,
        drain_seconds=settings.drain_seconds,
        certificate=str(tls.certificate) if tls else None,
        key=str(tls.key) if tls else None,
    )


def _configure(
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
async def _serving(server: Server, listener: socket.socket) -> AsyncIterator[None]:
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        if task.done():
            task.result()
            raise CannotListen(f"The server on {_address_of(listener)} did not start.")
        await asyncio.sleep(0.005)
    try:
        yield
    finally:
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def _demo_backend() -> AsyncIterator[str]:
    """The demo backend on a loopback port of its own; the gateway reaches it like any other."""
    with contextlib.closing(_bind(Address("127.0.0.1", 0), "backend.url")) as listener:
        demo = DemoBackend()
        async with _serving(Server(_configure(demo, drain_seconds=1)), listener):
            yield f"http://{_address_of(listener)}"
            demo.close()  # what still sleeps has nobody waiting for it


@contextlib.asynccontextmanager
async def _task(work: Any, name: str) -> AsyncIterator[None]:
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _bind(address: Address, key: str) -> socket.socket:
    listener = None
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, where = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(_BACKLOG)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise CannotListen(
            f"cannot listen on {address} ({key}): {error.strerror}. Choose another address with --{key}, "
            f"or end the process that has it."
        ) from error
    listener.setblocking(False)
    return listener


def _address_of(listener: socket.socket) -> Address:
    host, port = listener.getsockname()[:2]
    return Address(host, port)


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # uvloop has no build for this platform
        return asyncio.new_event_loop()
    return cast("asyncio.AbstractEventLoop", uvloop.new_event_loop())


def _raise_file_limit() -> None:
    """An invocation needs two file descriptors; the soft limit is often far below the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
