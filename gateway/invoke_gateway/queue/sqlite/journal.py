"""Collects the changes that are still to be written, on the event loop.

Changes that arrive while a batch is being written become the next batch. When a batch fails, its new events are
refused, and later changes of these events are dropped with them. The other changes are kept in their order, and retried
with growing pauses. A new event that arrives meanwhile is tried at once, so that its request is answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ..base import StoreError
from ..event import Event
from .writer import Row, Writer, WriteResult

log = logging.getLogger("invoke_gateway")

SHORTEST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
CLOSE_SECONDS = 5.0  # the longest wait at the end for changes that cannot be written
BATCH_EVENTS = 1_024
BATCH_BYTES = 16 * 1024 * 1024

_CLOSED = StoreError("failed", "The queue is closed.")


class PendingWrite:
    """Holds a change of an event.

    row: the event as it will be; None for its end.
    is_claimed: whether it is claimed afterwards.
    """

    __slots__ = ("done", "event", "is_claimed", "is_new", "row", "seq")

    def __init__(
        self, event: Event, seq: int, row: Row | None, is_new: bool, is_claimed: bool, done: asyncio.Future[None]
    ) -> None:
        self.event = event
        self.seq = seq
        self.row = row
        self.is_new = is_new
        self.is_claimed = is_claimed
        self.done = done


class Journal:
    """Writes changes in batches.

    on_written: called for each written change before its request goes on.
    on_refused: called for each change that is dropped.
    events: how many events are in the file or on their way into it.
    """

    def __init__(
        self,
        writer: Writer,
        thread: ThreadPoolExecutor,
        on_written: Callable[[PendingWrite], None],
        on_refused: Callable[[PendingWrite], None],
    ) -> None:
        self.events = 0
        self.damage: StoreError | None = None
        self._problem: StoreError | None = None
        self._writer = writer
        self._thread = thread
        self._on_written = on_written
        self._on_refused = on_refused
        self._loop = asyncio.get_running_loop()
        self._changes: list[PendingWrite] = []
        self._writing: list[PendingWrite] = []
        self._is_flush_due = False
        self._is_closed = False
        self._retry: asyncio.TimerHandle | None = None
        self._pause = SHORTEST_PAUSE_SECONDS
        self._drained: asyncio.Future[None] | None = None

    @property
    def problem(self) -> StoreError | None:
        return self.damage or self._problem

    def add(self, change: PendingWrite) -> None:
        if self._is_closed:
            change.done.set_result(None)  # too late: the event runs again
            return
        self._changes.append(change)
        if not self._is_flush_due and not self._writing and (change.is_new or self._may_write_rest):
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    @property
    def _may_write_rest(self) -> bool:
        """Returns whether changes of stored events may be written. They may also be while the file is not at
        its path."""
        return self._retry is None or (self._problem is not None and self._problem.kind == "replaced")

    def unwritten(self) -> dict[int, PendingWrite]:
        """Returns the last unwritten change of each event, by key."""
        return {change.seq: change for change in (*self._writing, *self._changes)}

    def note_damage(self, fault: StoreError) -> None:
        if self.damage is None:
            log.error("%s", fault)
            self.damage = fault

    async def close(self) -> None:
        if self._writing or self._changes:
            self._drained = self._loop.create_future()
            await asyncio.wait([self._drained], timeout=CLOSE_SECONDS)
        self._is_closed = True
        if self._retry is not None:
            self._retry.cancel()
        if self._changes or self._writing:
            lost = len(self._changes) + len(self._writing)
            log.error(
                "%s changes of events could not be written; these events will run again. %s", lost, self.problem or ""
            )
        for change in self._changes:
            self._drop(change, self.problem or _CLOSED)
        self._changes = []

    def _flush(self) -> None:
        """Writes the collected changes; one batch at a time."""
        self._is_flush_due = False
        if self._writing or not self._changes or self._is_closed:
            return
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._writing = batch = self._next_batch()
        puts = {change.seq: change.row for change in batch if change.is_new}
        rest = {change.seq: change.row for change in batch if not change.is_new}
        write = self._loop.run_in_executor(self._thread, self._writer.write, puts, rest)
        write.add_done_callback(self._written)

    def _next_batch(self) -> list[PendingWrite]:
        count = size = 0
        for change in self._changes:
            if count == BATCH_EVENTS or size > BATCH_BYTES:
                break
            count += 1
            size += len(change.row[-1]) if change.row is not None else 0
        batch, self._changes = self._changes[:count], self._changes[count:]
        return batch

    def _written(self, write: asyncio.Future[WriteResult]) -> None:
        written = _result_of(write)
        batch, self._writing = self._writing, []
        puts = {change.seq for change in batch if change.is_new}
        if written.new is not None and puts:
            batch = self._refuse(batch, puts, written.new)
            puts = set()
        kept = []
        self.events -= written.deleted
        for change in batch:
            if written.rest is not None and change.seq not in written.alone:
                kept.append(change)
            else:
                self._settle(change, change.seq in puts)
        if self._is_closed:
            for change in kept:
                self._drop(change, written.rest or _CLOSED)
        else:
            self._changes[:0] = kept
        self._note_fault(written.rest or written.moved or written.new)
        if self._writer.is_untidy(self.events):
            self._thread.submit(self._writer.tidy)
        if self._drained is not None and not (self._changes or self._writing or self._drained.done()):
            self._drained.set_result(None)

    def _settle(self, change: PendingWrite, was_put: bool) -> None:
        if was_put and change.row is None:
            self.events -= 1  # it was enqueued and acknowledged in one batch
        self._on_written(change)
        if not change.done.done():
            change.done.set_result(None)

    def _refuse(self, batch: list[PendingWrite], puts: set[int], fault: StoreError) -> list[PendingWrite]:
        """Drops the new events of a failed batch and their later changes. Returns the rest of the batch."""
        for change in [*batch, *self._changes]:
            if change.seq in puts:
                self._drop(change, fault)
        self._changes = [change for change in self._changes if change.seq not in puts]
        return [change for change in batch if change.seq not in puts]

    def _drop(self, change: PendingWrite, fault: StoreError) -> None:
        if change.is_new:
            self.events -= 1
        self._on_refused(change)
        if change.done.done():
            return
        if change.is_new:
            change.done.set_exception(StoreError(fault.kind, str(fault)))
        else:
            change.done.set_result(None)

    def _note_fault(self, fault: StoreError | None) -> None:
        """Records the outcome of a write, and when to retry."""
        if fault is None:
            if self._problem is not None:
                log.warning("the queue's file can be written again")
            self._problem, self._pause = None, SHORTEST_PAUSE_SECONDS
            self._flush()
            return
        if fault.kind == "damaged":
            self.note_damage(fault)
        elif self._problem is None or str(self._problem) != str(fault):
            log.error("%s", fault)
        self._problem = fault
        if any(change.is_new or fault.kind == "replaced" for change in self._changes):
            self._flush()
        elif self._retry is None and not self._is_closed:
            self._retry = self._loop.call_later(self._pause, self._try_again)
            self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)

    def note_moved(self, fault: StoreError | None) -> None:
        """Records a check of the file's path during which nothing was written."""
        if fault is not None and not self._is_closed and (self._problem is None or self._problem.kind != fault.kind):
            self._note_fault(fault)

    def _try_again(self) -> None:
        """Writes the kept changes; without any it checks whether the file can be written again."""
        self._retry = None
        if self._changes:
            self._flush()
        elif self.damage is None and not self._writing and not self._is_closed:
            probe = self._loop.run_in_executor(self._thread, self._writer.probe)
            probe.add_done_callback(self._probed)

    def _probed(self, probe: asyncio.Future[StoreError | None]) -> None:
        if not self._writing and not self._is_closed:
            error = probe.exception()
            self._note_fault(probe.result() if error is None else _fault_of(error))


def _result_of(write: asyncio.Future[WriteResult]) -> WriteResult:
    """Returns the outcome of a batch, also after a bug made the write fail, so that no request waits for ever."""
    error = write.exception()
    if error is None:
        return write.result()
    fault = _fault_of(error)
    return WriteResult(fault, fault, 0)


def _fault_of(error: BaseException) -> StoreError:
    log.error("the writer of the queue's file has failed", exc_info=error)
    return StoreError("failed", f"A bug in the gateway made the write fail: {error!r}. Report it.")
