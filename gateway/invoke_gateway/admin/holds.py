"""Holds slots on request, so that the next calls are throttled for certain.

A test of throttled code must not race against other calls. Held slots are taken from the same counters, by the same
rule, as those of calls, so they count in every decision and every display. A hold ends when it is released, when its
time is over, or with the gateway.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Annotated, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..counters.base import Counters, StoreNotCounting
from ..exchange import Slot
from ..policy.concurrency import LimitReached, Plan, without_tokens
from ..policy.limits import Limits
from .json_documents import (
    ACCOUNT,
    FUNCTION,
    FUNCTION_WORDS,
    MOST_REPEATED,
    BadDocument,
    Keys,
    answer_error,
    answer_json,
    read_body,
    read_object,
    read_values,
)

MOST_SLOTS = 1_000_000
LONGEST_SECONDS = 3600  # a forgotten hold ends within the hour


class HoldRequest(msgspec.Struct, frozen=True):
    """Describes a requested hold; without a function it is of the account's unreserved pool."""

    function: str | None = None
    slots: int = 1
    seconds: float = 30.0
    account: str | None = None


_KEYS: Keys = {
    "function": (FUNCTION | None, f"{FUNCTION_WORDS}, or null for the pool"),
    "slots": (
        Annotated[int, msgspec.Meta(ge=1, le=MOST_SLOTS)],
        f"a whole number from 1 to {MOST_SLOTS}; leave it out for 1",
    ),
    "seconds": (
        Annotated[float, msgspec.Meta(gt=0, le=LONGEST_SECONDS)],
        f"a number above 0, at most {LONGEST_SECONDS}; leave it out for 30",
    ),
    "account": ACCOUNT,
}


def read_hold_request(body: bytes) -> HoldRequest:
    """Parses a requested hold. Raises `BadDocument`."""
    document = read_object(body, 'Send an object such as {"function": "checkout", "slots": 2, "seconds": 30}.')
    return HoldRequest(**read_values(document, _KEYS, "A hold"))


class Timer(Protocol):
    def cancel(self) -> None: ...


def call_later(seconds: float, do: Callable[[], object]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, do)


class ActiveHold:
    """Holds slots. `counters` names the counters that each slot occupies."""

    __slots__ = ("account", "counters", "ends_at", "function", "id", "slots", "timer")

    def __init__(self, id: str, account: str, function: str | None, plan: Plan, slots: list[Slot], ends_at: float):
        self.id = id
        self.account = account
        self.function = function
        # A hold names no version, so its plan has one lane.
        self.counters = [claim.counter or plan.function_counter for claim in plan.lanes[0].claims]
        self.slots = slots
        self.ends_at = ends_at
        self.timer: Timer | None = None

    def describe_holder(self) -> dict[str, object]:
        return {"hold": self.id, "slots": len(self.slots)}

    def __repr__(self) -> str:
        return f"<Hold {self.id}: {len(self.slots)} of {self.counters}>"


