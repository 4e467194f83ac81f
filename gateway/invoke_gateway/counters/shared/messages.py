"""What gateways and the store say to one another: MessagePack arrays, as the heads of the scripts describe them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from ...policy.concurrency import Claim, Plan, RateClaim

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.decode

# The statuses of replies, and what begins an answer that is about a rate (scripts/prelude.lua, scripts/take.lua).
OK, FENCED, REFILLING = range(3)
RATE = 1


class Terms(NamedTuple):
    """What a gateway says of itself with each request: its id; for how many milliseconds it lives without saying so,
    and how much longer its slots are kept; and within how many seconds a reply is good."""

    gateway: str
    lease_ms: int
    keep_ms: int
    patience_seconds: float


class Take:
    """One plan that is to be taken. `is_waiting` until it is answered, or nobody waits any more."""

    __slots__ = ("is_waiting", "plan")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.is_waiting = True

    def abandon(self) -> None:
        """Nobody waits any more: should the store grant it, the slot is given back."""
        self.is_waiting = False


class Refused(NamedTuple):
    """The store had no room: the claim that was full with the slots in use, or the rate that had no token."""

    claim: Claim | RateClaim
    in_use: int


Answer = int | Refused | None
"""The index of the lane that was taken, what was full, or None: the store said neither yes nor no."""


class Renewed(NamedTuple):
    """The answer to a renewal; `other` has other limits, or is empty."""

    status: int
    refill_ms: int
    gateways: int
    rank: int
    other: str
    other_limits: str


def describe_takes(takes: Iterable[Take]) -> tuple[list[object], list[object]]:
    """The shapes that these takes have; and of each take the name of its own counter and the index of its shape."""
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


def _describe_shape(plan: Plan) -> tuple[list[list[object]], list[object]]:
    lanes: list[list[object]] = []
    for lane in plan.lanes:
        described: list[object] = []
        for claim in lane.claims:
            described.append(claim.counter)
            described.append(-1 if claim.ceiling is None else claim.ceiling)
        lanes.append(described)
    rates: list[object] = []
    for rate in plan.rates:
        rates.append(rate.bucket)
        rates.append(rate.per_second)
    return lanes, rates


def read_renewal(reply: bytes) -> Renewed:
    return Renewed(*_decode(reply))


def encode_forget(gateway: str, counter: str = "", lease_ms: int = 0, keep_ms: int = 0) -> bytes:
    """The argument of `forget`; with a lease it leaves a gateway alone that was heard within half of it."""
    return _encode((gateway, counter, lease_ms, keep_ms))
