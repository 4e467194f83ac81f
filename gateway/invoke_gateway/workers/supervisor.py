"""Starts the workers, puts another in the place of one that dies, and ends them.

Each worker has a listening socket of its own on the one address (SO_REUSEPORT), so that the kernel spreads connections
evenly. Nobody else has that socket: it goes with its worker, and the others get the connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import signal
import socket
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from secrets import token_hex
from time import monotonic
from typing import Any, cast

from ..admin.live.sparklines import keep_sampling
from ..asgi import App
from ..background import BackgroundTask, BackgroundTasks
from ..server.http_server import serve_demo
from ..server.process import serve_admin
from ..server.sockets import CannotListen, Listeners, bind, reserve, reserve_beside
from ..settings import RELOADABLE, Settings
from .admin import make_admin
from .aggregate import Group
from .channel import Asking, Channel, WorkerGone
from .worker import Start

log = logging.getLogger("invoke_gateway")

_START_SECONDS = 60.0
_ANSWER_SECONDS = 5.0
_KILL_SECONDS = 10.0  # beyond drain_seconds; a worker that is stopped or hangs must not keep the others
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds before a worker that died is replaced
_SILENT_SECONDS = 30.0  # a worker that hangs for so long is killed: the kernel goes on to give it connections
_STEADY_SECONDS = 30.0  # who lived so long did not die of its start

# Found from where this package lies, whatever lies in the working directory.
_CODE = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); "
_CODE += (
    "from invoke_gateway.entry import prepare_worker; prepare_worker(); "  # before anything that takes long to import
)
_CODE += "from invoke_gateway.workers.worker import main; main()"


class Worker:
    """A worker as its supervisor knows it. `number` is its place, `name` what the store calls this process, `place` the
    part of it that is not the gateway's: `2`, or of its first replacement `2r1`."""

    def __init__(self, number: int, name: str, process: asyncio.subprocess.Process, asking: Asking) -> None:
        self.number = number
        self.name = name
        self.place = name.partition(".")[2]
        self.process = process
        self.started_at = monotonic()
        self.ask = asking.ask
        self.close = asking.close
        self.is_serving = False
        self.is_silent = False
        self.heard_at = self.started_at
        self.now: dict[str, Any] = {}
        self.totals: list[bytes] = []
        self.usage: dict[str, Any] = {}

    async def hear_farewell(self) -> None:
        """Its last totals, when it ends in order."""
        with contextlib.suppress(WorkerGone):
            self.totals = await self.ask("farewell")

    def __repr__(self) -> str:
        return f"<Worker {self.number} {self.name} pid={self.process.pid}>"


class Keeper:
    """Sees to it that there is a worker in the place of `worker`."""

    def __init__(self, supervisor: Supervisor, worker: Worker) -> None:
        self._supervisor = supervisor
        self._worker = worker
        self._pause = _SHORTEST_PAUSE
        self._replacement = 0

    async def keep(self) -> None:
        """Replace the worker whenever it has ended, until all are to end."""
        supervisor = self._supervisor
        while True:
            await supervisor.outlive(self._worker)
            if monotonic() - self._worker.started_at > _STEADY_SECONDS:
                self._pause = _SHORTEST_PAUSE
            while not self._worker.is_serving:
                if supervisor.is_draining:
                    return
                await self._replace(self._worker.number)
            supervisor.replaced += 1
            log.info("worker %d is back, as process %d", self._worker.number, self._worker.process.pid)
            if supervisor.is_draining:
                await supervisor.stop(self._worker)

    async def _replace(self, number: int) -> None:
        await asyncio.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self._replacement += 1
        supervisor = self._supervisor
        try:
            self._worker = await supervisor.start_one(number, supervisor.name_of(number, self._replacement))
        except (CannotListen, OSError) as error:  # the latter where there are too many processes or files
            log.error("worker %d is not back (%s); another attempt follows", number, error)


