"""The limits in force: one immutable table with its sums computed when it is built.

A request takes its plan from the table that it found on arrival; a reload replaces the table as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import NamedTuple

from ..invocation import Caller
from ..refusals import Refusal
from .concurrency import Plan, RateClaim, account_claim, pool_claim, reserved_lane, unreserved_lane

DEFAULT_ACCOUNT = "000000000000"
"""How the pool that all unnamed accounts share is shown."""

OTHER = "other"
"""The label of every function that has none of its own."""

# A plan takes about 2 µs to make. So many are kept, of whatever functions are asked for, and not more: with names at
# random each plan that is kept is memory that the next one cannot reuse while it is still in the processor's caches.
_KEPT_PLANS = 256


class FunctionLimits(NamedTuple):
    """Limits of one function: slots, and requests a second (`None`: no limit of its own)."""

    reserved_concurrent_executions: int | None = None
    requests_per_second: float | None = None


class AccountLimits:
    """Limits of one account, and the plans that follow from them.

    `labelled` bounds how many functions, in the order of the settings, get metric labels of their own.
    """

    __slots__ = (
        "_account_claim",
        "_function_prefix",
        "_labels",
        "_plans",
        "_pool_claim",
        "_rates",
        "_reserved_rates",
        "account",
        "account_counter",
        "caller_requests_per_second",
        "concurrent_executions",
        "functions",
        "pool_counter",
        "requests_per_second",
        "reserved_concurrent_executions",
        "unreserved_concurrent_executions",
    )

    def __init__(
        self,
        account: str,
        concurrent_executions: int,
        functions: Mapping[str, FunctionLimits] | None = None,
        *,
        requests_per_second: float | None = None,
        caller_requests_per_second: float | None = None,
        labelled: int = 1000,
    ) -> None:
        self.account = account
        self.concurrent_executions = concurrent_executions
        self.functions: Mapping[str, FunctionLimits] = functions or {}
        self.requests_per_second = requests_per_second
        self.caller_requests_per_second = caller_requests_per_second
        self.reserved_concurrent_executions = sum(
            limits.reserved_concurrent_executions or 0 for limits in self.functions.values()
        )
        self.unreserved_concurrent_executions = max(0, concurrent_executions - self.reserved_concurrent_executions)
        self.account_counter = f"{account}/account"
        self.pool_counter = f"{account}/unreserved"
        self._function_prefix = f"{account}/function/"
        self._account_claim = account_claim(self.account_counter, concurrent_executions)
        self._pool_claim = pool_claim(self.pool_counter, self.unreserved_concurrent_executions)
        self._rates = self._make_account_rate(Refusal.FUNCTION_RATE)
        self._reserved_rates = self._make_account_rate(Refusal.RESERVED_FUNCTION_RATE)
        self._labels = frozenset(islice(self.functions, labelled))
        self._plans: dict[str, Plan] = {}

    def function_counter(self, name: str) -> str:
        return self._function_prefix + name

    def labels(self) -> Iterable[str]:
        """The functions that have metric labels of their own, in the order of the settings."""
        return (name for name in self.functions if name in self._labels)

    def ceiling(self, name: str) -> int:
        """How many calls of `name` may run at once: its reservation, or the whole unreserved pool."""
        reserved = self.functions.get(name, _UNLIMITED).reserved_concurrent_executions
        return self.unreserved_concurrent_executions if reserved is None else reserved

    def plan(self, name: str) -> Plan:
        plan = self._plans.get(name)
        if plan is None:
            limits = self.functions.get(name)
            plan = self._make_plan(name, limits or _UNLIMITED)
            if len(self._plans) >= _KEPT_PLANS:
                self._plans.clear()
            self._plans[name] = plan
        return plan

    def _make_plan(self, name: str, limits: FunctionLimits) -> Plan:
        counter = self._function_prefix + name
        reserved, per_second = limits
        if reserved is None:
            lane = unreserved_lane(counter, self._pool_claim, self._account_claim)
            refusal, rates = Refusal.FUNCTION_RATE, self._rates
        else:
            lane = reserved_lane(counter, reserved, self._account_claim)
            refusal, rates = Refusal.RESERVED_FUNCTION_RATE, self._reserved_rates
        if per_second is not None:
            rates = (RateClaim(counter, per_second, refusal, "function_requests_per_second"), *rates)
        label = name if name in self._labels else OTHER
        return tuple.__new__(Plan, (self.account, label, counter, (lane,), rates))

    def plan_for(self, name: str, access_key_id: str | None) -> Plan:
        """The plan with the caller's own rate, where there is one."""
        plan = self.plan(name)
        rate = self.caller_rate(access_key_id)
        return plan if rate is None else plan._replace(rates=(*plan.rates, rate))

    def caller_rate(self, access_key_id: str | None) -> RateClaim | None:
        """The per-caller rate. Callers whom the settings do not know pass `None` and share one bucket."""
        if self.caller_requests_per_second is None:
            return None
        bucket = f"{self.account}/caller/{access_key_id or ''}"
        return RateClaim(bucket, self.caller_requests_per_second, Refusal.CALLER_RATE, "caller_requests_per_second")

    def _make_account_rate(self, refusal: Refusal) -> tuple[RateClaim, ...]:
        """The account's rate, refused in the name of the kind of function that asks."""
        if self.requests_per_second is None:
            return ()
        return (RateClaim(self.account_counter, self.requests_per_second, refusal, "requests_per_second"),)

    def __repr__(self) -> str:
        return (
            f"<AccountLimits {self.account} {self.concurrent_executions} = "
            f"{self.reserved_concurrent_executions} reserved + {self.unreserved_concurrent_executions}>"
        )


_UNLIMITED = FunctionLimits()


class Limits:
    """All accounts' limits. An account that is not named shares the pool of the default one."""

    __slots__ = ("accounts", "credentials", "default", "is_one_for_all")

    def __init__(
        self,
        default: AccountLimits,
        named: Mapping[str, AccountLimits] | None = None,
        credentials: Mapping[str, str] | None = None,
    ) -> None:
        self.default = default
        self.accounts: dict[str, AccountLimits] = {**(named or {})}
        self.credentials: Mapping[str, str] = credentials or {}
        # Then it does not matter who calls, and nobody need find out.
        self.is_one_for_all = not self.accounts and default.caller_requests_per_second is None

    def of(self, account: str | None) -> AccountLimits:
        return self.accounts.get(account, self.default) if account is not None else self.default

    def knows(self, caller: Caller) -> bool:
        """Whether the settings name this caller, so that it may have a rate of its own."""
        return caller.access_key_id in self.credentials or caller.account in self.accounts

    def all(self) -> list[AccountLimits]:
        return [self.default, *self.accounts.values()]
