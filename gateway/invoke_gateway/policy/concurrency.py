"""Describes the admission rule as data.

A *claim* is a counter, a ceiling and the refusal to give when the counter stands at the ceiling. A *lane* is a set
of claims that are taken together, with a token of each of the lane's own rates. A request's *plan* lists its lanes in
order; a store takes the first lane that has room for all of it, or nothing, and refuses in the name of the last lane.
Policy names counters, stores count.

Every lane of a function claims its own counter and the account's, also where they can bind only after the limits have
changed: calls admitted under an older table keep counting, so a reload can neither lift a running call out of a
reservation nor put more than `concurrent_executions` into the account.

A lane does not name the function's own counter, the plan does. So functions with equal limits share one lane, and the
plan of a function that was never seen before is as quick to make as any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

from ..refusals import Refusal

_NO_VALUES: Mapping[str, object] = MappingProxyType({})

OWN = ""
"""Stands in claims for the counter or the bucket of the plan's own function."""

SCALING_SECONDS = 10.0
"""Is the time for which AWS gives the scaling rate of a function."""

WARM_SECONDS = 60.0
"""Is the time for which an idle environment stays. AWS publishes no number."""

PROVISIONED = "provisioned"
"""Names every lane of provisioned concurrency."""

REQUESTS_PER_SLOT = 10.0
"""Is AWS's quota of requests a second for each slot."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Takes one slot of `counter`, if fewer than `ceiling` are taken; `None` counts without a limit."""

    counter: str
    ceiling: int | None
    refusal: Refusal
    limit: str


@dataclass(frozen=True, slots=True)
class RateClaim:
    """Takes one token of `bucket`, which gains `per_second` tokens a second and holds one second's worth."""

    bucket: str
    per_second: float
    refusal: Refusal
    limit: str


@dataclass(frozen=True, slots=True)
class GrowthClaim(RateClaim):
    """Takes one token of `bucket` if the call raises `counter` above its level of the last minutes, so that the
    function needs a new execution environment. The bucket holds at most `most` tokens."""

    counter: str
    most: float