class Holds:
    """Keeps all holds of one process.

    limits: returns the table in force
    prefix: the beginning of every id
    clock: returns monotonic seconds
    call_later: calls a function after so many seconds
    """

    def __init__(
        self,
        counters: Counters,
        *,
        limits: Callable[[], Limits],
        prefix: str = "",
        clock: Callable[[], float] = monotonic,
        call_later: Callable[[float, Callable[[], object]], Timer] = call_later,
    ) -> None:
        self._counters = counters
        self._limits = limits
        self._prefix = prefix
        self._clock = clock
        self._call_later = call_later
        self._holds: dict[str, ActiveHold] = {}
        self._latest = 0
        self._is_closed = False

    async def take(self, wanted: HoldRequest) -> ActiveHold | LimitReached:
        """Takes all slots, or none and returns the exhausted limit. Its usage does not include this hold's own slots.

        In memory nothing runs in between, so no call is throttled by a hold that is then refused.
        """
        account = self._limits().of(wanted.account)
        plan = account.pool_plan() if wanted.function is None else account.plan(wanted.function)
        plan = without_tokens(plan)  # holding is not calling
        slots: list[Slot] = []
        hold: ActiveHold | None = None
        try:
            full = await self._take_slots(plan, wanted.slots, slots)
            if full is not None:
                return full
            if self._is_closed:
                raise RuntimeError("The gateway is closed: no slot can be held.")
            hold = self._keep(account.account, plan, wanted, slots)
            return hold
        finally:
            if hold is None:
                _release(slots)

    async def _take_slots(self, plan: Plan, count: int, slots: list[Slot]) -> LimitReached | None:
        """Appends `count` slots to `slots`, which the caller releases after an error."""
        for _ in range(count):
            taken = await self._counters.acquire(plan)
            if isinstance(taken, LimitReached):
                return replace(taken, in_use=max(0, taken.in_use - len(slots)))
            slots.append(taken)
        return None

    def _keep(self, account: str, plan: Plan, wanted: HoldRequest, slots: list[Slot]) -> ActiveHold:
        self._latest += 1
        id = f"{self._prefix}{self._latest}"
        hold = ActiveHold(id, account, wanted.function, plan, slots, self._clock() + wanted.seconds)
        for slot in slots:
            slot.holder = hold
        hold.timer = self._call_later(wanted.seconds, lambda: self.release(id))
        self._holds[id] = hold
        return hold

    def release(self, id: str) -> bool:
        """Ends a hold, and returns whether it existed. May be called twice."""
        hold = self._holds.pop(id, None)
        if hold is None:
            return False
        if hold.timer is not None:
            hold.timer.cancel()
        _release(hold.slots)
        return True

    def close(self) -> None:
        """Ends all holds, for good."""
        self._is_closed = True
        for id in list(self._holds):
            self.release(id)

    def describe(self, hold: ActiveHold) -> dict[str, object]:
        return {
            "id": hold.id,
            "account": hold.account,
            "function": hold.function,
            "slots": len(hold.slots),
            "seconds_left": round(max(0.0, hold.ends_at - self._clock()), 3),
        }

    def describe_all(self) -> list[dict[str, object]]:
        return [self.describe(hold) for hold in self._holds.values()]

    def by_counter(self) -> Counter[str]:
        """Returns the number of held slots of each counter."""
        held: Counter[str] = Counter()
        for hold in self._holds.values():
            held.update(dict.fromkeys(hold.counters, len(hold.slots)))
        return held

    def __repr__(self) -> str:
        return f"<Holds {list(self._holds.values())}>"


def _release(slots: list[Slot]) -> None:
    for slot in slots:
        slot.release(was_call=False)


def describe_no_room(wanted: HoldRequest, full: LimitReached) -> dict[str, object]:
    """Describes why a hold was refused."""
    ceiling = int(full.ceiling)
    what = wanted.function or "the unreserved pool"
    slots = "a slot" if wanted.slots == 1 else f"{wanted.slots} slots"
    return {
        "error": (
            f"{full.claim.limit} leaves no room for {slots} of {what}: {full.in_use} of {ceiling} in use, "
            f"{max(0, ceiling - full.in_use)} free. Hold fewer, wait until calls end, end a hold (GET /holds lists "
            f"them), or raise the limit."
        ),
        "limit": full.claim.limit,
        "in_use": full.in_use,
        "ceiling": ceiling,
    }


class HoldEndpoint:
    """Serves `/holds`: lists, takes and releases holds."""

    def __init__(self, holds: Holds, *, is_draining: Callable[[], bool]) -> None:
        self._holds = holds
        self._is_draining = is_draining

    def routes(self) -> list[Route]:
        return [
            Route("/holds", self.all, methods=["GET", "POST"]),
            Route("/holds/{id}", self.release, methods=["DELETE"]),
        ]

    async def all(self, request: Request) -> Response:
        if request.method == "POST":
            return await self._hold(request)
        return answer_json({"holds": self._holds.describe_all()})

    async def _hold(self, request: Request) -> Response:
        try:
            wanted = read_hold_request(await read_body(request, "A hold", "one hold per request"))
        except BadDocument as error:
            return answer_error(str(error), error.status)
        if self._is_draining():
            return answer_error("The gateway is draining. Hold slots of the one that takes its place.", 503)
        hold = await self._holds.take(wanted)
        if isinstance(hold, StoreNotCounting):
            return answer_error(hold.claim.refusal.message, 503)
        if isinstance(hold, LimitReached):
            return answer_json(describe_no_room(wanted, hold), 409)
        return answer_json(self._holds.describe(hold), 201, {"location": f"/holds/{hold.id}"})

    async def release(self, request: Request) -> Response:
        id = request.path_params["id"]
        if self._holds.release(id):
            return Response(status_code=204)
        shown = id[:MOST_REPEATED]
        return answer_error(
            f"There is no hold {shown!r}: it has ended, or never existed. GET /holds lists all holds.", 404
        )
