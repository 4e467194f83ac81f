"""What was done to the gateways and their store, what that explains, and how soon it was healed.

*Lost.* A gateway that is killed, or stopped or cut off for longer than its lease, loses its slots to the others, while
its calls go on in the backend: with `heal_after: lease` more may run for a while than the limit counts. Such a call is
lost when it was sent before its gateway was cut off, from half a lease after that (the lease was renewed at most a
quarter of it before) until a lease and a second after the gateway's return: then it must count again. With `heal_after:
timeout` no call is ever lost. Of a worker that was killed its gateway knows at once that it is dead: so its calls are
lost at once (which of the gateway's they were cannot be seen from outside).

*Kept.* With `heal_after: timeout` what a killed gateway held stays taken until the backend's time-out has passed after
its lease. A call that ran when its gateway was killed held a slot.

*Healed.* The whole ceiling can be used again: in each lane a call sent since has arrived that made it full, not
counting calls of gateways that are away; and each gateway that is there has admitted a call sent since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from .calls import Call, Gateway
from .fault_effect import Blow, Healing
from .quotas import Account, Lane

LEASE, TIMEOUT = "lease", "timeout"
GRACE_SECONDS = 1.0  # of every promise
QUEUED_SECONDS = 0.5  # within which the kernel may still give a connection to a worker that was killed


class Damage:
    """The blows and healings of one seed. `timeout_seconds`: the gateways' backend.timeout_seconds."""

    def __init__(
        self, accounts: Sequence[Account], lease_seconds: float, timeout_seconds: float, heal_after: str = LEASE
    ) -> None:
        self.lease_seconds = lease_seconds
        self.heal_after = heal_after
        self.promise = lease_seconds + GRACE_SECONDS
        self.promise_for_lost = self.promise + (timeout_seconds if heal_after == TIMEOUT else 0.0)
        self.blows: list[Blow] = []
        self.healings: list[Healing] = []
        self._lanes = [lane for account in accounts for lane in account.lanes]
        self._kept_seconds = lease_seconds / 2 + timeout_seconds if heal_after == TIMEOUT else 0.0
        self._kept: list[tuple[float, Blow, Counter[Lane]]] = []

    def strike(
        self, name: str, gateways: Sequence[Gateway], now: float, *, is_cut: bool = False, is_partial: bool = False
    ) -> Blow:
        blow = Blow(name, gateways, now, is_cut=is_cut, is_partial=is_partial)
        self.blows.append(blow)
        return blow

    def expect(
        self,
        name: str,
        gateways: Iterable[Gateway],
        since: float,
        promise: float | None = None,
        blow: Blow | None = None,
    ) -> Healing:
        healing = Healing(name, since, self.promise if promise is None else promise, self._lanes, gateways, blow)
        self.healings.append(healing)
        return healing

    def keep(self, blow: Blow, running: Iterable[Call]) -> None:
        """The gateways of this blow are dead, `running` what runs in the backend: with `heal_after: timeout` nobody
        may have their slots for so long as nobody may hold them to be over."""
        slots = Counter(call.lane for call in running if call.through in blow.gateways)
        self._kept.append((blow.began + self._kept_seconds, blow, slots))

    def count_given_away(self, call: Call, now: float, running: Iterable[Call]) -> int:
        """How many slots that are kept for the dead, of the lane of a call that has arrived, are others' already.
        `running` are the calls of the lane, it included."""
        kept = [(blow, slots[call.lane]) for until, blow, slots in self._kept if now < until and slots[call.lane]]
        if not kept:
            return 0
        dead = {gateway for blow, _ in kept for gateway in blow.gateways}
        others = sum(other.through not in dead for other in running)
        return max(0, others + sum(count for _, count in kept) - call.lane.ceiling)

    # What happens.

    def note_arrival(self, call: Call, now: float, ceiling: int, running: Iterable[Call]) -> None:
        """`call` has arrived at the backend, where `running` are those of its lane, itself included."""
        pending = [healing for healing in self.healings if healing.healed_at is None]
        if pending:
            is_full = sum(not self._is_away(other) for other in running) >= ceiling
            for healing in pending:
                healing.note(call, now, is_full=is_full)

    def note_excess(self, counted: int, running: int, now: float) -> None:
        """So many more than a limit run, `counted` without those of lost gateways."""
        for blow in self._on(now, now):
            blow.overshoot = max(blow.overshoot, counted)
            blow.overshoot_with_lost = max(blow.overshoot_with_lost, running)

    def note_free_refusal(self, call: Call, now: float) -> None:
        """A call was refused while fewer than the limit ran, which `explains_refusal`."""
        for blow in self._on(call.opened_at, now):
            blow.refused_while_free += 1

    def note_failure(self, call: Call, now: float) -> None:
        """A call was answered with an error, which `explains_failure`."""
        for blow in self._on(call.opened_at, now):
            blow.failed += call.through in blow.gateways

    def note_silence(self, call: Call) -> None:
        """A call got no answer, which `explains_silence`."""
        for blow in self.blows:
            if blow.is_cut and blow.ended is None and call.through in blow.gateways:
                blow.unanswered += 1
                blow.silenced.add(call)

    def _on(self, start: float, now: float) -> list[Blow]:
        return [blow for blow in self.blows if blow.overlaps(start, now)]

    # What that explains.

    def has_lost(self, call: Call, now: float) -> bool:
        """Whether the limit need not count this call although it runs."""
        if self.heal_after == TIMEOUT:
            return False
        return any(self._loses(blow, now) for blow in self._cuts(call))

    def _loses(self, blow: Blow, now: float) -> bool:
        if blow.is_partial:
            return True
        half = self.lease_seconds / 2
        if blow.ended is None:
            return now >= blow.began + half
        return blow.ended - blow.began >= half and blow.began + half <= now <= blow.ended + self.promise

    def _is_away(self, call: Call) -> bool:
        return any(
            call in blow.silenced or call.has_left if blow.is_partial else blow.ended is None
            for blow in self._cuts(call)
        )

    def _cuts(self, call: Call) -> Iterable[Blow]:
        """The blows that cut the gateway of this call off when the call had been sent."""
        for blow in self.blows:
            if blow.is_cut and call.through in blow.gateways and (call.sent_at is None or call.sent_at <= blow.began):
                yield blow

    def explains_silence(self, call: Call) -> bool:
        """Whether a call may have no answer: its gateway was killed, or it may have been with the part that was."""
        if call.through is None:
            return False
        return call.through.killed_at is not None or any(
            blow.is_partial and call.through in blow.gateways and call.opened_at <= blow.began + QUEUED_SECONDS
            for blow in self.blows
        )

    def explains_failure(self, call: Call, now: float) -> bool:
        """Whether a call may be answered with a ServiceException: its own gateway was struck meanwhile."""
        return any(call.through in blow.gateways and blow.overlaps(call.opened_at, now) for blow in self.blows)

    def explains_refusal(self, call: Call, now: float) -> bool:
        """Whether a call may be refused although others hold too few slots: something was struck, or heals."""
        return any(blow.overlaps(call.opened_at, now) for blow in self.blows)

    def marks(self, blow: Blow) -> list[tuple[float, str]]:
        """The moments of a blow that a reader of its seconds wants to see."""
        marks = [(blow.began, blow.kind)]
        if blow.is_cut and (blow.ended is None or blow.ended - blow.began > self.lease_seconds):
            marks.append((blow.began + self.lease_seconds, "lease over"))
        if blow.ended is not None:
            marks.append((blow.ended, "it is over"))
        for healing in self.healings:
            if healing.blow is blow and healing.healed_at is not None:
                marks.append((healing.healed_at, f"{healing.name.removeprefix(blow.name)} healed".lstrip(": ")))
        return marks

    def tell_when(self, call: Call, now: float) -> str:
        """Through whom a call went, and what had been struck last."""
        who = call.through.name if call.through else "no gateway"
        last = self.blows[-1] if self.blows else None
        if last is None:
            return f"; {who}, before any blow"
        healed = "not over" if last.over is None else f"over for {now - last.over:.2f} s"
        return f"; {who}, {now - last.began:.2f} s after {last.name!r}, which was {healed}"

    def __repr__(self) -> str:
        return f"<Damage {self.blows} {self.healings}>"
