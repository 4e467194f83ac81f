"""Sends new events to the store in batches.

Events that arrive during an exchange are the next batch, so a busier gateway has larger batches, and a lone event is
sent immediately.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from redis.exceptions import ResponseError

from ...background import BackgroundTask, BackgroundTasks
from ...store.resp import Command
from ..base import StoreError
from ..event import Event, encode_head
from .request_channel import RequestChannel
from .script import ENQUEUE
from .store_errors import read_refusal

_MOST_EVENTS = 256  # in one batch, which blocks the server for some 5 ms
_MOST_BYTES = 4 << 20
_FULL_SECONDS = 10.0  # for which a full store is shown as a problem, unless it stores an event before


def describe(event: Event) -> tuple[str, str, str, str, bytes]:
    """Returns the arguments of an event for the scripts: lane, due_at, received_at, retried, head."""
    return event.lane, repr(event.due_at), repr(event.received_at), "1" if event.runs else "0", encode_head(event)


class PendingEnqueue:
    """Holds an event whose request waits until it is stored. `claim` is the number of its claim, 0 for none."""

    __slots__ = ("arguments", "claim", "done", "event", "size")

    def __init__(self, event: Event, claim: int, done: asyncio.Future[tuple[bytes, str]]) -> None:
        self.event = event
        self.claim = claim
        self.arguments = (claim or "", *describe(event), event.body)
        self.size = event.size
        self.done = done


class Enqueuer:
    """Batches new events.

    session: returns the gateway's present name at the store.
    renew: obtains another session where the store has ended the lease.
    cancel_enqueue: called with events for which no request waits, and with the number of their batch where it is
        unknown whether the batch was stored, else 0.
    """

    def __init__(
        self,
        channel: RequestChannel,
        base: str,
        maximum_events: int,
        replicas: tuple[int, int],
        *,
        session: Callable[[], str],
        renew: Callable[[], Any],
        cancel_enqueue: Callable[[int, list[PendingEnqueue]], None],
    ) -> None:
        self._channel = channel
        self._base = base
        self._maximum_events = maximum_events
        self._replicas = replicas
        self._session = session
        self._renew = renew
        self._cancel_enqueue = cancel_enqueue
        self._queue: deque[PendingEnqueue] = deque()
        self._has_work = asyncio.Event()
        self._batch = 0
        self._no_room: str | None = None
        self._no_room_until = 0.0
        self._is_closing = False
        self._task: BackgroundTask | None = None

    @property
    def problem(self) -> str | None:
        """Returns that the store had no room for the last event, if that was recent."""
        return self._no_room if monotonic() < self._no_room_until else None

    def start(self, tasks: BackgroundTasks) -> None:
        self._task = tasks.start(self._keep_sending, "events to the store")

    async def enqueue(self, event: Event, claim: int = 0) -> tuple[bytes, str]:
        """Returns the event's number at the store, and the session that has claimed it. Raises `StoreError`."""
        why_unavailable = self._channel.why_unavailable
        if why_unavailable is not None or self._is_closing:
            raise StoreError("unavailable", f"The event store is unavailable: {why_unavailable or 'it is closed'}.")
        put = PendingEnqueue(event, claim, asyncio.get_running_loop().create_future())
        self._queue.append(put)
        self._has_work.set()
        try:
            return await put.done
        except asyncio.CancelledError:
            if not put.done.cancelled() and put.done.exception() is None:  # it was stored too late
                self._cancel_enqueue(0, [put])
            raise

    async def close(self) -> None:
        """Waits for the exchange under way, and refuses the other events."""
        self._is_closing = True
        self._has_work.set()
        if self._task is not None:
            await self._task.finish()
        if self._queue:
            self._fail([], StoreError("unavailable", "The gateway stops."))
        await self._channel.close()

    async def _keep_sending(self) -> None:
        self._has_work.set()  # an earlier task may have left something
        while not self._is_closing or self._queue:
            await self._has_work.wait()
            self._has_work.clear()
            while self._queue:
                batch = self._next_batch()
                try:
                    await self._send(batch)
                except StoreError as fault:
                    self._fail(batch, fault)
                except asyncio.CancelledError:
                    self._fail(batch, StoreError("unavailable", "Writing events to the event store was interrupted."))
                    raise
                except Exception as error:  # a bug: no request may wait for ever
                    self._fail(batch, StoreError("failed", f"A bug in the gateway: {error!r}. Report it."), error)
                # Under load, events of this turn of the event loop join the next batch.
                await asyncio.sleep(0)

    def _next_batch(self) -> list[PendingEnqueue]:
        batch: list[PendingEnqueue] = []
        size = 0
        while self._queue and len(batch) < _MOST_EVENTS and (not batch or size + self._queue[0].size <= _MOST_BYTES):
            put = self._queue.popleft()
            if not put.done.cancelled():
                batch.append(put)
                size += put.size
        return batch

    async def _send(self, batch: list[PendingEnqueue]) -> None:
        if not batch:
            return
        self._batch += 1
        session, reply = await self._exchange(batch)
        if reply == b"FENCED":
            await self._renew()
            session, reply = await self._exchange(batch)
        if reply == b"FENCED":
            raise StoreError(
                "unavailable", "The event store ends this gateway's lease before it can claim: the lease is too short."
            )
        self._no_room_until = 0.0
        first, kept = int(reply[0]), int(reply[1])
        for number, put in enumerate(batch):
            if number >= kept:
                self._refuse(put)
            elif not put.done.cancelled():
                put.done.set_result((b"%016d" % (first + number), session))
            else:
                self._cancel_enqueue(0, [put])

    async def _exchange(self, batch: list[PendingEnqueue]) -> tuple[str, Any]:
        session = self._session()
        texts: list[Any] = []
        for put in batch:
            texts += put.arguments

        def build() -> list[Command]:
            head = (
                "EVALSHA",
                ENQUEUE.sha,
                1,
                self._base,
                session,
                self._batch,
                self._maximum_events,
                self._channel.run,
            )
            wait: list[Command] = [("WAIT", *self._replicas)] if self._replicas[0] else []
            return [(*head, *texts), *wait]

        reply, *waited = await self._channel.exchange(build)
        if isinstance(reply, ResponseError):
            raise read_refusal(reply)
        if waited and (isinstance(waited[0], ResponseError) or waited[0] < self._replicas[0]):
            raise StoreError(
                "unavailable",
                f"The event reached {waited[0]} of {self._replicas[0]} replicas within {self._replicas[1]} ms. The "
                "primary has it, and it may run nevertheless.",
            )
        return session, reply

    def _refuse(self, put: PendingEnqueue) -> None:
        if not put.done.cancelled():
            put.done.set_exception(
                StoreError(
                    "bound",
                    f"The queue has {self._maximum_events} events, its bound. Let it drain, or raise "
                    "async.maximum_events.",
                )
            )

    def _fail(self, batch: list[PendingEnqueue], fault: StoreError, cause: Exception | None = None) -> None:
        if fault.kind == "unavailable":  # the store may have the batch, or receive it later
            self._cancel_enqueue(self._batch, list(batch))
            batch += self._queue
            self._queue.clear()
        elif fault.kind == "full":
            self._no_room, self._no_room_until = str(fault), monotonic() + _FULL_SECONDS
        for put in batch:
            if not put.done.done():
                error = StoreError(fault.kind, str(fault))
                error.__cause__ = cause
                put.done.set_exception(error)

    def __repr__(self) -> str:
        return f"<Enqueuer {len(self._queue)} waiting, {self._batch} batches>"
