"""What the live page shows, as one document: accounts, the busiest functions, the last refusals.

What all questions of one moment share is read once. A document has a bounded number of rows, whatever is configured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from heapq import nsmallest
from itertools import islice
from typing import Any, NamedTuple, Protocol

from ...policy.limits import OTHER, AccountLimits, Limits
from ...telemetry.totals import Totals
from ..limits import Everywhere, Levels, count_in_flight, describe_function
from .sparklines import STEP_SECONDS, STEPS, History

MOST_ROWS = 200
USUAL_ROWS = 50
MOST_ACCOUNTS = 20
MOST_REFUSALS = 20

# Digits of a number of rows, and characters of a search: more make no sense, and must not be worked on.
_LONGEST_NUMBER = 9
_LONGEST_SEARCH = 256

OLD_SECONDS = 5
"""Sums of all gateways that are older are said to be so: they are read once a second."""

_RECENT_STEPS = 12  # a minute: a row must not lose its place when its function pauses
_NAMES_AT_ONCE = 5000  # about 1 ms


class BadQuestion(Exception):
    """What was asked for makes no sense; the text says what to send."""


class Question(NamedTuple):
    """Which rows: of one account or all, of functions whose names contain `search` (its case folded), how many."""

    account: str | None = None
    search: str = ""
    top: int = USUAL_ROWS

    def asks_for(self, account: str | None, name: str | None) -> bool:
        return (self.account is None or account == self.account) and (
            not self.search or (name is not None and self.search in name.casefold())
        )


def read_question(parameters: Mapping[str, str]) -> Question:
    """The question in a query string; empty values ask for nothing special. Raises `BadQuestion`."""
    top = parameters.get("top") or str(USUAL_ROWS)
    if not (top.isascii() and top.isdigit() and len(top) <= _LONGEST_NUMBER):
        raise BadQuestion(f"top={top[:_LONGEST_SEARCH]} is not a number. Say how many rows you want.")
    search = parameters.get("search", "")
    if len(search) > _LONGEST_SEARCH:
        raise BadQuestion(f"search has more than {_LONGEST_SEARCH} characters. Send a part of a function's name.")
    account = parameters.get("account") or None
    if account is not None and not (account.isascii() and account.isdigit() and len(account) == 12):
        raise BadQuestion("account must be twelve digits; leave it out for all accounts.")
    return Question(account, search.casefold(), min(int(top), MOST_ROWS))


class Configured(NamedTuple):
    """The first functions of the settings that a question asks for, and how many there are in all."""

    limits: Limits
    names: list[tuple[str, str]]
    total: int


async def find_configured(limits: Limits, question: Question) -> Configured:
    """Looks at every name, so it lets requests be served in between; good for as long as `limits` are in force."""
    accounts = [account for account in limits.all() if question.account in (None, account.account)]
    names: list[tuple[str, str]] = []
    count = 0
    for account in accounts:
        if not question.search:
            names += [(account.account, name) for name in islice(account.functions, question.top - len(names))]
            count += len(account.functions)
            continue
        for number, name in enumerate(account.functions, start=1):
            if question.search in name.casefold():
                count += 1
                if len(names) < question.top:
                    names.append((account.account, name))
            if number % _NAMES_AT_ONCE == 0:
                await asyncio.sleep(0)
    return Configured(limits, names, count)


class Moment:
    """What all questions that are answered at one moment share."""

    def __init__(
        self, limits: Limits, levels: Levels, totals: Totals, history: History, holds: Mapping[str, int]
    ) -> None:
        self.limits = limits
        self.levels = levels
        self.history = history
        self.holds = holds
        self.accounts = {account.account: account for account in limits.all()}
        self.throttles = {key: counts.throttles for key, counts in list(totals.functions.items()) if counts.throttles}
        self.throttles_by_account = self._add_up_throttles()
        self.busy = self._find_busy()

    def _add_up_throttles(self) -> dict[str, dict[str, int]]:
        sums: dict[str, dict[str, int]] = {account: {} for account in self.accounts}
        for (account, _), reasons in self.throttles.items():
            of_account = sums.get(account)
            if of_account is not None:
                for reason, number in reasons.items():
                    of_account[reason] = of_account.get(reason, 0) + number
        return sums

    def _find_busy(self) -> dict[tuple[str, str], int]:
        """By account and function: how busy it has been of late, and is."""
        recent = self.history.recent(_RECENT_STEPS)
        recent.update(self.levels.held())
        busy = {}
        for counter, level in recent.items():
            account, is_function, name = counter.partition("/function/")
            if is_function and account in self.accounts:
                busy[account, name] = level
        return busy

    def rank(self, question: Question, configured: Configured) -> list[tuple[str, str]]:
        """The functions to show: the busiest first, the most throttled next, then in the order of the settings."""
        busy = [key for key in self.busy if question.asks_for(*key)]
        ranked = nsmallest(question.top, busy, key=lambda key: (-self.busy[key], key))
        if len(ranked) < question.top:
            throttled = (key for key in self.throttles if key not in self.busy and self._has_row(question, key))
            ranked += nsmallest(question.top - len(ranked), throttled, key=self._most_throttled)
        known = set(ranked)
        quiet = (key for key in configured.names if key not in known)
        return [*ranked, *islice(quiet, question.top - len(ranked))]

    def count(self, question: Question, configured: Configured) -> int:
        """How many functions the question asks for, those that only clients know included."""
        unknown = sum(
            name not in self.accounts[account].functions
            for account, name in self.busy
            if question.asks_for(account, name)
        )
        return configured.total + unknown

    def _has_row(self, question: Question, key: tuple[str, str]) -> bool:
        """Whether a label stands for a function of the settings that the question asks for."""
        account, label = key
        return (
            question.asks_for(account, label) and account in self.accounts and label in self.accounts[account].functions
        )

    def _most_throttled(self, key: tuple[str, str]) -> tuple[int, tuple[str, str]]:
        return -sum(self.throttles[key].values()), key


class Refusals(Protocol):
    def newest_first(self) -> list[dict[str, Any]]: ...


class Shared(Protocol):
    """Counters that gateways share: the slots of all of them when the store last told, and who they are."""

    @property
    def sums(self) -> Mapping[str, int]: ...

    def describe(self) -> dict[str, object]: ...


class LiveView:
    """Answers questions about one gateway; where its counters are `shared`, calls in flight are those of all gateways.
    `limits` and `holds` give what is in force and held at the moment."""

    def __init__(
        self,
        *,
        limits: Callable[[], Limits],
        levels: Levels,
        totals: Totals,
        history: History,
        holds: Callable[[], Mapping[str, int]],
        refusals: Refusals,
        is_draining: Callable[[], bool],
        shared: Shared | None = None,
    ) -> None:
        self._limits = limits
        self._levels = levels
        self._totals = totals
        self._history = history
        self._holds = holds
        self._refusals = refusals
        self._is_draining = is_draining
        self._shared = shared

    def limits(self) -> Limits:
        return self._limits()

    def look(self) -> Moment:
        levels = self._levels if self._shared is None else Everywhere(self._levels, self._shared.sums)
        return Moment(self._limits(), levels, self._totals, self._history, self._holds())

    def describe(self, question: Question, moment: Moment, configured: Configured) -> dict[str, object]:
        """The document of docs/live-page.md."""
        accounts = [account for account in moment.accounts.values() if question.account in (None, account.account)]
        in_flight = moment.levels.in_use
        shown = nsmallest(MOST_ACCOUNTS, accounts, key=lambda account: -in_flight(account.account_counter))
        rows = [self._describe_row(moment, *key) for key in moment.rank(question, configured)]
        refused = (
            refusal
            for refusal in self._refusals.newest_first()
            if question.asks_for(refusal["account"], refusal["function"])
        )
        return {
            "draining": self._is_draining(),
            "shared": None if self._shared is None else _describe_sharing(self._shared),
            "step_seconds": STEP_SECONDS,
            "steps": STEPS,
            "accounts": [self._describe_account(moment, account) for account in accounts if account in shown],
            "accounts_left_out": len(accounts) - len(shown),
            "functions": rows,
            "functions_left_out": max(0, moment.count(question, configured) - len(rows)),
            "refusals": list(islice(refused, MOST_REFUSALS)),
        }

    def _describe_account(self, moment: Moment, account: AccountLimits) -> dict[str, object]:
        levels, holds = moment.levels, moment.holds
        pool = levels.in_use(account.pool_counter)
        others = {} if OTHER in account.functions else moment.throttles.get((account.account, OTHER), {})
        return {
            "account": account.account,
            "is_default": account is moment.limits.default,
            "concurrent_executions": account.concurrent_executions,
            **count_in_flight(levels, account.account_counter),
            "holds": holds.get(account.account_counter, 0),
            "reserved": account.reserved_concurrent_executions,
            "claimed": account.reserved_concurrent_executions + pool,
            "unreserved": {
                **count_in_flight(levels, account.pool_counter),
                "ceiling": account.unreserved_concurrent_executions,
                "holds": holds.get(account.pool_counter, 0),
            },
            "throttles": moment.throttles_by_account[account.account],
            "throttles_of_others": dict(others),
            "history": self._history.of(account.account_counter),
        }

    def _describe_row(self, moment: Moment, account_name: str, name: str) -> dict[str, object]:
        account = moment.accounts[account_name]
        is_labelled = account.plan(name).label == name
        throttles = moment.throttles.get((account_name, name), {}) if is_labelled else {}
        row = describe_function(account, name, moment.levels, dict(throttles), moment.holds)
        return {
            "account": account_name,
            **row,
            "throttles_are_counted": is_labelled,
            "history": self._history.of(account.function_counter(name)),
        }


def _describe_sharing(shared: Shared) -> dict[str, object]:
    """With the age of the sums only where they are old: while they are fresh, nothing is to change by it."""
    described = shared.describe()
    age = described["sums_age_seconds"]
    if isinstance(age, float):
        described["sums_age_seconds"] = int(age) if age >= OLD_SECONDS else 0
    return described