class Supervisor:
    """All workers of one gateway."""

    def __init__(
        self,
        settings: Settings,
        backend_url: str,
        reserved: Listeners,
        admin: Listeners,
        tasks: BackgroundTasks,
    ) -> None:
        self.settings = settings
        self.invoke_addresses = reserved.addresses
        self.admin_addresses = admin.addresses
        self.listen = self.invoke_addresses[0]
        self.admin = self.admin_addresses[0]
        self.tasks = tasks
        self.degraded = tasks.degraded
        self.degraded |= {"settings_invalid": False, "restart_needed": False}
        self.name = f"g-{token_hex(4)}"
        self.replaced = 0
        self.is_draining = False
        self.workers: dict[int, Worker] = {}
        self.group = Group(self)
        self._backend_url = backend_url
        self._reserved = reserved
        self._in_force = settings
        self._cutting: set[asyncio.Task[None]] = set()
        self._keepers: list[BackgroundTask] = []

    # The life of workers.

    async def start(self) -> None:
        """Start all of them. Raises `CannotListen` when one cannot serve."""
        starts = [self.start_one(number, self.name_of(number, 0)) for number in range(1, self.settings.workers + 1)]
        for worker in await asyncio.gather(*starts):
            keep = Keeper(self, worker).keep
            self._keepers.append(self.tasks.start(keep, "keeper of a worker", may_end=True))

    def name_of(self, number: int, replacement: int) -> str:
        return f"{self.name}.{number}" + (f"r{replacement}" if replacement else "")

    async def start_one(self, number: int, name: str) -> Worker:
        listeners = reserve_beside(self._reserved, "listen")
        here, there = socket.socketpair()
        numbers = [one.fileno() for one in listeners.sockets]
        with contextlib.closing(listeners), contextlib.closing(there):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-c", _CODE),
                *(str(there.fileno()), ",".join(map(str, numbers)), str(number)),
                pass_fds=(there.fileno(), *numbers),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in a terminal is for the supervisor
            )
        worker = Worker(number, name, process, Asking(await Channel.open(here)))
        self.workers[number] = worker
        start = Start(self._in_force, self._backend_url, name)
        try:
            why_not = await worker.ask("start", pickle.dumps(start), seconds=_START_SECONDS)
        except WorkerGone as error:
            why_not = str(error)
        except BaseException:
            await self._end(worker)
            raise
        if why_not is not None:
            await self._end(worker)
            raise CannotListen(f"worker {number} did not start: {why_not}")
        worker.is_serving, worker.heard_at = True, monotonic()
        return worker

    async def outlive(self, worker: Worker) -> None:
        """Wait for the worker's end, keep its totals, and give back what it held."""
        await worker.hear_farewell()  # or the end of the channel: no other process has the other end of it
        worker.is_serving = False
        await worker.close()  # so that a worker which lives still ends too
        try:
            async with asyncio.timeout(self.settings.drain_seconds + _KILL_SECONDS):
                status = await worker.process.wait()
        except TimeoutError:
            log.error("worker %d has no channel any more and does not end: it is killed", worker.number)
            worker.process.kill()
            status = await worker.process.wait()
        await self._end(worker)
        if self.is_draining:
            return
        level, how = logging.ERROR, f"ended with status {status}"
        if status < 0:
            how = f"was killed by {signal.Signals(-status).name}"
        elif status == 0:
            level, how = logging.INFO, "was told to end"
        pid = worker.process.pid
        log.log(level, "worker %d (process %d) %s; another takes its place", worker.number, pid, how)
        if status and self.settings.shared.reclaim_after == "lease":
            await self._forget(worker.name)

    async def _forget(self, name: str) -> None:
        """A worker is known to be dead: nobody need wait for its lease to end."""
        for other in self.serving():
            with contextlib.suppress(WorkerGone):
                await other.ask("forget", name, seconds=_ANSWER_SECONDS)
                return

    async def _end(self, worker: Worker) -> None:
        worker.is_serving = False
        if self.workers.get(worker.number) is not worker:
            return  # it has been ended
        del self.workers[worker.number]
        self.group.retire(worker)
        if worker.process.returncode is None:
            worker.process.kill()
            await worker.process.wait()
        await worker.close()

    def end_silent(self) -> None:
        """Kill workers that hang; they are replaced like others that die."""
        for worker in self.serving():
            silent = monotonic() - worker.heard_at
            if worker.is_silent and silent > _SILENT_SECONDS:
                log.error("worker %d does not answer for %.0f s, and is killed", worker.number, silent)
                worker.process.kill()

    async def drain(self) -> None:
        """End all workers, each after its calls."""
        self.is_draining = True
        for worker in self.serving():
            await self.stop(worker)
        longest = self.settings.drain_seconds + _KILL_SECONDS
        try:
            async with asyncio.timeout(longest):
                for keeper in self._keepers:
                    await keeper.finish()
        except TimeoutError:
            log.error("workers did not end within %g seconds, and are killed", longest)

    async def stop(self, worker: Worker, how: str = "stop") -> None:
        with contextlib.suppress(WorkerGone):
            await worker.ask(how, seconds=_ANSWER_SECONDS)

    async def close(self) -> None:
        """Leave no process behind."""
        for keeper in self._keepers:
            await keeper.close()
        for worker in list(self.workers.values()):
            await self._end(worker)

    def serving(self) -> list[Worker]:
        return [worker for worker in list(self.workers.values()) if worker.is_serving]

    # What the server asks.

    @property
    def in_flight(self) -> int:
        return self.group.connections.busy

    async def look_for_backend(self) -> str | None:
        for worker in self.serving():
            with contextlib.suppress(WorkerGone):
                seconds = self.settings.backend.connect_timeout_seconds + 1
                return cast("str | None", await worker.ask("backend", seconds=seconds))
        return None

    async def adopt(self, settings: Settings) -> None:
        """New limits for all workers, and for those that come; what needs a restart stays as it was."""
        changed = {name: getattr(settings, name) for name in RELOADABLE}
        self._in_force = self.settings.model_copy(update=changed)
        await self.group.adopt(self._in_force)
        pickled = pickle.dumps(self._in_force)
        told = await asyncio.gather(
            *(worker.ask("adopt", pickled) for worker in self.serving()), return_exceptions=True
        )
        for error in told:
            if isinstance(error, Exception):
                log.error("a worker did not take the new limits: %s", error)

    def cut_short(self) -> None:
        # Not a second SIGTERM, which a service manager may have sent to all processes at once.
        for worker in self.serving():
            cutting = self.tasks.run_once(self.stop(worker, "cut_short"), "cutting short")
            self._cutting.add(cutting)
            cutting.add_done_callback(self._cutting.discard)


