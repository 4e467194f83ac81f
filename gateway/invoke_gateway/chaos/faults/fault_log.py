"""Records the faults of gateways and store, what they excuse, and how soon all recovered.

*Lost.* A gateway that is killed, or stopped or cut off for longer than its lease, loses its slots to the others. Its
calls go on in the backend: with `reclaim_after: lease` more may run for a while than the limit counts. A call is lost
when it was sent before its gateway was cut off. It is lost from half a lease after that (the lease was renewed at most
a quarter of it before) until a lease and a second after the gateway's return. Then it must count again. With
`reclaim_after: timeout` no call is ever lost. The calls of a killed worker are lost at once. Which of the gateway's
calls these are cannot be seen from outside.

*Kept.* With `reclaim_after: timeout` the slots of a killed gateway stay in use until the backend's time-out has passed
after its lease. A call that ran when its gateway was killed held a slot.

*Recovered.* The whole ceiling can be used again. In each lane a call sent since has arrived and filled the lane, not
counting calls of gateways that are down or cut off. Each gateway that is up has admitted a call sent since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ..calls import GatewayInstance, PlannedCall
from ..quotas import AccountQuota, QuotaLane
from .fault import InjectedFault, Recovery

LEASE, TIMEOUT = "lease", "timeout"
GRACE_SECONDS = 1.0  # of every deadline
QUEUED_SECONDS = 0.5  # within which the kernel may still give a connection to a worker that was killed


class FaultLog:
    """The faults and recoveries of one seed. `timeout_seconds`: the gateways' backend.timeout_seconds."""

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
        """Keeps the slots of dead gateways, by the calls that are `running` in the backend. With `reclaim_after:
        timeout` no other gateway may have them before these calls must be over."""
        slots = Counter(call.lane for call in running if call.through in fault.gateways)
        self._kept.append((fault.began + self._kept_seconds, fault, slots))

    def count_given_away(self, call: PlannedCall, now: float, running: Iterable[PlannedCall]) -> int:
        """Counts the kept slots in the lane of an arrived call that other gateways have already. `running`: the
        calls of the lane, this one included."""
        kept = [(fault, slots[call.lane]) for until, fault, slots in self._kept if now < until and slots[call.lane]]
        if not kept:
            return 0
        dead = {gateway for fault, _ in kept for gateway in fault.gateways}
        others = sum(other.through not in dead for other in running)
        return max(0, others + sum(count for _, count in kept) - call.lane.ceiling)

    # Records.

    def record_arrival(self, call: PlannedCall, now: float, ceiling: int, running: Iterable[PlannedCall]) -> None:
        """Records the arrival of `call` at the backend. `running`: the calls of its lane, this one included."""
        pending = [recovery for recovery in self.recoveries if recovery.recovered_at is None]
        if pending:
            is_full = sum(not self._is_away(other) for other in running) >= ceiling
            for recovery in pending:
                recovery.record(call, now, is_full=is_full)

    def record_excess(self, counted: int, running: int, now: float) -> None:
        """Records an excess above a limit: `counted` without the calls of lost gateways, `running` with them."""
        for fault in self._on(now, now):
            fault.overshoot = max(fault.overshoot, counted)
            fault.overshoot_with_lost = max(fault.overshoot_with_lost, running)

    def record_free_refusal(self, call: PlannedCall, now: float) -> None:
        """Records a call that was refused while fewer than the limit ran, which `excuses_refusal` allows."""
        for fault in self._on(call.opened_at, now):
            fault.refused_while_free += 1

    def record_failure(self, call: PlannedCall, now: float) -> None:
        """Records an error, which `excuses_failure` allows."""
        for fault in self._on(call.opened_at, now):
            fault.failed += call.through in fault.gateways

    def record_silence(self, call: PlannedCall) -> None:
        """Records a call without an answer, which `excuses_silence` allows."""
        for fault in self.faults:
            if fault.is_cut and fault.ended is None and call.through in fault.gateways:
                fault.unanswered += 1
                fault.silenced.add(call)

    def _on(self, start: float, now: float) -> list[InjectedFault]:
        return [fault for fault in self.faults if fault.overlaps(start, now)]

    # Excuses.

    def has_lost(self, call: PlannedCall, now: float) -> bool:
        """True where the limit need not count this call although it runs."""
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
        """Yields the faults that cut off the gateway of this call after the call had been sent."""
        for fault in self.faults:
            if (
                fault.is_cut
                and call.through in fault.gateways
                and (call.sent_at is None or call.sent_at <= fault.began)
            ):
                yield fault

    def excuses_silence(self, call: PlannedCall) -> bool:
        """True where a call may have no answer: its gateway was killed, or may have given it to the killed worker."""
        if call.through is None:
            return False
        return call.through.killed_at is not None or any(
            fault.is_partial and call.through in fault.gateways and call.opened_at <= fault.began + QUEUED_SECONDS
            for fault in self.faults
        )

    def excuses_failure(self, call: PlannedCall, now: float) -> bool:
        """True where a call may be answered with a ServiceException: its own gateway was affected meanwhile."""
        return any(call.through in fault.gateways and fault.overlaps(call.opened_at, now) for fault in self.faults)

    def excuses_refusal(self, call: PlannedCall, now: float) -> bool:
        """True where a call may be refused although others hold too few slots: a fault, or the recovery from it,
        goes on."""
        return any(fault.overlaps(call.opened_at, now) for fault in self.faults)

    def marks(self, fault: InjectedFault) -> list[tuple[float, str]]:
        """Lists the moments of a fault that its timeline marks."""
        marks = [(fault.began, fault.kind)]
        if fault.is_cut and (fault.ended is None or fault.ended - fault.began > self.lease_seconds):
            marks.append((fault.began + self.lease_seconds, "lease over"))
        if fault.ended is not None:
            marks.append((fault.ended, "it is over"))
        for recovery in self.recoveries:
            if recovery.fault is fault and recovery.recovered_at is not None:
                marks.append(
                    (recovery.recovered_at, f"{recovery.name.removeprefix(fault.name)} recovered".lstrip(": "))
                )
        return marks

    def describe_moment(self, call: PlannedCall, now: float) -> str:
        """Returns the gateway of a call, and the last fault, as a text."""
        who = call.through.name if call.through else "no gateway"
        last = self.faults[-1] if self.faults else None
        if last is None:
            return f"; {who}, before any fault"
        state = "not over" if last.over is None else f"over for {now - last.over:.2f} s"
        return f"; {who}, {now - last.began:.2f} s after {last.name!r}, which was {state}"

    def __repr__(self) -> str:
        return f"<Damage {self.faults} {self.recoveries}>"
