"""Finds values of `outside_concurrency` that leave the gateway no slot."""

from __future__ import annotations

from collections.abc import Iterator

from invoke_gateway.settings.models.accounts import Account
from invoke_gateway.settings.paths import Path, join_key
from invoke_gateway.settings.problems import Finding


def find_outside_contradictions(name: str, account: Account) -> Iterator[Finding]:
    """Finds a number above the slots that functions without a reservation share."""
    outside, pool = account.outside_concurrency, account.concurrent_executions - account.claimed
    if isinstance(outside, str) or outside <= max(pool, 0):
        return
    path: Path = ("accounts", name)
    needs: tuple[Path, ...] = ((*path, "outside_concurrency"), (*path, "concurrent_executions"))
    message = f"is {outside}, and the account has {max(pool, 0)} unreserved slots"
    cure = "lower it, raise concurrent_executions, or reserve fewer slots"
    yield Finding(join_key((*path, "outside_concurrency")), message, cure, needs)
