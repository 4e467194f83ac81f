"""Who is next. Every function's events stand in a lane of their own, and lanes take turns, one event at a time: a
function with a million events does not delay the first event of another.

A lane without a free slot leaves the turns and stands behind the limit that was full; whoever is first there has the
next slot of that limit. If it needs none after all, the slot is offered to the one behind it.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from math import inf
from typing import NamedTuple

from .event import Event


class QueueKind(Enum):
    """What is done with the events of a lane, by the word in the lane's name."""

    RUN = "function"
    DELIVER = "delivery"
    KEEP = "undelivered"


class LaneName(NamedTuple):
    """`origin`: of the backend whose events these are (origin.py), empty where the name has none."""

    origin: str
    account: str
    kind: QueueKind
    function: str


def name_lane(account: str, kind: QueueKind, function: str, origin: str = "") -> str:
    name = f"{account}/{kind.value}/{function}"
    return f"@{origin}|{name}" if origin else name


def split_lane(name: str) -> LaneName:
    origin = ""
    if name.startswith("@"):  # no account does
        origin, _, name = name[1:].partition("|")
    account, kind, function = name.split("/", 2)
    return LaneName(origin, account, QueueKind(kind), function)


class FunctionQueue:
    """`ready`: events claimed and due; `arriving`: how many are being stored. `next_due_at`: of those in the store, and
    `heard_due_at` of those that came since the last look there; `not_before`: when a lane that was refused tries again,
    for the `tries`th time. `running` events are under way, `unadmitted` of them without a slot yet, and there may be
    `window` of those: where slots are counted elsewhere too, nobody knows how many are free before asking."""

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
        self.blocked_on: str | None = None
        self.offered: str | None = None
        self.has_turn = False
        self.is_claiming = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is known of it that would be lost with it."""
        is_busy = self.running or self.arriving or self.is_claiming or self.has_turn
        return not (is_busy or self.ready or self.next_due_at < inf)

    def note_stored(self, due_at: float, events: int = 1) -> None:
        """So many events are in the store, unclaimed; the first is due then."""
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
    """Lanes whose turn comes, and those that stand behind a limit."""

    def __init__(self) -> None:
        self._next: deque[FunctionQueue] = deque()
        self._behind: dict[str, dict[FunctionQueue, None]] = {}  # in the order of their coming

    def add(self, lane: FunctionQueue) -> None:
        """It has something to do, and no longer stands behind a limit."""
        if lane.blocked_on is not None:
            self._leave(lane, lane.blocked_on)
        if not lane.has_turn:
            lane.has_turn = True
            self._next.append(lane)

    def next(self) -> FunctionQueue | None:
        if not self._next:
            return None
        lane = self._next.popleft()
        lane.has_turn = False
        return lane

    def block(self, lane: FunctionQueue, counter: str) -> None:
        """No slot of `counter` is free for it. It stands behind one limit at a time."""
        if lane.blocked_on is not None:
            self._leave(lane, lane.blocked_on)
        lane.blocked_on = counter
        self._behind.setdefault(counter, {})[lane] = None

    def offer(self, counter: str) -> bool:
        """A slot of `counter` is free: the first lane behind it has a turn. Whether there was one."""
        behind = self._behind.get(counter)
        if behind is None:
            return False
        lane = next(iter(behind))
        self.add(lane)
        lane.offered = counter
        return True

    def offer_all(self) -> None:
        """The limits may be others now."""
        for counter in list(self._behind):
            while self.offer(counter):
                pass

    def _leave(self, lane: FunctionQueue, counter: str) -> None:
        lane.blocked_on = None
        behind = self._behind[counter]
        del behind[lane]
        if not behind:
            del self._behind[counter]

    @property
    def has_blocked(self) -> bool:
        return bool(self._behind)
