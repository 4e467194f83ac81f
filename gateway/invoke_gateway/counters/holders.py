"""Lists the calls that hold the slots of this process, as rows that can be stored, sent and merged."""

from __future__ import annotations

from typing import Any

import msgspec

from ..policy.counter_names import account_counted_by, counter_of, function_of
from .base import Counters, SlotCounts


class NoAnswer(Exception):
    """The store, or a worker, did not reply. The text has the cause."""


Row = dict[str, Any]
"""One call: `account`, `function` (None: the pool itself), `request_id`, `caller`, `slots` and `age_seconds`. Or slots
that are held on purpose: `hold` instead of `request_id` and `caller`."""


class Report(msgspec.Struct, frozen=True):
    """Describes what one process holds of one account, or of one of its functions.

    gateway: the process's id; None where counters are in memory.
    slots: the number of its slots.
    rows: the oldest slots, as they were `listed_seconds_ago`, which is None where they are not known.
    seconds_left: time until the slots are released, unless the gateway renews its lease; None in memory.
    is_alive: True where the lease was renewed within half of it.
    """

    gateway: str | None
    account: str
    slots: int
    rows: list[Row]
    listed_seconds_ago: float | None = 0.0
    seconds_left: float | None = None
    is_alive: bool = True


def accounts_of(counters: SlotCounts) -> list[str]:
    """Returns the accounts of which this process holds slots."""
    accounts = (account_counted_by(counter) for counter in counters.counts())
    return [account for account in accounts if account is not None]


def list_rows(counters: Counters, account: str, function: str | None, most: int) -> list[Row]:
    """Returns the `most` oldest slots. The slots of one hold are one row. A slot that was just taken may have no holder
    yet, and is left out: a list that is the last of its gateway would show it without a request for ever."""
    rows: list[Row] = []
    seen: set[int] = set()
    for slot, age in counters.oldest_slots(counter_of(account, function), most):
        holder = getattr(slot, "holder", None)
        if holder is None or id(holder) in seen:
            continue
        seen.add(id(holder))
        row: Row = {
            "account": account,
            "function": function_of(slot.function_counter),
            "slots": 1,
            "age_seconds": round(age, 3),
        }
        rows.append(row | holder.describe_holder())
    return rows


def report_own(
    counters: Counters, gateway: str | None, accounts: list[str], function: str | None, most: int
) -> list[Report]:
    """Returns what this process holds now. At most `most` slots of each account are listed."""
    return [
        Report(
            gateway,
            account,
            counters.in_use(counter_of(account, function)),
            list_rows(counters, account, function, most),
        )
        for account in accounts
    ]
