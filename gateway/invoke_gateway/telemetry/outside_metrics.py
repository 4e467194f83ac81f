"""Lists the metrics of callers that do not pass the gateway."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from ..policy.limits import AccountLimits
from .exposition import Family, gauge

_BY_ACCOUNT = ("account",)


class OutsideAges(Protocol):
    """Reads the ages of what is known of these callers."""

    def ages(self) -> Mapping[str, float]: ...


def list_outside(accounts: Iterable[AccountLimits], outside: OutsideAges | None) -> Iterator[Family]:
    """Lists the slots that they use, and the age of each number that is read."""
    yield gauge(
        "outside_concurrency",
        "Slots that callers beside the gateway use, which are no part of the pool; no sample where there are none.",
        _BY_ACCOUNT,
        [((account.account,), account.outside_concurrency) for account in accounts if account.outside_concurrency],
    )
    yield gauge(
        "outside_concurrency_age_seconds",
        "Seconds since the time of the last number of outside_concurrency that was read, from CloudWatch or a command.",
        _BY_ACCOUNT,
        [] if outside is None else [((account,), age) for account, age in outside.ages().items()],
    )
