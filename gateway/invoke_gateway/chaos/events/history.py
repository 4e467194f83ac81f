"""Records one seed of events: what was sent and accepted, what runs at the backend, and how many at once."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from time import monotonic

import msgspec

from ..backend_server import CallPayload
from ..calls import GatewayInstance
from ..judging.concurrency_track import ConcurrencyHistory, ConcurrencyTrack
from ..quotas import POOL, WHOLE
from .event import EventAnswer, EventRun, SentEvent
from .script import ACCOUNTS, Intent, RunEnding

EVENT_ID = re.compile(r"event-\d+-\d+-end")


def encode_event(event: SentEvent) -> bytes:
    return msgspec.json.encode(CallPayload(event.id, "p" * event.intent.size))


class EventHistory(ConcurrencyHistory[SentEvent, EventRun]):
    """`changes` grows with each change; `progress` with each event that is accepted, and with each that is done."""

    def __init__(self, seed: int, clock: Callable[[], float] = monotonic) -> None:
        super().__init__(ACCOUNTS, clock)
        self.running: set[EventRun] = set()
        self.accepted = 0
        self.done = 0
        self.changes = 0
        self._seed = seed
        self._excused_until: dict[GatewayInstance, float] = {}
        self._marks: list[tuple[int, asyncio.Event]] = []

    @property
    def progress(self) -> int:
        return self.accepted + self.done

    async def reach(self, progress: int) -> None:
        """Returns as soon as the progress is that great."""
        if self.progress < progress:
            mark = asyncio.Event()
            self._marks.append((progress, mark))
            await mark.wait()

    def _advance(self) -> None:
        self.changes += 1
        for progress, mark in self._marks:
            if self.progress >= progress:
                mark.set()

    def create(self, intent: Intent) -> SentEvent:
        """Returns an event with an id of its own, about to be sent."""
        event = SentEvent(f"event-{self._seed}-{len(self.sent)}-end", intent)
        self.sent[event.id] = event
        return event

    def accept(self, event: SentEvent) -> None:
        event.answer = EventAnswer.ACCEPTED
        self.accepted += 1
        self._advance()

    def begin(self, event: SentEvent, gateway: GatewayInstance) -> EventRun:
        now = self.clock()
        run = EventRun(event, gateway, event.intent.ending(len(event.runs)), now)
        run.is_counted = now >= self._excused_until.get(gateway, -math.inf)
        event.runs.append(run)
        self.running.add(run)
        for track in self._tracks_of(event):
            counted = track.begin(run, now, sum(not other.is_counted for other in (run, *track.runs)))
            if run.is_counted:
                self.check_ceiling(track, counted, event)
        return run

    def end(self, run: EventRun) -> None:
        """Ends a run; a second time does nothing."""
        if run not in self.running:
            return
        run.ended = self.clock()
        self.running.discard(run)
        for track in self._tracks_of(run.event):
            track.end(run, run.ended)
        if not run.event.is_over and self._is_last(run):
            run.event.is_over = True
            self.done += 1
        self._advance()

    def _is_last(self, run: EventRun) -> bool:
        if run.ending is RunEnding.SUCCESS:
            return True
        function = run.event.intent.function
        return function.always_fails and len(run.event.runs) > function.retries

    def _tracks_of(self, event: SentEvent) -> tuple[ConcurrencyTrack[EventRun], ConcurrencyTrack[EventRun]]:
        function = event.intent.function
        lane = POOL if function.reserved is None else function.name
        return self.tracks[function.account, WHOLE], self.tracks[function.account, lane]

    def excuse(self, gateway: GatewayInstance, until: float = math.inf) -> None:
        """Counts the runs of `gateway` no longer, nor those that it begins before `until`: others may have its
        slots."""
        self._excused_until[gateway] = until
        for run in self.running:
            if run.gateway is gateway:
                run.is_counted = False

    def __repr__(self) -> str:
        return f"<EventHistory {self.accepted} accepted, {self.done} done, {len(self.running)} running>"
