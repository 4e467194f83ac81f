"""Describes an account's limits in a text, so that gateways on one store can compare them."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha1

from ...policy.caller_limits import CallerRules
from ...policy.limits import AccountLimits, Limits

_REVISION = "control state "
_LASTS = 3  # renewals of ours, in which the other gateway renews at least twice


def describe_limits(limits: AccountLimits) -> str:
    """Returns what operators compare first, and a digest of all that functions have of their own."""
    digest = sha1(usedforsecurity=False)
    count = 0
    for name in sorted(limits.functions):
        reserved, rate, _, growth, _ = limits.functions[name]
        if reserved is not None or rate is not None or growth is not None:
            scaling = "" if growth is None else f" {growth}"
            digest.update(f"{name} {reserved} {rate}{scaling}\n".encode())
            count += 1
    for name in sorted(limits.provisioned_versions):
        for version in limits.provisioned_versions[name]:
            digest.update(f"{name} {version.version} {version.slots} provisioned\n".encode())
    parts = [
        f"concurrent_executions {limits.concurrent_executions}",
        f"requests_per_second {_or_none(limits.requests_per_second)}",
        f"caller_requests_per_second {_or_none(limits.caller_requests_per_second)}",
        f"{limits.reserved_concurrent_executions} reserved",
        f"{count} functions with limits ({digest.hexdigest()[:8]})",
    ]
    if limits.callers is not None and limits.callers.has_limits:
        parts.append(_describe_callers(limits.callers))
    if limits.outside_source is not None:
        parts.append(f"outside_concurrency {limits.outside_source}")
    if limits.control_revision:
        parts.append(f"{_REVISION}{limits.control_revision}")
    return ", ".join(parts)


def _describe_callers(callers: CallerRules) -> str:
    limits = sorted(f"{one.name} {one.concurrent_executions} {one.requests_per_second}" for one in callers.named())
    digest = sha1("\n".join(limits).encode(), usedforsecurity=False)
    return f"{len(limits)} callers with limits ({digest.hexdigest()[:8]})"


def _revision_in(digest: str) -> str:
    """Returns the revision of the control state in a digest; nothing where there is none."""
    return digest.partition(f", {_REVISION}")[2]


class LimitsDigest:
    """Caches the digest of each account, once per table. `limits` returns the table in force."""

    def __init__(self, limits: Callable[[], Limits]) -> None:
        self._limits = limits
        self._known: dict[str, tuple[AccountLimits, str]] = {}
        self._warned: dict[str, tuple[str, str]] = {}
        self._seen: dict[str, tuple[tuple[str, str], int]] = {}

    def of(self, account: str) -> str:
        limits = self._limits().of(account)
        known = self._known.get(account)
        if known is None or known[0] is not limits:
            known = self._known[account] = limits, describe_limits(limits)
        return known[1]

    @property
    def differ(self) -> bool:
        """Returns True where another gateway had other limits when they were last compared."""
        return bool(self._warned)

    def _is_young(self, account: str, difference: tuple[str, str]) -> bool:
        revisions = {_revision_in(digest) for digest in difference}
        before, times = self._seen.get(account, (difference, 0))
        self._seen[account] = difference, times + 1 if before == difference else 1
        return len(revisions) > 1 and self._seen[account][1] < _LASTS

    def compare(self, account: str, other: str, other_digest: str) -> str | None:
        """Returns a warning where another gateway has other limits, once for each difference.

        Where the revisions of the control state differ, a change may be under way. Then only a difference that lasts
        for some renewals counts."""
        ours = self.of(account)
        difference = (ours, other_digest) if other and other_digest != ours else None
        if difference is None:
            self._warned.pop(account, None)
            self._seen.pop(account, None)
            return None
        if self._warned.get(account) == difference or self._is_young(account, difference):
            return None
        self._warned[account] = difference
        return (
            f"Gateways that share the counters of account {account} have different limits, and each applies its own. "
            f"Here: {ours}. At {other}: {other_digest}. Give them the same settings."
        )


def _or_none(rate: float | None) -> str:
    return "off" if rate is None else f"{rate:g}"
