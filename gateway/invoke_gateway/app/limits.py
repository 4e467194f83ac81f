"""Makes tables of the settings: limits, quotas and rules of events. A reload replaces them, and nothing else."""

from __future__ import annotations

from typing import NamedTuple

from ..policy.event_rules import EventRules, EventTargets, RuleBook
from ..policy.limits import DEFAULT_ACCOUNT, AccountLimits, FunctionLimits, Limits
from ..policy.payload import PayloadQuotas
from ..settings import Account, FunctionSettings, Settings
from ..upstream.forward import ResponseQuotas


class Tables(NamedTuple):
    """Holds what a reload replaces. A request under way keeps the tables that it began with."""

    limits: Limits
    payload_quotas: PayloadQuotas
    response_quotas: ResponseQuotas
    event_rules: RuleBook


def make_tables(settings: Settings, *, at_start: Settings) -> Tables:
    """Makes the tables of `settings`. With a million functions this takes a second; it may run in another thread.

    at_start: the settings of the start, for keys that a reload does not change
    """
    quotas = settings.quotas
    return Tables(
        make_limits(settings, labelled=at_start.metric_functions),
        PayloadQuotas(quotas.request, quotas.event_request, as_observed=at_start.payload_error == "as_observed"),
        ResponseQuotas(quotas.response, quotas.streamed_response),
        make_event_rules(settings),
    )


def make_limits(settings: Settings, *, labelled: int) -> Limits:
    """Makes the table of all accounts.

    labelled: functions of each account that have metric labels of their own
    """
    accounts = dict(settings.accounts)
    default = _make_account(DEFAULT_ACCOUNT, accounts.pop("default"), labelled)
    named = {account: _make_account(account, limits, labelled) for account, limits in accounts.items()}
    ids = {"default": DEFAULT_ACCOUNT}
    credentials = {access_key_id: ids.get(account, account) for access_key_id, account in settings.credentials.items()}
    return Limits(default, named, credentials)


def make_event_rules(settings: Settings) -> RuleBook:
    """Makes the rules of asynchronous invocations, for the functions that have rules of their own."""
    usual = EventRules()
    named = {}
    for account, limits in settings.accounts.items():
        functions = limits.functions.items()  # perhaps a million, of which hardly one has rules
        own = {name: _make_rules(function) for name, function in functions if _has_rules(function, usual)}
        if own:
            named[DEFAULT_ACCOUNT if account == "default" else account] = own
    return RuleBook(named)


def _has_rules(function: FunctionSettings, usual: EventRules) -> bool:
    return (
        function.maximum_retry_attempts != usual.maximum_retry_attempts
        or function.maximum_event_age_seconds != usual.maximum_event_age_seconds
        or function.has_targets
    )


def _make_rules(function: FunctionSettings) -> EventRules:
    targets = EventTargets(function.dead_letter_queue, function.on_success, function.on_failure)
    return EventRules(function.maximum_retry_attempts, function.maximum_event_age_seconds, targets)


def _make_account(account: str, settings: Account, labelled: int) -> AccountLimits:
    made: dict[FunctionLimits, FunctionLimits] = {}  # a million functions have few distinct limits
    functions = {}
    for name, function in settings.functions.items():
        reserved = function.reserved_concurrent_executions
        rate = _resolve_rate(function.requests_per_second, reserved)
        limits = FunctionLimits(reserved, rate, function.recursive_loop == "Allow")
        functions[name] = made.setdefault(limits, limits)
    return AccountLimits(
        account,
        settings.concurrent_executions,
        functions,
        requests_per_second=_resolve_rate(settings.requests_per_second, settings.concurrent_executions),
        caller_requests_per_second=_resolve_rate(settings.caller_requests_per_second, None),
        labelled=labelled,
    )


def _resolve_rate(rate: str | float, slots: int | None) -> float | None:
    """Returns a rate per second. `auto` is AWS's rule: ten requests a second for each slot, none without slots."""
    if rate == "off" or (rate == "auto" and not slots):
        return None
    return 10.0 * slots if rate == "auto" and slots else float(rate)
