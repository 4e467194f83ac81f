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

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from time import monotonic

from .calls import Call, Run
from .concurrency_track import Level
from .fault_log import Damage
from .quotas import WHOLE, Account, Lane
from .scheduler_lag import Lag
from .timeline import Recording
from .violations import Fault, Faults

# Where gateways share a count, a slot that a call has given back is on its way to the store for a while.
RELEASE_SECONDS = 1.0


class Ledger:
    """`function_seconds`: the functions' own time-out, which must be below the gateway's `timeout_seconds`."""

    def __init__(
        self,
        accounts: Sequence[Account],
        function_seconds: float,
        timeout_seconds: float,
        clock: Callable[[], float] = monotonic,
        damage: Damage | None = None,
    ) -> None:
        self.function_seconds = function_seconds
        self.timeout_seconds = timeout_seconds
        self.clock = clock
        self.damage = damage
        self.lag: Lag | None = None
        self.recording: Recording | None = None
        self.release_seconds = RELEASE_SECONDS if damage else 0.0
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
        self._letting_go: list[tuple[float, int, Call]] = []
        self._numbers = count()  # so that no two entries of a heap are equal
        self.rate_refusals = 0
        self.last_sent_at = clock()

    def _add_level(self, account: str, name: str, ceiling: int) -> None:
        self.levels[account, name] = Level(account, name, ceiling)

    @property
    def running(self) -> list[Call]:
        """The calls that run now."""
        wholes = (level for (_, name), level in self.levels.items() if name == WHOLE)
        return [run.call for level in wholes for run in level.runs]

    def level(self, lane: Lane) -> Level:
        return self.levels[lane.account, lane.name]

    def _levels(self, call: Call) -> tuple[Level, Level]:
        return self.level(call.lane), self.levels[call.lane.account, WHOLE]

    # What clients say.

    def open(self, call: Call) -> None:
        """The first byte is about to be sent."""
        self.calls[call.id] = call
        call.opened_at = self.clock()
        self._let_go(call.opened_at)
        level = self.level(call.lane)
        call.opened_index, call.opened_at_change = len(level.possible), len(level.series)

    def send(self, call: Call) -> None:
        """The last byte is about to be sent: from now on the gateway may hold a slot for it."""
        call.sent_at = self.last_sent_at = self.clock()
        level = self.level(call.lane)
        call.sent_index = len(level.possible)
        level.may_hold(+1)

    def answered(self, call: Call) -> None:
        """Its client has the whole answer, so the call holds no slot any more; where gateways share a count, not after
        a while."""
        self._let_go_at(self.clock() + self.release_seconds, call)

    def left(self, call: Call) -> None:
        """Its client has gone. Where gateways share a count, it may hold a slot until its function has ended, or the
        gateway's time-out has; with one gateway, until all is quiet."""
        if self.damage is not None and call.sent_at is not None:
            call.has_left = True
            self._let_go_at(call.sent_at + self.timeout_seconds + self.release_seconds, call)

    def _let_go_at(self, at: float, call: Call) -> None:
        if call.sent_index is not None:
            heapq.heappush(self._letting_go, (at, next(self._numbers), call))
            self._let_go(self.clock())

    def _let_go(self, now: float) -> None:
        while self._letting_go and self._letting_go[0][0] <= now:
            _, _, call = heapq.heappop(self._letting_go)
            if not call.is_let_go:
                call.is_let_go = True
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

    def ran_full(self, call: Call) -> bool:
        """Whether at any time since `call` was opened as many truly ran as there are slots."""
        level = self.level(call.lane)
        since = level.series[max(0, call.opened_at_change - 1) :]
        return max((running for _, running in since), default=0) >= level.ceiling

    def note_answer(self, kind: str) -> None:
        """A client got an answer, or none: for the recording, where one is made."""
        if self.recording is not None:
            self.recording.note_answer(kind, self.clock())

    def starved_since(self, since: float) -> float:
        """The longest lag since then in seconds; 0 where none explains anything."""
        return self.lag.starved_since(since) if self.lag is not None else 0.0

    def add_unless_starved(self, fault: Fault, example: str, since: float, least: float = 0.0) -> float:
        """Count what may be wrong for want of time only: as not judged, where this process lagged by more than `least`
        seconds since then. Returns that lag, or 0."""
        lag = self.starved_since(since)
        if lag <= least:
            self.faults.add(fault, example)
            return 0.0
        self.faults.add(Fault.NOT_JUDGED, f"not judged: the machine was starved (lag {lag:.1f} s): {example}")
        return lag

    def quiet(self) -> None:
        """Nothing runs and nothing is under way: no call holds a slot."""
        self._letting_go.clear()
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
            counted = level.begin(run, now, self._count_lost(level, call, now))
            if counted > level.ceiling:
                self.faults.add(
                    Fault.OVERSHOOT, f"{level.account}/{level.name}: {call} is number {counted} of {level.ceiling}"
                )
            if self.damage is not None and level.running > level.ceiling:
                self.damage.note_excess(counted - level.ceiling, level.running - level.ceiling, now)
        if self.recording is not None:
            self.recording.note_begin(call, now)
        if self.damage is not None:
            level = self.level(call.lane)
            running = [other.call for other in level.runs]
            self.damage.note_arrival(call, now, level.ceiling, running)
            if given := self.damage.count_given_away(call, now, running):
                self.faults.add(
                    Fault.GIVEN_AWAY, f"{call} arrived with {given} slots too few: a dead gateway's are kept longer"
                )
        heapq.heappush(self._deadlines, (deadline, next(self._numbers), run))
        return run

    def _count_lost(self, level: Level, call: Call, now: float) -> int:
        """Where one more is above the limit: how many, this one included, the gateways need not count."""
        if self.damage is None or level.running < level.ceiling:
            return 0
        return sum(self.damage.has_lost(other, now) for other in (call, *(run.call for run in level.runs)))

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
            level.end(run, at)
        if self.recording is not None:
            self.recording.note_end(run.call, at)
        if run.call.has_left:
            self._let_go_at(at + self.release_seconds, run.call)

    def __repr__(self) -> str:
        return f"<Ledger {len(self.calls)} calls {list(self.levels.values())} {self.faults}>"
