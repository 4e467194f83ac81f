"""Makes the document of the live page: what is refused now, accounts, the busiest functions, refusals, the gateway.

One snapshot serves all queries of a tick. A document has a bounded number of rows, whatever is configured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from heapq import nsmallest
from itertools import islice
from typing import Any, NamedTuple, Protocol

from ...counters.base import SharedState, SlotCounts
from ...policy.counter_names import split_counter
from ...policy.limits import OTHER, AccountLimits, Limits
from ...telemetry.totals import Totals
from ..limits import Everywhere, count_in_flight, describe_callers, describe_function
from .episodes import Episodes
from .last_minute import RecentActivity
from .query import MINUTES, LiveQuery
from .refusal_samples import RefusalSamples
from .sparklines import STEPS, Sparklines

MOST_ACCOUNTS = 20
MOST_CALLERS = 10
MOST_REFUSALS = 20
MOST_REFUSING = 5

OLD_SECONDS = 5
"""Sums of all gateways that are older are marked as old: they are read once a second."""

_RECENT_STEPS = 12  # a minute: a row must not lose its place when its function pauses
_NAMES_AT_ONCE = 5000  # about 1 ms


class Configured(NamedTuple):
    """Lists the first functions of the settings that match a query, and counts all of them."""

    limits: Limits
    names: list[tuple[str, str]]
    total: int


async def find_configured(limits: Limits, query: LiveQuery) -> Configured:
    """Searches all names, while requests are served in between. Valid as long as `limits` are in force."""
    accounts = [account for account in limits.all() if query.account in (None, account.account)]
    names: list[tuple[str, str]] = []
    count = 0
    for account in accounts:
        if not query.search:
            names += [(account.account, name) for name in islice(account.functions, query.top - len(names))]
            count += len(account.functions)
            continue
        for number, name in enumerate(account.functions, start=1):
            if query.search in name.casefold():
                count += 1
                if len(names) < query.top:
                    names.append((account.account, name))
            if number % _NAMES_AT_ONCE == 0:
                await asyncio.sleep(0)
    return Configured(limits, names, count)


class LiveSnapshot:
    """Holds what all queries of one tick share.

    gateway: the members of the document about the gateway itself
    """

    def __init__(
        self,
        limits: Limits,
        levels: SlotCounts,
        totals: Totals,
        sparklines: Sparklines,
        holds: Mapping[str, int],
        episodes: Episodes,
        refusals: list[dict[str, Any]],
        gateway: dict[str, object],
    ) -> None:
        self.limits = limits
        self.levels = levels
        self.sparklines = sparklines
        self.holds = holds
        self.gateway = gateway
        self.accounts = {account.account: account for account in limits.all()}
        self.throttles = {key: counts.throttles for key, counts in list(totals.functions.items()) if counts.throttles}
        self.throttles_by_account = self._add_up_throttles()
        self.busy = self._find_busy()
        self.samples = RefusalSamples(refusals, limits)
        self.going_on = episodes.going_on()
        self.episodes = episodes.newest_first()
        self.refused_per_second = self._find_refused_per_second()

    def _find_refused_per_second(self) -> dict[tuple[str, str], float]:
        """Sums the refusals per second of each function, of the last seconds."""
        refused: dict[tuple[str, str], float] = {}
        for episode in self.going_on:
            if episode.account is not None and episode.label is not None:
                key = (episode.account, episode.label)
                refused[key] = refused.get(key, 0.0) + episode.per_second
        return refused

    def _add_up_throttles(self) -> dict[str, dict[str, int]]:
        sums: dict[str, dict[str, int]] = {account: {} for account in self.accounts}
        for (account, _), reasons in self.throttles.items():
            of_account = sums.get(account)
            if of_account is not None:
                for reason, number in reasons.items():
                    of_account[reason] = of_account.get(reason, 0) + number
        return sums

    def _find_busy(self) -> dict[tuple[str, str], int]:
        """Sums the recent and present level of each function, by account and name."""
        recent = self.sparklines.recent(_RECENT_STEPS)
        recent.update(self.levels.counts())
        busy = {}
        for counter, level in recent.items():
            account, name = split_counter(counter)
            if name is not None and account in self.accounts:
                busy[account, name] = level
        return busy

    def rank(self, query: LiveQuery, configured: Configured) -> list[tuple[str, str]]:
        """Lists the functions to show: the busiest, then the most throttled, then in the order of the settings."""
        busy = [key for key in self.busy if query.matches(*key)]
        ranked = nsmallest(query.top, busy, key=lambda key: (-self.busy[key], key))
        if len(ranked) < query.top:
            throttled = (key for key in self.throttles if key not in self.busy and self._has_row(query, key))
            ranked += nsmallest(query.top - len(ranked), throttled, key=self._most_throttled)
        known = set(ranked)
        quiet = (key for key in configured.names if key not in known)
        return [*ranked, *islice(quiet, query.top - len(ranked))]

    def count(self, query: LiveQuery, configured: Configured) -> int:
        """Counts the functions that match, including those that are not in the settings."""
        unknown = sum(
            name not in self.accounts[account].functions for account, name in self.busy if query.matches(account, name)
        )
        return configured.total + unknown

    def _has_row(self, query: LiveQuery, key: tuple[str, str]) -> bool:
        """Returns whether a label is a matching function of the settings."""
        account, label = key
        return query.matches(account, label) and account in self.accounts and label in self.accounts[account].functions

    def _most_throttled(self, key: tuple[str, str]) -> tuple[int, tuple[str, str]]:
        return -sum(self.throttles[key].values()), key


History = Callable[[str], list[int]]


class Refusals(Protocol):
    def newest_first(self) -> list[dict[str, Any]]: ...


class LiveView:
    """Answers live queries about one gateway. Where its counters are `shared`, calls of all gateways are in flight.

    limits: returns the limits in force
    holds: returns the held slots of each counter
    settings_error: returns the settings that the last reload refused, or None
    describe_gateway: returns the members of the document about the gateway itself
    """

    def __init__(
        self,
        *,
        limits: Callable[[], Limits],
        levels: SlotCounts,
        totals: Totals,
        sparklines: Sparklines,
        episodes: Episodes,
        activity: RecentActivity,
        holds: Callable[[], Mapping[str, int]],
        refusals: Refusals,
        is_draining: Callable[[], bool],
        describe_gateway: Callable[[], dict[str, object]],
        settings_error: Callable[[], dict[str, object] | None] = lambda: None,
        shared: SharedState | None = None,
    ) -> None:
        self._limits = limits
        self._levels = levels
        self._totals = totals
        self._sparklines = sparklines
        self._episodes = episodes
        self._activity = activity
        self._holds = holds
        self._refusals = refusals
        self._is_draining = is_draining
        self._settings_error = settings_error
        self._describe_gateway = describe_gateway
        self._shared = shared

    def take_snapshot(self) -> LiveSnapshot:
        levels = self._levels if self._shared is None else Everywhere(self._levels, self._shared.sums)
        return LiveSnapshot(
            self._limits(),
            levels,
            self._totals,
            self._sparklines,
            self._holds(),
            self._episodes,
            self._refusals.newest_first(),
            self._describe_gateway(),
        )

    def describe(self, query: LiveQuery, snapshot: LiveSnapshot, configured: Configured) -> dict[str, object]:
        """Makes the document of docs/guides/live-page.md."""
        accounts = [account for account in snapshot.accounts.values() if query.account in (None, account.account)]
        in_flight = snapshot.levels.in_use
        shown = nsmallest(MOST_ACCOUNTS, accounts, key=lambda account: -in_flight(account.account_counter))
        history = snapshot.sparklines.of if query.minutes == "5" else snapshot.sparklines.of_hour
        rows = [self._describe_row(snapshot, history, *key) for key in snapshot.rank(query, configured)]
        return {
            **snapshot.gateway,
            "draining": self._is_draining(),
            "settings_error": self._settings_error(),
            "shared": None if self._shared is None else _describe_sharing(self._shared),
            "step_seconds": MINUTES[query.minutes],
            "steps": STEPS,
            "refusing_now": [snapshot.samples.describe(episode) for episode in snapshot.going_on[:MOST_REFUSING]],
            "refusing_now_left_out": max(0, len(snapshot.going_on) - MOST_REFUSING),
            "accounts": [
                self._describe_account(snapshot, history, account) for account in accounts if account in shown
            ],
            "accounts_left_out": len(accounts) - len(shown),
            "functions": rows,
            "functions_left_out": max(0, snapshot.count(query, configured) - len(rows)),
            "refusals": list(islice(self._describe_refusals(query, snapshot), MOST_REFUSALS)),
        }

    def _describe_refusals(self, query: LiveQuery, snapshot: LiveSnapshot) -> Iterator[dict[str, object]]:
        for episode in snapshot.episodes:
            described = snapshot.samples.describe(episode)
            if query.matches(described["account"], described["function"]):
                yield described

    def _describe_account(self, snapshot: LiveSnapshot, history: History, account: AccountLimits) -> dict[str, object]:
        levels, holds = snapshot.levels, snapshot.holds
        pool = levels.in_use(account.pool_counter)
        others = {} if OTHER in account.functions else snapshot.throttles.get((account.account, OTHER), {})
        return {
            "account": account.account,
            "is_default": account is snapshot.limits.default,
            "concurrent_executions": account.concurrent_executions,
            **count_in_flight(levels, account.account_counter),
            "holds": holds.get(account.account_counter, 0),
            "reserved": account.reserved_concurrent_executions,
            "claimed": account.reserved_concurrent_executions + pool + account.outside_concurrency,
            "outside_concurrency": account.outside_concurrency,
            "unreserved": {
                **count_in_flight(levels, account.pool_counter),
                "ceiling": account.unreserved_concurrent_executions,
                "holds": holds.get(account.pool_counter, 0),
            },
            **describe_callers(account, levels, MOST_CALLERS),
            "throttles": snapshot.throttles_by_account[account.account],
            "throttles_of_others": dict(others),
            "history": history(account.account_counter),
        }

    def _describe_row(
        self, snapshot: LiveSnapshot, history: History, account_name: str, name: str
    ) -> dict[str, object]:
        account = snapshot.accounts[account_name]
        is_labelled = account.plan(name).label == name
        throttles = snapshot.throttles.get((account_name, name), {}) if is_labelled else {}
        row = describe_function(account, name, snapshot.levels, dict(throttles), snapshot.holds)
        return {
            "account": account_name,
            **row,
            "throttles_are_counted": is_labelled,
            "refused_per_second": snapshot.refused_per_second.get((account_name, name), 0.0) if is_labelled else None,
            **(_describe_activity(self._activity, account_name, name) if is_labelled else _UNKNOWN),
            "history": history(account.function_counter(name)),
        }


_UNKNOWN = {"calls_per_second": None, "errors_per_second": None, "p50_seconds": None, "p99_seconds": None}


def _describe_activity(activity: RecentActivity, account: str, label: str) -> dict[str, float | None]:
    recent = activity.of(account, label)
    return {name: value if value is None else float(f"{value:.3g}") for name, value in recent._asdict().items()}


def _describe_sharing(shared: SharedState) -> dict[str, object]:
    """Describes the sharing; the age of fresh sums is 0, so that it does not change the document."""
    described = shared.describe()
    age = described["sums_age_seconds"]
    if isinstance(age, float):
        described["sums_age_seconds"] = int(age) if age >= OLD_SECONDS else 0
    return described
