"""Orders events: one queue a function, which take turns event by event.

A function with a million events does not delay the first event of another. A queue without a free slot leaves the turns
and stands behind the limits that are full: one, or one for each way in which its event may be admitted. The first one
there has the next slot of a limit. Where it does not use the slot, the slot is offered to the next.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from math import inf
from typing import NamedTuple

from ..event import Event


class QueueKind(Enum):
    """Names the work on the events of a lane, by the word in the lane's name."""

    RUN = "function"
    DELIVER = "delivery"
    KEEP = "undelivered"


class LaneName(NamedTuple):
    """Holds the parts of a lane's name. `origin`: of the backend of these events (origin.py), empty in a name without
    one."""

    origin: str
    account: str
    kind: QueueKind
    function: str


def name_lane(account: str, kind: QueueKind, function: str, origin: str = "") -> str:
    name = f"{account}/{kind.value}/{function}"
    return f"@{origin}|{name}" if origin else name


def split_lane(name: str) -> LaneName:
    origin = ""
    if name.startswith("@"):  # no account begins with it
        origin, _, name = name[1:].partition("|")
    account, kind, function = name.split("/", 2)
    return LaneName(origin, account, QueueKind(kind), function)


class FunctionQueue:
    """Holds the state of one lane.

    ready: claimed events that are due.
    arriving: how many events are being stored.
    next_due_at: of the stored events.
    new_due_at: of the events stored since the last claim began.
    not_before: the time of the next try after a refusal, the `tries`th.
    running: how many events run, with or without a slot.
    unadmitted: how many of them have no slot yet.
    window: the bound on `unadmitted`: where other processes use slots too, the free ones are not known beforehand.
    """

    __slots__ = (
        "account",
        "arriving",
        "blocked_on",
        "function",
        "has_turn",
        "is_claiming",
        "kind",
        "name",
        "new_due_at",
        "next_due_at",
        "not_before",
        "offered",
        "ready",
        "running",
        "stored",
        "timer_at",
        "tries",
        "unadmitted",
        "window",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        _, self.account, self.kind, self.function = split_lane(name)
        self.ready: deque[Event] = deque()
        self.arriving = 0
        self.stored = 0
        self.next_due_at = inf
        self.new_due_at = inf
        self.not_before = 0.0
        self.timer_at = inf
        self.tries = 0
        self.running = 0
        self.unadmitted = 0
        self.window = FIRST_WINDOW
        self.blocked_on: tuple[str, ...] = ()
        self.offered: str | None = None
        self.has_turn = False
        self.is_claiming = False

    @property
    def is_idle(self) -> bool:
        """Returns whether the lane has no state that would be lost with it."""
        is_busy = self.running or self.arriving or self.is_claiming or self.has_turn
        return not (is_busy or self.ready or self.next_due_at < inf)

    def note_stored(self, due_at: float, events: int = 1) -> None:
        """Records that so many unclaimed events are in the store, the first of them due at `due_at`."""
        self.stored += events
        self.next_due_at = min(self.next_due_at, due_at)
        self.new_due_at = min(self.new_due_at, due_at)

    def note_admitted(self) -> None:
        self.unadmitted -= 1
        self.window = min(self.window * 2, WIDEST_WINDOW)

    def note_refused(self) -> None:
        self.unadmitted -= 1
        self.window = 1

    def __repr__(self) -> str:
        return f"<FunctionQueue {self.name} ready={len(self.ready)} stored={self.stored} running={self.running}>"


FIRST_WINDOW, WIDEST_WINDOW = 16, 64


class RoundRobin:
    """Holds the lanes that have a turn, and those behind a limit."""

    def __init__(self) -> None:
        self._next: deque[FunctionQueue] = deque()
        self.blocked: dict[str, dict[FunctionQueue, None]] = {}  # by limit, in the order of arrival

    def add(self, lane: FunctionQueue) -> None:
        """Gives a lane a turn, and takes it from behind its limits."""
        if lane.blocked_on:
            self._leave(lane)
        if not lane.has_turn:
            lane.has_turn = True
            self._next.append(lane)

    def next(self) -> FunctionQueue | None:
        if not self._next:
            return None
        lane = self._next.popleft()
        lane.has_turn = False
        return lane

    def block(self, lane: FunctionQueue, *counters: str) -> None:
        """Puts a lane behind limits without a free slot. A slot of any of them gives it a turn."""
        if lane.blocked_on:
            self._leave(lane)
        lane.blocked_on = counters
        for counter in counters:
            self.blocked.setdefault(counter, {})[lane] = None

    def offer(self, counter: str) -> bool:
        """Gives the first lane behind a limit a turn, since a slot is free. Returns whether there was one."""
        behind = self.blocked.get(counter)
        if behind is None:
            return False
        lane = next(iter(behind))
        self.add(lane)
        lane.offered = counter
        return True

    def offer_all(self) -> None:
        """Gives every lane a turn, since the limits may have changed."""
        for counter in list(self.blocked):
            while self.offer(counter):
                pass

    def _leave(self, lane: FunctionQueue) -> None:
        for counter in dict.fromkeys(lane.blocked_on):
            behind = self.blocked[counter]
            del behind[lane]
            if not behind:
                del self.blocked[counter]
        lane.blocked_on = ()
