"""Declares how counters are shared, and the totals of the store."""

from __future__ import annotations

from typing import NamedTuple

from .fallback import Policy


class SharedConfig(NamedTuple):
    """Configures shared counters.

    keep_seconds: time after its lease for which a dead gateway's slots stay taken.
    timeout_seconds: the bound on each of the store's replies.
    gateway: this gateway's id, unique in the store; None generates one.
    expected_gateways: the most gateways that run at once; None where that is not known.
    workers: the processes of this gateway, which have ids of one group.
    """

    url: str
    lease_seconds: float = 10.0
    timeout_seconds: float = 0.25
    on_store_failure: Policy = "refuse"
    keep_seconds: float = 0.0
    gateway: str | None = None
    expected_gateways: int | None = None
    workers: int = 1


class StoreTotals:
    """Counts the requests to the store since the start. `fallback`: calls decided without it, by decision."""

    def __init__(self) -> None:
        self.batches = 0
        self.seconds = 0.0
        self.operations = 0
        self.failures = 0
        self.fallback = {"refused": 0, "admitted": 0}
