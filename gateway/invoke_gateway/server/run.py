"""Runs a gateway from its start to its end: two listeners, signals, reload and drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Protocol, cast

from ..admin.access import AdminAccess
from ..app.gateway import Gateway
from ..asgi import App
from ..background import BackgroundTasks
from ..control.base import CannotOpenControl
from ..queue.base import CannotOpen
from ..settings import Address, Settings
from ..signals import signals
from ..telemetry.logs.log import CannotOpenLog, LogOptions, reopen_access_log, set_up_logging
from ..telemetry.logs.write_turn import make_lock_file
from .admin_access import make_access, put_in_force
from .allocator import keep_freed_memory
from .http_server import serve_demo
from .policy_files import PolicyFiles
from .process import (
    ServingGateway,
    freeze_garbage,
    handle_signals,
    new_event_loop,
    open_gateway,
    raise_file_limit,
    serve_admin,
    serve_invoke,
)
from .reload import Reloadable, SettingsWatch, keep_reloading, read_bytes
from .sockets import CannotListen, bind
from .startup_checks import StartupChecks
from .startup_log import StartedServer, log_start, log_version

log = logging.getLogger("invoke_gateway")


class RunningServer(StartedServer, Reloadable, Protocol):
    """Describes a gateway that accepts connections, in one process or in several."""

    tasks: BackgroundTasks

    @property
    def in_flight(self) -> int:
        """Calls that the backend has."""

    def cut_short(self) -> None:
        """Ends the wait for what still runs."""

    def reopen_logs(self) -> None:
        """Opens the access log of other processes again."""


class RunningGateway:
    """Runs a gateway in one process."""

    def __init__(
        self, serving: ServingGateway, access: AdminAccess, listen: list[Address], admin: list[Address]
    ) -> None:
        self.gateway: Gateway = serving.gateway
        self.invoke_addresses = listen
        self.admin_addresses = admin
        self.listen = listen[0]
        self.admin = admin[0]
        self.settings = self.gateway.settings
        self.tasks = self.gateway.tasks
        self.degraded = self.gateway.degraded
        self.reload_state = self.gateway.reload_state
        self._access = access
        self.cut_short = serving.cut_short
        self._invoke = serving.server

    async def adopt(self, settings: Settings) -> None:
        put_in_force(self._access, settings)
        await self.gateway.adopt(settings)

    @property
    def in_flight(self) -> int:
        return self.gateway.pool.busy

    def reopen_logs(self) -> None:
        """Does nothing: there is no other process."""

    async def check_backend(self) -> str | None:
        await self.gateway.backend_watch.check()
        return self.gateway.backend.why

    async def find_degraded(self) -> list[str]:
        await self.gateway.events.refresh()
        return sorted(cause for cause, is_so in self.degraded.items() if is_so)

    def find_why_not_ready(self) -> str | None:
        return self.gateway.shared.why_not_ready if self.gateway.shared is not None else None


@contextlib.asynccontextmanager
async def serve_in_process(settings: Settings) -> AsyncIterator[RunningGateway]:
    """Serves `settings` in this process until the block ends, then drains for at most `drain_seconds`. Raises
    `CannotListen` if an address is taken."""
    async with contextlib.AsyncExitStack() as stack:
        invoke, admin = (
            stack.enter_context(contextlib.closing(bind(address, key)))
            for key, address in (("listen", settings.listen), ("admin", settings.admin))
        )
        tasks = BackgroundTasks()
        backend_url = settings.backend.url
        if backend_url == "demo":
            backend_url = await stack.enter_async_context(serve_demo(settings.region, tasks))
        gateway = await stack.enter_async_context(open_gateway(settings, backend_url, tasks=tasks))
        access = make_access(settings, admin.addresses)
        app = cast("App", gateway.admin.make_app(invoke.addresses[0], access).app)
        await stack.enter_async_context(serve_admin(app, access, admin, settings, tasks))
        stack.callback(gateway.admin.live_stream.close)  # after the drain, which they show; their streams delay no end
        served = await stack.enter_async_context(serve_invoke(gateway, invoke))
        yield RunningGateway(served, access, invoke.addresses, admin.addresses)


Serve = Callable[[Settings], AbstractAsyncContextManager[RunningServer]]


def run(
    settings: Settings, *, reload: Callable[[], Settings], config: Path | None, serve: Serve = serve_in_process
) -> int:
    """Serves until SIGTERM or SIGINT, then drains. Returns the exit status: 0, 2 if the start failed, or 1 if the
    gateway failed later.

    reload: reads the settings once more
    config: the settings file, which is watched
    serve: opens the gateway, in this process or in several
    """
    lock_file = make_lock_file() if settings.workers > 1 else None
    try:
        set_up_logging(LogOptions(settings.log.format, settings.log.level, settings.access_log, lock_file=lock_file))
    except CannotOpenLog as error:
        log.error("%s", error)
        return 2
    log_version(settings, config)
    raise_file_limit()
    content = read_bytes(config) if config is not None else None  # first of all: later bytes are compared with these
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_run(serve(settings), reload, config.absolute() if config else None, content))
        signals.ignore_all()
    except (CannotListen, CannotOpen, CannotOpenControl) as error:
        log.error("%s", error)
        log_other_obstacles(settings, error)
        return 2
    except (Exception, asyncio.CancelledError):  # a mistake of ours
        log.critical("the gateway failed and exits", exc_info=True)
        return 1
    return 0


def log_other_obstacles(settings: Settings, error: CannotListen | CannotOpen | CannotOpenControl) -> None:
    """Logs all other obstacles of a start, so that all can be corrected at once."""
    seen = "control.store" if isinstance(error, CannotOpenControl) else "async.store"
    seen = error.key if isinstance(error, CannotListen) else seen
    for finding, _ in StartupChecks().find_obstacles(settings):
        if finding.key != seen:
            log.error("%s. %s", finding.message, finding.cure)


async def _run(
    opened: AbstractAsyncContextManager[RunningServer],
    reload: Callable[[], Settings],
    config: Path | None,
    content: bytes | None,
) -> None:
    stop, changed = asyncio.Event(), asyncio.Event()
    up: RunningServer | None = None

    def on_stop() -> None:
        if stop.is_set() and up is not None:
            up.cut_short()
        stop.set()

    def on_reopen() -> bool:
        if up is not None:
            up.reopen_logs()
        return reopen_access_log()

    # Before any process can find the gateway: a signal that arrives earlier must not kill it.
    loop = asyncio.get_running_loop()
    handle_signals(loop, on_stop, on_reopen)
    loop.add_signal_handler(signal.SIGHUP, changed.set)
    if signals.was_hung_up:
        changed.set()
    async with opened as server:
        up = server
        await log_start(server)
        freeze_garbage()
        keep_freed_memory()
        async with contextlib.AsyncExitStack() as stack:
            running = server.tasks.running
            policies = PolicyFiles(server.settings)

            def read() -> Settings:
                settings = reload()
                policies.follow(settings)
                return settings

            await stack.enter_async_context(running(partial(keep_reloading, server, read, changed), "reload"))
            if server.settings.watch and config is not None:
                watched = SettingsWatch(config, content, changed, policies.have_changed)
                await stack.enter_async_context(running(watched.keep_watching, "watch of the settings file"))
            await stop.wait()
        began = monotonic()
        log.info(
            "draining: %d invocations in flight",
            server.in_flight,
            extra={
                "fields": {
                    "kind": "draining",
                    "in_flight": server.in_flight,
                    "drain_seconds": server.settings.drain_seconds,
                }
            },
        )
    log.info("stopped", extra={"fields": {"kind": "stopped", "seconds": round(monotonic() - began, 3)}})
