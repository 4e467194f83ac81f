"""Describes what to prove."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .cluster import Sharing
from .faults.kinds import FaultKind
from .quotas import AccountQuota
from .target import OWN_ACCOUNTS, SERVE
from .wire import HostPort

LONGEST_TIMEOUT_SECONDS = 30.0
CLIENTS = 500

PHASES = ("at the limit", "burst", "hostile", "limit changes", "faults", "final check")
ANY_PORT = HostPort("127.0.0.1", 0)


@dataclass(frozen=True)
class ProvePlan:
    """The plan of a proof.

    gateway, admin: a running gateway, which forwards to `backend_listen`; without them `serve` starts one
    token: the admin token of that gateway
    timeout_seconds: the backend.timeout_seconds of that gateway
    accounts: the limits of a gateway that is started
    sharing: several gateways on one store
    kinds: the faults that are injected into these
    partition_seconds: how long one of them is cut off, if that is longer than its lease
    timeline: the kinds of faults that are recorded second by second
    seconds: for all seeds together; each has at least one round of these `phases`
    clients: of the burst, on the largest account"""

    seeds: Sequence[int]
    seconds: float = 0.0
    clients: int = CLIENTS
    gateway: HostPort | None = None
    admin: HostPort | None = None
    backend_listen: HostPort = ANY_PORT
    timeout_seconds: float | None = None
    accounts: Sequence[AccountQuota] = tuple(OWN_ACCOUNTS)
    sharing: Sharing | None = None
    kinds: Collection[str] = tuple(FaultKind)
    partition_seconds: float = 0.0
    timeline: Collection[str] = (FaultKind.KILLED,)
    phases: Collection[str] = PHASES
    serve: Sequence[str] = SERVE
    token: str | None = None