@dataclass(frozen=True, slots=True)
class Lane:
    """Lists what a call takes together. A lane without a token of one of its rates is skipped, as a full one is.

    environments: the claim of each execution environment, of a function that isolates tenants
    bounds: counter, ceiling and claim, of each claim that has a ceiling
    """

    name: str
    claims: tuple[Claim, ...]
    rates: tuple[RateClaim, ...] = ()
    environments: Claim | None = None
    bounds: tuple[tuple[str, int, Claim], ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        bounds = tuple((claim.counter, claim.ceiling, claim) for claim in self.claims if claim.ceiling is not None)
        object.__setattr__(self, "bounds", bounds)


class PlanTable(Protocol):
    """Describes the table that a plan was made of. `successor` is None as long as the table is in force."""

    @property
    def successor(self) -> object | None: ...

    def renew(self, plan: Plan) -> Plan:
        """Returns the plan by the limits that are in force now."""


@dataclass(slots=True)  # not frozen: one is made for each request, and freezing triples its price
class Plan:
    """Lists the resources of a synchronous invocation of one function: the first free lane, and a token of
    each rate.

    table: the table that it was made of, which may have a successor before the slot is taken
    qualifier: the version or alias that the call names
    tokens: the tokens that it takes: `all`, those of its `lanes` alone, or `none`
    """

    account: str
    label: str
    function_counter: str
    lanes: tuple[Lane, ...]
    rates: tuple[RateClaim, ...]
    table: PlanTable | None = field(default=None, compare=False, repr=False)
    qualifier: str | None = field(default=None, compare=False, repr=False)
    tokens: Literal["all", "lanes", "none"] = field(default="all", compare=False, repr=False)


def without_rates(plan: Plan) -> Plan:
    """Returns the plan of an event's run: slots as for every call, but no token of a rate, since rates are of
    synchronous requests."""
    return replace(plan, rates=(), tokens="lanes")


def without_tokens(plan: Plan) -> Plan:
    """Returns the plan of a hold: slots, but no token, also of a lane."""
    return replace(plan, rates=(), lanes=tuple(replace(lane, rates=()) for lane in plan.lanes), tokens="none")


def renew_plan(plan: Plan) -> Plan:
    """Returns the plan by the limits that are in force now."""
    table = plan.table
    return plan if table is None or table.successor is None else table.renew(plan)


def list_limited_counters(plan: Plan) -> tuple[str, ...]:
    """Returns the counters of all lanes that have a ceiling; the function's own counter is `OWN`."""
    claims = (claim for lane in plan.lanes for claim in lane.claims if claim.ceiling is not None)
    return tuple(dict.fromkeys(claim.counter for claim in claims))


@dataclass(slots=True)  # not frozen, as above
class LimitReached:
    """Describes a claim that found no room: which limit, how much of it was in use, the seconds until another try may
    help. They are infinite where the limit is 0."""

    claim: Claim | RateClaim
    in_use: int
    ceiling: int | float  # shown as it is
    retry_seconds: float

    @property
    def refusal_values(self) -> Mapping[str, object]:
        """Returns what fills the text of the refusal."""
        return _NO_VALUES

    def describe(self) -> str:
        """Describes the decision as a structured field (RFC 8941, a dictionary)."""
        return _describe(self.claim.limit, self.in_use, self.ceiling)


@lru_cache(1024)  # in a burst of refusals it is nearly always the same
def _describe(limit: str, in_use: int, ceiling: float) -> str:
    return f'limit="{limit}", in-use={in_use}, ceiling={ceiling:g}'


class SlotUsage(NamedTuple):
    """Describes the slots that one function has of some counter: the function's own counter, their number, the age of
    the oldest (seconds)."""

    function_counter: str
    slots: int
    oldest_seconds: float


def account_claim(account: str, concurrent_executions: int) -> Claim:
    """Returns the claim of a slot of the whole account."""
    return Claim(account, concurrent_executions, Refusal.CONCURRENCY, "concurrent_executions")


def pool_claim(pool: str, unreserved: int) -> Claim:
    """Returns the claim of a slot of the pool that the reservations leave over."""
    return Claim(pool, unreserved, Refusal.CONCURRENCY, "unreserved_concurrent_executions")


def reserved_lane(reserved: int, account: Claim) -> Lane:
    """Returns the lane of a function with a reservation: at most its reservation, and never a slot of the unreserved
    pool."""
    return Lane("reserved", (_own_reservation(reserved), account))


def unreserved_lane(pool: Claim, account: Claim) -> Lane:
    """Returns the lane of every other function."""
    return Lane("unreserved", (pool, account, _OWN_COUNT))


def provisioned_lane(counter: str, slots: int, reserved: int | None, account: Claim) -> Lane:
    """Returns the lane of one version's provisioned concurrency, which serves ten requests a second for each slot."""
    refusal = Refusal.CONCURRENCY if reserved is None else Refusal.RESERVED_CONCURRENCY
    rate_refusal = Refusal.FUNCTION_RATE if reserved is None else Refusal.RESERVED_FUNCTION_RATE
    limit = "provisioned_concurrent_executions"
    own = _OWN_COUNT if reserved is None else _own_reservation(reserved)
    rate = RateClaim(counter, REQUESTS_PER_SLOT * slots, rate_refusal, "provisioned_requests_per_second")
    return Lane(PROVISIONED, (Claim(counter, slots, refusal, limit), own, account), (rate,))


def on_demand_lane(counter: str, reserved: int, provisioned: int, account: Claim) -> Lane:
    """Returns the lane for what a function's reservation has beside its provisioned concurrency, used or not."""
    slots = max(0, reserved - provisioned)
    share = Claim(counter, slots, Refusal.RESERVED_CONCURRENCY, "on_demand_concurrent_executions")
    return Lane("on-demand", (share, _own_reservation(reserved), account))


def growth_claim(bucket: str, counter: str, slots: float, *, is_reserved: bool) -> GrowthClaim:
    """Returns the claim on the growth of a function: at most so many slots in `SCALING_SECONDS`, of which no more are
    saved. AWS does not publish the reason of its refusal."""
    refusal = Refusal.RESERVED_FUNCTION_RATE if is_reserved else Refusal.FUNCTION_RATE
    return GrowthClaim(bucket, slots / SCALING_SECONDS, refusal, "scaling_rate", counter, slots)


def environments_claim(counter: str, concurrency: int, *, is_reserved: bool) -> Claim:
    """Returns the claim of an environment of one tenant, in use or idle: AWS allows 2,500 for each 1,000 slots."""
    refusal = Refusal.RESERVED_FUNCTION_RATE if is_reserved else Refusal.FUNCTION_RATE
    return Claim(counter, concurrency * 5 // 2, refusal, "tenant_environments")


def on_demand_count(counter: str) -> Claim:
    """Returns the claim that counts the calls of a function outside of its provisioned concurrency."""
    return Claim(counter, None, Refusal.CONCURRENCY, "concurrent_executions")


def _own_reservation(reserved: int) -> Claim:
    return Claim(OWN, reserved, Refusal.RESERVED_CONCURRENCY, "reserved_concurrent_executions")


_OWN_COUNT = Claim(OWN, None, Refusal.CONCURRENCY, "concurrent_executions")
