"""Writes many events as one transaction with one fsync, in the writer's thread.

Each call into SQLite lets go of the interpreter's lock and must win it back from a busy event loop. So there are few
calls: the rows of a batch go in by statements of up to 64 rows, and all ends by one statement.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Container
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..base import StoreError
from ..event import Event, encode_head
from .moved_file import FileLocation
from .owned_file import PAGE_BYTES, read_sqlite_error
from .statements import STATEMENTS

Row = tuple[int, str, float, float, bool, str, bytes, bytes]
"""The row of an event in the table, the key first."""

Rows = dict[int, Row | None]
"""Rows by key; None is the end of an event."""

CHECKPOINT_PAGES = 4_000  # as counted too high below: the log stays at 4 to 32 MB
KEPT_LOG_BYTES = 64 * 1024 * 1024  # a log that grew behind a long read is cut to this
SHRINK_PAGES = 64 * 1024 * 1024 // PAGE_BYTES  # a file of 64 MB is worth to be made small
FEW_EVENTS = 1_000  # with more events the file is not made smaller
MOVED_PAGES = 8 * 1024 * 1024 // PAGE_BYTES  # rewriting 8 MB takes some 50 ms
_SIZES = tuple(2**n for n in range(6, -1, -1))
_VALUES = "(?, ?, ?, ?, ?, ?, ?, ?)"
_WRITE = {size: STATEMENTS["write"] + f", {_VALUES}" * (size - 1) for size in _SIZES}


class WriteResult(NamedTuple):
    """Holds the outcome of a batch.

    new: the fault of its new events.
    rest: the fault of its other changes.
    deleted: how many events were deleted.
    alone: the keys of the other changes that were written one by one.
    moved: the reason why no more events can be stored, though the rest was written.
    """

    new: StoreError | None
    rest: StoreError | None
    deleted: int
    alone: Container[int] = ()
    moved: StoreError | None = None


class Writer:
    """Writes to one connection. `location` checks whether the next start would find the committed file."""

    def __init__(self, connection: sqlite3.Connection, path: Path, location: FileLocation) -> None:
        self._connection = connection
        self._path = path
        self._location = location
        self._unwanted: list[int] = []  # keys of refused events that are in the file
        self._execute = connection.execute
        self._execute("PRAGMA synchronous = FULL")  # each commit is followed by an fsync
        self._execute("PRAGMA wal_autocheckpoint = 0")  # it would delay the answers of a batch
        self._execute(f"PRAGMA journal_size_limit = {KEPT_LOG_BYTES}")
        self._execute("PRAGMA cache_size = -16384")  # KiB: the leaves of many lanes' index
        self._log_pages = 0  # about
        self._file_pages = 0  # at the last measurement
        self._measure()

    def is_untidy(self, events: int) -> bool:
        """Returns whether `tidy` has work, for a file with so many events."""
        return self._log_pages >= CHECKPOINT_PAGES or (self._file_pages > SHRINK_PAGES and events < FEW_EVENTS)

    def write(self, new: Rows, rest: Rows) -> WriteResult:
        """Writes all rows, and checks after the commit that the file is still at its path.

        Where the file is not, the new events are refused and removed again, since a refused client sends them a second
        time. The rest is written into the open file.
        """
        self._remove_unwanted()
        change = self._location.recheck()
        if change is not None:
            rest = {seq: row for seq, row in rest.items() if seq not in new}
            written = self._write({}, rest) if rest else WriteResult(None, None, 0)
        else:
            written = self._write(new, rest)
            change = self._location.check()
            if change is None:
                return written
            if written.new is None:
                self._unwanted += new
                self._remove_unwanted()
        return written._replace(new=change if new else None, moved=change)

    def _remove_unwanted(self) -> None:
        if self._unwanted:
            fault, _ = self._transaction(dict.fromkeys(self._unwanted))
            if fault is None:
                self._unwanted = []

    def _write(self, new: Rows, rest: Rows) -> WriteResult:
        """Writes all rows as one transaction; where that fails, `rest` alone, without changes of the new events."""
        fault, deleted = self._transaction({**new, **rest})
        if fault is None:
            return WriteResult(None, None, deleted)
        if fault.kind == "full":
            self._checkpoint("RESTART")  # so that the log can be written from its start again
        rest = {seq: row for seq, row in rest.items() if seq not in new}
        if not rest:
            return WriteResult(fault, None, 0)
        if new or fault.kind == "full":
            again, deleted = self._transaction(rest)
            if again is None:
                return WriteResult(fault if new else None, None, deleted)
        return self._one_by_one(rest, fault) if fault.kind == "damaged" else WriteResult(fault, fault, 0)

    def _one_by_one(self, rest: Rows, fault: StoreError) -> WriteResult:
        """Writes each row alone: where one page is damaged, rows on other pages can still be written."""
        done = set()
        gone = 0
        for seq, row in rest.items():
            again, deleted = self._transaction({seq: row})
            if again is None:
                done.add(seq)
                gone += deleted
        return WriteResult(fault, fault, gone, done)

    def _transaction(self, rows: Rows) -> tuple[StoreError | None, int]:
        try:
            self._execute("BEGIN IMMEDIATE")
            self._insert([row for row in rows.values() if row is not None])
            deleted = self._delete([seq for seq, row in rows.items() if row is None])
            self._execute("COMMIT")
        except Exception as error:  # of any kind, since a request waits for the result
            self._roll_back()
            return read_sqlite_error(error, self._path), 0
        return None, deleted

    def _insert(self, rows: list[Row]) -> None:
        at = 0
        self._log_pages += 4 + sum(3 + len(row[7]) // PAGE_BYTES for row in rows)  # about, rather too many
        for size in _SIZES:
            while len(rows) - at >= size:
                self._execute(_WRITE[size], [value for row in rows[at : at + size] for value in row])
                at += size

    def _delete(self, keys: list[int]) -> int:
        self._log_pages += 2 * len(keys)
        return self._execute(STATEMENTS["delete"], (json.dumps(keys),)).rowcount if keys else 0

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._execute("ROLLBACK")

    def probe(self) -> StoreError | None:
        """Returns why nothing can be written, after writing the first page unchanged; None where it can."""
        change = self._location.check()
        if change is not None:
            return change
        try:
            (version,) = self._execute("PRAGMA user_version").fetchone()
            self._execute(f"PRAGMA user_version = {version}")
        except sqlite3.Error as error:
            return read_sqlite_error(error, self._path)
        return None

    def tidy(self) -> None:
        """Keeps the log short, and makes a drained file small, after a batch was answered.

        Rewriting the few events that are left is quick. Automatic vacuum would cost time with every event, for a map of
        all pages. A failure here is retried at the next call.
        """
        if self._log_pages >= CHECKPOINT_PAGES:
            self._checkpoint("PASSIVE")
        with suppress(sqlite3.Error):
            self._measure()
            (free,) = self._execute("PRAGMA freelist_count").fetchone()
            if self._file_pages > SHRINK_PAGES and self._file_pages - free < MOVED_PAGES:
                self._execute("VACUUM")
                self._checkpoint("TRUNCATE")
                self._location.measure()
                self._measure()

    def _measure(self) -> None:
        (self._file_pages,) = self._execute("PRAGMA page_count").fetchone()

    def _checkpoint(self, how: str) -> None:
        self._log_pages = 0
        with suppress(sqlite3.Error):
            self._execute(f"PRAGMA wal_checkpoint({how})").fetchall()


def make_row(seq: int, event: Event) -> Row:
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
