"""What to prove."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .cluster import Sharing
from .fault_kinds import Kind
from .quotas import Account
from .target import OWN_ACCOUNTS, SERVE
from .wire import Endpoint

LONGEST_TIMEOUT_SECONDS = 30.0
CLIENTS = 500

PHASES = ("at the limit", "burst", "hostile", "siege", "quiet")
ANY_PORT = Endpoint("127.0.0.1", 0)


@dataclass(frozen=True)
class Plan:
    """What to prove. `gateway` and `admin`: a running gateway, which forwards to `backend_listen`; without them
    one is started by the command `serve`, whose `accounts` and `timeout_seconds` these are; with `sharing`, several,
    which share a store; `kinds` of blows are dealt to these, and one of them is cut off for
    `cut_seconds` if that is longer than its lease; the kinds `around` are recorded second by second. `seconds`: for all
    seeds together; each has at least one round, of these `phases`. `clients`: of the burst, on the largest account."""

    seeds: Sequence[int]
    seconds: float = 0.0
    clients: int = CLIENTS
    gateway: Endpoint | None = None
    admin: Endpoint | None = None
    backend_listen: Endpoint = ANY_PORT
    timeout_seconds: float | None = None
    accounts: Sequence[Account] = tuple(OWN_ACCOUNTS)
    sharing: Sharing | None = None
    kinds: Collection[str] = tuple(Kind)
    cut_seconds: float = 0.0
    around: Collection[str] = (Kind.KILLED,)
    phases: Collection[str] = PHASES
    serve: Sequence[str] = SERVE
