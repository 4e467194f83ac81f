"""Serves the requests of one connection in turn: at once, behind the end of a call, or by a task."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from types import CoroutineType, coroutine
from typing import Any, Protocol, cast

from ..asgi import AWAITED, DONE, App
from .connection_setup import ConnectionSetup
from .cycle import Cycle
from .transport import TransportProtocol

log = logging.getLogger("invoke_gateway")

# Requests that may wait on one connection behind the served one; above this number no more are read.
PIPELINED = 16


_ENDED = object()  # what `next` returns for a coroutine that has ended


class AwaitedEnd(Protocol):
    """Is what the rest of a request waits for (`awaited.Awaited`)."""

    has_ended: bool

    def resume_at_end(self, resume: Callable[[], None] | None) -> None:
        """Has `resume` called once, at the end; None: not called."""


class PipelineProtocol(TransportProtocol):
    """Adds the requests of a connection: the newest, the running and the waiting ones, and the work that is left.

    A request that waits for nothing is served in one step, without a task.
    """

    __slots__ = (
        "_app",
        "_awaited",
        "_cycle",
        "_idle_since",
        "_is_serving",
        "_next_rest",
        "_pending",
        "_rest",
        "_running",
        "_served",
        "_waiting",
        "_waits_for",
        "_worker",
    )

    def __init__(self, setup: ConnectionSetup) -> None:
        super().__init__(setup)
        self._app = cast("App", setup.config.loaded_app)
        # What a drain waits for, and cancels at its end: tasks, and connections that wait for a call.
        self._pending = cast("set[object]", setup.server_state.tasks)
        # The newest request, the one that is being served, and those between them.
        self._cycle: Cycle | None = None
        self._running: Cycle | None = None
        self._waiting: list[Cycle] = []  # at most some dozens, and nearly always none
        self._idle_since: float | None = None
        # The request that the application was last called for, whether it is still at it, and what is left to be done.
        self._served: Cycle | None = None
        self._is_serving = False
        self._rest: Any = None
        # What the rest waits for; and the future of it, if the rest has begun.
        self._awaited: AwaitedEnd | None = None
        self._waits_for: object = None
        self._worker: asyncio.Task[None] | None = None
        self._next_rest: asyncio.Future[None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._waiting.clear()
        if self._worker is not None:
            self._wake_worker()
        for cycle in (self._running, self._cycle):
            if cycle is not None:
                cycle.disconnect()
        super().connection_lost(exc)

    # In one step, and behind the end of a call.

    def _serve(self) -> None:
        """Calls the application for one request after the other, until one of them has to wait."""
        while not self._is_lost:
            cycle = self._running
            if cycle is self._served:
                if not self._waiting:
                    self._is_serving = False
                    return
                cycle = self._running = self._waiting.pop(0)
            assert cycle is not None  # nothing was served before the first
            self._served = cycle
            try:
                rest = self._app(cycle.scope, cycle.receive, cycle)
            except Exception:  # whatever it is, the requests that wait behind this one get their turn
                log.exception("the application failed")
                rest = DONE
            if rest is not DONE:
                self._serve_rest(rest, cycle)
                return
            self._end_service(cycle)

    def _serve_rest(self, rest: Awaitable[None], cycle: Cycle) -> None:
        """Has the rest of a request served later: once what it waits for has ended, or by the task of this
        connection."""
        self._rest = rest
        awaited: AwaitedEnd | None = cycle.scope.pop(AWAITED, None)
        # By what a coroutine can do: those of compiled modules have a type of their own.
        if awaited is None or awaited.has_ended or not hasattr(rest, "send"):
            self._wake_worker()
        else:
            self._await(awaited)

    def _await(self, awaited: AwaitedEnd) -> None:
        self._awaited = awaited
        self._pending.add(self)
        awaited.resume_at_end(self._resume_later)  # a method takes a fifth of the memory of a partial function

    def _resume_later(self) -> None:
        self.write_batcher.defer(self._resume)

    def _resume(self) -> None:
        """Serves the rest of a request once what it waits for has ended. That is one step, without a task, if nothing
        else is waited for: a call that a store has admitted waits for the backend as well."""
        if self._awaited is None:  # cancelled meanwhile
            return
        rest: CoroutineType[Any, None, None] = self._rest
        served = self._served
        assert served is not None  # the rest is its
        self._awaited = self._waits_for = None
        try:
            waits_for = next(rest.__await__(), _ENDED)  # `send` would end in a StopIteration, which is expensive
        except Exception:
            log.exception("the application failed")
            waits_for = _ENDED
        if waits_for is not _ENDED:
            awaited: AwaitedEnd | None = served.scope.pop(AWAITED, None)
            if awaited is not None and not awaited.has_ended:
                self._waits_for = waits_for
                self._await(awaited)
                return
            self._pending.discard(self)
            self._rest = _go_on(rest, waits_for)
            self._wake_worker()
            return
        self._rest = None
        self._pending.discard(self)
        self._end_service(served)
        self._serve()

    def cancel(self, msg: object = None) -> bool:
        """Cancels a request that waits without a task, as if it were one: uvicorn does so at the end of a drain."""
        if self._awaited is None:
            return False
        self._awaited.resume_at_end(None)
        self._awaited = None
        if self._waits_for is not None:
            self._rest, self._waits_for = _go_on(self._rest, self._waits_for), None
        self._wake_worker()
        assert self._worker is not None  # it has been woken
        self.loop.call_soon(self._worker.cancel, msg)  # behind its first step: what is cancelled has begun
        self.loop.call_soon(self._pending.discard, self)  # not now: all of them are being cancelled
        return True

    # By the task.

    async def _work(self) -> None:
        """Serves the rests of those requests of this connection that have to wait. One task serves all of them: a task
        for each is expensive, above all before Python 3.12."""
        worker = self._worker
        assert worker is not None  # it is this task
        while True:
            if self._rest is None or self._awaited is not None:
                if self._is_lost:
                    return
                self._next_rest = self.loop.create_future()
                await self._next_rest
                continue
            rest, self._rest = self._rest, None
            served = self._served
            assert served is not None  # the rest is its
            self._pending.add(worker)
            try:
                await rest
            except Exception:
                log.exception("the application failed")
            finally:
                self._pending.discard(worker)
                self._end_service(served)
            self._serve()

    def _end_service(self, cycle: Cycle) -> None:
        """Cuts a response that the application has left unfinished."""
        if not cycle.response_complete and not cycle.disconnected:
            cycle.cut()  # nothing more will come, and what the client has is not all

    def _wake_worker(self) -> None:
        if self._worker is None or self._worker.done():
            self._worker = self.loop.create_task(self._work())
            self._worker.add_done_callback(self._on_worker_end)
        elif self._next_rest is not None and not self._next_rest.done():
            self._next_rest.set_result(None)

    def _on_worker_end(self, worker: asyncio.Task[None]) -> None:
        """Closes a connection whose task has ended: further requests on it would wait forever."""
        if not self._is_lost:
            self.close()

    # For the requests, and for uvicorn.

    def end_response(self) -> None:
        """Goes on to the next request: the response to the running one is complete."""
        if self.transport.is_closing():
            self._waiting.clear()
            return
        if self.flow.read_paused and len(self._waiting) <= PIPELINED:
            self.flow.resume_reading()
        if not self._waiting:
            self._idle_since = self.loop.time()

    def shutdown(self) -> None:
        """Finishes the running request and takes no more. uvicorn calls this to drain."""
        cycle = self._cycle
        if cycle is None or cycle.response_complete:
            self.close()
        else:
            cycle.keep_alive = False


@coroutine
def _go_on(rest: CoroutineType[Any, None, None], waits_for: object) -> Generator[object, None, None]:
    """Runs a coroutine to its end, inside of a task, that began outside and now waits for something."""
    while True:
        try:
            yield waits_for
        except BaseException as error:
            step = partial(rest.throw, error)
        else:
            step = partial(rest.send, None)
        try:
            waits_for = step()
        except StopIteration:
            return
