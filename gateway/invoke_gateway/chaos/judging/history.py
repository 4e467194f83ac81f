"""Records which calls run at the backend, and which slots a gateway may be holding.

*Running.* A call counts from when the backend has all of its request. It counts until just before the backend sends
the last byte of its answer, cuts the connection, or the function's own time-out ends it. That time-out is counted from
when the client sent the request, which is before the gateway can have started its own, longer one. So, however slow
the machine is, a gateway that frees slots no earlier than it may is never ahead of this count.

*Possibly held.* A call may hold a slot from just before the last byte of its request is sent until its client has the
whole answer. A call whose client has left may hold it until the final check. A refusal is wrong for certain when
fewer other calls than there are slots could have held one, all the time from the refused call's first byte to its
answer.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from time import monotonic

from ..calls import CallRun, PlannedCall
from ..faults.fault import Recovery
from ..faults.fault_log import FaultLog
from ..faults.timeline import Timeline
from ..quotas import WHOLE, AccountQuota, QuotaLane
from ..scheduler_lag import SchedulerLag
from .concurrency_track import ConcurrencyHistory, ConcurrencyTrack
from .violations import Violation

# Where gateways share a count, a slot that a call has given back is on its way to the store for a while.
RELEASE_SECONDS = 1.0


class CallHistory(ConcurrencyHistory[PlannedCall, CallRun]):
    """The history of one seed of calls. `function_seconds`: the functions' own time-out, which must be below the
    gateway's `timeout_seconds`."""

    def __init__(
        self,
        accounts: Sequence[AccountQuota],
        function_seconds: float,
        timeout_seconds: float,
        clock: Callable[[], float] = monotonic,
        fault_log: FaultLog | None = None,
    ) -> None:
        super().__init__(accounts, clock)
        self.function_seconds = function_seconds
        self.timeout_seconds = timeout_seconds
        self.fault_log = fault_log
        self.lag: SchedulerLag | None = None
        self.limits_change = False
        self.timeline: Timeline | None = None
        self.release_seconds = RELEASE_SECONDS if fault_log else 0.0
        self.recovery_seconds = fault_log.deadline if fault_log else 0.0  # in which gateways recover from lateness
        self.answers: Counter[str] = Counter()
        self.endings: Counter[str] = Counter()
        self._deadlines: list[tuple[float, int, CallRun]] = []
        self._letting_go: list[tuple[float, int, PlannedCall]] = []
        self._numbers = count()  # so that no two entries of a heap are equal
        self.rate_refusals = 0
        self.last_sent_at = clock()

    @property
    def running(self) -> list[PlannedCall]:
        """Lists the calls that run now."""
        wholes = (track for (_, name), track in self.tracks.items() if name == WHOLE)
        return [run.call for track in wholes for run in track.runs]

    def track(self, lane: QuotaLane) -> ConcurrencyTrack[CallRun]:
        return self.tracks[lane.account, lane.name]

    def _tracks(self, call: PlannedCall) -> tuple[ConcurrencyTrack[CallRun], ConcurrencyTrack[CallRun]]:
        return self.track(call.lane), self.tracks[call.lane.account, WHOLE]

    # Clients.

    def open(self, call: PlannedCall) -> None:
        """Records that the first byte is about to be sent."""
        self.sent[call.id] = call
        call.opened_at = self.clock()
        self._let_go(call.opened_at)
        track = self.track(call.lane)
        call.opened_index, call.opened_at_change = len(track.possible), len(track.series)

    def send(self, call: PlannedCall) -> None:
        """Records that the last byte is about to be sent: from now on the gateway may hold a slot for the call."""
        call.sent_at = self.last_sent_at = self.clock()
        track = self.track(call.lane)
        call.sent_index = len(track.possible)
        track.may_hold(+1)

    def answered(self, call: PlannedCall) -> None:
        """Records that the client has the whole answer. The call holds no slot any more; where gateways share a
        count, after a while."""
        self._let_go_at(self.clock() + self.release_seconds, call)

    def left(self, call: PlannedCall) -> None:
        """Records that the client has left. Where gateways share a count, the call may hold a slot until its
        function or the gateway's time-out has ended; with one gateway, until the final check."""
        if self.fault_log is not None and call.sent_at is not None:
            call.has_left = True
            self._let_go_at(call.sent_at + self.timeout_seconds + self.release_seconds, call)

    def _let_go_at(self, at: float, call: PlannedCall) -> None:
        if call.sent_index is not None:
            heapq.heappush(self._letting_go, (at, next(self._numbers), call))
            self._let_go(self.clock())

    def _let_go(self, now: float) -> None:
        while self._letting_go and self._letting_go[0][0] <= now:
            _, _, call = heapq.heappop(self._letting_go)
            if not call.is_let_go:
                call.is_let_go = True
                self.track(call.lane).may_hold(-1)

    def was_free(self, call: PlannedCall) -> bool:
        """True where, ever since `call` was opened, fewer others than there are slots could hold one. To be called
        before `answered`."""
        return self.count_held(call) < call.lane.ceiling

    def count_held(self, call: PlannedCall) -> int:
        """Counts the most others that can have held a slot of its lane at once, since `call` was opened."""
        possible = self.track(call.lane).possible
        sent = call.sent_index if call.sent_index is not None else len(possible)
        most = max(possible[call.opened_index - 1 : sent])
        if sent < len(possible):
            most = max(most, max(possible[sent:]) - 1)
        return most

    def ran_full(self, call: PlannedCall) -> bool:
        """True where at some moment since `call` was opened as many truly ran as there are slots."""
        track = self.track(call.lane)
        since = track.series[max(0, call.opened_at_change - 1) :]
        return max((running for _, running in since), default=0) >= track.ceiling

    def record_answer(self, kind: str) -> None:
        """Records an answer, or that none came, in the timeline if there is one."""
        if self.timeline is not None:
            self.timeline.record_answer(kind, self.clock())

    def overloaded_since(self, since: float) -> float:
        """Returns the longest lag since then (seconds), or 0 within the limit."""
        return self.lag.overloaded_since(since) if self.lag is not None else 0.0

    def add_unless_overloaded(self, violation: Violation, example: str, since: float, least: float = 0.0) -> float:
        """Records a violation that may only be lateness. It is recorded as not judged where this process lagged by
        more than `least` seconds since then. Returns that lag, or 0."""
        lag = self.overloaded_since(since)
        if lag <= least:
            self.violations.add(violation, example)
            return 0.0
        self._add_not_judged(example, lag)
        return lag

    def add_late_recovery(self, recovery: Recovery) -> None:
        """Records a recovery after its deadline. A lag may cost a gateway its lease again, so the deadline runs from
        the end of each. The recovery is recorded as not judged where no time without a lag was longer than that. One
        that never came is a violation on any machine."""
        since = recovery.since
        if self.lag is not None and recovery.recovered_at is not None:
            calm = self.lag.longest_calm(since, recovery.recovered_at)
            if calm <= recovery.deadline:
                recovery.lag = self.overloaded_since(since)
                self._add_not_judged(str(recovery), recovery.lag)
                return
        self.violations.add(Violation.NOT_HEALED, str(recovery))

    def _add_not_judged(self, example: str, lag: float) -> None:
        text = f"not judged: the machine was overloaded (lag {lag:.1f} s): {example}"
        self.violations.add(Violation.NOT_JUDGED, text)

    def release_all(self) -> None:
        """Records that nothing runs and nothing is under way: no call holds a slot."""
        for _, _, call in self._letting_go:
            call.is_let_go = True  # a function that is still to end gives back no slot a second time
        self._letting_go.clear()
        for track in self.tracks.values():
            track.possible = [0]

    # The backend.

    def begin(self, call: PlannedCall) -> CallRun:
        """Records that the whole request has arrived."""
        now = self.clock()
        self.expire(now)
        run = CallRun(call)
        call.arrivals += 1
        self._record_arrival(call)
        call.arrived.set()
        self.endings[call.ending] += 1
        deadline = (now if call.sent_at is None else call.sent_at) + self.function_seconds
        if deadline <= now:
            run.is_over = True
            return run
        for track in self._tracks(call):
            counted = track.begin(run, now, self._count_lost(track, call, now))
            self.check_ceiling(track, counted, call)
            if self.fault_log is not None and track.running > track.ceiling:
                self.fault_log.record_excess(counted - track.ceiling, track.running - track.ceiling, now)
        if self.timeline is not None:
            self.timeline.record_begin(call, now)
        if self.fault_log is not None:
            track = self.track(call.lane)
            running = [other.call for other in track.runs]
            self.fault_log.record_arrival(call, now, track.ceiling, running)
            if given := self.fault_log.count_given_away(call, now, running):
                self.violations.add(
                    Violation.GIVEN_AWAY, f"{call} arrived with {given} slots too few: a dead gateway's are kept longer"
                )
        heapq.heappush(self._deadlines, (deadline, next(self._numbers), run))
        return run

    def _count_lost(self, track: ConcurrencyTrack[CallRun], call: PlannedCall, now: float) -> int:
        """Counts the calls, this one included, that the gateways need not count, where one more is above the limit."""
        if self.fault_log is None or track.running < track.ceiling:
            return 0
        return sum(self.fault_log.has_lost(other, now) for other in (call, *(run.call for run in track.runs)))

    def _record_arrival(self, call: PlannedCall) -> None:
        if call.arrivals > 1:
            self.violations.add(Violation.TWICE, f"{call} arrived {call.arrivals} times")
        if call.sent_at is None:
            self.violations.add(Violation.NOT_WHOLE, f"{call} arrived before its client had sent all of it")
        if call.is_refused:
            self.violations.add(Violation.REFUSED_AND_RUN, f"{call} was refused, yet arrived")

    def end(self, run: CallRun) -> None:
        """Records that the function runs no longer. May be called twice."""
        now = self.clock()
        self.expire(now)
        self._end(run, now)

    def expire(self, now: float) -> None:
        """Ends the functions whose own time-out has passed."""
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, _, run = heapq.heappop(self._deadlines)
            self._end(run, deadline)

    def _end(self, run: CallRun, at: float) -> None:
        if run.is_over:
            return
        run.is_over = True
        for track in self._tracks(run.call):
            track.end(run, at)
        if self.timeline is not None:
            self.timeline.record_end(run.call, at)
        if run.call.has_left:
            self._let_go_at(at + self.release_seconds, run.call)

    def __repr__(self) -> str:
        return f"<CallHistory {len(self.sent)} calls {list(self.tracks.values())} {self.violations}>"
