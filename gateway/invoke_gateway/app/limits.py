"""Makes tables of the settings, and of what control operations have set: limits, quotas, rules of events, policies.

A reload and a control operation replace the tables, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from types import MappingProxyType
from typing import NamedTuple

from ..policy.caller_limits import CallerLimits
from ..policy.control.state import (
    NOTHING,
    ControlState,
    EventInvokeConfig,
    FunctionControl,
    ProvisionedConfig,
    overlay,
    with_targets,
)
from ..policy.events.destination_arn import UnreachableDestination, find_target
from ..policy.events.event_rules import EventRules, EventTargets, RuleBook
from ..policy.limits import DEFAULT_ACCOUNT, AccountLimits, FunctionLimits, Limits
from ..policy.payloads.payload import PayloadQuotas
from ..policy.permissions.permissions import Permissions
from ..settings import Account, FunctionSettings, Settings
from ..upstream.forward import ResponseQuotas
from .caller_limits import make_caller_limits
from .permissions import make_permissions

NOTHING_SET = ControlState()
NOTHING_OUTSIDE: Mapping[str, int] = MappingProxyType({})
NO_CONFIG = EventInvokeConfig(0.0)
_UNNAMED = FunctionSettings()


class Tables(NamedTuple):
    """Holds what a reload, or a control operation, replaces. A request under way keeps the tables that it began
    with."""

    limits: Limits
    payload_quotas: PayloadQuotas
    response_quotas: ResponseQuotas
    event_rules: RuleBook
    permissions: Permissions | None


def make_tables(
    settings: Settings,
    control: ControlState = NOTHING_SET,
    followed: ControlState = NOTHING_SET,
    *,
    at_start: Settings,
    allocated_until: float = inf,
    outside: Mapping[str, int] = NOTHING_OUTSIDE,
) -> Tables:
    """Makes the tables of `settings`. With a million functions this takes a second; it may run in another thread.

    control: what Lambda's control operations have set; the settings win for each value that they name
    followed: what the backend has; the settings and the operations win for each value that they name
    at_start: the settings of the start, for keys that a reload does not change
    allocated_until, outside: as in `make_limits`
    """
    quotas = settings.quotas
    return Tables(
        make_limits(
            settings,
            control,
            followed,
            labelled=at_start.metric_functions,
            allocated_until=allocated_until,
            outside=outside,
        ),
        PayloadQuotas(quotas.request, quotas.event_request, as_observed=at_start.payload_error == "as_observed"),
        ResponseQuotas(quotas.response, quotas.streamed_response),
        make_event_rules(settings, overlay(control, followed)),
        make_permissions(settings, control),
    )


def make_limits(
    settings: Settings,
    control: ControlState = NOTHING_SET,
    followed: ControlState = NOTHING_SET,
    *,
    labelled: int,
    allocated_until: float = inf,
    outside: Mapping[str, int] = NOTHING_OUTSIDE,
) -> Limits:
    """Makes the table of all accounts.

    labelled: functions of each account that have metric labels of their own
    allocated_until: provisioned concurrency that was changed after this time is not allocated yet (seconds since the
        epoch)
    outside: the slots of callers beside the gateway that were read, by account
    """

    joined = overlay(control, followed)
    callers = make_caller_limits(settings)

    def make(account: str, limits: Account) -> AccountLimits:
        return _make_account(
            account,
            limits,
            joined.functions(account),
            labelled,
            allocated_until,
            control.revisions.get(account, ""),
            _find_reserved(limits, control.functions(account)),
            frozenset(
                name
                for name, function in followed.functions(account).items()
                if function.provisioned and not control.function(account, name).provisioned
            ),
            callers,
            outside.get(account, 0),
        )

    accounts = dict(settings.accounts)
    default = make(DEFAULT_ACCOUNT, accounts.pop("default"))
    named = {account: make(account, limits) for account, limits in accounts.items()}
    ids = {"default": DEFAULT_ACCOUNT}
    credentials = {access_key_id: ids.get(account, account) for access_key_id, account in settings.credentials.items()}
    return Limits(default, named, credentials)


def make_event_rules(settings: Settings, control: ControlState = NOTHING_SET) -> RuleBook:
    """Makes the rules of asynchronous invocations, for the functions that have rules of their own."""
    named, qualified = {}, {}
    for account, limits in settings.accounts.items():
        functions = limits.functions.items()  # perhaps a million, of which hardly one has rules
        own = {name: _make_rules(function) for name, function in functions if _has_rules(function)}
        name = DEFAULT_ACCOUNT if account == "default" else account
        set_here = _make_qualified_rules(settings, limits, control.functions(name))
        if own:
            named[name] = own
        if set_here:
            qualified[name] = set_here
    return RuleBook(named, qualified)


_USUAL = EventRules()


def _has_rules(function: FunctionSettings) -> bool:
    return (
        function.maximum_retry_attempts not in (None, _USUAL.maximum_retry_attempts)
        or function.maximum_event_age_seconds not in (None, _USUAL.maximum_event_age_seconds)
        or function.has_targets
    )


def _make_rules(function: FunctionSettings, set_here: EventInvokeConfig = NO_CONFIG) -> EventRules:
    """Makes the rules of a function, or of one version or alias for which an operation has set some."""
    return EventRules(
        _first(function.maximum_retry_attempts, set_here.maximum_retry_attempts, _USUAL.maximum_retry_attempts),
        _first(
            function.maximum_event_age_seconds, set_here.maximum_event_age_seconds, _USUAL.maximum_event_age_seconds
        ),
        EventTargets(
            function.dead_letter_queue,
            function.on_success or set_here.on_success,
            function.on_failure or set_here.on_failure,
        ),
    )


def _first(in_file: float | None, set_here: float | None, usual: float) -> int:
    return int(next(value for value in (in_file, set_here, usual) if value is not None))


def _make_qualified_rules(
    settings: Settings, limits: Account, control: Mapping[str, FunctionControl]
) -> dict[str, dict[str, EventRules]]:
    return {
        name: {
            qualifier: _make_rules(limits.functions.get(name, _UNNAMED), _with_targets(settings, config))
            for qualifier, config in function.event_invoke.items()
        }
        for name, function in control.items()
        if function.event_invoke
    }


def _with_targets(settings: Settings, config: EventInvokeConfig) -> EventInvokeConfig:
    """Returns the rules with targets instead of ARNs. An ARN that can no longer be reached stays: its deliveries fail
    with the reason."""
    return with_targets(config, lambda arn: resolve_destination(settings, arn))


def resolve_destination(settings: Settings, arn: str) -> str:
    """Returns the target of an ARN in the form that settings have; the ARN where it has none."""
    target = find_target(arn, region=settings.region, sqs_endpoint=settings.control.sqs_endpoint)
    return arn if isinstance(target, UnreachableDestination) else target


def find_file_provisioned(function: FunctionSettings) -> Mapping[str, ProvisionedConfig] | None:
    """Returns the provisioned concurrency that the settings name, allocated since the start; None where they name
    none."""
    named = function.provisioned_concurrent_executions
    if named is None:
        return None
    return {qualifier: ProvisionedConfig(slots.slots, 0.0, slots.version) for qualifier, slots in named.items()}


def find_next_allocation(control: ControlState, allocated_until: float) -> float | None:
    """Returns the seconds until more provisioned concurrency is allocated; None where all is."""
    changed = (
        config.modified_at
        for functions in control.accounts.values()
        for function in functions.values()
        for config in function.provisioned.values()
    )
    return min((at - allocated_until for at in changed if at > allocated_until), default=None)


def _make_account(
    account: str,
    settings: Account,
    control: Mapping[str, FunctionControl],
    labelled: int,
    allocated_until: float,
    control_revision: str,
    set_by_api: frozenset[str],
    provisioned_by_backend: frozenset[str],
    callers: Mapping[str, CallerLimits],
    outside: int,
) -> AccountLimits:
    provisioned = {name: set_here.provisioned for name, set_here in control.items() if set_here.provisioned}
    in_file = {
        name: named
        for name, function in settings.functions.items()
        if function.provisioned_concurrent_executions is not None
        and (named := find_file_provisioned(function)) is not None
    }
    for name, named in in_file.items():
        provisioned[name] = named  # the settings win for the whole key
        if not named:
            del provisioned[name]
    made: dict[FunctionLimits, FunctionLimits] = {}  # a million functions have few distinct limits
    functions = {}
    for name, function in settings.functions.items():
        limits = _make_function(function, control.get(name, NOTHING))
        functions[name] = made.setdefault(limits, limits)
    for name, set_here in control.items():
        if name not in functions:
            functions[name] = _make_function(_UNNAMED, set_here)
    fixed = settings.outside_concurrency
    return AccountLimits(
        account,
        settings.concurrent_executions,
        functions,
        requests_per_second=_resolve_rate(settings.requests_per_second, settings.concurrent_executions),
        caller_requests_per_second=_resolve_rate(settings.caller_requests_per_second, None),
        labelled=labelled,
        set_by_api=set_by_api,
        set_by_backend=_find_reserved(settings, control) - set_by_api,
        provisioned=provisioned,
        provisioned_in_file=frozenset(in_file),
        provisioned_by_backend=provisioned_by_backend,
        allocated_until=allocated_until,
        control_revision=control_revision,
        callers=callers,
        outside_concurrency=fixed if isinstance(fixed, int) else outside,
        outside_source=settings.outside_source,
    )


def _make_function(function: FunctionSettings, control: FunctionControl) -> FunctionLimits:
    reserved = function.reserved_concurrent_executions
    if reserved is None:
        reserved = control.reserved_concurrent_executions
    rate = _resolve_rate(function.requests_per_second, reserved)
    may_recurse = (function.recursive_loop or control.recursive_loop) == "Allow"
    scaling_rate = None if function.scaling_rate == "off" else float(function.scaling_rate)
    return FunctionLimits(reserved, rate, may_recurse, scaling_rate, function.tenancy)


def _find_reserved(settings: Account, control: Mapping[str, FunctionControl]) -> frozenset[str]:
    """Returns the functions whose reservation is in `control`, and not in the settings."""
    return frozenset(
        name
        for name, set_here in control.items()
        if set_here.reserved_concurrent_executions is not None
        and settings.functions.get(name, _UNNAMED).reserved_concurrent_executions is None
    )


def _resolve_rate(rate: str | float, slots: int | None) -> float | None:
    """Returns a rate per second. `auto` is AWS's rule: ten requests a second for each slot, none without slots."""
    if rate == "off" or (rate == "auto" and not slots):
        return None
    return 10.0 * slots if rate == "auto" and slots else float(rate)
