"""One gateway's events in a file of SQLite.

The event loop collects what is to be written; a thread writes all of it as one transaction, with one fsync, while the
next batch collects. Whoever put an event is answered after that. Ends, postponements and rewritings are kept in memory
when they cannot be written, and tried again with growing pauses; events that were put are refused instead.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from .base import CannotOpen, Fetched, StoreFault, Waiting
from .event import Event, encode_head
from .sqlite_claims import Claims
from .sqlite_file import OwnedFile, fault_of
from .sqlite_reader import Found, Reader
from .sqlite_writer import Row, Writer, Written

log = logging.getLogger("gateway")

SHORTEST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
CLOSE_SECONDS = 5.0  # how long what cannot be written holds up the end
BATCH_EVENTS = 1_024
BATCH_BYTES = 16 * 1024 * 1024

T = TypeVar("T")


class _Change:
    """What is to be written of an event: `row` as it shall be, or None for its end."""

    __slots__ = ("done", "event", "is_claimed", "is_put", "row", "seq")

    def __init__(
        self, event: Event, seq: int, row: Row | None, is_put: bool, is_claimed: bool, done: asyncio.Future[None]
    ) -> None:
        self.event = event
        self.seq = seq
        self.row = row
        self.is_put = is_put
        self.is_claimed = is_claimed  # afterwards
        self.done = done


class SqliteStore:
    """`Store` in the file `path`, owned by this process. `maximum_events` bounds how many events it holds; with
    `is_temporary` the file ends with the store."""

    def __init__(
        self,
        path: Path,
        *,
        maximum_events: int = 10_000_000,
        is_temporary: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._maximum_events = maximum_events
        self._is_temporary = is_temporary
        self._now = now
        self._file = OwnedFile(path)
        self._claims = Claims()
        self._events = 0  # in the file, or on their way into it
        self._last = 0  # key
        self._is_open = False
        self._changes: list[_Change] = []
        self._writing: list[_Change] = []
        self._is_flush_due = False
        self._retry: asyncio.TimerHandle | None = None
        self._pause = SHORTEST_PAUSE_SECONDS
        self._trouble: StoreFault | None = None
        self._damage: StoreFault | None = None
        self._reads = asyncio.Lock()
        self._quiet: asyncio.Future[None] | None = None

    @property
    def trouble(self) -> str | None:
        """Why nothing can be written just now, and what helps; None where it can."""
        fault = self._damage or self._trouble
        return None if fault is None else str(fault)

    async def open(self, hear: Callable[[str, int, float], None]) -> list[Waiting]:
        """`hear` is called only of events whose putter did not wait for them: nobody else writes into the file."""
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self._writer_thread = ThreadPoolExecutor(1, "queue-write")
        self._reader_thread = ThreadPoolExecutor(1, "queue-read")
        self._inquiry_thread = ThreadPoolExecutor(1, "queue-inquire")
        try:
            waiting = await self._loop.run_in_executor(self._writer_thread, self._open)
        except BaseException:
            self._end_threads()
            raise
        self._events = sum(lane.events for lane in waiting)
        self._is_open = True
        return waiting

    def _open(self) -> list[Waiting]:
        self._file.acquire()
        connections: list[sqlite3.Connection] = []
        try:
            for _ in range(3):
                connections.append(connection := self._file.connect())
                if len(connections) == 1:
                    self._file.check(connection)
            self._connections = connections
            self._writer = Writer(connections[0], self._path)
            self._reader = Reader(connections[1], self._path)
            self._inquirer = Reader(connections[2], self._path)
            waiting = self._inquirer.waiting(())
            self._last = self._inquirer.last()
        except BaseException as error:
            for connection in connections:
                connection.close()
            self._file.release()
            if isinstance(error, sqlite3.Error):
                raise CannotOpen(str(fault_of(error, self._path))) from error
            raise
        return waiting

    async def put(self, event: Event) -> None:
        await self._put(event, is_claimed=False)

    async def put_claimed(self, event: Event) -> None:
        await self._put(event, is_claimed=True)

    def _put(self, event: Event, is_claimed: bool) -> asyncio.Future[None]:
        if self._damage is not None:
            raise StoreFault(self._damage.kind, str(self._damage))
        if not self._is_open:
            raise StoreFault("failed", "The queue is closed.")
        if self._events >= self._maximum_events:
            raise StoreFault(
                "bound",
                f"The queue holds {self._events} events, its bound. Let it drain, or raise maximum_events.",
            )
        self._events += 1
        self._last = event.key = seq = self._last + 1
        if is_claimed:
            self._claims.add(seq, event.lane, event.due_at)
        return self._change(event, _row(seq, event), is_put=True, is_claimed=is_claimed)

    async def finish(self, event: Event) -> None:
        await self._change(event, None)

    async def postpone(self, event: Event) -> None:
        await self._change(event, _row(_key(event), event))

    async def rewrite(self, event: Event) -> None:
        await self._change(event, _row(_key(event), event), is_claimed=True)

    def _change(
        self, event: Event, row: Row | None, is_put: bool = False, is_claimed: bool = False
    ) -> asyncio.Future[None]:
        done = self._loop.create_future()
        self._changes.append(_Change(event, _key(event), row, is_put, is_claimed, done))
        # While it cannot be written, what is kept waits for its pause; a put is tried at once, and answered.
        if not self._is_flush_due and not self._writing and (is_put or self._retry is None):
            self._is_flush_due = True
            self._loop.call_soon(self._flush)
        return done

    def _flush(self) -> None:
        """Hand over what has been collected; one batch is written at a time."""
        self._is_flush_due = False
        if self._writing or not self._changes:
            return
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._writing = batch = self._next_batch()
        puts = {change.seq: change.row for change in batch if change.is_put}
        rest = {change.seq: change.row for change in batch if not change.is_put}
        write = self._loop.run_in_executor(self._writer_thread, self._writer.write, puts, rest)
        write.add_done_callback(self._written)

    def _next_batch(self) -> list[_Change]:
        size = count = 0
        for change in self._changes:
            if count == BATCH_EVENTS or size > BATCH_BYTES:
                break
            count += 1
            size += len(change.row[7]) if change.row is not None else 0
        batch, self._changes = self._changes[:count], self._changes[count:]
        return batch

    def _written(self, write: asyncio.Future[Written]) -> None:
        written = write.result()
        batch, self._writing = self._writing, []
        puts = {change.seq for change in batch if change.is_put}
        if written.puts is not None:
            batch = self._refuse(batch, puts, written.puts)
            puts = set()
        if written.rest is not None:
            self._changes[:0] = batch
        else:
            self._events -= written.deleted
            for change in batch:
                self._settle(change, change.seq in puts)
        self._note(written.puts or written.rest, written.rest is not None)
        if self._writer.log_is_long or not self._events:
            self._writer_thread.submit(self._writer.tidy, not self._events)
        if self._quiet is not None and not (self._changes or self._writing or self._quiet.done()):
            self._quiet.set_result(None)

    def _refuse(self, batch: list[_Change], puts: set[int], fault: StoreFault) -> list[_Change]:
        """The puts have failed, and with them all that has been said of these events since. The rest of the batch."""
        self._events -= len(puts)
        for change in [*batch, *self._changes]:
            if change.seq not in puts:
                continue
            self._claims.remove(change.seq)
            if change.done.done():
                continue
            if change.is_put:
                change.event.key = None
                change.done.set_exception(StoreFault(fault.kind, str(fault)))
            else:
                change.done.set_result(None)
        self._changes = [change for change in self._changes if change.seq not in puts]
        return [change for change in batch if change.seq not in puts]

    def _settle(self, change: _Change, was_put: bool) -> None:
        """It is written: what others may know of it."""
        row, seq = change.row, change.seq
        if row is None:
            self._claims.remove(seq)
            if was_put:
                self._events -= 1  # it came and ended in one batch
        elif change.is_put and change.done.cancelled():
            self._claims.remove(seq)
            self._claims.came(seq, row[1], row[2])
            self._hear(row[1], 1, row[2])
        elif change.is_claimed:
            self._claims.move(seq, row[1], row[2])
        else:
            self._claims.remove(seq)
            self._claims.came(seq, row[1], row[2])
        if not change.done.done():
            change.done.set_result(None)

    def _note(self, fault: StoreFault | None, is_kept: bool) -> None:
        """Remember the trouble, and when to try again; or that it is over."""
        if fault is None:
            if self._trouble is not None:
                log.warning("the queue's file %s can be written again", self._path)
            self._trouble, self._pause = None, SHORTEST_PAUSE_SECONDS
            if self._changes:
                self._flush()
            return
        if self._trouble is None or self._trouble.kind != fault.kind:
            log.error("%s", fault)
        self._trouble = fault
        if fault.kind == "damaged":
            self._damage = fault
        if any(change.is_put for change in self._changes) and self._damage is None:
            self._flush()
        elif self._retry is None:
            self._retry = self._loop.call_later(self._pause, self._try_again)
            self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)

    def _try_again(self) -> None:
        self._retry = None
        if self._changes:
            self._flush()
        elif self._is_open and self._damage is None and not self._writing:
            probe = self._loop.run_in_executor(self._writer_thread, self._writer.probe)
            probe.add_done_callback(lambda done: self._note(done.result(), False) if not self._writing else None)

    async def fetch(self, lane: str, now: float, most: int, most_bytes: int) -> Fetched:
        async with self._reads:
            after = self._claims.begin(lane)
            try:
                page = await self._read(
                    self._reader_thread, self._reader.fetch, lane, now, most, most_bytes, after, self._claims.keys
                )
                taken, next_due_at = self._claims.claim(lane, page)
            finally:
                self._claims.end()
        return Fetched(self._readable(taken), next_due_at)

    async def take(self, key: bytes | int) -> Event | None:
        if not isinstance(key, int):
            return None
        async with self._reads:
            self._claims.begin("")
            try:
                found = await self._read(self._reader_thread, self._reader.take, key)
                taken = self._claims.claim_any(found)
            finally:
                self._claims.end()
        events = self._readable(taken)
        return events[0] if events else None

    async def give_back(self, events: list[Event]) -> None:
        unwritten = {change.seq: change.done for change in (*self._writing, *self._changes)}
        for event in events:
            seq = _key(event)
            if seq in unwritten:
                unwritten[seq].add_done_callback(partial(self._give_back, seq))
            else:
                self._claims.give_back(seq)

    def _give_back(self, seq: int, _: object) -> None:
        self._claims.give_back(seq)

    async def waiting(self) -> list[Waiting]:
        return await self._read(self._inquiry_thread, self._inquirer.waiting, tuple(self._claims.keys))

    async def find(self, request_id: str, most: int) -> list[tuple[Event, bool]]:
        return self._with_claims(await self._read(self._inquiry_thread, self._inquirer.find, request_id, most))

    async def oldest(self, lane: str, most: int) -> list[tuple[Event, bool]]:
        return self._with_claims(await self._read(self._inquiry_thread, self._inquirer.oldest, lane, most))

    async def _read(self, thread: ThreadPoolExecutor, read: Callable[..., T], *values: object) -> T:
        try:
            return await self._loop.run_in_executor(thread, read, *values)
        except sqlite3.Error as error:
            fault = fault_of(error, self._path)
            if fault.kind == "damaged" and self._damage is None:
                log.error("%s", fault)
                self._damage = fault
            raise fault from error

    def _readable(self, found: Iterable[Found]) -> list[Event]:
        """The events; what cannot be read stays claimed, so that it is handed out to nobody, and is told once."""
        for one in found:
            if one.event is None:
                log.error("event %s of the queue's file %s cannot be read: %s", one.seq, self._path, one.why)
        return [one.event for one in found if one.event is not None]

    def _with_claims(self, found: list[Found]) -> list[tuple[Event, bool]]:
        return [(one.event, one.seq in self._claims) for one in found if one.event is not None]

    async def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        if self._writing or self._changes:
            self._quiet = self._loop.create_future()
            await asyncio.wait([self._quiet], timeout=CLOSE_SECONDS)
        if self._retry is not None:
            self._retry.cancel()
        lost, self._changes = self._changes, []
        if lost:
            log.error("%s changes of events could not be written; these events run again. %s", len(lost), self.trouble)
        await self._loop.run_in_executor(self._writer_thread, self._close)
        self._end_threads()

    def _close(self) -> None:
        self._reader_thread.shutdown()
        self._inquiry_thread.shutdown()
        for connection in reversed(self._connections):
            connection.close()
        if self._is_temporary:
            self._file.remove()
        self._file.release()

    def _end_threads(self) -> None:
        for thread in (self._writer_thread, self._reader_thread, self._inquiry_thread):
            thread.shutdown(wait=False)

    def __repr__(self) -> str:
        return f"<SqliteStore {self._path} events={self._events} claimed={len(self._claims.keys)} {self.trouble or ''}>"


def _key(event: Event) -> int:
    assert isinstance(event.key, int)
    return event.key


def _row(seq: int, event: Event) -> Row:
    return (
        seq,
        event.lane,
        event.due_at,
        event.received_at,
        event.runs > 0,
        event.request_id,
        encode_head(event),
        event.body,
    )
