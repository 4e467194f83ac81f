"""Starts the workers, replaces those that die, and ends them.

Each worker has a listening socket of its own on the one address (SO_REUSEPORT), so that the kernel spreads connections
evenly. No other process holds that socket: it closes with its worker, and the other workers get the connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import pickle
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import cast

from ..asgi import App
from ..background import BackgroundTask, BackgroundTasks
from ..server.admin_access import make_access, put_in_force
from ..server.http_server import serve_demo
from ..server.process import serve_admin
from ..server.sockets import CannotListen, Listeners, bind, reserve, reserve_beside
from ..settings import RELOADABLE, Settings
from ..telemetry.logs.log import options_of_worker
from .admin import make_admin
from .aggregate import Aggregate
from .channel import Channel, RpcClient, WorkerGone
from .embedded_store import Embedded, running_stores
from .handle import WorkerHandle, Workers
from .slot_reclaim import reclaim_slots
from .worker import Start

log = logging.getLogger("invoke_gateway")

_START_SECONDS = 60.0
_REPLY_SECONDS = 5.0
_KILL_SECONDS = 10.0  # beyond drain_seconds: a worker that hangs must not hold up the others
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds before a worker that died is replaced
_STEADY_SECONDS = 30.0  # a worker that lived longer did not die of its start

# The path of this package comes first, whatever is in the working directory.
_CODE = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); "
_CODE += "from invoke_gateway.entry import prepare_worker; prepare_worker(); "  # before the slow imports
_CODE += "from invoke_gateway.workers.worker import main; main()"


class Replacer:
    """Keeps one place filled: starts another worker whenever the one there has ended."""

    def __init__(self, supervisor: Supervisor, worker: WorkerHandle) -> None:
        self._supervisor = supervisor
        self._worker = worker
        self._pause = _SHORTEST_PAUSE
        self._replacement = 0

    async def keep(self) -> None:
        """Replaces the worker whenever it has ended, until the gateway drains."""
        supervisor = self._supervisor
        workers = supervisor.workers
        while True:
            await supervisor.wait_exit(self._worker)
            if monotonic() - self._worker.started_at > _STEADY_SECONDS:
                self._pause = _SHORTEST_PAUSE
            while not self._worker.is_serving:
                if workers.is_draining:
                    return
                await self._replace(self._worker.number)
            workers.replaced += 1
            number, pid = self._worker.number, self._worker.process.pid
            extra = {"fields": {"kind": "worker_replaced", "worker": number, "process": pid}}
            log.info("worker %d was replaced by process %d", number, pid, extra=extra)
            if workers.is_draining:
                await supervisor.stop(self._worker)

    async def _replace(self, number: int) -> None:
        await asyncio.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self._replacement += 1
        supervisor = self._supervisor
        try:
            self._worker = await supervisor.start_one(number, supervisor.name_of(number, self._replacement))
        except (CannotListen, OSError) as error:  # the latter where there are too many processes or files
            log.error("worker %d could not be replaced, and is tried again: %s", number, error)


class Supervisor:
    """Runs all workers of one gateway."""

    def __init__(
        self,
        settings: Settings,
        backend_url: str,
        reserved: Listeners,
        admin: Listeners,
        tasks: BackgroundTasks,
        embedded: Embedded,
    ) -> None:
        self.settings = settings
        self.invoke_addresses = reserved.addresses
        self.admin_addresses = admin.addresses
        self.listen = self.invoke_addresses[0]
        self.admin = self.admin_addresses[0]
        self.tasks = tasks
        self.workers = Workers(embedded.settings, tasks)
        self.degraded = self.workers.degraded
        self.reload_state = self.workers.reload_state
        self.aggregate = Aggregate(self.workers)
        self.access = make_access(settings, self.admin_addresses)
        self._backend_url = backend_url
        self._reserved = reserved
        self._calls_lock = embedded.calls_lock
        self._in_force = embedded.settings
        self._cutting: set[asyncio.Task[None]] = set()
        self._replacers: list[BackgroundTask] = []

    async def start(self) -> None:
        """Starts all workers. Raises `CannotListen` when one cannot serve."""
        starts = [self.start_one(number, self.name_of(number, 0)) for number in range(1, self.settings.workers + 1)]
        for worker in await asyncio.gather(*starts):
            keep = Replacer(self, worker).keep
            self._replacers.append(self.tasks.start(keep, "replacement of a worker", may_end=True))

    def name_of(self, number: int, replacement: int) -> str:
        return f"{self.workers.name}.{number}" + (f"r{replacement}" if replacement else "")

    async def start_one(self, number: int, name: str) -> WorkerHandle:
        listeners = reserve_beside(self._reserved, "listen")
        here, there = socket.socketpair()
        numbers = [one.fileno() for one in listeners.sockets]
        log_options = options_of_worker(number)
        lock_files = [number for number in (log_options.lock_file, self._calls_lock) if number is not None]
        with contextlib.closing(listeners), contextlib.closing(there):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-c", _CODE),
                *(str(there.fileno()), ",".join(map(str, numbers)), json.dumps(log_options)),
                pass_fds=(there.fileno(), *numbers, *lock_files),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in a terminal is for the supervisor
            )
        worker = WorkerHandle(number, name, process, RpcClient(await Channel.open(here)))
        self.workers.by_number[number] = worker
        start = Start(self._in_force, self._backend_url, name)
        try:
            why_not = await worker.call("start", pickle.dumps(start), seconds=_START_SECONDS)
        except WorkerGone as error:
            why_not = str(error)
        except BaseException:
            await self._end(worker)
            raise
        if why_not is not None:
            await self._end(worker)
            raise CannotListen(f"worker {number} did not start: {why_not}")
        worker.is_serving, worker.last_reply_at = True, monotonic()
        return worker

    async def wait_exit(self, worker: WorkerHandle) -> None:
        """Waits for the worker's end, keeps its totals, and releases its slots."""
        await worker.wait_final_totals()
        worker.is_serving = False
        await worker.close()  # a worker that still runs ends with its channel
        try:
            async with asyncio.timeout(self.settings.drain_seconds + _KILL_SECONDS):
                status = await worker.process.wait()
        except TimeoutError:
            log.error("worker %d lost its channel and does not end; it is killed", worker.number)
            worker.process.kill()
            status = await worker.process.wait()
        await self._end(worker)
        if self.workers.is_draining:
            return
        level, how = logging.ERROR, f"ended with status {status}"
        if status < 0:
            how = f"was killed by {signal.Signals(-status).name}"
        elif status == 0:
            level, how = logging.INFO, "ended on request"
        pid = worker.process.pid
        extra = {"fields": {"kind": "worker_ended", "worker": worker.number, "process": pid, "status": status}}
        log.log(level, "worker %d (process %d) %s, and is replaced", worker.number, pid, how, extra=extra)
        if status and self.settings.shared.reclaim_after == "lease":
            await reclaim_slots(worker.name, self.workers.serving())

    async def _end(self, worker: WorkerHandle) -> None:
        worker.is_serving = False
        if self.workers.by_number.get(worker.number) is not worker:
            return  # it has been ended
        del self.workers.by_number[worker.number]
        self.aggregate.retire(worker)
        if worker.process.returncode is None:
            worker.process.kill()
            await worker.process.wait()
        await worker.close()

    async def drain(self) -> None:
        """Ends all workers, each after its calls."""
        self.workers.is_draining = True
        for worker in self.workers.serving():
            await self.stop(worker)
        longest = self.settings.drain_seconds + _KILL_SECONDS
        try:
            async with asyncio.timeout(longest):
                for replacer in self._replacers:
                    await replacer.finish()
        except TimeoutError:
            log.error("workers did not end within %g seconds, and are killed", longest)

    async def stop(self, worker: WorkerHandle, how: str = "stop") -> None:
        with contextlib.suppress(WorkerGone):
            await worker.call(how, seconds=_REPLY_SECONDS)

    async def close(self) -> None:
        """Ends every process."""
        for replacer in self._replacers:
            await replacer.close()
        for worker in list(self.workers.by_number.values()):
            await self._end(worker)

    @property
    def in_flight(self) -> int:
        return self.aggregate.connections.busy

    async def check_backend(self) -> str | None:
        for worker in self.workers.serving():
            with contextlib.suppress(WorkerGone):
                seconds = self.settings.backend.connect_timeout_seconds + 1
                return cast("str | None", await worker.call("backend", seconds=seconds))
        return None

    async def find_degraded(self) -> list[str]:
        await self.aggregate.refresh()
        return sorted(cause for cause, is_so in self.aggregate.degraded.items() if is_so)

    def find_why_not_ready(self) -> str | None:
        return self.aggregate.why_not_ready

    async def adopt(self, settings: Settings) -> None:
        """Puts new limits in force, also for later workers. What needs a restart stays as it was."""
        changed = {name: getattr(settings, name) for name in RELOADABLE}
        self._in_force = self.workers.settings.model_copy(update=changed)
        put_in_force(self.access, settings)
        await self.aggregate.adopt(self._in_force)
        pickled = pickle.dumps(self._in_force)
        results = await asyncio.gather(
            *(worker.call("adopt", pickled) for worker in self.workers.serving()), return_exceptions=True
        )
        for error in results:
            if isinstance(error, Exception):
                log.error("a worker did not put the new limits in force: %s", error)

    def cut_short(self) -> None:
        # Not a second SIGTERM, which a service manager may have sent to all processes at once.
        for worker in self.workers.serving():
            cutting = self.tasks.run_once(self.stop(worker, "cut_short"), "cutting short")
            self._cutting.add(cutting)
            cutting.add_done_callback(self._cutting.discard)

    def reopen_logs(self) -> None:
        """Opens the access log of all workers again."""
        for worker in self.workers.by_number.values():
            with contextlib.suppress(ProcessLookupError):
                worker.process.send_signal(signal.SIGUSR1)


