"""What was done to the gateways and their store, what that explains, and how soon it was healed.

*Lost.* A gateway that is killed, or stopped or cut off for longer than its lease, loses its slots to the others, while
its calls go on in the backend: with `heal_after: lease` more may run for a while than the limit counts. Such a call is
lost when it was sent before its gateway was cut off, from half a lease after that (the lease was renewed at most a
quarter of it before) until a lease and a second after the gateway's return: then it must count again. With `heal_after:
timeout` no call is ever lost.

*Healed.* The whole ceiling can be used again: in each lane a call sent since has arrived that made it full, not
counting calls of gateways that are away; and each gateway that is there has admitted a call sent since.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from .calls import Call, Gateway
from .quotas import Account, Lane
from .recording import Second

LEASE, TIMEOUT = "lease", "timeout"
GRACE_SECONDS = 1.0  # of every promise
_WHO = re.compile(r"^gateway \d+ ")
AFTER_SECONDS = 0.2  # in which a failure may still come of a blow that has healed


class Blow:
    """One fault, on the ledger's clock, in seconds. `gateways`: whom it strikes. `is_cut`: nothing of these gets
    through meanwhile. `ended`: when they were back; `None` while it lasts, and for ever after a kill. `over`: when all
    was healed, or the waiting for that. What was seen of `began` to `over`: by how many calls a limit was overshot (and
    by how many with the calls of lost gateways), calls refused while fewer than the limit ran, calls failed for want of
    the store, calls that never got an answer. `around`: second by second, where that was recorded."""

    def __init__(self, name: str, gateways: Sequence[Gateway], began: float, *, is_cut: bool) -> None:
        self.name = name
        self.kind = _WHO.sub("", name)  # what was done, whomever it struck
        self.gateways = gateways
        self.began = began
        self.is_cut = is_cut
        self.ended: float | None = None
        self.over: float | None = None
        self.overshoot = 0
        self.overshoot_with_lost = 0
        self.refused_while_free = 0
        self.failed = 0
        self.unanswered = 0
        self.around: list[Second] = []

    def __repr__(self) -> str:
        return f"<Blow {self.name} {self.began:.1f} to {self.ended}>"

    def overlaps(self, start: float, now: float) -> bool:
        """Whether it, or what it left to heal, was on between `start` and `now`."""
        return self.began <= now and (self.over is None or start <= self.over + AFTER_SECONDS)


class Healing:
    """What must be seen before a blow counts as healed, since `since`. Its time is a row of the verdict. `lag`: seconds
    that this process lagged, where the healing was late by less."""

    def __init__(
        self,
        name: str,
        since: float,
        promise: float,
        lanes: Iterable[Lane],
        gateways: Iterable[Gateway],
        blow: Blow | None = None,
    ) -> None:
        self.name = name
        self.blow = blow
        self.since = since
        self.promise = promise
        self.healed_at: float | None = None
        self.lag = 0.0
        self._lanes = {lane for lane in lanes if lane.ceiling}
        self._gateways = set(gateways)

    @property
    def seconds(self) -> float | None:
        return None if self.healed_at is None else self.healed_at - self.since

    @property
    def beyond(self) -> float:
        """Seconds above the promise; below 0 when it was kept."""
        return math.inf if self.seconds is None else self.seconds - self.promise

    @property
    def is_kept(self) -> bool:
        return self.beyond <= 0

    @property
    def missing(self) -> str:
        """What has not been seen yet."""
        full = [f"{lane.account}/{lane.name} was never full" for lane in self._lanes]
        return ", ".join(sorted([*full, *(f"{gateway.name} admitted nothing" for gateway in self._gateways)]))

    def note(self, call: Call, now: float, *, is_full: bool) -> None:
        """A call has arrived, which made its lane full or did not."""
        if self.healed_at is not None or call.sent_at is None or call.sent_at < self.since:
            return
        if call.through is not None:
            self._gateways.discard(call.through)
        if is_full:
            self._lanes.discard(call.lane)
        if not self._lanes and not self._gateways:
            self.healed_at = now

    def __str__(self) -> str:
        if self.seconds is None:
            return f"{self.name}: not healed ({self.missing}), promised within {self.promise:g} s"
        return f"{self.name}: healed after {self.seconds:.1f} s, promised within {self.promise:g} s"

    def __repr__(self) -> str:
        return f"<Healing {self}>"


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

    def strike(self, name: str, gateways: Sequence[Gateway], now: float, *, is_cut: bool = False) -> Blow:
        blow = Blow(name, gateways, now, is_cut=is_cut)
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
            blow.unanswered += blow.is_cut and blow.ended is None and call.through in blow.gateways

    def _on(self, start: float, now: float) -> list[Blow]:
        return [blow for blow in self.blows if blow.overlaps(start, now)]

    # What that explains.

    def has_lost(self, call: Call, now: float) -> bool:
        """Whether the limit need not count this call although it runs."""
        if self.heal_after == TIMEOUT:
            return False
        return any(self._loses(blow, now) for blow in self._cuts(call))

    def _loses(self, blow: Blow, now: float) -> bool:
        half = self.lease_seconds / 2
        if blow.ended is None:
            return now >= blow.began + half
        return blow.ended - blow.began >= half and blow.began + half <= now <= blow.ended + self.promise

    def _is_away(self, call: Call) -> bool:
        return any(blow.ended is None for blow in self._cuts(call))

    def _cuts(self, call: Call) -> Iterable[Blow]:
        """The blows that cut the gateway of this call off when the call had been sent."""
        for blow in self.blows:
            if blow.is_cut and call.through in blow.gateways and (call.sent_at is None or call.sent_at <= blow.began):
                yield blow

    def explains_silence(self, call: Call) -> bool:
        """Whether a call may have no answer: its gateway was killed."""
        return call.through is not None and call.through.killed_at is not None

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
