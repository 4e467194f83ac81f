"""Makes tables of the settings, and of what control operations have set: limits, quotas and rules of events.

A reload and a control operation replace the tables, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..policy.control_state import NOTHING, ControlState, FunctionControl
from ..policy.event_rules import EventRules, EventTargets, RuleBook
from ..policy.limits import DEFAULT_ACCOUNT, AccountLimits, FunctionLimits, Limits
from ..policy.payload import PayloadQuotas
from ..settings import Account, FunctionSettings, Settings
from ..upstream.forward import ResponseQuotas

NOTHING_SET = ControlState()


class Tables(NamedTuple):
    """Holds what a reload, or a control operation, replaces. A request under way keeps the tables that it began
    with."""

    limits: Limits
    payload_quotas: PayloadQuotas
    response_quotas: ResponseQuotas
    event_rules: RuleBook


def make_tables(settings: Settings, control: ControlState = NOTHING_SET, *, at_start: Settings) -> Tables:
    """Makes the tables of `settings`. With a million functions this takes a second; it may run in another thread.

    control: what Lambda's control operations have set; the settings win for each value that they name
    at_start: the settings of the start, for keys that a reload does not change
    """
    quotas = settings.quotas
    return Tables(
        make_limits(settings, control, labelled=at_start.metric_functions),
        PayloadQuotas(quotas.request, quotas.event_request, as_observed=at_start.payload_error == "as_observed"),
        ResponseQuotas(quotas.response, quotas.streamed_response),
        make_event_rules(settings),
    )


def make_limits(settings: Settings, control: ControlState = NOTHING_SET, *, labelled: int) -> Limits:
    """Makes the table of all accounts.

    labelled: functions of each account that have metric labels of their own
    """

    def make(account: str, limits: Account) -> AccountLimits:
        return _make_account(account, limits, control.functions(account), labelled)

    accounts = dict(settings.accounts)
    default = make(DEFAULT_ACCOUNT, accounts.pop("default"))
    named = {account: make(account, limits) for account, limits in accounts.items()}
    ids = {"default": DEFAULT_ACCOUNT}
    credentials = {access_key_id: ids.get(account, account) for access_key_id, account in settings.credentials.items()}
    return Limits(default, named, credentials)


def make_event_rules(settings: Settings) -> RuleBook:
    """Makes the rules of asynchronous invocations, for the functions that have rules of their own."""
    usual = EventRules()
    named = {}
    for account, limits in settings.accounts.items():
        functions = limits.functions.items()  # perhaps a million, of which hardly one has rules
        own = {name: _make_rules(function, usual) for name, function in functions if _has_rules(function, usual)}
        if own:
            named[DEFAULT_ACCOUNT if account == "default" else account] = own
    return RuleBook(named)


def _has_rules(function: FunctionSettings, usual: EventRules) -> bool:
    return (
        function.maximum_retry_attempts not in (None, usual.maximum_retry_attempts)
        or function.maximum_event_age_seconds not in (None, usual.maximum_event_age_seconds)
        or function.has_targets
    )


def _make_rules(function: FunctionSettings, usual: EventRules) -> EventRules:
    attempts, age = function.maximum_retry_attempts, function.maximum_event_age_seconds
    return EventRules(
        usual.maximum_retry_attempts if attempts is None else attempts,
        usual.maximum_event_age_seconds if age is None else age,
        EventTargets(function.dead_letter_queue, function.on_success, function.on_failure),
    )


def _make_account(
    account: str, settings: Account, control: Mapping[str, FunctionControl], labelled: int
) -> AccountLimits:
    made: dict[FunctionLimits, FunctionLimits] = {}  # a million functions have few distinct limits
    functions = {}
    for name, function in settings.functions.items():
        limits = _make_function(function, control.get(name, NOTHING))
        functions[name] = made.setdefault(limits, limits)
    for name, set_here in control.items():
        if name not in functions:
            functions[name] = _make_function(_UNNAMED, set_here)
    return AccountLimits(
        account,
        settings.concurrent_executions,
        functions,
        requests_per_second=_resolve_rate(settings.requests_per_second, settings.concurrent_executions),
        caller_requests_per_second=_resolve_rate(settings.caller_requests_per_second, None),
        labelled=labelled,
        set_by_api=_find_set_by_api(settings, control),
        provisioned={name: set_here.provisioned for name, set_here in control.items() if set_here.provisioned},
    )


_UNNAMED = FunctionSettings()


def _make_function(function: FunctionSettings, control: FunctionControl) -> FunctionLimits:
    reserved = function.reserved_concurrent_executions
    if reserved is None:
        reserved = control.reserved_concurrent_executions
    rate = _resolve_rate(function.requests_per_second, reserved)
    return FunctionLimits(reserved, rate, (function.recursive_loop or control.recursive_loop) == "Allow")


def _find_set_by_api(settings: Account, control: Mapping[str, FunctionControl]) -> frozenset[str]:
    """Returns the functions whose reservation is from PutFunctionConcurrency."""
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
