"""Makes the limits of single callers of the settings: all entries of one caller together."""

from __future__ import annotations

from collections.abc import Iterable

from ..policy.caller_limits import CallerLimits
from ..policy.limits import DEFAULT_ACCOUNT
from ..settings import Settings
from ..settings.models.callers import CallerEntry, account_of, is_arn


def make_caller_limits(settings: Settings) -> dict[str, CallerLimits]:
    """Returns the limits by access key id. Keys with one ARN are one caller; a limit stands in one of its entries, or
    is the same in several."""
    entries: dict[str, list[CallerEntry]] = {}
    for key, entry in settings.callers.items():
        entries.setdefault(_name(key, entry), []).append(entry)
    made = {name: _make(name, of_caller, settings) for name, of_caller in entries.items()}
    return {key: made[_name(key, entry)] for key, entry in settings.callers.items() if not is_arn(key)}


def _name(key: str, entry: CallerEntry) -> str:
    return entry.arn or key


def _make(name: str, entries: Iterable[CallerEntry], settings: Settings) -> CallerLimits:
    account = account_of(name) if is_arn(name) else settings.credentials.get(name, "default")
    return CallerLimits(
        name,
        account if account in settings.accounts and account != "default" else DEFAULT_ACCOUNT,
        next((entry.concurrent_executions for entry in entries if entry.concurrent_executions is not None), None),
        next((entry.requests_per_second for entry in entries if entry.requests_per_second is not None), None),
    )
