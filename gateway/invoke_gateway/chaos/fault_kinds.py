"""The blows of a round: which, in which order, how long, against whom. All from the seed."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from random import Random
from typing import NamedTuple

from .cluster import STOPPED_LEASES

CALM_SECONDS = (0.4, 1.2)


class Kind(StrEnum):
    KILLED = "killed (-9)"
    STOPPED = "stopped for 3 leases"
    STOPPED_SHORTLY = "stopped for less than the lease"
    RESTARTED = "store restarted empty"
    FLUSHED = "store emptied (FLUSHALL)"
    FLUSHED_MEANWHILE = "stopped while the store was emptied"
    CUT_OFF = "cut off for longer than the lease"
    CUT_OFF_SHORTLY = "cut off for less than the lease"
    ALL_CUT_OFF = "all cut off from the store"
    SLOW = "slow line to the store"
    REPLIES_LOST = "replies of the store lost"
    RESET = "connections to the store reset"
    HALF_CLOSED = "connections to the store half-closed"
    TWO_KILLED = "two gateways killed at once"
    KILLED_WHILE_AWAY = "killed while the store was away"
    CUT_OFF_AT_RESTART = "cut off while the store restarted empty"
    WORKER_KILLED = "one of its workers killed (-9)"

    @property
    def word(self) -> str:
        """Its name among the options."""
        return self.name.lower().replace("_", "-")


# Of these, where two blows fall at once, one falls in each round.
TOGETHER = (Kind.TWO_KILLED, Kind.KILLED_WHILE_AWAY, Kind.CUT_OFF_AT_RESTART)
FEWEST_GATEWAYS = {Kind.TWO_KILLED: 3, Kind.KILLED_WHILE_AWAY: 2, Kind.CUT_OFF_AT_RESTART: 2}


class Step(NamedTuple):
    """`victim`: number of the gateway; `seconds`: how long; `calm`: seconds before it."""

    kind: Kind
    victim: int
    seconds: float
    calm: float
    dice: Random


def plan(
    script: str,
    gateways: int,
    lease_seconds: float,
    cut_seconds: float = 0.0,
    wanted: Collection[str] = tuple(Kind),
    *,
    workers: int = 1,
) -> list[Step]:
    """Every wanted kind once, but only one of those that fall together, in an order of this script's. One gateway is
    cut off for `cut_seconds` if that is longer than its lease. `workers`: how many each gateway has."""
    dice = Random(f"{script}/blows")
    kinds = [kind for kind in Kind if kind not in TOGETHER and (workers > 1 or kind is not Kind.WORKER_KILLED)]
    together = [kind for kind in TOGETHER if kind in wanted and gateways >= FEWEST_GATEWAYS[kind]]
    if together:
        kinds.append(dice.choice(together))
    dice.shuffle(kinds)
    steps = [
        Step(
            kind,
            dice.randrange(gateways),
            _choose_seconds(kind, lease_seconds, cut_seconds, dice),
            dice.uniform(*CALM_SECONDS),
            Random(f"{script}/{kind}"),
        )
        for kind in kinds
    ]
    return [step for step in steps if step.kind in wanted]


def _choose_seconds(kind: Kind, lease: float, cut: float, dice: Random) -> float:
    if kind is Kind.STOPPED:
        return STOPPED_LEASES * lease
    if kind in (Kind.CUT_OFF, Kind.ALL_CUT_OFF, Kind.KILLED_WHILE_AWAY, Kind.CUT_OFF_AT_RESTART):
        past = lease + dice.uniform(1.5, 2.5)  # so that the others' healing, due a second after the lease, is seen
        return max(past, cut) if kind is Kind.CUT_OFF else past
    if kind is Kind.RESTARTED:
        return dice.uniform(0.1, 1.0)
    # Less than the three quarters of a lease that are left at least when a blow begins.
    if kind in (Kind.REPLIES_LOST, Kind.RESET):
        return lease * dice.uniform(0.5, 0.7)  # one loss in many meets a batch that takes a slot
    return lease * dice.uniform(0.2, 0.4)
