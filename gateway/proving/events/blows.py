"""What is done to the gateways while they work: at random moments, one after the other."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from ..faults import Fault
from .gateways import Gateways, Member
from .history import Blow, BlowKind
from .ledger import EventLedger

LATEST = 0.9  # part of all that is to happen (every event accepted, every event done) at which the last blow may fall
LONG_LEASES, SHORT_LEASES = 1.6, 0.35
RETURN_SECONDS = 1.0  # for which a gateway that comes back may go on with what it has lost


class Step(NamedTuple):
    """A blow that is to fall: when the ledger's progress is so much, on which gateway, for how many seconds."""

    kind: BlowKind
    progress: int
    victim: int
    seconds: float


def plan_blows(dice: Random, progress: int, kills: int, gateways: int, lease_seconds: float) -> list[Step]:
    """`kills` blows on the way to so much progress. One gateway is killed each time; several are killed, stopped for
    long and shortly in turn. Beside them one gateway is told to end, which must lose nothing and repeat nothing."""
    ways = [BlowKind.KILLED] if gateways == 1 else [BlowKind.KILLED, BlowKind.STOPPED, BlowKind.STOPPED_SHORTLY]
    kinds = [ways[number % len(ways)] for number in range(kills)] + [BlowKind.RESTARTED]
    dice.shuffle(kinds)
    moments = sorted(dice.randint(1, max(1, int(progress * LATEST))) for _ in kinds)
    seconds = {BlowKind.STOPPED: LONG_LEASES * lease_seconds, BlowKind.STOPPED_SHORTLY: SHORT_LEASES * lease_seconds}
    return [
        Step(kind, moment, dice.randrange(gateways), seconds.get(kind, 0.0))
        for kind, moment in zip(kinds, moments, strict=True)
    ]


class Blows:
    """Deals them; `dealt` is what was done. `look` notes what the gateways have told of events by now."""

    def __init__(
        self, gateways: Gateways, ledger: EventLedger, look: Callable[[], None], tell: Callable[[str], None]
    ) -> None:
        self.dealt: list[Blow] = []
        self.is_dealing = False
        self._look = look
        self._gateways = gateways
        self._ledger = ledger
        self._tell = tell

    async def deal(self, steps: Sequence[Step]) -> None:
        """Raises `Died` where a gateway does not come up again."""
        for step in steps:
            await self._ledger.reach(step.progress)
            self.is_dealing = True
            self._gateways.check()
            member = self._gateways.members[step.victim]
            blow = Blow(step.kind, member.door.life, self._ledger.clock())
            self.dealt.append(blow)
            self._tell(f"{blow.life.name} {step.kind}: {self._ledger.accepted} accepted, {self._ledger.done} done")
            if step.kind is BlowKind.KILLED:
                await self._kill(blow, member)
            elif step.kind is BlowKind.RESTARTED:
                await self._restart(blow, member)
            else:
                await self._stop(blow, member, step.seconds)
            self.is_dealing = False

    async def _kill(self, blow: Blow, member: Member) -> None:
        member.kill()
        self._look()
        blow.ended = self._ledger.clock()
        self._ledger.excuse(blow.life)
        await member.start()

    async def _restart(self, blow: Blow, member: Member) -> None:
        trouble = await member.end()
        blow.ended = self._ledger.clock()
        if trouble is not None:
            self._ledger.faults.add(Fault.NOT_ENDED, trouble)
            self._ledger.excuse(blow.life)
        await member.start()

    async def _stop(self, blow: Blow, member: Member, seconds: float) -> None:
        member.send(signal.SIGSTOP)
        if blow.kind.explains:
            self._ledger.excuse(blow.life)
        try:
            await asyncio.sleep(seconds)
        finally:
            member.send(signal.SIGCONT)
            blow.ended = self._ledger.clock()
        if blow.kind.explains:
            self._ledger.excuse(blow.life, blow.ended + RETURN_SECONDS)
