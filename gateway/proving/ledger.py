"""The truth: which calls run at the backend, and which slots a gateway may be holding.

*Running.* A call counts from when the backend has all of its request until just before the backend sends the last byte
of its answer, cuts the connection, or the function's own time-out ends it. That time-out is counted from when the
client sent the request, which is before the gateway can have started its own, longer one. So however slow the machine
is, a gateway that gives slots back when it may is never ahead of this count.

*Possibly held.* A call may hold a slot from just before the last byte of its request is sent until its client has the
whole answer; one whose client has left may hold it until everything is quiet. A refusal is wrong for certain when all
along, from the refused call's first byte to its answer, fewer others than there are slots could have held one.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from time import monotonic

from .faults import Fault, Faults
from .quotas import WHOLE, Account, Lane


class Ending(StrEnum):
    """What the backend does with a call."""

    ANSWERS = "answers"
    TRICKLES = "trickles"
    RESETS = "resets"
    BREAKS_OFF = "breaks off"
    GARBAGE = "garbage"
    HANGS = "hangs"
    LATE_ANSWER = "late answer"
    LATE_GARBAGE = "late garbage"
    WAITS = "waits"

    @property
    def is_fault(self) -> bool:
        return self not in (Ending.ANSWERS, Ending.TRICKLES, Ending.WAITS)

    @property
    def takes_long(self) -> bool:
        """Whether the gateway's own time-out is what ends it."""
        return self in (Ending.HANGS, Ending.LATE_ANSWER, Ending.LATE_GARBAGE)


class Level:
    """One limit: how many run now, how many at most did, the changes over time, how many may hold a slot."""

    def __init__(self, account: str, name: str, ceiling: int) -> None:
        self.account = account
        self.name = name
        self.ceiling = ceiling
        self.running = 0
        self.highest = 0
        self.series: list[tuple[float, int]] = []
        # Of possible holders: each change since all was quiet; the last is the present number.
        self.possible: list[int] = [0]

    def change(self, by: int, now: float) -> None:
        self.running += by
        self.highest = max(self.highest, self.running)
        self.series.append((now, self.running))

    def may_hold(self, by: int) -> None:
        self.possible.append(self.possible[-1] + by)

    @property
    def overshoot(self) -> int:
        return max(0, self.highest - self.ceiling)

    def __repr__(self) -> str:
        return f"<Level {self.account}/{self.name} {self.running}/{self.ceiling} highest={self.highest}>"


class Call:
    """One call as its client plans it. `seconds`: how long its function runs; `padding`: bytes of its request."""

    def __init__(
        self,
        id: str,
        lane: Lane,
        function: str,
        *,
        ending: Ending = Ending.ANSWERS,
        seconds: float = 0.0,
        is_large: bool = False,
        is_streamed: bool = False,
        padding: int = 0,
    ) -> None:
        self.id = id
        self.lane = lane
        self.function = function
        self.ending = ending
        self.seconds = seconds
        self.is_large = is_large
        self.is_streamed = is_streamed
        self.padding = padding
        self.sent_at: float | None = None
        self.arrivals = 0
        self.arrived = asyncio.Event()
        self.is_refused = False
        self.opened_index = 0
        self.sent_index: int | None = None

    def __repr__(self) -> str:
        return f"<{self.id} {self.lane.account}/{self.function} {self.ending}{' streamed' if self.is_streamed else ''}>"


class Run:
    """A call that arrived at the backend."""

    __slots__ = ("call", "is_over")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.is_over = False