@contextlib.asynccontextmanager
async def running_workers(settings: Settings) -> AsyncIterator[Supervisor]:
    """Serves `settings` in several processes until the block ends, then drain them. Raises `CannotListen` where an
    address is taken or a worker cannot serve, and `CannotOpen` where an embedded store does not start."""
    async with contextlib.AsyncExitStack() as stack:
        reserved = stack.enter_context(contextlib.closing(reserve(settings.listen, "listen")))
        admin = stack.enter_context(contextlib.closing(bind(settings.admin, "admin")))
        tasks = BackgroundTasks()
        asyncio.get_running_loop().set_exception_handler(tasks.handle_exception)
        backend_url = settings.backend.url
        if backend_url == "demo":
            backend_url = await stack.enter_async_context(serve_demo(settings.region, tasks))
        embedded = await stack.enter_async_context(running_stores(settings, tasks))
        supervisor = Supervisor(settings, backend_url, reserved, admin, tasks, embedded)
        stack.push_async_callback(supervisor.close)
        await supervisor.start()
        aggregate = supervisor.aggregate
        await aggregate.refresh()
        app = cast("App", make_admin(supervisor.workers, aggregate, supervisor.listen, supervisor.access).app)
        await stack.enter_async_context(serve_admin(app, supervisor.access, admin, settings, tasks))
        await stack.enter_async_context(tasks.running(aggregate.keep_refreshing, "poll of the workers"))
        await stack.enter_async_context(tasks.running(aggregate.samples.keep_sampling, "sparklines"))
        stack.callback(aggregate.live_stream.close)
        try:
            yield supervisor
        finally:
            await supervisor.drain()
