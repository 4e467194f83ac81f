"""Holds the limits of single callers: the claims that a caller adds to the plan of each of its calls.

A caller's slots are one more claim of the same lane, so they are taken together with those of the function and the
account, or not at all. The claim stands last: where several limits are full, AWS's own refuse in their name first.
The counter is of one account, as all counters are: a caller that calls functions of several accounts has the limit in
each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..refusals import Refusal
from .concurrency import Claim, Lane, Plan, RateClaim
from .counter_names import caller_bucket, caller_counter, caller_of

CALLER_RATE = "caller_requests_per_second"
CALLER_CONCURRENCY = "caller_concurrent_executions"

# Pairs of a function's limits and a caller whose lanes are kept. Beyond, they are made again.
_MOST_KEPT = 10_000


class CallerLimits(NamedTuple):
    """Holds the limits of one caller, which all of its access keys share.

    name: its ARN, or the access key id where it has none
    account: the account that it belongs to
    concurrent_executions: slots; None: no limit of its own
    requests_per_second: `off`: no limit; None: the default of the account
    """

    name: str
    account: str
    concurrent_executions: int | None = None
    requests_per_second: float | str | None = None

    @property
    def has_limit(self) -> bool:
        return self.concurrent_executions is not None or self.requests_per_second is not None


@dataclass(frozen=True, slots=True)
class CallerRule:
    """Holds what the limits of a caller add to a plan."""

    name: str
    claims: tuple[Claim, ...]
    rates: tuple[RateClaim, ...]


class CallerRules:
    """Holds the rules of the callers that the settings name, for the calls of one account's functions. A rule is made
    when its caller first calls: most callers have functions of one account only.

    callers: the limits by access key id
    default_rate: requests per second of each caller without a rate of its own; None: no limit
    """

    def __init__(self, account: str, callers: Mapping[str, CallerLimits], default_rate: float | None) -> None:
        self.has_limits = any(limits.has_limit for limits in callers.values())
        self.limited = {each.name: each for each in callers.values() if each.concurrent_executions is not None}
        self._account = account
        self._default_rate = default_rate
        self._callers = callers
        self._named = {each.name: each for each in callers.values()}
        self._rules: dict[str, CallerRule] = {}
        self._kept: dict[tuple[int, int, str], tuple[tuple[Lane, ...], tuple[RateClaim, ...]]] = {}

    def __contains__(self, access_key_id: str | None) -> bool:
        return access_key_id in self._callers

    def named(self) -> Iterator[CallerLimits]:
        """Yields the callers that have a limit of their own."""
        return (limits for limits in self._named.values() if limits.has_limit)

    def counter(self, caller: str) -> str:
        return caller_counter(self._account, caller)

    def list_ceilings(self, in_use: Callable[[str], int]) -> Iterator[tuple[str, str, int]]:
        """Yields name, counter and ceiling of each caller with a ceiling of slots that belongs to this account, or uses
        slots of it now. So a caller has one row, also where there are many accounts."""
        for name, limits in self.limited.items():
            counter = self.counter(name)
            if limits.account == self._account or in_use(counter):
                assert limits.concurrent_executions is not None  # or it would not be limited
                yield name, counter, limits.concurrent_executions

    def apply(self, plan: Plan, access_key_id: str | None) -> bool:
        """Adds the caller's claims to a plan that no call has taken yet. Returns False for a caller that the settings
        do not name."""
        limits = self._callers.get(access_key_id) if access_key_id is not None else None
        if limits is None:
            return False
        self._add(plan, limits)
        return True

    def renew(self, before: Plan, renewed: Plan) -> Plan:
        """Returns the renewed plan with the claims of the caller of the plan `before`, by the limits in force. The rate
        of a caller that the settings do not name stays as it is."""
        name = find_caller(before)
        limits = self._named.get(name) if name is not None else None
        if limits is None:
            return keep_rate(before, renewed)
        self._add(renewed, limits)
        return renewed

    def _add(self, plan: Plan, limits: CallerLimits) -> None:
        """The results are kept: calls with equal limits share lanes and rates, which a shared store sends once."""
        key = (id(plan.lanes), id(plan.rates), limits.name)  # both are the table's own, and live as long
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            rule = self._find_rule(limits)
            lanes = plan.lanes
            if rule.claims:
                lanes = tuple(replace(lane, claims=(*lane.claims, *rule.claims)) for lane in lanes)
            kept = self._kept[key] = lanes, (*plan.rates, *rule.rates)
        plan.lanes, plan.rates = kept

    def _find_rule(self, limits: CallerLimits) -> CallerRule:
        rule = self._rules.get(limits.name)
        if rule is None:
            rule = self._rules[limits.name] = _make_rule(self._account, limits, self._default_rate)
        return rule


def _make_rule(account: str, limits: CallerLimits, default_rate: float | None) -> CallerRule:
    counter, slots = caller_counter(account, limits.name), limits.concurrent_executions
    claims = () if slots is None else (Claim(counter, slots, Refusal.CONCURRENCY, CALLER_CONCURRENCY),)
    own = limits.requests_per_second
    rate = default_rate if own is None else None if isinstance(own, str) else own
    bucket = caller_bucket(account, limits.name)
    rates = () if rate is None else (RateClaim(bucket, rate, Refusal.CALLER_RATE, CALLER_RATE),)
    return CallerRule(limits.name, claims, rates)


def find_caller(plan: Plan) -> str | None:
    """Returns the name of the caller whose claims a plan has; None where it has none."""
    last = plan.lanes[-1].claims[-1]
    if last.limit == CALLER_CONCURRENCY:
        return caller_of(last.counter)
    rate = plan.rates[-1] if plan.rates else None
    return caller_of(rate.bucket) if rate is not None and rate.limit == CALLER_RATE else None


def keep_rate(before: Plan, renewed: Plan) -> Plan:
    """Returns the renewed plan with the caller's rate of the plan `before`, if it has one."""
    kept = tuple(rate for rate in before.rates if rate.limit == CALLER_RATE)
    return replace(renewed, rates=(*renewed.rates, *kept)) if kept else renewed
