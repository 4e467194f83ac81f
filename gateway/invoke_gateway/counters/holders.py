"""Who holds the slots of this process, as plain rows that can be stored, sent and put together with those of others."""

from __future__ import annotations

from typing import Any

import msgspec

from .memory import MemoryCounters


class NoAnswer(Exception):
    """Those who know did not answer; the text says why."""


Row = dict[str, Any]
"""One call: `account`, `function` (None: the pool itself), `request_id`, `caller`, `slots` and `age_seconds`. Or slots
that are held on purpose: `hold` instead of `request_id` and `caller`."""


class Report(msgspec.Struct, frozen=True):
    """What one process holds of one account, or of one of its functions.

    `gateway` is None where counters are in memory, `slots` how many it holds. `rows` are the oldest, as they were
    `listed_seconds_ago`; None says that they are not known. Where counters are shared `seconds_left` is when the slots
    go back unless the gateway is heard, and `is_alive` whether it was heard within half a lease.
    """

    gateway: str | None
    account: str
    slots: int
    rows: list[Row]
    listed_seconds_ago: float | None = 0.0
    seconds_left: float | None = None
    is_alive: bool = True


def account_counter(account: str) -> str:
    return f"{account}/account"


def counter_of(account: str, function: str | None) -> str:
    """The counter that every slot in question holds."""
    return account_counter(account) if function is None else f"{account}/function/{function}"


def accounts_of(counters: MemoryCounters) -> list[str]:
    """The accounts of which this process holds slots."""
    return [account for account, _, kind in (name.partition("/") for name in counters.held()) if kind == "account"]


def list_rows(counters: MemoryCounters, account: str, function: str | None, most: int) -> list[Row]:
    """The `most` oldest slots; those of one hold are one row."""
    rows: list[Row] = []
    seen: set[int] = set()
    for slot, age in counters.oldest_slots(counter_of(account, function), most):
        holder = getattr(slot, "holder", None)  # not there yet where the slot has just been taken
        if holder is not None and id(holder) in seen:
            continue
        seen.add(id(holder))
        row: Row = {
            "account": account,
            "function": slot.own.partition("/function/")[2] or None,
            "slots": 1,
            "age_seconds": round(age, 3),
        }
        rows.append(row | holder.describe_holder() if holder is not None else row)
    return rows


def report_own(
    counters: MemoryCounters, gateway: str | None, accounts: list[str], function: str | None, most: int
) -> list[Report]:
    """What this process holds now. No more than `most` slots of each account are looked at."""
    return [
        Report(
            gateway,
            account,
            counters.in_use(counter_of(account, function)),
            list_rows(counters, account, function, most),
        )
        for account in accounts
    ]
