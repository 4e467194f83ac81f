"""What a gateway was told of sharing its counters, and what it tells of the store."""

from __future__ import annotations

from typing import NamedTuple

from .fallback import Policy


class SharedTerms(NamedTuple):
    """How counters are shared. `keep_seconds`: how much longer than the lease the slots of a dead gateway stay taken;
    `timeout_seconds`: how long the store may take to answer; `gateway`: this gateway's id in the store, which no other
    has (None: one is made)."""

    url: str
    lease_seconds: float = 10.0
    timeout_seconds: float = 0.25
    on_store_failure: Policy = "refuse"
    keep_seconds: float = 0.0
    gateway: str | None = None


class StoreTotals:
    """What the store was asked, since the start. `alone`: calls answered without it, by what they were told."""

    def __init__(self) -> None:
        self.batches = 0
        self.seconds = 0.0
        self.operations = 0
        self.failures = 0
        self.alone = {"refused": 0, "admitted": 0}
