"""What is done to the gateways while they work: at random moments, one after the other."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from ..violations import Fault
from .clients import Pace
from .cluster import Gateways, Member
from .history import Blow, BlowKind
from .ledger import EventLedger

# A blow falls after up to so much of its share of what is still to happen (every event accepted, every event done); the
# last one while something is left to do.
MOST_SHARES, LATEST = 1.8, 0.95
LONG_LEASES, SHORT_LEASES = 1.6, 0.35
RETURN_SECONDS = 1.0  # for which a gateway that comes back may go on with what it has lost


class Step(NamedTuple):
    """A blow that is to fall on one gateway for some seconds. `part`, 0 to 1, says how much happens before."""

    kind: BlowKind
    part: float
    victim: int
    seconds: float


def plan_blows(dice: Random, kills: int, gateways: int, lease_seconds: float) -> list[Step]:
    """`kills` blows. One gateway is killed each time; several are killed, stopped for long and shortly in turn. Beside
    them one gateway is told to end, which must lose nothing and repeat nothing."""
    ways = [BlowKind.KILLED] if gateways == 1 else [BlowKind.KILLED, BlowKind.STOPPED, BlowKind.STOPPED_SHORTLY]
    kinds = [ways[number % len(ways)] for number in range(kills)] + [BlowKind.RESTARTED]
    dice.shuffle(kinds)
    seconds = {BlowKind.STOPPED: LONG_LEASES * lease_seconds, BlowKind.STOPPED_SHORTLY: SHORT_LEASES * lease_seconds}
    return [Step(kind, dice.random(), dice.randrange(gateways), seconds.get(kind, 0.0)) for kind in kinds]


def choose_moment(part: float, now: int, end: int, left: int) -> int:
    """The progress at which the next of the blows that are left falls, between now and the end."""
    rest = max(0, end - now)
    return now + int(min(part * MOST_SHARES * rest / left, LATEST * rest))


class Blows:
    """Deals them; `dealt` is what was done. `look` notes what the gateways have told of events by now."""

    def __init__(
        self,
        gateways: Gateways,
        ledger: EventLedger,
        pace: Pace,
        look: Callable[[], None],
        tell: Callable[[str], None],
    ) -> None:
        self.dealt: list[Blow] = []
        self.is_dealing = False
        self._look = look
        self._gateways = gateways
        self._ledger = ledger
        self._pace = pace
        self._tell = tell

    async def deal(self, steps: Sequence[Step], end: int) -> None:
        """`end`: the progress when all is done. Raises `Died` where a gateway does not come up again."""
        for number, step in enumerate(steps):
            left = len(steps) - number
            await self._ledger.reach(choose_moment(step.part, self._ledger.progress, end, left))
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
                self._pace.spare(left)
                await self._stop(blow, member, step.seconds)
                self._pace.hurry()
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
