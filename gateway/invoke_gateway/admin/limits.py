"""Makes the document of `/limits`: limits, slots in use, throttles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..counters.base import SlotCounts
from ..policy.limits import AccountLimits, Limits
from ..telemetry.totals import Totals


class Everywhere:
    """Reads the slots of all gateways from the store's sums, and at least those of this one, which are newer."""

    def __init__(self, here: SlotCounts, sums: Mapping[str, int]) -> None:
        self.here = here
        self._sums = sums

    def in_use(self, counter: str) -> int:
        return max(self._sums.get(counter, 0), self.here.in_use(counter))

    def oldest_seconds(self, counter: str) -> float:
        return self.here.oldest_seconds(counter)

    def counts(self) -> dict[str, int]:
        held = dict(self._sums)
        for counter, slots in self.here.counts().items():
            if slots > held.get(counter, 0):
                held[counter] = slots
        return held


def count_in_flight(levels: SlotCounts, counter: str) -> dict[str, object]:
    """Counts `in_flight`; over several gateways also `in_flight_here`."""
    counted: dict[str, object] = {"in_flight": levels.in_use(counter)}
    if isinstance(levels, Everywhere):
        counted["in_flight_here"] = levels.here.in_use(counter)
    return counted


def describe_limits(
    limits: Limits,
    levels: SlotCounts,
    totals: Totals,
    rows: int,
    holds: Mapping[str, int],
    sums: Mapping[str, int] | None = None,
) -> list[dict[str, object]]:
    """Describes each account, with at most `rows` functions: the busiest first, then in the order of the settings.

    holds: the held slots of each counter, which are in flight as well
    sums: the slots of all gateways, where counters are shared
    """
    if sums is not None:
        levels = Everywhere(levels, sums)
    held = levels.counts()
    return [_describe_account(account, levels, held, totals, rows, holds) for account in limits.all()]


def _describe_account(
    account: AccountLimits,
    levels: SlotCounts,
    held: dict[str, int],
    totals: Totals,
    rows: int,
    holds: Mapping[str, int],
) -> dict[str, object]:
    throttles: Counter[str] = Counter()
    by_label: dict[str, dict[str, int]] = {}
    for (name, label), counts in list(totals.functions.items()):
        if name == account.account:
            by_label[label] = dict(counts.throttles)
            throttles.update(counts.throttles)
    functions = _pick_functions(account, held, rows)
    return {
        "account": account.account,
        "concurrent_executions": account.concurrent_executions,
        **count_in_flight(levels, account.account_counter),
        "holds": holds.get(account.account_counter, 0),
        **({"outside_concurrency": account.outside_concurrency} if account.outside_concurrency else {}),
        "unreserved": {
            "ceiling": account.unreserved_concurrent_executions,
            **count_in_flight(levels, account.pool_counter),
            "holds": holds.get(account.pool_counter, 0),
        },
        "throttles": dict(throttles),
        "functions": [describe_function(account, name, levels, by_label.get(name, {}), holds) for name in functions],
        "functions_left_out": max(0, _count_functions(account, held) - len(functions)),
        **describe_callers(account, levels, rows),
    }


def describe_callers(account: AccountLimits, levels: SlotCounts, most: int) -> dict[str, object]:
    """Describes the callers that have a ceiling of slots, the fullest first; nothing where none has."""
    if account.callers is None or not account.callers.limited:
        return {}
    rows = [
        {
            "caller": name,
            **count_in_flight(levels, counter),
            "ceiling": ceiling,
            "oldest_seconds": round(levels.oldest_seconds(counter), 3),
        }
        for name, counter, ceiling in account.callers.list_ceilings(levels.in_use)
    ]
    rows.sort(key=_sort_callers)
    return {"callers": rows[:most], "callers_left_out": max(0, len(rows) - most)}


def _sort_callers(row: dict[str, Any]) -> tuple[float, str]:
    return -row["in_flight"] / max(row["ceiling"], 1), row["caller"]


def _running(account: AccountLimits, held: dict[str, int]) -> dict[str, int]:
    prefix = account.function_counter("")
    return {name.removeprefix(prefix): count for name, count in held.items() if name.startswith(prefix)}


def _pick_functions(account: AccountLimits, held: dict[str, int], rows: int) -> list[str]:
    running = _running(account, held)
    picked = sorted(running, key=lambda name: (-running[name], name))[:rows]
    for name in account.functions:
        if len(picked) >= rows:
            break
        if name not in running:
            picked.append(name)
    return picked


def _count_functions(account: AccountLimits, held: dict[str, int]) -> int:
    unknown = sum(name not in account.functions for name in _running(account, held))
    return len(account.functions) + unknown


def describe_function(
    account: AccountLimits, name: str, levels: SlotCounts, throttles: dict[str, int], holds: Mapping[str, int]
) -> dict[str, object]:
    """Describes one function of an account, which need not be in the settings."""
    counter = account.function_counter(name)
    limits = account.functions.get(name)
    provisioned = _describe_provisioned(account, name, levels)
    return {
        "function": name,
        **count_in_flight(levels, counter),
        "holds": holds.get(counter, 0),
        "ceiling": account.ceiling(name),
        "reserved": limits is not None and limits.reserved_concurrent_executions is not None,
        "set_by": account.set_by(name),
        "oldest_seconds": round(levels.oldest_seconds(counter), 3),
        "throttles": throttles,
        **({"provisioned": provisioned} if provisioned else {}),
    }


def _describe_provisioned(account: AccountLimits, name: str, levels: SlotCounts) -> list[dict[str, object]]:
    """Describes the provisioned concurrency of each version: requested, allocated and in use."""
    return [
        {
            "version": version.version,
            "aliases": [qualifier for qualifier in version.qualifiers if qualifier != version.version],
            "requested": version.slots,
            "ceiling": version.allocated,
            "set_by": account.provisioned_set_by(name),
            **count_in_flight(levels, account.provisioned_counter(name, version.version)),
        }
        for version in account.provisioned_versions.get(name, ())
    ]