class Ledger:
    """`function_seconds`: the functions' own time-out, which must be below the gateway's `timeout_seconds`."""

    def __init__(
        self,
        accounts: Sequence[Account],
        function_seconds: float,
        timeout_seconds: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.function_seconds = function_seconds
        self.timeout_seconds = timeout_seconds
        self.clock = clock
        self.faults = Faults()
        self.calls: dict[str, Call] = {}
        self.answers: Counter[str] = Counter()
        self.endings: Counter[str] = Counter()
        self.levels: dict[tuple[str, str], Level] = {}
        for account in accounts:
            self._add_level(account.account, WHOLE, account.concurrent_executions)
            for lane in account.lanes:
                self._add_level(account.account, lane.name, lane.ceiling)
        self._deadlines: list[tuple[float, int, Run]] = []
        self._arrivals = 0
        self.rate_refusals = 0
        self.last_sent_at = clock()

    def _add_level(self, account: str, name: str, ceiling: int) -> None:
        self.levels[account, name] = Level(account, name, ceiling)

    def level(self, lane: Lane) -> Level:
        return self.levels[lane.account, lane.name]

    def _levels(self, call: Call) -> tuple[Level, Level]:
        return self.level(call.lane), self.levels[call.lane.account, WHOLE]

    # What clients say.

    def open(self, call: Call) -> None:
        """The first byte is about to be sent."""
        self.calls[call.id] = call
        call.opened_index = len(self.level(call.lane).possible)

    def send(self, call: Call) -> None:
        """The last byte is about to be sent: from now on the gateway may hold a slot for it."""
        call.sent_at = self.last_sent_at = self.clock()
        level = self.level(call.lane)
        call.sent_index = len(level.possible)
        level.may_hold(+1)

    def answered(self, call: Call) -> None:
        """Its client has the whole answer, so the call holds no slot any more."""
        if call.sent_index is not None:
            self.level(call.lane).may_hold(-1)

    def was_free(self, call: Call) -> bool:
        """Whether all the time since `call` was opened fewer others than there are slots could hold one. To be asked
        before `answered`."""
        possible = self.level(call.lane).possible
        sent = call.sent_index if call.sent_index is not None else len(possible)
        most = max(possible[call.opened_index - 1 : sent])
        if sent < len(possible):
            most = max(most, max(possible[sent:]) - 1)
        return most < call.lane.ceiling

    def quiet(self) -> None:
        """Nothing runs and nothing is under way: no call holds a slot."""
        for level in self.levels.values():
            level.possible = [0]

    # What the backend says.

    def begin(self, call: Call) -> Run:
        """The whole request has arrived."""
        now = self.clock()
        self.expire(now)
        run = Run(call)
        call.arrivals += 1
        self._note_arrival(call)
        call.arrived.set()
        self.endings[call.ending] += 1
        deadline = (now if call.sent_at is None else call.sent_at) + self.function_seconds
        if deadline <= now:
            run.is_over = True
            return run
        for level in self._levels(call):
            level.change(+1, now)
            if level.running > level.ceiling:
                self.faults.add(
                    Fault.OVERSHOOT,
                    f"{level.account}/{level.name}: {call} is number {level.running} of {level.ceiling}",
                )
        self._arrivals += 1
        heapq.heappush(self._deadlines, (deadline, self._arrivals, run))
        return run

    def _note_arrival(self, call: Call) -> None:
        if call.arrivals > 1:
            self.faults.add(Fault.TWICE, f"{call} arrived {call.arrivals} times")
        if call.sent_at is None:
            self.faults.add(Fault.NOT_WHOLE, f"{call} arrived before its client had sent all of it")
        if call.is_refused:
            self.faults.add(Fault.REFUSED_AND_RUN, f"{call} was refused and arrived all the same")

    def end(self, run: Run) -> None:
        """The function runs no longer. May be said twice."""
        now = self.clock()
        self.expire(now)
        self._end(run, now)

    def expire(self, now: float) -> None:
        """End the functions whose own time-out has passed."""
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, _, run = heapq.heappop(self._deadlines)
            self._end(run, deadline)

    def _end(self, run: Run, at: float) -> None:
        if run.is_over:
            return
        run.is_over = True
        for level in self._levels(run.call):
            level.change(-1, at)

    def __repr__(self) -> str:
        return f"<Ledger {len(self.calls)} calls {list(self.levels.values())} {self.faults}>"
