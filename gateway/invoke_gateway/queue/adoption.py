"""Runs or drops held events of another backend, as an operator decides."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from math import inf
from typing import Literal, NamedTuple

from .base import LaneBacklog, StoreError
from .dispatcher import Dispatcher
from .event import Event
from .origin import Held, Origin, describe_origin

log = logging.getLogger("invoke_gateway")

Decision = Literal["adopt", "drop"]

_AT_ONCE = 200  # events in one claim
_AT_ONCE_BYTES = 8 * 1024 * 1024


class AdoptionResult(NamedTuple):
    """Holds the number of events that are done, and whether all are."""

    events: int
    is_whole: bool


class AmbiguousOrigin(Exception):
    """Reports that events of several origins are held, or none of this one; the text names the held ones."""


class _Progress:
    def __init__(self, decision: Decision, origin: str) -> None:
        self.decision = decision
        self.origin = origin
        self.events = 0
        self.fault: StoreError | None = None


class Adoption:
    """Carries out one decision at a time. `now` returns seconds since the epoch."""

    def __init__(self, dispatcher: Dispatcher, *, now: Callable[[], float]) -> None:
        self._dispatcher = dispatcher
        self._origin = dispatcher.origin
        self._store = dispatcher.store
        self._prefetch = dispatcher.prefetch
        self._now = now
        self._lock = asyncio.Lock()

    async def decide(self, decision: Decision, origin: str | None, *, patience: float) -> AdoptionResult:
        """Adopts or drops the events of one origin; None: of the only one.

        A decision that takes longer than `patience` seconds goes on in the background. Raises `StoreError` and
        `AmbiguousOrigin`.
        """
        held = self._origin.sum_held(await self._store.backlog())
        if not held and origin is None:
            return AdoptionResult(0, True)
        progress = _Progress(decision, _choose(held, origin))
        work = self._dispatcher.spawn(self._run(progress))
        await asyncio.wait([work], timeout=patience)
        if progress.fault is not None:
            raise progress.fault
        return AdoptionResult(progress.events, work.done())

    async def adopt_all(self) -> None:
        """Adopts the events of every origin, for a start with `--adopt-events`."""
        try:
            for held in self._origin.sum_held(await self._store.backlog()):
                await self._run(_Progress("adopt", held.origin))
        except StoreError as fault:
            log.error("held events could not be adopted: %s", fault)

    async def _run(self, progress: _Progress) -> None:
        try:
            async with self._lock:
                for row in await self._store.backlog():
                    if not self._origin.is_ours(row.lane) and describe_origin(row.lane) == progress.origin:
                        await self._empty(row.lane, progress)
        except StoreError as fault:
            progress.fault = fault
            log.error("held events of %s: %s", progress.origin, fault)
        done = "adopted: they run here" if progress.decision == "adopt" else "dropped"
        log.warning("%d held events of %s are %s", progress.events, progress.origin, done)

    async def _empty(self, lane: str, progress: _Progress) -> None:
        do = self._adopt if progress.decision == "adopt" else self._drop
        while True:
            fetched = await self._store.claim_due(lane, inf, _AT_ONCE, _AT_ONCE_BYTES)
            await asyncio.gather(*map(do, fetched.events))
            progress.events += len(fetched.events)
            if fetched.next_due_at is None:
                return

    async def _adopt(self, event: Event) -> None:
        self._origin.adopt(event, self._now())
        await self._store.requeue(event)
        self._prefetch.note_enqueued(event.lane, 1, event.due_at)

    async def _drop(self, event: Event) -> None:
        self._dispatcher.settlement.record_dropped(event)
        await self._store.ack(event)


def log_start(store: str, waiting: list[LaneBacklog], origin: Origin, now: float) -> None:
    """Logs the store, its backlog, and the held events."""
    ours = [row for row in waiting if origin.is_ours(row.lane)]
    events = sum(row.events for row in ours)
    oldest = max(now - min((row.received_at for row in ours), default=now), 0.0)
    log.info(
        "events: %s (%s)",
        *(store, f"{events} waiting, oldest {describe_age(oldest)}" if events else "none waiting"),
        extra={"fields": {"kind": "events", "store": store, "waiting": events, "oldest_seconds": round(oldest, 3)}},
    )
    for held in origin.sum_held(waiting):
        log.warning(
            "%d events in %s are held: they were accepted for %s, and this gateway's backend is %s. Run them here with "
            "`invoke-gateway queue adopt` or a start with --adopt-events, or drop them with `queue drop --held`",
            *(held.events, store, held.origin, origin.name),
            extra={"fields": {"kind": "events_held", "store": store, "held": held.events}},
        )


def describe_age(seconds: float) -> str:
    """Returns an approximate age in the largest unit of which there is one."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _choose(held: list[Held], origin: str | None) -> str:
    names = ", ".join(f"{one.origin!r} ({one.events})" for one in held) or "none"
    if origin is None and len(held) > 1:
        raise AmbiguousOrigin(f"Events of several origins are held: {names}. Name one of them.")
    if origin is not None and origin not in {one.origin for one in held}:
        raise AmbiguousOrigin(f"No events of {origin[:200]!r} are held. Held are those of: {names}.")
    return held[0].origin if origin is None else origin
