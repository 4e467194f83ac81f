"""The limits of an account in words, so that gateways that share counters can see that they were told different
ones."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha1

from ...policy.limits import AccountLimits, Limits


def describe_limits(limits: AccountLimits) -> str:
    """What an operator compares first, and a digest of all that functions have of their own."""
    digest = sha1(usedforsecurity=False)
    count = 0
    for name in sorted(limits.functions):
        reserved, rate, _ = limits.functions[name]
        if reserved is not None or rate is not None:
            digest.update(f"{name} {reserved} {rate}\n".encode())
            count += 1
    parts = [
        f"concurrent_executions {limits.concurrent_executions}",
        f"requests_per_second {_or_none(limits.requests_per_second)}",
        f"caller_requests_per_second {_or_none(limits.caller_requests_per_second)}",
        f"{limits.reserved_concurrent_executions} reserved",
        f"{count} functions with limits ({digest.hexdigest()[:8]})",
    ]
    return ", ".join(parts)


class LimitsInWords:
    """`limits` gives the table in force. Each account is put into words once per table."""

    def __init__(self, limits: Callable[[], Limits]) -> None:
        self._limits = limits
        self._known: dict[str, tuple[AccountLimits, str]] = {}
        self._told: dict[str, tuple[str, str]] = {}

    def of(self, account: str) -> str:
        limits = self._limits().of(account)
        known = self._known.get(account)
        if known is None or known[0] is not limits:
            known = self._known[account] = limits, describe_limits(limits)
        return known[1]

    @property
    def differ(self) -> bool:
        """Whether another gateway had other limits of any account when they were last compared."""
        return bool(self._told)

    def compare(self, account: str, other: str, other_words: str) -> str | None:
        """A warning where another gateway has other limits, once for each difference."""
        ours = self.of(account)
        difference = (ours, other_words) if other and other_words != ours else None
        if difference is None:
            self._told.pop(account, None)
            return None
        if self._told.get(account) == difference:
            return None
        self._told[account] = difference
        return (
            f"gateways that share the counters of account {account} have different limits; each goes by its own. "
            f"Here: {ours}. At {other}: {other_words}. Give them the same settings."
        )


def _or_none(rate: float | None) -> str:
    return "off" if rate is None else f"{rate:g}"
