"""Stores one gateway's events in a file of SQLite.

The event loop collects changes (journal.py). A thread writes all of them as one transaction with one fsync, while the
next batch collects; a request is answered after that. A second thread reads claimed events. A third answers queries
that read the whole file, so that no lane waits for them.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from ..base import CannotOpen, ClaimedEvents, LaneBacklog, StoreError
from ..clock import Clock
from ..event import Event
from .claims import FileClaims
from .clock_record import ClockRecord
from .journal import Journal, PendingWrite
from .owned_file import OwnedFile, keep_open, read_sqlite_error
from .reader import Reader, StoredEvent
from .writer import Row, Writer, make_row

log = logging.getLogger("invoke_gateway")

T = TypeVar("T")

CHECK_SECONDS = 1.0  # between two checks of the file's path, also where nothing is written


class SqliteStore:
    """Stores events in the file `path`, owned by this process.

    maximum_events: the bound on stored events.
    is_temporary: removes the file when the store is closed.
    clock: of the events' times.
    """

    def __init__(
        self,
        path: Path,
        *,
        maximum_events: int = 10_000_000,
        is_temporary: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._path = path
        self._clock = clock or Clock()
        self._maximum_events = maximum_events
        self._is_temporary = is_temporary
        self._file = OwnedFile(path)
        self._claims = FileClaims()
        self._last = 0  # key
        self._is_open = False
        self._reads = asyncio.Lock()

    @property
    def problem(self) -> str | None:
        """Returns why nothing can be written at present, with the action; None where it can."""
        fault = self._journal.problem if self._is_open else None
        return None if fault is None else str(fault)

    async def open(self, note_enqueued: Callable[[str, int, float], None]) -> list[LaneBacklog]:
        """Opens the file. `note_enqueued` is called only for events whose request was cancelled: no other process
        writes the file."""
        self._note_enqueued = note_enqueued
        self._loop = asyncio.get_running_loop()
        self._writer_thread = ThreadPoolExecutor(1, "queue-write")
        self._reader_thread = ThreadPoolExecutor(1, "queue-read")
        self._inquiry_thread = ThreadPoolExecutor(1, "queue-inquire")
        try:
            waiting = await self._loop.run_in_executor(self._writer_thread, self._open)
        except BaseException:
            self._end_threads()
            raise
        self._journal = Journal(self._writer, self._writer_thread, self._written, self._refused)
        self._journal.events = sum(lane.events for lane in waiting)
        self._is_open = True
        self._next_check = self._loop.call_later(CHECK_SECONDS, self._start_check)
        return waiting

    def _start_check(self) -> None:
        """Checks in the writer's thread whether the file is at its path, and whether the machine's clock was set."""
        check = self._loop.run_in_executor(self._writer_thread, self._check_file)
        check.add_done_callback(self._end_check)

    def _check_file(self) -> StoreError | None:
        self._record.keep()
        return self._file.location.check()

    def _end_check(self, check: asyncio.Future[StoreError | None]) -> None:
        if self._is_open:
            self._journal.note_moved(check.result())
            self._next_check = self._loop.call_later(CHECK_SECONDS, self._start_check)

    def _open(self) -> list[LaneBacklog]:
        self._file.acquire()
        connections: list[sqlite3.Connection] = []
        try:
            for _ in range(3):
                connections.append(connection := self._file.connect())
                if len(connections) == 1:
                    self._file.check(connection)
            self._connections = connections
            self._writer = Writer(connections[0], self._path, self._file.location)
            self._reader = Reader(connections[1], self._path)
            self._inquirer = Reader(connections[2], self._path)
            waiting = self._inquirer.backlog(())
            self._last = self._inquirer.last()
            self._reader.last()
            self._file.note_log(connections[0])
            self._record = ClockRecord(connections[0], self._clock, has_events=bool(self._last))
        except BaseException as error:
            for connection in connections:
                connection.close()
            self._file.release()
            if isinstance(error, sqlite3.Error | OSError):
                raise CannotOpen(str(read_sqlite_error(error, self._path))) from error
            raise
        return waiting

    async def enqueue(self, event: Event) -> None:
        await self._enqueue(event, is_claimed=False)

    async def enqueue_claimed(self, event: Event) -> None:
        await self._enqueue(event, is_claimed=True)

    def _enqueue(self, event: Event, is_claimed: bool) -> asyncio.Future[None]:
        if not self._is_open:
            raise StoreError("failed", "The queue is closed.")
        if self._journal.damage is not None:
            raise StoreError("damaged", str(self._journal.damage))
        if self._journal.events >= self._maximum_events:
            raise StoreError(
                "bound",
                f"The queue holds {self._journal.events} events, its bound. Let it drain, or raise "
                "async.maximum_events.",
            )
        seq = self._last + 1
        row = make_row(seq, event)
        self._journal.events += 1
        self._last = event.key = seq
        if is_claimed:
            self._claims.add(seq, event.lane, event.due_at)
        return self._change(event, row, is_new=True, is_claimed=is_claimed)

    def owns_claim(self, event: Event) -> bool:
        """Returns True: no other process can claim an event of this file."""
        return True

    async def ack(self, event: Event) -> None:
        await self._change(event, None)

    async def requeue(self, event: Event) -> None:
        await self._change(event, make_row(_key(event), event))

    async def update(self, event: Event) -> None:
        await self._change(event, make_row(_key(event), event), is_claimed=True)

    def _change(
        self, event: Event, row: Row | None, is_new: bool = False, is_claimed: bool = False
    ) -> asyncio.Future[None]:
        done = self._loop.create_future()
        self._journal.add(PendingWrite(event, _key(event), row, is_new, is_claimed, done))
        return done

    def _written(self, change: PendingWrite) -> None:
        """Updates the claims after a change was written."""
        row, seq = change.row, change.seq
        if row is None:
            self._claims.remove(seq)
        elif change.is_new:
            self._add_new(change, row)
        elif change.is_claimed:
            self._claims.move(seq, row[1], row[2])
        else:
            self._claims.remove(seq)
            self._claims.add_free(seq, row[1], row[2])

    def _add_new(self, change: PendingWrite, row: Row) -> None:
        """Adds a new event to the claims, unless a claim that read after the commit has it already."""
        is_forgotten = change.done.cancelled()
        if is_forgotten and change.is_claimed:
            self._claims.remove(change.seq)
        if change.seq not in self._claims:
            self._claims.add_free(change.seq, row[1], row[2])
            if is_forgotten:
                self._note_enqueued(row[1], 1, row[2])

    def _refused(self, change: PendingWrite) -> None:
        self._claims.remove(change.seq)
        if change.is_new:
            change.event.key = None

    async def claim_due(self, lane: str, now: float, most: int, most_bytes: int) -> ClaimedEvents:
        async with self._reads:
            after = self._claims.begin(lane)
            try:
                page = await self._read(
                    self._reader_thread, self._reader.read_due, lane, now, most, most_bytes, after, self._claims.keys
                )
                taken, next_due_at = self._claims.claim(lane, page)
            finally:
                self._claims.end()
        return ClaimedEvents(self._readable(taken), next_due_at)

    async def claim_one(self, key: bytes | int) -> Event | None:
        if not isinstance(key, int):
            return None
        async with self._reads:
            self._claims.begin("")
            try:
                found = await self._read(self._reader_thread, self._reader.read_one, key)
                taken = self._claims.claim_any(found)
            finally:
                self._claims.end()
        events = self._readable(taken)
        return events[0] if events else None

    async def release(self, events: list[Event]) -> None:
        unwritten = self._journal.unwritten()
        for event in events:
            seq = _key(event)
            change = unwritten.get(seq)
            if change is not None:
                change.is_claimed = False
            if change is None or change.is_new:
                self._claims.release(seq)

    async def backlog(self) -> list[LaneBacklog]:
        return await self._read(self._inquiry_thread, self._inquirer.backlog, tuple(self._claims.keys))

    async def find(self, request_id: str, most: int) -> list[tuple[Event, bool]]:
        return self._with_claims(await self._read(self._inquiry_thread, self._inquirer.find, request_id, most))

    async def oldest(self, lane: str, most: int) -> list[tuple[Event, bool]]:
        return self._with_claims(await self._read(self._inquiry_thread, self._inquirer.oldest, lane, most))

    async def _read(self, thread: ThreadPoolExecutor, read: Callable[..., T], *values: object) -> T:
        if not self._is_open:
            raise StoreError("failed", "The queue is closed.")
        try:
            return await self._loop.run_in_executor(thread, read, *values)
        except sqlite3.Error as error:
            fault = read_sqlite_error(error, self._path)
            if fault.kind == "damaged":
                self._journal.note_damage(fault)
            raise fault from error

    def _readable(self, found: Iterable[StoredEvent]) -> list[Event]:
        """Returns the readable events. An unreadable one is logged once and stays claimed, so that no claim
        returns it."""
        for one in found:
            if one.event is None:
                log.error("event %s of the queue's file %s is unreadable: %s", one.seq, self._path, one.why)
        return [one.event for one in found if one.event is not None]

    def _with_claims(self, found: list[StoredEvent]) -> list[tuple[Event, bool]]:
        return [(one.event, one.seq in self._claims) for one in found if one.event is not None]

    async def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._next_check.cancel()
        await self._journal.close()
        await self._loop.run_in_executor(self._writer_thread, self._close)
        self._end_threads()

    def _close(self) -> None:
        self._reader_thread.shutdown()
        self._inquiry_thread.shutdown()
        change = self._file.location.check()
        if change is not None:
            keep_open(self._connections.pop())
            if self._journal.events and not self._is_temporary:
                events = self._journal.events
                log.error("%d events stay in a queue's file that the next start will not find. %s", events, change)
        for connection in reversed(self._connections):
            connection.close()
        if self._is_temporary and change is None:
            self._file.remove()
        self._file.release()

    def _end_threads(self) -> None:
        for thread in (self._writer_thread, self._reader_thread, self._inquiry_thread):
            thread.shutdown(wait=False)

    def __repr__(self) -> str:
        return f"<SqliteStore {self._path} claimed={len(self._claims.keys)} {self.problem or ''}>"


def _key(event: Event) -> int:
    assert isinstance(event.key, int)
    return event.key
