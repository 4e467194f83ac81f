"""Keeps the outside concurrency of each account up to date, and in force.

A number that cannot be read stays as it was, with its age. Then the gateway is degraded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import time

from .base import CannotRead, OutsideReading, OutsideSource

log = logging.getLogger("invoke_gateway")

OUTSIDE_CAUSE = "outside_concurrency"
"""Names the cause of `degraded`."""

_TICK_SECONDS = 0.5
_OLD_SECONDS = 300.0  # CloudWatch is up to three minutes behind
_OLD_INTERVALS = 3  # readings that may fail before a number is old


@dataclass
class _Watched:
    """Holds what is known of one account."""

    name: str
    source: OutsideSource
    interval: float
    due_at: float = 0.0
    reading: OutsideReading | None = None
    error: str | None = None
    started_at: float = 0.0


class OutsideWatch:
    """Reads each source at its interval.

    make_source: makes the source of an account, by its name in the settings
    count_own: returns the slots that calls through all gateways use in an account
    refresh_own: reads what `count_own` returns
    put_in_force: has the limits made again
    degraded: for each cause, whether the gateway is degraded by it
    now: seconds since the epoch
    """

    def __init__(
        self,
        *,
        make_source: Callable[[str, str], OutsideSource],
        count_own: Callable[[str], int],
        refresh_own: Callable[[], Awaitable[None]] | None = None,
        put_in_force: Callable[[], Awaitable[None]],
        degraded: dict[str, bool],
        now: Callable[[], float] = time,
    ) -> None:
        self._make_source = make_source
        self._count_own = count_own
        self._refresh_own = refresh_own
        self._put_in_force = put_in_force
        self._degraded = degraded
        self._now = now
        self._watched: dict[str, _Watched] = {}
        self._degraded[OUTSIDE_CAUSE] = False

    @property
    def slots(self) -> dict[str, int]:
        """Returns the number of each account that has been read."""
        return {
            account: watched.reading.slots for account, watched in self._watched.items() if watched.reading is not None
        }

    def ages(self) -> dict[str, float]:
        """Returns the age of each account's number in seconds; before the first one, the time since the start."""
        now = self._now()
        return {account: max(now - _read_at(watched), 0.0) for account, watched in self._watched.items()}

    def describe(self) -> str | None:
        """Describes the numbers that are old or could not be read; None where there are none."""
        texts = []
        for account, watched in self._watched.items():
            if watched.error is None and not self._is_old(watched):
                continue
            kept = "none was read" if watched.reading is None else f"{watched.reading.slots} stays in force"
            age = self._now() - _read_at(watched)
            texts.append(f"account {account}: {watched.error or 'no newer number'}; {kept}, for {age:.0f} s")
        return "; ".join(texts) or None

    def follow(self, wanted: Mapping[str, tuple[str, float]]) -> None:
        """Begins with new sources, and forgets all that are not wanted any more.

        wanted: the name of the source and the interval (seconds) of each account that has one
        """
        for account in [account for account in self._watched if account not in wanted]:
            del self._watched[account]
        for account, (name, interval) in wanted.items():
            known = self._watched.get(account)
            if known is None or known.name != name:
                source = self._make_source(account, name)
                reading = None if known is None else known.reading
                self._watched[account] = _Watched(name, source, interval, reading=reading, started_at=self._now())
            else:
                known.interval = interval
        self._degraded[OUTSIDE_CAUSE] = self.describe() is not None

    async def run(self) -> None:
        """Reads until it is cancelled."""
        while True:
            await self.tick()
            await asyncio.sleep(_TICK_SECONDS)

    async def tick(self) -> None:
        """Samples the gateway's own calls, and reads what is due."""
        counting = {account: found.source for account, found in self._watched.items() if found.source.needs_samples}
        if counting and self._refresh_own is not None:
            await self._refresh_own()
        for account, source in counting.items():
            source.sample(self._count_own(account))
        now = self._now()
        due = [(account, watched) for account, watched in self._watched.items() if watched.due_at <= now]
        if due:
            before = self.slots
            await asyncio.gather(*(self._read(account, watched) for account, watched in due))
            if self.slots != before:
                await self._put_in_force()
        self._degraded[OUTSIDE_CAUSE] = self.describe() is not None

    async def _read(self, account: str, watched: _Watched) -> None:
        watched.due_at = self._now() + watched.interval
        try:
            reading = await watched.source.read()
        except CannotRead as error:
            if watched.error != str(error):
                watched.error = str(error)
                log.warning("outside_concurrency of account %s cannot be read: %s. The last one stays", account, error)
            return
        if watched.error is not None:
            watched.error = None
            log.info("outside_concurrency of account %s is read again", account)
        if reading is not None:
            watched.reading = reading

    def _is_old(self, watched: _Watched) -> bool:
        return self._now() - _read_at(watched) > max(_OLD_SECONDS, _OLD_INTERVALS * watched.interval)

    def __repr__(self) -> str:
        return f"<OutsideWatch {self.slots}>"


def _read_at(watched: _Watched) -> float:
    return watched.started_at if watched.reading is None else watched.reading.at
