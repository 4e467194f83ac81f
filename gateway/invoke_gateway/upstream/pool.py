"""Keeps the connections to the backend open, reuses the newest first, and gives each call a deadline."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial

from ..backend_errors import (
    BackendConnectTimeout,
    BackendError,
    BackendReset,
    BackendTimeout,
    BackendUnreachable,
    BackendUntrusted,
)
from ..buffers import Buffers
from ..dialing import Dialer, Resolve
from ..write_batcher import WriteBatcher
from .call import UpstreamCall
from .connection import BackendConnection, ConnectionOwner
from .idle_timeouts import IdleTimeouts

# So many parsers are kept for the next responses. Most responses come in one piece, so one parser serves them all.
_MOST_SPARE_PARSERS = 64


class Pool(ConnectionOwner):
    """Opens and keeps connections to one host.

    timeout_seconds: longest time of a call, from its start to the last byte of its response
    keep_alive_seconds: time for which an idle connection is trusted; less if the backend announces less
    resolve: finds the addresses of `host`; None: the event loop does
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        buffers: Buffers,
        write_batcher: WriteBatcher | None = None,
        tls: ssl.SSLContext | None = None,
        timeout_seconds: float = 900,
        connect_timeout_seconds: float = 5,
        first_byte_timeout_seconds: float | None = None,
        idle_timeout_seconds: float | None = None,
        keep_alive_seconds: float = 4,
        resolve: Resolve | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.buffers = buffers
        self.write_batcher = write_batcher or WriteBatcher()
        self.spare_parsers = deque(maxlen=_MOST_SPARE_PARSERS)
        self._tls = tls
        self._dialer = Dialer(host, port, resolve=resolve)
        self._timeout = timeout_seconds
        self._connect_timeout = connect_timeout_seconds
        self.keep_alive_seconds = keep_alive_seconds
        self._idle: dict[BackendConnection, None] = {}  # the newest last
        # In order of their start; all have the same time to live, so the first is the first to expire and one
        # timer serves them all.
        self._busy: dict[BackendConnection, float] = {}
        self._idle_timeouts = IdleTimeouts(self._busy, first_byte_timeout_seconds, idle_timeout_seconds)
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        # `loop` is kept from the first connect on: asking for it costs a system call before Python 3.12.
        self._connecting: set[asyncio.Task[None]] = set()
        self._opened_at = -1.0  # when the last connection was opened, and when the last one was not (the loop's time)
        self.failed_at = -1.0
        self.on_failure: Callable[[], None] = _do_nothing

    @property
    def answered_at(self) -> float:
        """Returns the time of the backend's last sign of life: a new connection, or a response on one that is
        idle now."""
        newest = next(reversed(self._idle), None)
        return max(self._opened_at, newest.idle_since) if newest is not None else self._opened_at

    @property
    def busy(self) -> int:
        return len(self._busy)

    @property
    def idle(self) -> int:
        return len(self._idle)

    def pop_idle(self) -> BackendConnection | None:
        """Returns an idle connection that the backend has hardly closed by now, or None."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.transport.is_closing():
                continue
            now = self.loop.time()
            if now - connection.idle_since >= connection.trusted_seconds:
                connection.close()
                continue
            self._busy[connection] = now
            if self._deadline_timer is None:
                self._start_timers()
            return connection
        return None

    def run_for(self, call: UpstreamCall, connecting: Coroutine[None, None, None]) -> None:
        """Runs `connecting`, which connects and then begins `call`, in a task that ends with that. So a call in flight
        has no task. A call that has not begun then has ended."""
        call.loop = asyncio.get_running_loop()
        task = call.loop.create_task(connecting, name=f"connect to {self.host}")
        self._connecting.add(task)
        task.add_done_callback(partial(self._end_unless_begun, call))

    def _end_unless_begun(self, call: UpstreamCall, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        if call.connection is None:
            call.end(BackendReset())

    async def connect(self) -> BackendConnection:
        """Opens a connection. Raises `BackendUnreachable`, `BackendUntrusted` or `BackendConnectTimeout`."""
        self.loop = loop = asyncio.get_running_loop()
        try:
            connection = await self._open()
        except BackendError:
            self.failed_at = loop.time()
            self.on_failure()
            raise
        self._opened_at = self._busy[connection] = loop.time()
        if self._deadline_timer is None:
            self._start_timers()
        return connection

    async def _open(self) -> BackendConnection:
        if asyncio.current_task() is None:  # a store has just admitted the call; `asyncio.timeout` needs a task
            return await self.loop.create_task(self._open())
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, connection = await self._dialer.connect(lambda: BackendConnection(self), tls=self._tls)
            return connection
        except TimeoutError as error:
            is_looking_up = self._dialer.is_looking_up
            raise BackendConnectTimeout(*(["its name was not resolved"] if is_looking_up else [])) from error
        except ssl.SSLError as error:
            raise BackendUntrusted(getattr(error, "verify_message", "") or error.reason or str(error)) from error
        except OSError as error:
            raise BackendUnreachable(error.strerror or str(error)) from error

    def put_back(self, connection: BackendConnection) -> None:
        """Keeps `connection` for another call."""
        self._busy.pop(connection, None)
        connection.idle_since = self.loop.time()
        self._idle[connection] = None
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.keep_alive_seconds, self._close_stale)

    def forget(self, connection: BackendConnection) -> None:
        """Drops `connection`, which is closed or about to be."""
        self._busy.pop(connection, None)
        self._idle.pop(connection, None)

    async def probe(self) -> None:
        """Opens and closes a connection. Raises as `connect` does."""
        connection = await self.connect()
        self.forget(connection)
        connection.close()

    async def close(self) -> None:
        """Closes all connections. Calls that still run end as reset."""
        for timer in (self._deadline_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        self._idle_timeouts.stop()
        for task in self._connecting:
            task.cancel()
        for connection in [*self._busy, *self._idle]:
            connection.abort(BackendReset())
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)

    def _start_timers(self) -> None:
        self._deadline_timer = self.loop.call_later(self._timeout, self._expire)
        self._idle_timeouts.watch(self.loop)

    def _expire(self) -> None:
        self._deadline_timer = None
        now = self.loop.time()
        while self._busy:
            connection, started = next(iter(self._busy.items()))
            if started + self._timeout > now:
                self._deadline_timer = self.loop.call_at(started + self._timeout, self._expire)
                return
            connection.abort(BackendTimeout())

    def _close_stale(self) -> None:
        self._idle_timer = None
        now = self.loop.time()
        for connection in list(self._idle):
            if now - connection.idle_since >= connection.trusted_seconds:
                del self._idle[connection]
                connection.close()
        if self._idle:
            self._idle_timer = self.loop.call_later(self.keep_alive_seconds / 2, self._close_stale)

    def __repr__(self) -> str:
        return f"<Pool {self.host}:{self.port} busy={self.busy} idle={self.idle}>"


def _do_nothing() -> None:
    """Ignores whether connections can be opened."""
