"""Declares requests and replies: MessagePack arrays, as the heads of the scripts describe them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from ...policy.concurrency import Claim, GrowthClaim, Plan, RateClaim
from ..local_slots import LocalSlot
from ..pending_slot import PendingSlot

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.decode

# The statuses of replies (scripts/prelude.lua), and what begins an answer about a rate of the plan or of a lane
# (scripts/take.lua).
OK = 0
FENCED = 1
REFILLING = 2
STALE = 4
RATE = 1
LANE_RATE = 2

_MOST_SHAPES = 1000


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


class Take(PendingSlot[LocalSlot]):
    """Requests one plan. `is_waiting` until it is answered, or its request is gone.

    loop: the event loop of the request; None: it is not awaited
    """

    __slots__ = ("is_waiting", "plan")

    def __init__(self, plan: Plan, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.has_ended = False
        self._resume = None
        self._waiter = None
        self._loop = loop
        self._decision = None
        self.plan = plan
        self.is_waiting = True

    def abandon(self) -> None:
        """Cancels the wait. Should the store grant it, the slot is returned."""
        self.is_waiting = False


class Refused:
    """Holds a refusal: the claim that was full with the slots in use, or the rate without a token."""

    __slots__ = ("claim", "in_use")

    def __init__(self, claim: Claim | RateClaim, in_use: int) -> None:
        self.claim = claim
        self.in_use = in_use


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


class Shapes:
    """Encodes what takes have in common, once for each pair of lanes and rates."""

    def __init__(self) -> None:
        # By identity, which is quick; the pair is kept, so that no other one gets its ids.
        self._encoded: dict[tuple[int, int], tuple[object, object, msgspec.Raw]] = {}

    def describe(self, takes: Iterable[Take]) -> tuple[list[msgspec.Raw], list[str | int]]:
        """Returns the distinct shapes of these takes; and for takes that follow each other and are alike their counter,
        the index of their shape and their number."""
        shapes: list[msgspec.Raw] = []
        known: dict[tuple[int, int], int] = {}
        described: list[str | int] = []
        last: Plan | None = None
        index = count = 0
        for take in takes:
            plan = take.plan
            if plan is last:  # as a rule, the plans of a function's calls are one object
                count += 1
                continue
            if last is not None:
                described += last.function_counter, index, count
            last, count = plan, 1
            key = id(plan.lanes), id(plan.rates)
            if key not in known:
                known[key] = len(shapes)
                shapes.append(self._encode(plan, key))
            index = known[key]
        if last is not None:
            described += last.function_counter, index, count
        return shapes, described

    def _encode(self, plan: Plan, key: tuple[int, int]) -> msgspec.Raw:
        found = self._encoded.get(key)
        if found is None:
            if len(self._encoded) == _MOST_SHAPES:
                self._encoded.clear()
            found = plan.lanes, plan.rates, msgspec.Raw(_encode(_describe_shape(plan)))
            self._encoded[key] = found
        return found[2]


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
