"""Records in the file how far the times of its events are from the machine's clock, for the next start."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import suppress

from ..clock import Clock

log = logging.getLogger("invoke_gateway")

STEP_SECONDS = 0.5  # less is no step: the two clocks are read one after the other


class ClockRecord:
    """Records the clock of one file.

    Without events the machine's clock is good enough again. The file of an earlier version has no such table; where
    none can be made, nothing is recorded, and waits stay bounded (prefetch.py).
    """

    def __init__(self, connection: sqlite3.Connection, clock: Clock, *, has_events: bool) -> None:
        self._execute = connection.execute
        self._clock = clock
        self._kept = 0.0
        self._seen = 0.0
        with suppress(sqlite3.Error):
            self._execute("CREATE TABLE IF NOT EXISTS clock (offset REAL NOT NULL)")
            found = self._execute("SELECT offset FROM clock").fetchone()
            self._kept = float(found[0]) if found else 0.0
        if has_events and self._kept:
            clock.resume(self._kept)
            self._seen = self._kept
        self.keep()

    def keep(self) -> None:
        """Writes the offset where the machine's clock has been set since, then logs the step."""
        offset = self._clock.offset
        if abs(offset - self._kept) >= STEP_SECONDS:
            self._write(offset)
        if abs(offset - self._seen) >= STEP_SECONDS:  # logged second: who reads the line may rely on the record
            how = "back" if offset > self._seen else "forward"
            log.warning(
                "the machine's clock was set %s by %.0f s; the waits and ages of events do not change",
                *(how, abs(offset - self._seen)),
            )
            self._seen = offset

    def _write(self, offset: float) -> None:
        """Writes `offset`; what fails is written by the next call."""
        try:
            self._execute("BEGIN IMMEDIATE")
            self._execute("DELETE FROM clock")
            self._execute("INSERT INTO clock VALUES (?)", (offset,))
            self._execute("COMMIT")
            self._kept = offset
        except sqlite3.Error:
            with suppress(sqlite3.Error):
                self._execute("ROLLBACK")
