"""Describes what to prove of events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..cluster import LEASE_SECONDS, Sharing
from ..target import SERVE

CLIENTS = 32
FAULT_COUNT = 5


@dataclass(frozen=True)
class EventsPlan:
    """The plan: `events` are accepted for each seed while `fault_count` faults are injected. With `sharing` several
    gateways have one queue; without it one gateway has a file. `serve` starts a gateway."""

    seeds: Sequence[int]
    events: int
    fault_count: int = FAULT_COUNT
    clients: int = CLIENTS
    sharing: Sharing | None = None
    serve: Sequence[str] = SERVE

    @property
    def gateways(self) -> int:
        return self.sharing.gateways if self.sharing is not None else 1

    @property
    def lease_seconds(self) -> float:
        return self.sharing.lease_seconds if self.sharing is not None else LEASE_SECONDS

    @property
    def target(self) -> str:
        if self.sharing is None:
            return "a gateway started for this, with its queue in a file"
        return f"{self.gateways} gateways started for this, with one queue; lease {self.lease_seconds:g} s"

    @property
    def options(self) -> str:
        """Returns the options that run the same again, without the seeds."""
        sharing = self.sharing.options if self.sharing is not None else ""
        return f" --events {self.events} --fault-count {self.fault_count}{sharing}"
