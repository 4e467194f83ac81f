"""Reads events in a reader's thread, by a connection of its own."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Container, Iterable
from pathlib import Path
from typing import NamedTuple

from ..base import LaneBacklog
from ..event import Event, UnreadableEvent, decode_event
from .statements import STATEMENTS

Position = tuple[float, int]
"""The position of an event in its lane: `due_at`, `seq`."""

START: Position = (float("-inf"), 0)


class StoredEvent(NamedTuple):
    """Holds an event of the table; `event` is None where it is unreadable, for the reason `why`."""

    seq: int
    lane: str
    due_at: float
    event: Event | None
    why: str


class EventPage(NamedTuple):
    """Holds the next events of a lane, and the time of the first one behind them."""

    found: list[StoredEvent]
    next_due_at: float | None


class Reader:
    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        connection.execute("PRAGMA query_only = ON")

    def read_due(
        self, lane: str, now: float, most: int, most_bytes: int, after: Position, claimed: Container[int]
    ) -> EventPage:
        """Reads up to `most` due events of the lane behind `after` that are not claimed.

        `claimed` may change during the read: the caller checks again.
        """
        found: list[StoredEvent] = []
        size = 0
        rows = self._connection.execute(STATEMENTS["lane"], (lane, *after))
        for seq, due_at in rows:
            if seq in claimed:
                continue
            if due_at > now or len(found) >= most or size >= most_bytes:
                rows.close()
                return EventPage(found, due_at)
            found += (one := self._load(STATEMENTS["event"], (seq,)))
            size += sum(item.event.size for item in one if item.event is not None)
        return EventPage(found, None)

    def read_one(self, seq: int) -> list[StoredEvent]:
        return self._load(STATEMENTS["event"], (seq,))

    def oldest(self, lane: str, most: int) -> list[StoredEvent]:
        return self._load(STATEMENTS["oldest"], (lane, most))

    def find(self, request_id: str, most: int) -> list[StoredEvent]:
        return self._load(STATEMENTS["find"], (request_id, most))

    def backlog(self, claimed: Iterable[int]) -> list[LaneBacklog]:
        rows = self._connection.execute(STATEMENTS["waiting"], (json.dumps(list(claimed)),))
        return [LaneBacklog(*row) for row in rows]

    def last(self) -> int:
        (seq,) = self._connection.execute(STATEMENTS["last"]).fetchone()
        return int(seq)

    def _load(self, statement: str, values: tuple[object, ...]) -> list[StoredEvent]:
        return [_decode(*row) for row in self._connection.execute(statement, values).fetchall()]


def _decode(seq: int, lane: str, due_at: float, head: bytes, body: bytes) -> StoredEvent:
    try:
        return StoredEvent(seq, lane, due_at, decode_event(head, body, seq), "")
    except UnreadableEvent as error:
        return StoredEvent(seq, lane, due_at, None, str(error))
