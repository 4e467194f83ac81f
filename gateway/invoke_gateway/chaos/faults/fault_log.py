"""What was done to the gateways and their store, what that explains, and how soon it was healed.

*Lost.* A gateway that is killed, or stopped or cut off for longer than its lease, loses its slots to the others, while
its calls go on in the backend: with `reclaim_after: lease` more may run for a while than the limit counts. Such a call
is lost when it was sent before its gateway was cut off, from half a lease after that (the lease was renewed at most a
quarter of it before) until a lease and a second after the gateway's return: then it must count again. With
`reclaim_after: timeout` no call is ever lost. Of a worker that was killed its gateway knows at once that it is dead:
so its calls are lost at once (which of the gateway's they were cannot be seen from outside).

*Kept.* With `reclaim_after: timeout` what a killed gateway held stays taken until the backend's time-out has passed
after its lease. A call that ran when its gateway was killed held a slot.

*Healed.* The whole ceiling can be used again: in each lane a call sent since has arrived that made it full, not
counting calls of gateways that are away; and each gateway that is there has admitted a call sent since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ..calls import GatewayInstance, PlannedCall
from ..quotas import AccountQuota, QuotaLane
from .fault import InjectedFault, Recovery

LEASE, TIMEOUT = "lease", "timeout"
GRACE_SECONDS = 1.0  # of every promise
QUEUED_SECONDS = 0.5  # within which the kernel may still give a connection to a worker that was killed


class FaultLog:
    """The blows and healings of one seed. `timeout_seconds`: the gateways' backend.timeout_seconds."""

    def __init__(
        self, accounts: Sequence[AccountQuota], lease_seconds: float, timeout_seconds: float, reclaim_after: str = LEASE
    ) -> None:
        self.lease_seconds = lease_seconds
        self.reclaim_after = reclaim_after
        self.deadline = lease_seconds + GRACE_SECONDS
        self.deadline_for_lost = self.deadline + (timeout_seconds if reclaim_after == TIMEOUT else 0.0)
        self.started = 0.0
        self.faults: list[InjectedFault] = []
        self.recoveries: list[Recovery] = []
        self._lanes = [lane for account in accounts for lane in account.lanes]
        self._kept_seconds = lease_seconds / 2 + timeout_seconds if reclaim_after == TIMEOUT else 0.0
        self._kept: list[tuple[float, InjectedFault, Counter[QuotaLane]]] = []

    def begin_fault(
        self,
        name: str,
        gateways: Sequence[GatewayInstance],
        now: float,
        *,
        is_cut: bool = False,
        is_partial: bool = False,
    ) -> InjectedFault:
        fault = InjectedFault(name, gateways, now, started=self.started, is_cut=is_cut, is_partial=is_partial)
        self.faults.append(fault)
        return fault

    def expect(
        self,
        name: str,
        gateways: Iterable[GatewayInstance],
        since: float,
        deadline: float | None = None,
        fault: InjectedFault | None = None,
    ) -> Recovery:
        recovery = Recovery(name, since, self.deadline if deadline is None else deadline, self._lanes, gateways, fault)
        self.recoveries.append(recovery)
        if fault is not None:
            fault.recoveries.append(recovery)
        return recovery

    def list_faults(self) -> list[InjectedFault]:
        """Lists the faults in their order, after one for the load alone, which is none."""
        load = []
        for recovery in self.recoveries:
            if recovery.fault is None:
                row = InjectedFault(recovery.name, [], recovery.since, started=self.started)
                row.ended, row.recoveries = row.began, [recovery]
                load.append(row)
        return load + self.faults

    def keep(self, fault: InjectedFault, running: Iterable[PlannedCall]) -> None:
        """The gateways of this blow are dead, `running` what runs in the backend: with `reclaim_after: timeout` nobody
        may have their slots for so long as nobody may hold them to be over."""
        slots = Counter(call.lane for call in running if call.through in fault.gateways)
        self._kept.append((fault.began + self._kept_seconds, fault, slots))

    def count_given_away(self, call: PlannedCall, now: float, running: Iterable[PlannedCall]) -> int:
        """How many slots that are kept for the dead, of the lane of a call that has arrived, are others' already.
        `running` are the calls of the lane, it included."""
        kept = [(fault, slots[call.lane]) for until, fault, slots in self._kept if now < until and slots[call.lane]]
        if not kept:
            return 0
        dead = {gateway for fault, _ in kept for gateway in fault.gateways}
        others = sum(other.through not in dead for other in running)
        return max(0, others + sum(count for _, count in kept) - call.lane.ceiling)

    # What happens.

    def record_arrival(self, call: PlannedCall, now: float, ceiling: int, running: Iterable[PlannedCall]) -> None:
        """`call` has arrived at the backend, where `running` are those of its lane, itself included."""
        pending = [recovery for recovery in self.recoveries if recovery.recovered_at is None]
        if pending:
            is_full = sum(not self._is_away(other) for other in running) >= ceiling
            for recovery in pending:
                recovery.record(call, now, is_full=is_full)

    def record_excess(self, counted: int, running: int, now: float) -> None:
        """So many more than a limit run, `counted` without those of lost gateways."""
        for fault in self._on(now, now):
            fault.overshoot = max(fault.overshoot, counted)
            fault.overshoot_with_lost = max(fault.overshoot_with_lost, running)

    def record_free_refusal(self, call: PlannedCall, now: float) -> None:
        """A call was refused while fewer than the limit ran, which `explains_refusal`."""
        for fault in self._on(call.opened_at, now):
            fault.refused_while_free += 1

    def record_failure(self, call: PlannedCall, now: float) -> None:
        """A call was answered with an error, which `explains_failure`."""
        for fault in self._on(call.opened_at, now):
            fault.failed += call.through in fault.gateways

    def record_silence(self, call: PlannedCall) -> None:
        """A call got no answer, which `explains_silence`."""
        for fault in self.faults:
            if fault.is_cut and fault.ended is None and call.through in fault.gateways:
                fault.unanswered += 1
                fault.silenced.add(call)

    def _on(self, start: float, now: float) -> list[InjectedFault]:
        return [fault for fault in self.faults if fault.overlaps(start, now)]

    # What that explains.

    def has_lost(self, call: PlannedCall, now: float) -> bool:
        """Whether the limit need not count this call although it runs."""
        if self.reclaim_after == TIMEOUT:
            return False
        return any(self._loses(fault, now) for fault in self._cuts(call))

    def _loses(self, fault: InjectedFault, now: float) -> bool:
        if fault.is_partial:
            return True
        half = self.lease_seconds / 2
        if fault.ended is None:
            return now >= fault.began + half
        return fault.ended - fault.began >= half and fault.began + half <= now <= fault.ended + self.deadline

    def _is_away(self, call: PlannedCall) -> bool:
        return any(
            call in fault.silenced or call.has_left if fault.is_partial else fault.ended is None
            for fault in self._cuts(call)
        )

    def _cuts(self, call: PlannedCall) -> Iterable[InjectedFault]:
        """The blows that cut the gateway of this call off when the call had been sent."""
        for fault in self.faults:
            if (
                fault.is_cut
                and call.through in fault.gateways
                and (call.sent_at is None or call.sent_at <= fault.began)
            ):
                yield fault

    def excuses_silence(self, call: PlannedCall) -> bool:
        """Whether a call may have no answer: its gateway was killed, or it may have been with the part that was."""
        if call.through is None:
            return False
        return call.through.killed_at is not None or any(
            fault.is_partial and call.through in fault.gateways and call.opened_at <= fault.began + QUEUED_SECONDS
            for fault in self.faults
        )

    def excuses_failure(self, call: PlannedCall, now: float) -> bool:
        """Whether a call may be answered with a ServiceException: its own gateway was struck meanwhile."""
        return any(call.through in fault.gateways and fault.overlaps(call.opened_at, now) for fault in self.faults)

    def excuses_refusal(self, call: PlannedCall, now: float) -> bool:
        """Whether a call may be refused although others hold too few slots: something was struck, or heals."""
        return any(fault.overlaps(call.opened_at, now) for fault in self.faults)

    def marks(self, fault: InjectedFault) -> list[tuple[float, str]]:
        """The moments of a blow that a reader of its seconds wants to see."""
        marks = [(fault.began, fault.kind)]
        if fault.is_cut and (fault.ended is None or fault.ended - fault.began > self.lease_seconds):
            marks.append((fault.began + self.lease_seconds, "lease over"))
        if fault.ended is not None:
            marks.append((fault.ended, "it is over"))
        for recovery in self.recoveries:
            if recovery.fault is fault and recovery.recovered_at is not None:
                marks.append((recovery.recovered_at, f"{recovery.name.removeprefix(fault.name)} healed".lstrip(": ")))
        return marks

    def tell_when(self, call: PlannedCall, now: float) -> str:
        """Through whom a call went, and what had been struck last."""
        who = call.through.name if call.through else "no gateway"
        last = self.faults[-1] if self.faults else None
        if last is None:
            return f"; {who}, before any blow"
        recovery = "not over" if last.over is None else f"over for {now - last.over:.2f} s"
        return f"; {who}, {now - last.began:.2f} s after {last.name!r}, which was {recovery}"

    def __repr__(self) -> str:
        return f"<Damage {self.faults} {self.recoveries}>"
