"""Plans the faults of a round from the seed: which, in which order, how long, on which gateway."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from random import Random
from typing import NamedTuple

from ..cluster import STOPPED_LEASES

CALM_SECONDS = (0.4, 1.2)


class FaultKind(StrEnum):
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
    KILLED_WHILE_AWAY = "killed while the store was unavailable"
    CUT_OFF_AT_RESTART = "cut off while the store restarted empty"
    WORKER_KILLED = "one of its workers killed (-9)"

    @property
    def word(self) -> str:
        """Returns the name that the options use."""
        return self.name.lower().replace("_", "-")


# Two faults at once; one of these kinds is in each round.
COMBINED = (FaultKind.TWO_KILLED, FaultKind.KILLED_WHILE_AWAY, FaultKind.CUT_OFF_AT_RESTART)
FEWEST_GATEWAYS = {FaultKind.TWO_KILLED: 3, FaultKind.KILLED_WHILE_AWAY: 2, FaultKind.CUT_OFF_AT_RESTART: 2}


class PlannedFault(NamedTuple):
    """A planned fault. `victim`: the number of the gateway. `seconds`: the duration. `calm`: seconds before the
    fault."""

    kind: FaultKind
    victim: int
    seconds: float
    calm: float
    rng: Random


def plan_faults(
    script: str,
    gateways: int,
    lease_seconds: float,
    partition_seconds: float = 0.0,
    wanted: Collection[str] = tuple(FaultKind),
    *,
    workers: int = 1,
) -> list[PlannedFault]:
    """Plans each wanted kind once, but only one of the combined kinds, in an order of this script's. One gateway is
    cut off for `partition_seconds` if that is longer than its lease. `workers`: the worker processes of each
    gateway."""
    rng = Random(f"{script}/blows")
    kinds = [
        kind for kind in FaultKind if kind not in COMBINED and (workers > 1 or kind is not FaultKind.WORKER_KILLED)
    ]
    combined = [kind for kind in COMBINED if kind in wanted and gateways >= FEWEST_GATEWAYS[kind]]
    if combined:
        kinds.append(rng.choice(combined))
    rng.shuffle(kinds)
    planned = [
        PlannedFault(
            kind,
            rng.randrange(gateways),
            _choose_seconds(kind, lease_seconds, partition_seconds, rng),
            rng.uniform(*CALM_SECONDS),
            Random(f"{script}/{kind}"),
        )
        for kind in kinds
    ]
    return [planned for planned in planned if planned.kind in wanted]


def _choose_seconds(kind: FaultKind, lease: float, cut: float, rng: Random) -> float:
    if kind is FaultKind.STOPPED:
        return STOPPED_LEASES * lease
    if kind in (FaultKind.CUT_OFF, FaultKind.ALL_CUT_OFF, FaultKind.KILLED_WHILE_AWAY, FaultKind.CUT_OFF_AT_RESTART):
        past = lease + rng.uniform(
            1.5, 2.5
        )  # so that the recovery of the others, due a second after the lease, is seen
        return max(past, cut) if kind is FaultKind.CUT_OFF else past
    if kind is FaultKind.RESTARTED:
        return rng.uniform(0.1, 1.0)
    # Less than the three quarters of a lease that are left at least when a fault begins.
    if kind in (FaultKind.REPLIES_LOST, FaultKind.RESET):
        return lease * rng.uniform(0.5, 0.7)  # one loss in many meets a batch that takes a slot
    return lease * rng.uniform(0.2, 0.4)
