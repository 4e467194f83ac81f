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

# A function without limits in the settings: Lambda's operations provision its version.
SPILLING_FUNCTION, SPILLING_VERSION = "prove-spilling", "7"

# A function that one caller alone invokes, whose own limit is below the function's reservation.
LIMITED_FUNCTION, LIMITED_CALLER = "prove-limited", "AKIAPROVELIMITED"

# A provisioned slot serves ten requests a second, and the others spill over. Calls of at least this long stay below.
VERSION_SECONDS = 0.12

# Every slot is filled, with a connection on either side of the gateway.
MOST_SLOTS = 2000


class Unusable(Exception):
    """The gateway cannot be judged. The text names the reason and the cure."""


class QuotaLane(NamedTuple):
    """The slots that a call needs one of: a function's reservation, or its account's unreserved pool.

    functions: what is called, some with a version or an alias
    least_seconds: how long each of these calls runs at least
    caller: the access key id of its calls; None: that of the account
    """

    account: str
    name: str
    ceiling: int
    reason: str
    functions: tuple[str, ...]
    least_seconds: float = 0.0
    caller: str | None = None


class VersionQuota(NamedTuple):
    """The provisioned concurrency of one version of a function.

    version: its number; None: only an alias is known
    aliases: by which it is called as well
    others: the slots of the function's other versions
    """

    version: str | None
    slots: int
    aliases: tuple[str, ...] = ()
    others: int = 0


@dataclass(frozen=True)
class AccountQuota:
    """`reservations`: slots by function. The pool is what they leave (Lambda's rule: no borrowing either way), and what
    is `provisioned` of functions without one.

    A call takes a provisioned slot of its version, then one of what the reservation has beside all provisioned slots.
    So calls of one version alone can use the whole reservation but the slots of other versions, by spilling over; and
    calls without a version only what is not provisioned, used or not. A function is called in one of these ways.

    callers: slots of the caller that alone invokes a function, by the function's name; fewer than its reservation
    """

    account: str
    concurrent_executions: int
    reservations: Mapping[str, int] = field(default_factory=dict)
    provisioned: Mapping[str, VersionQuota] = field(default_factory=dict)
    callers: Mapping[str, int] = field(default_factory=dict)

    @property
    def unreserved(self) -> int:
        taken = sum(
            version.slots + version.others
            for name, version in self.provisioned.items()
            if name not in self.reservations
        )
        return self.concurrent_executions - sum(self.reservations.values()) - taken

    def _make_lane(self, name: str, slots: int) -> QuotaLane:
        if name in self.callers:  # the limit of the caller refuses, with the reason of an account
            slots = self.callers[name]
            return QuotaLane(self.account, name, slots, UNRESERVED_REASON, (name,), caller=LIMITED_CALLER)
        version = self.provisioned.get(name)
        if version is None:
            return QuotaLane(self.account, name, slots, RESERVED_REASON, (name,))
        if version.version is None:
            on_demand = slots - version.slots - version.others
            return QuotaLane(self.account, name, on_demand, RESERVED_REASON, (name,))
        called = tuple(f"{name}:{qualifier}" for qualifier in (version.version, *version.aliases))
        return QuotaLane(self.account, name, slots - version.others, RESERVED_REASON, called, VERSION_SECONDS)

    @property
    def lanes(self) -> list[QuotaLane]:
        reserved = [self._make_lane(name, slots) for name, slots in self.reservations.items()]
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
        provisioned = {row["function"]: _read_version(row) for row in functions if row.get("provisioned")}
        account = AccountQuota(
            described["account"],
            described["concurrent_executions"],
            reservations,
            provisioned,
            _read_callers(described, reservations),
        )
        if account.unreserved != described["unreserved"]["ceiling"]:
            raise Unusable(
                f"/limits contradicts itself: account {account.account} has {account.concurrent_executions} slots, "
                f"{account.concurrent_executions - account.unreserved} of them reserved or provisioned, and "
                f"{described['unreserved']['ceiling']} unreserved"
            )
        accounts.append(account)
    slots = sum(account.concurrent_executions for account in accounts)
    if not 0 < slots <= MOST_SLOTS:
        raise Unusable(f"this gateway has {slots} slots, and all of them must be filled: give it 1 to {MOST_SLOTS}")
    return accounts


def _read_callers(account: Mapping[str, Any], reservations: Mapping[str, int]) -> dict[str, int]:
    """Reads the limit of the one caller that `prove` is. Of a gateway of the user's it knows no access keys."""
    for row in account.get("callers", ()):
        if row["caller"] == LIMITED_CALLER and row["ceiling"] < reservations.get(LIMITED_FUNCTION, 0):
            return {LIMITED_FUNCTION: row["ceiling"]}
    return {}


def _read_version(row: Mapping[str, Any]) -> VersionQuota:
    """Reads the version of a function that is called: the first that is known by its number, else none."""
    versions: list[Mapping[str, Any]] = sorted(row["provisioned"], key=lambda one: not one["version"].isdecimal())
    first = versions[0]
    if any(one["ceiling"] != one["requested"] for one in versions):
        raise Unusable(f"provisioned concurrency of {row['function']} is being allocated: try again when it is READY")
    others = sum(one["requested"] for one in versions[1:])
    if first["version"].isdecimal():
        return VersionQuota(first["version"], first["requested"], tuple(first["aliases"]), others)
    return VersionQuota(None, first["requested"], (first["version"], *first["aliases"]), others)


def count_in_flight(limits: Mapping[str, Any]) -> int:
    """Counts what /limits shows as in flight: of each account the highest number that its rows add up to."""
    total = 0
    for account in limits["accounts"]:
        reserved = sum(row["in_flight"] for row in account["functions"] if row["reserved"])
        total += max(account["in_flight"], account["unreserved"]["in_flight"] + reserved)
    return total
