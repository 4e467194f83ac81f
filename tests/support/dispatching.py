"""Provides events for tests: a store in memory, a clock that is moved by hand, and a scripted backend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from copy import deepcopy
from itertools import count

from invoke_gateway.queue.base import ClaimedEvents, LaneBacklog, StoreError
from invoke_gateway.queue.event import Event


class MemoryStore:
    """Keeps the promises of a store for as long as the test runs. `fault` is raised by `put` while it is set."""

    def __init__(self) -> None:
        self.events: dict[int, Event] = {}
        self.claimed: set[int] = set()
        self.fault: StoreError | None = None
        self.holding: bool | None = True
        self.problem: str | None = None
        self.finished: list[Event] = []
        self.postponed: list[Event] = []
        self._keys = count(1)

    async def open(self, note_enqueued: Callable[[str, int, float], None]) -> list[LaneBacklog]:
        self.hear = note_enqueued
        return await self.backlog()

    async def enqueue(self, event: Event) -> None:
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault
        event.key = next(self._keys)
        self.events[event.key] = deepcopy(event)

    async def enqueue_claimed(self, event: Event) -> None:
        await self.enqueue(event)
        self.claimed.add(event.key)

    async def claim_due(self, lane: str, now: float, most: int, most_bytes: int) -> ClaimedEvents:
        await asyncio.sleep(0)
        free = sorted(
            (e for e in self.events.values() if e.lane == lane and e.key not in self.claimed),
            key=lambda e: (e.due_at, e.key),
        )
        due = [e for e in free if e.due_at <= now][:most]
        self.claimed |= {e.key for e in due}
        rest = free[len(due) :]
        return ClaimedEvents([deepcopy(e) for e in due], rest[0].due_at if rest else None)

    def owns_claim(self, event: Event) -> bool | None:
        return self.holding

    async def ack(self, event: Event) -> None:
        await asyncio.sleep(0)
        del self.events[event.key]
        self.claimed.remove(event.key)
        self.finished.append(event)

    async def requeue(self, event: Event) -> None:
        await self.update(event)
        self.claimed.remove(event.key)
        self.postponed.append(deepcopy(event))

    async def update(self, event: Event) -> None:
        await asyncio.sleep(0)
        assert event.key in self.claimed
        self.events[event.key] = deepcopy(event)

    async def release(self, events: list[Event]) -> None:
        self.claimed -= {event.key for event in events}

    async def backlog(self) -> list[LaneBacklog]:
        found: dict[str, list[Event]] = {}
        for event in self.events.values():
            if event.key not in self.claimed:
                found.setdefault(event.lane, []).append(event)
        return [
            LaneBacklog(
                lane,
                len(events),
                sum(bool(e.runs) for e in events),
                min(e.due_at for e in events),
                min(e.received_at for e in events),
            )
            for lane, events in found.items()
        ]

    async def find(self, request_id: str, most: int) -> list[tuple[Event, bool]]:
        await asyncio.sleep(0)
        found = [event for event in self.events.values() if event.request_id == request_id]
        return [(deepcopy(event), event.key in self.claimed) for event in found[:most]]

    async def oldest(self, lane: str, most: int) -> list[tuple[Event, bool]]:
        await asyncio.sleep(0)
        found = sorted((e for e in self.events.values() if e.lane == lane), key=lambda e: (e.due_at, e.key))
        return [(deepcopy(event), event.key in self.claimed) for event in found[:most]]

    async def claim_one(self, key: bytes | int) -> Event | None:
        await asyncio.sleep(0)
        if key in self.claimed or key not in self.events:
            return None
        self.claimed.add(key)
        return deepcopy(self.events[key])

    async def close(self) -> None:
        self.claimed.clear()


class Clock:
    """Counts seconds since the epoch, with timers that ring when it is moved."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now
        self._timers: list[_Timer] = []

    def __call__(self) -> float:
        return self.now

    def call_later(self, seconds: float, ring: Callable[[], None]) -> _Timer:
        timer = _Timer(self.now + seconds, ring)
        self._timers.append(timer)
        return timer

    async def advance(self, seconds: float) -> None:
        """Moves on, and rings every timer that is due on the way."""
        until = self.now + seconds
        await settle()
        while True:
            due = [timer for timer in self._timers if not timer.is_cancelled and timer.at <= until]
            if not due:
                break
            timer = min(due, key=lambda timer: timer.at)
            self._timers.remove(timer)
            self.now = max(self.now, timer.at)
            timer.ring()
            await settle()
        self.now = until
        await settle()


class _Timer:
    def __init__(self, at: float, ring: Callable[[], None]) -> None:
        self.at = at
        self.ring = ring
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


async def settle() -> None:
    """Runs everything that needs no time."""
    for _ in range(60):
        await asyncio.sleep(0)
