"""Computes what may run at once, by plain arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

DEFAULT_ACCOUNT = "000000000000"
RESERVED_REASON = "ReservedFunctionConcurrentInvocationLimitExceeded"
UNRESERVED_REASON = "ConcurrentInvocationLimitExceeded"
POOL = "unreserved"
WHOLE = "account"

# Functions that no settings name, so that they share the unreserved pool.
UNRESERVED_FUNCTIONS = ("prove-one", "prove-two")

# A function without a reservation in the settings: Lambda's operations give it one.
CHANGED_FUNCTION = "prove-changed"

# Every slot is filled, with a connection on either side of the gateway.
MOST_SLOTS = 2000


class Unusable(Exception):
    """The gateway cannot be judged. The text names the reason and the cure."""


class QuotaLane(NamedTuple):
    """The slots that a call needs one of: a function's reservation, or its account's unreserved pool."""

    account: str
    name: str
    ceiling: int
    reason: str
    functions: tuple[str, ...]


@dataclass(frozen=True)
class AccountQuota:
    """`reservations`: slots by function. The pool is what they leave (Lambda's rule: no borrowing either way)."""

    account: str
    concurrent_executions: int
    reservations: Mapping[str, int] = field(default_factory=dict)

    @property
    def unreserved(self) -> int:
        return self.concurrent_executions - sum(self.reservations.values())

    @property
    def lanes(self) -> list[QuotaLane]:
        reserved = [
            QuotaLane(self.account, name, slots, RESERVED_REASON, (name,)) for name, slots in self.reservations.items()
        ]
        pool = QuotaLane(self.account, POOL, self.unreserved, UNRESERVED_REASON, UNRESERVED_FUNCTIONS)
        return [pool, *reserved]


def read_accounts(limits: Mapping[str, Any]) -> list[AccountQuota]:
    """Reads the accounts of a gateway's /limits. Raises `Unusable` where they cannot be judged."""
    accounts = []
    for described in limits["accounts"]:
        if described.get("functions_left_out"):
            raise Unusable("/limits does not list all functions of this gateway: give it fewer for this")
        functions = described["functions"]
        reservations = {row["function"]: row["ceiling"] for row in functions if row["reserved"]}
        account = AccountQuota(described["account"], described["concurrent_executions"], reservations)
        if account.unreserved != described["unreserved"]["ceiling"]:
            raise Unusable(
                f"/limits contradicts itself: account {account.account} has {account.concurrent_executions} slots, "
                f"{sum(reservations.values())} of them reserved, and {described['unreserved']['ceiling']} unreserved"
            )
        accounts.append(account)
    slots = sum(account.concurrent_executions for account in accounts)
    if not 0 < slots <= MOST_SLOTS:
        raise Unusable(f"this gateway has {slots} slots, and all of them must be filled: give it 1 to {MOST_SLOTS}")
    return accounts


def count_in_flight(limits: Mapping[str, Any]) -> int:
    """Counts what /limits shows as in flight: of each account the highest number that its rows add up to."""
    total = 0
    for account in limits["accounts"]:
        reserved = sum(row["in_flight"] for row in account["functions"] if row["reserved"])
        total += max(account["in_flight"], account["unreserved"]["in_flight"] + reserved)
    return total
