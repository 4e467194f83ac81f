"""Holds the limits in force: one immutable table with its sums computed when it is built.

A request takes its plan from the table that it found on arrival; a reload replaces the table as a whole.

This file is longer than 300 lines: an account's sums, rules and plans are made together, and a request sums nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from math import inf
from typing import Literal, NamedTuple

from ..invocation import Caller
from ..refusals import Refusal
from .caller_limits import CALLER_RATE, CallerLimits, CallerRules, keep_rate
from .concurrency import (
    OWN,
    Claim,
    Lane,
    Plan,
    RateClaim,
    account_claim,
    environments_claim,
    growth_claim,
    on_demand_count,
    on_demand_lane,
    pool_claim,
    provisioned_lane,
    reserved_lane,
    unreserved_lane,
    without_rates,
    without_tokens,
)
from .control.state import ProvisionedConfig
from .counter_names import (
    account_counter,
    caller_bucket,
    environments_counter,
    function_prefix,
    growth_bucket,
    on_demand_counter,
    pool_counter,
    provisioned_counter,
)
from .provisioned import sum_by_version

DEFAULT_ACCOUNT = "000000000000"
"""Names the pool that all unnamed accounts share."""

SetBy = Literal["file", "API", "backend", "default"]
"""Names the origin of a limit: the settings (file, flag or variable), a control operation, the backend, or none."""

Tenancy = Literal["per_tenant", "none"]
"""Names whether each call of a function names a tenant, or none may."""

OTHER = "other"
"""Labels every function that has no label of its own."""


class FunctionLimits(NamedTuple):
    """Holds the limits of one function: slots, and requests per second (None: no limit of its own). With `may_recurse`
    its loops are not stopped.

    scaling_rate: the slots that it may gain in ten seconds
    tenancy: whether its calls name a tenant; None: the backend decides
    """

    reserved_concurrent_executions: int | None = None
    requests_per_second: float | None = None
    may_recurse: bool = False
    scaling_rate: float | None = None
    tenancy: Tenancy | None = None


_UNLIMITED = FunctionLimits()
_MOST_PLANS = 4096  # which are kept; clients invent names


@dataclass(frozen=True, slots=True)
class Rule:
    """Holds the part of a plan that all functions with the same limits share."""

    lanes: tuple[Lane, ...]
    rates: tuple[RateClaim, ...]


class AccountLimits:
    """Holds the limits of one account, and the plans that follow from them.

    labelled: functions that get metric labels of their own, in the order of the settings
    set_by_api: functions whose reservation a control operation has set
    set_by_backend: functions whose reservation only the backend has
    provisioned: provisioned concurrency by function and qualifier
    provisioned_in_file: functions whose provisioned concurrency is in the settings
    provisioned_by_backend: functions whose provisioned concurrency only the backend has
    allocated_until: configurations that were changed after this time are not allocated yet (seconds since the epoch)
    successor: the limits that have replaced these; None while these are in force
    control_revision: the revision of the shared control state that these limits contain
    callers: the callers that the settings name, with their limits; None where they name none
    outside_concurrency: slots that callers beside the gateway use, which are no part of the unreserved pool
    outside_source: the origin of these slots, which gateways on one store compare: a fixed number, `cloudwatch` or
        `command`; None: there are none
    """

    __slots__ = (
        "_function_prefix",
        "_labels",
        "_lanes",
        "_limits_callers",
        "_plans",
        "_rules",
        "_unlimited",
        "account",
        "account_counter",
        "caller_requests_per_second",
        "callers",
        "concurrent_executions",
        "control_revision",
        "functions",
        "outside_concurrency",
        "outside_source",
        "pool_counter",
        "provisioned",
        "provisioned_by_backend",
        "provisioned_in_file",
        "provisioned_versions",
        "requests_per_second",
        "reserved_concurrent_executions",
        "set_by_api",
        "set_by_backend",
        "successor",
        "tenancies",
        "unreserved_concurrent_executions",
        "unreserved_provisioned",
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
        set_by_api: frozenset[str] = frozenset(),
        set_by_backend: frozenset[str] = frozenset(),
        provisioned: Mapping[str, Mapping[str, ProvisionedConfig]] | None = None,
        provisioned_in_file: frozenset[str] = frozenset(),
        provisioned_by_backend: frozenset[str] = frozenset(),
        allocated_until: float = inf,
        control_revision: str = "",
        callers: Mapping[str, CallerLimits] | None = None,
        outside_concurrency: int = 0,
        outside_source: str | None = None,
    ) -> None:
        self.account = account
        self.set_by_api = set_by_api
        self.set_by_backend = set_by_backend
        self.provisioned = provisioned or {}
        self.provisioned_in_file = provisioned_in_file
        self.provisioned_by_backend = provisioned_by_backend
        self.successor: Limits | None = None
        self.control_revision = control_revision
        self.outside_concurrency = outside_concurrency
        self.outside_source = outside_source
        self.concurrent_executions = concurrent_executions
        self.functions: Mapping[str, FunctionLimits] = functions or {}
        self.requests_per_second = requests_per_second
        self.caller_requests_per_second = caller_requests_per_second
        self.callers = CallerRules(account, callers, caller_requests_per_second) if callers else None
        has_limited_callers = self.callers is not None and self.callers.has_limits
        self._limits_callers = caller_requests_per_second is not None or has_limited_callers
        self.reserved_concurrent_executions = sum(
            limits.reserved_concurrent_executions or 0 for limits in self.functions.values()
        )
        self.provisioned_versions = {
            name: sum_by_version(configs, allocated_until) for name, configs in self.provisioned.items()
        }
        # A reservation contains the provisioned concurrency of its function; without one the pool gives it.
        self.unreserved_provisioned = sum(
            self.provisioned_slots(name) for name in self.provisioned if self._reservation(name) is None
        )
        claimed = self.reserved_concurrent_executions + self.unreserved_provisioned + outside_concurrency
        self.unreserved_concurrent_executions = max(0, concurrent_executions - claimed)
        self.tenancies = {name: limits.tenancy for name, limits in self.functions.items() if limits.tenancy is not None}
        self.account_counter = account_counter(account)
        self.pool_counter = pool_counter(account)
        self._function_prefix = function_prefix(account)
        self._plans: dict[str | tuple[str | None, ...], Plan] = {}
        self._labels = frozenset(islice(self.functions, labelled))
        self._unlimited, self._rules = self._make_rules()
        self._lanes = self._make_provisioned_lanes()

    def function_counter(self, name: str) -> str:
        return self._function_prefix + name

    def labels(self) -> Iterable[str]:
        """Returns the functions that have metric labels of their own, in the order of the settings."""
        return islice(self.functions, len(self._labels))

    def ceiling(self, name: str) -> int:
        """Returns the most concurrent calls of `name`: its reservation, or the whole unreserved pool with its own
        provisioned concurrency."""
        reserved = self._reservation(name)
        return self.unreserved_concurrent_executions + self.provisioned_slots(name) if reserved is None else reserved

    def provisioned_slots(self, name: str) -> int:
        """Returns the provisioned concurrency of all versions of `name`, allocated or not."""
        return sum(version.slots for version in self.provisioned_versions.get(name, ()))

    def allocated_slots(self, name: str) -> int:
        """Returns the provisioned concurrency of `name` that is allocated."""
        return sum(version.allocated for version in self.provisioned_versions.get(name, ()))

    def provisioned_counter(self, name: str, version: str) -> str:
        return provisioned_counter(self.account, name, version)

    def _reservation(self, name: str) -> int | None:
        return self.functions.get(name, _UNLIMITED).reserved_concurrent_executions

    def is_switched_off(self, name: str) -> bool:
        """Returns whether the function's reservation is 0, so that no call of it is ever admitted."""
        return self.functions.get(name, _UNLIMITED).reserved_concurrent_executions == 0

    def set_by(self, name: str) -> SetBy:
        """Returns the origin of the function's ceiling: its reservation, or by default the unreserved pool."""
        if name in self.set_by_api:
            return "API"
        if name in self.set_by_backend:
            return "backend"
        return "default" if self.functions.get(name, _UNLIMITED).reserved_concurrent_executions is None else "file"

    def provisioned_set_by(self, name: str) -> SetBy:
        """Returns the origin of the function's provisioned concurrency."""
        if name in self.provisioned_in_file:
            return "file"
        return "backend" if name in self.provisioned_by_backend else "API"

    def find_tenant_problem(self, name: str, tenant: bytes | None) -> Refusal | None:
        """Returns the refusal of a call that names a tenant where none may, or none where each must."""
        tenancy = self.tenancies.get(name)
        if tenancy == "per_tenant":
            return None if tenant else Refusal.TENANT_MISSING
        return Refusal.TENANT_UNEXPECTED if tenancy == "none" and tenant is not None else None

    def may_recurse(self, name: str) -> bool:
        return self.functions.get(name, _UNLIMITED).may_recurse

    def plan(self, name: str, qualifier: str | None = None) -> Plan:
        """Returns the plan of a call of `name`, of its version or alias `qualifier`."""
        rule = self._rules.get(name, self._unlimited)
        lanes = rule.lanes
        if qualifier is not None and self._lanes:
            lanes = self._lanes.get((name, qualifier), lanes)
        label = name if name in self._labels else OTHER
        return Plan(self.account, label, self._function_prefix + name, lanes, rule.rates, self, qualifier)

    def find_plan(self, name: str, qualifier: str | None) -> Plan:
        """Returns the plan of a call by any caller. It is kept for further calls, so it must not be changed."""
        key = name if qualifier is None else (name, qualifier)
        plan = self._plans.get(key)
        return self._keep(key, self.plan(name, qualifier)) if plan is None else plan

    def _keep(self, key: str | tuple[str | None, ...], plan: Plan) -> Plan:
        if self.successor is None:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            self._plans[key] = plan
        return plan

    def retire(self, successor: Limits) -> None:
        """Lets other limits be in force. Forgets the plans: each refers to this table, which is then freed without
        garbage collection."""
        self.successor = successor
        self._plans.clear()

    def renew(self, plan: Plan) -> Plan:
        """Returns a plan of this table by the limits that are in force now, also those of its caller. A plan that takes
        no tokens takes none then either."""
        table = self
        while table.successor is not None:
            table = table.successor.of(self.account)
        if plan.function_counter == self.pool_counter:
            return table.pool_plan()
        renewed = table.plan(plan.function_counter.removeprefix(self._function_prefix), plan.qualifier)
        if plan.tokens != "all":
            return without_rates(renewed) if plan.tokens == "lanes" else without_tokens(renewed)
        return keep_rate(plan, renewed) if table.callers is None else table.callers.renew(plan, renewed)

    def pool_plan(self) -> Plan:
        """Returns the plan of a slot of the unreserved pool itself, without a function."""
        pool = pool_claim(self.pool_counter, self.unreserved_concurrent_executions)
        account = account_claim(self.account_counter, self.concurrent_executions)
        return Plan(self.account, OTHER, self.pool_counter, (Lane("unreserved", (pool, account)),), (), self)

    def plan_for(self, name: str, access_key_id: str | None, qualifier: str | None = None) -> Plan:
        """Returns the plan with the limits of the caller, if it has some. It is kept, so it must not be changed."""
        if not self._limits_callers:
            return self.find_plan(name, qualifier)
        key = (name, qualifier, access_key_id)
        plan = self._plans.get(key)
        return self._keep(key, self._make_plan_for(name, access_key_id, qualifier)) if plan is None else plan

    def _make_plan_for(self, name: str, access_key_id: str | None, qualifier: str | None) -> Plan:
        plan = self.plan(name, qualifier)
        if self.callers is not None and self.callers.apply(plan, access_key_id):
            return plan
        rate = self.caller_rate(access_key_id)
        return plan if rate is None else replace(plan, rates=(*plan.rates, rate))

    def caller_rate(self, access_key_id: str | None) -> RateClaim | None:
        """Returns the rate per caller. Callers that are not in the settings pass `None` and share one bucket."""
        if self.caller_requests_per_second is None:
            return None
        bucket = caller_bucket(self.account, access_key_id)
        return RateClaim(bucket, self.caller_requests_per_second, Refusal.CALLER_RATE, CALLER_RATE)

    def _make_rules(self) -> tuple[Rule, dict[str, Rule]]:
        """Returns the rule of functions without limits of their own, and the rules of the others by name. A function
        that the settings only name needs no look-up in a large table."""
        account = account_claim(self.account_counter, self.concurrent_executions)
        pool = pool_claim(self.pool_counter, self.unreserved_concurrent_executions)
        rules = {_UNLIMITED: self._make_rule(_UNLIMITED, account, pool)}
        by_name = {}
        for name, limits in self.functions.items():
            if limits != _UNLIMITED:
                rule = rules.get(limits)
                if rule is None:
                    rule = rules[limits] = self._make_rule(limits, account, pool)
                by_name[name] = rule
        scaled = [name for name, limits in self.functions.items() if limits.scaling_rate is not None]
        isolated = [name for name, tenancy in self.tenancies.items() if tenancy == "per_tenant"]
        for name in {*self.provisioned, *scaled, *isolated}:
            rates = by_name.get(name, rules[_UNLIMITED]).rates
            by_name[name] = Rule((self._make_on_demand_lane(name, account, pool),), rates)
        return rules[_UNLIMITED], by_name

    def _make_on_demand_lane(self, name: str, account: Claim, pool: Claim) -> Lane:
        """Returns the lane of a function that has one of its own: beside its provisioned concurrency, with a scaling
        rate, or with environments of tenants."""
        limits = self.functions.get(name, _UNLIMITED)
        reserved, is_provisioned = limits.reserved_concurrent_executions, name in self.provisioned
        counter = on_demand_counter(self.account, name) if is_provisioned else self.function_counter(name)
        if reserved is None:
            lane = unreserved_lane(pool, account)
        elif is_provisioned:
            lane = on_demand_lane(counter, reserved, self.provisioned_slots(name), account)
        else:
            lane = reserved_lane(reserved, account)
        is_reserved = reserved is not None
        if limits.tenancy == "per_tenant":
            environments = environments_counter(self.account, name)
            claim = environments_claim(environments, self.ceiling(name), is_reserved=is_reserved)
            lane = replace(lane, environments=claim)
        if limits.scaling_rate is None:
            return lane
        if is_provisioned and not is_reserved:  # provisioned slots do not grow, so the others are counted by themselves
            lane = replace(lane, claims=(*lane.claims, on_demand_count(counter)))
        growth = growth_claim(
            growth_bucket(self.account, counter), counter, limits.scaling_rate, is_reserved=is_reserved
        )
        return replace(lane, rates=(growth,))

    def _make_provisioned_lanes(self) -> dict[tuple[str, str], tuple[Lane, ...]]:
        """Returns the lanes of calls of provisioned versions, by function and by each qualifier that names the
        version. A call that finds the first lane full spills over into the second."""
        account = account_claim(self.account_counter, self.concurrent_executions)
        lanes: dict[tuple[str, str], tuple[Lane, ...]] = {}
        for name, versions in self.provisioned_versions.items():
            reserved = self._reservation(name)
            for version in versions:
                if version.allocated:
                    counter = provisioned_counter(self.account, name, version.version)
                    first = provisioned_lane(counter, version.allocated, reserved, account)
                    chain = (first, *self._rules[name].lanes)
                    lanes |= dict.fromkeys(((name, qualifier) for qualifier in version.qualifiers), chain)
        return lanes

    def _make_rule(self, limits: FunctionLimits, account: Claim, pool: Claim) -> Rule:
        reserved, per_second = limits.reserved_concurrent_executions, limits.requests_per_second
        # The account's rate is refused in the name of the kind of function that asks.
        if reserved is None:
            lane, refusal = unreserved_lane(pool, account), Refusal.FUNCTION_RATE
        else:
            lane, refusal = reserved_lane(reserved, account), Refusal.RESERVED_FUNCTION_RATE
        rates = []
        if per_second is not None:
            rates.append(RateClaim(OWN, per_second, refusal, "function_requests_per_second"))
        if self.requests_per_second is not None:
            rates.append(RateClaim(self.account_counter, self.requests_per_second, refusal, "requests_per_second"))
        return Rule((lane,), tuple(rates))

    def __repr__(self) -> str:
        return (
            f"<AccountLimits {self.account} {self.concurrent_executions} = "
            f"{self.reserved_concurrent_executions} reserved + {self.unreserved_concurrent_executions}>"
        )


class Limits:
    """Holds the limits of all accounts. An account that is not named shares the pool of the default account."""

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
        is_caller_limited = default.callers is not None and default.callers.has_limits
        self.is_one_for_all = not self.accounts and default.caller_requests_per_second is None and not is_caller_limited

    def of(self, account: str | None) -> AccountLimits:
        return self.accounts.get(account, self.default) if account is not None else self.default

    def knows(self, caller: Caller) -> bool:
        """Returns whether the settings name this caller, so that the caller may have a rate of its own."""
        return (
            caller.access_key_id in self.credentials
            or caller.account in self.accounts
            or (self.default.callers is not None and caller.access_key_id in self.default.callers)
        )

    def supersede(self, before: Limits) -> None:
        """Replaces the limits that were in force before. Plans of theirs are renewed before they take a slot."""
        for account in before.all():
            account.retire(self)

    def all(self) -> list[AccountLimits]:
        return [self.default, *self.accounts.values()]
