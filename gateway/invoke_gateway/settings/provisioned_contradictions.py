"""Finds provisioned concurrency that its function's reservation, or its account, has no room for."""

from __future__ import annotations

from collections.abc import Iterator

from invoke_gateway.settings.models.accounts import Account
from invoke_gateway.settings.models.provisioned import find_provisioned_sums
from invoke_gateway.settings.paths import join_key
from invoke_gateway.settings.problems import Finding

_KEY = "provisioned_concurrent_executions"


def find_provisioned_contradictions(name: str, account: Account) -> Iterator[Finding]:
    """Finds all contradictions of one account."""
    path = ("accounts", name)
    from_pool = []
    for function, slots in find_provisioned_sums(account.functions):
        reserved = account.functions[function].reserved_concurrent_executions
        if reserved is None:
            from_pool.append(function)
        elif slots > reserved:
            place = (*path, "functions", function)
            text = f"provisions {slots} slots, more than reserved_concurrent_executions ({reserved})"
            cure = f"provision {reserved} slots at most, or raise reserved_concurrent_executions to {slots}"
            needs = ((*place, _KEY), (*place, "reserved_concurrent_executions"))
            yield Finding(join_key((*place, _KEY)), text, cure, needs)
    left = account.concurrent_executions - account.claimed
    if from_pool and left < account.floor <= account.concurrent_executions - account.reserved:
        text = (
            "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
            f"minimum value of [{account.floor}]."
        )
        cure = (
            f"{_KEY} of functions without a reservation leaves {left} unreserved slots: "
            f"provision {account.floor - left} fewer, or raise concurrent_executions by as many"
        )
        yield Finding(
            join_key((*path, "functions", from_pool[-1], _KEY)), text, cure, ((*path, "concurrent_executions"),)
        )
