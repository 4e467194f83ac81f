"""The truth about one seed: which events were sent and answered, which run at the backend, and how many at once."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from time import monotonic

import msgspec

from ..quotas import POOL, WHOLE
from ..verdict import Peak
from ..violations import Violation, Violations
from .event import EventAnswer, EventRun, GatewayInstance, SentEvent
from .script import ACCOUNTS, Intent, RunEnding

EVENT_ID = re.compile(r"event-\d+-\d+-end")


class EventPayload(msgspec.Struct):
    """An event's body."""

    id: str
    padding: str


def encode_event(event: SentEvent) -> bytes:
    return msgspec.json.encode(EventPayload(event.id, "p" * event.intent.size))


class Level:
    """One limit. `all`: how many run now; `counted`: without those that run on for gateways which have lost them."""

    def __init__(self, account: str, name: str, ceiling: int) -> None:
        self.peak = Peak(account, name, ceiling, 0)
        self.all = 0
        self.counted = 0

    def begin(self, *, is_counted: bool) -> None:
        self.all += 1
        self.counted += is_counted
        self.peak.highest = max(self.peak.highest, self.counted)
        self.peak.highest_with_lost = max(self.peak.highest_with_lost, self.all)

    def end(self, *, is_counted: bool) -> None:
        self.all -= 1
        self.counted -= is_counted


class EventHistory:
    """`changes` grows with everything that happens; `progress` with each event that is accepted, and that is done."""

    def __init__(self, seed: int, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self.violations = Violations()
        self.events: dict[str, SentEvent] = {}
        self.running: set[EventRun] = set()
        self.accepted = 0
        self.done = 0
        self.changes = 0
        self._seed = seed
        self._excused_until: dict[GatewayInstance, float] = {}
        self._marks: list[tuple[int, asyncio.Event]] = []
        self._levels: dict[tuple[str, str], Level] = {}
        for account in ACCOUNTS:
            ceilings = {WHOLE: account.concurrent_executions, POOL: account.unreserved, **account.reservations}
            for name, ceiling in ceilings.items():
                self._levels[account.account, name] = Level(account.account, name, ceiling)

    @property
    def peaks(self) -> list[Peak]:
        return [level.peak for level in self._levels.values()]

    @property
    def progress(self) -> int:
        return self.accepted + self.done

    async def reach(self, progress: int) -> None:
        """Return as soon as there is so much of it."""
        if self.progress < progress:
            mark = asyncio.Event()
            self._marks.append((progress, mark))
            await mark.wait()

    def _move(self) -> None:
        self.changes += 1
        for progress, mark in self._marks:
            if self.progress >= progress:
                mark.set()

    # What clients say.

    def create(self, intent: Intent) -> SentEvent:
        """An event with an id of its own, about to be sent."""
        event = SentEvent(f"event-{self._seed}-{len(self.events)}-end", intent)
        self.events[event.id] = event
        return event

    def accept(self, event: SentEvent) -> None:
        event.answer = EventAnswer.ACCEPTED
        self.accepted += 1
        self._move()

    # What the backend says.

    def begin(self, event: SentEvent, gateway: GatewayInstance) -> EventRun:
        now = self.clock()
        run = EventRun(event, gateway, event.intent.ending(len(event.runs)), now)
        run.is_counted = now >= self._excused_until.get(gateway, -math.inf)
        event.runs.append(run)
        self.running.add(run)
        for level in self._levels_of(event):
            level.begin(is_counted=run.is_counted)
            if run.is_counted and level.counted > level.peak.ceiling:
                peak = level.peak
                self.violations.add(
                    Violation.OVERSHOOT,
                    f"{level.counted} of at most {peak.ceiling} at once of {peak.account}/{peak.name}: {event}",
                )
        return run

    def end(self, run: EventRun) -> None:
        if run not in self.running:
            return
        run.ended = self.clock()
        self.running.discard(run)
        for level in self._levels_of(run.event):
            level.end(is_counted=run.is_counted)
        if not run.event.is_over and self._is_last(run):
            run.event.is_over = True
            self.done += 1
        self._move()

    def _is_last(self, run: EventRun) -> bool:
        if run.ending is RunEnding.SUCCESS:
            return True
        function = run.event.intent.function
        return function.always_fails and len(run.event.runs) > function.retries

    def _levels_of(self, event: SentEvent) -> tuple[Level, Level]:
        function = event.intent.function
        lane = POOL if function.reserved is None else function.name
        return self._levels[function.account, WHOLE], self._levels[function.account, lane]

    # What is done to gateways.

    def excuse(self, gateway: GatewayInstance, until: float = math.inf) -> None:
        """Its slots may be others' now: what it runs, and begins until then, counts no more."""
        self._excused_until[gateway] = until
        for run in self.running:
            if run.gateway is gateway and run.is_counted:
                run.is_counted = False
                for level in self._levels_of(run.event):
                    level.counted -= 1

    def __repr__(self) -> str:
        return f"<EventLedger {self.accepted} accepted, {self.done} done, {len(self.running)} running>"
