"""Declares requests and replies: MessagePack arrays, as the heads of the scripts describe them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from ...policy.concurrency import Claim, GrowthClaim, Plan, RateClaim

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.decode

# The statuses of replies (scripts/prelude.lua), and what begins an answer about a rate of the plan or of a lane
# (scripts/take.lua).
OK, FENCED, REFILLING, _, STALE = range(5)
RATE, LANE_RATE = 1, 2


class RequestIdentity(NamedTuple):
    """Identifies a gateway in each request.

    lease_ms: time for which the lease lasts. keep_ms: time after it for which the slots stay taken.
    patience_seconds: a reply after this time is not used.
    workers: processes of the gateway that have ids of the same group.
    expected: the most gateways that run at once, where that is known; else 0.
    """

    gateway: str
    lease_ms: int
    keep_ms: int
    patience_seconds: float
    workers: int = 1
    expected: int = 0


class Take:
    """Requests one plan. `is_waiting` until it is answered, or its request is gone."""

    __slots__ = ("is_waiting", "plan")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.is_waiting = True

    def abandon(self) -> None:
        """Cancels the wait. Should the store grant it, the slot is returned."""
        self.is_waiting = False


class Refused(NamedTuple):
    """Holds a refusal: the claim that was full with the slots in use, or the rate without a token."""

    claim: Claim | RateClaim
    in_use: int


Answer = int | Refused | None
"""Is the index of the lane that was taken, a refusal, or None where the store decided nothing."""


class ControlReply(NamedTuple):
    """Holds the reply to a change of the control state.

    refill_ms: time for which the store accepts no change
    revision: of what the store has now
    document: what it has; empty where that is what was sent
    """

    status: int
    refill_ms: int
    revision: str
    document: str


class Renewed(NamedTuple):
    """Holds the reply to a renewal. `other` has other limits, or is empty. `round` is the recovery's, or 0."""

    status: int
    refill_ms: int
    gateways: list[str]
    rank: int
    other: str
    other_limits: str
    round: int


def describe_takes(takes: Iterable[Take]) -> tuple[list[object], list[object]]:
    """Returns the distinct shapes of these takes; and for each take its function's counter and its shape's index."""
    shapes: list[object] = []
    known: dict[tuple[int, int], int] = {}  # by identity, which is quick: the takes keep the plans alive
    described: list[object] = []
    for take in takes:
        plan = take.plan
        key = (id(plan.lanes), id(plan.rates))
        index = known.get(key)
        if index is None:
            index = known[key] = len(shapes)
            shapes.append(_describe_shape(plan))
        described.append(plan.function_counter)
        described.append(index)
    return shapes, described


def _describe_shape(plan: Plan) -> list[object]:
    """Returns the lanes, the rates of the plan, and where a lane has rates of its own those of each lane."""
    lanes: list[list[object]] = []
    for lane in plan.lanes:
        described: list[object] = []
        for claim in lane.claims:
            described.append(claim.counter)
            described.append(-1 if claim.ceiling is None else claim.ceiling)
        lanes.append(described)
    shape: list[object] = [lanes, _describe_rates(plan.rates)]
    if any(lane.rates for lane in plan.lanes):
        shape.append([_describe_rates(lane.rates) for lane in plan.lanes])
    return shape


def _describe_rates(rates: tuple[RateClaim, ...]) -> list[object]:
    described: list[object] = []
    for rate in rates:
        described.append(rate.bucket)
        if isinstance(rate, GrowthClaim):
            described.append((rate.per_second, rate.most, rate.counter))
        else:
            described.append(rate.per_second)
    return described


def read_renewal(reply: bytes) -> Renewed:
    status, refill_ms, gateways, *more = _decode(reply)
    return Renewed(status, refill_ms, list(gateways), *more)


def read_control_reply(reply: bytes) -> ControlReply:
    return ControlReply(*_decode(reply))


def encode_control(run: str, lease_ms: int, known: str, following: str, document: str, *, is_copy: bool) -> bytes:
    """Returns the argument of `control`: `document` replaces what has the revision `known`. With `is_copy` it replaces
    what is older, in a store that has lost something."""
    return _encode((run, lease_ms, known, following, document, is_copy))


def encode_forget(gateway: str, counter: str = "", lease_ms: int = 0, keep_ms: int = 0) -> bytes:
    """Returns the argument of `forget`. With a lease, a gateway that renewed within half of it is left alone."""
    return _encode((gateway, counter, lease_ms, keep_ms))