@contextlib.asynccontextmanager
async def running_workers(settings: Settings) -> AsyncIterator[Supervisor]:
    """Serve `settings` in several processes until the block ends, then drain them. Raises `CannotListen` where an
    address is taken or a worker cannot serve."""
    async with contextlib.AsyncExitStack() as stack:
        reserved = stack.enter_context(contextlib.closing(reserve(settings.listen, "listen")))
        admin = stack.enter_context(contextlib.closing(bind(settings.admin, "admin")))
        tasks = BackgroundTasks()
        asyncio.get_running_loop().set_exception_handler(tasks.handle_exception)
        backend_url = settings.backend.url
        if backend_url == "demo":
            backend_url = await stack.enter_async_context(serve_demo(settings.region, tasks))
        supervisor = Supervisor(settings, backend_url, reserved, admin, tasks)
        stack.push_async_callback(supervisor.close)
        await supervisor.start()
        group = supervisor.group
        await group.refresh()
        app = cast("App", make_admin(supervisor).app)
        await stack.enter_async_context(serve_admin(app, admin, settings, tasks))
        await stack.enter_async_context(tasks.running(group.keep_refreshing, "look at the workers"))
        await stack.enter_async_context(tasks.running(partial(keep_sampling, group.sparklines), "sparklines"))
        stack.callback(group.live_stream.close)
        try:
            yield supervisor
        finally:
            await supervisor.drain()
