"""Maps each lane of a store to the origin of the backend for which its events were accepted.

A lane's name begins with the origin, so events of another backend are never claimed: they are held until an operator
adopts them. The same holds for events of an account that the settings no longer name. Lanes without an origin are of a
file that an earlier version wrote; their backend is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from ..policy.limits import DEFAULT_ACCOUNT
from .base import LaneBacklog
from .event import Event
from .scheduling.lanes import QueueKind, name_lane, split_lane

UNKNOWN = "unknown"
"""Names the origin of lanes without one."""


class Held(NamedTuple):
    """Counts the held events of one origin, with the time when the first was accepted (seconds since the epoch)."""

    origin: str
    events: int
    received_at: float


class Origin:
    """Holds the origin of this gateway.

    has_account: returns whether the settings name an account; one that a reload removes stays until the next start.

    Without a name all lanes without an origin are this gateway's.
    """

    def __init__(self, name: str = "", *, has_account: Callable[[str], bool] = lambda account: True) -> None:
        self.name = name
        self._find_account = has_account
        self._accounts: set[str] = set()  # that the settings have named since the start

    def is_ours(self, lane: str) -> bool:
        origin, account, _, _ = split_lane(lane)
        return origin == self.name and self._has_account(account)

    def _has_account(self, account: str) -> bool:
        if account in self._accounts:
            return True
        if self._find_account(account):
            self._accounts.add(account)
            return True
        return False

    def own(self, event: Event) -> None:
        """Puts an event into the lane of this origin, unless it is there."""
        origin, account, work, function = split_lane(event.lane)
        if origin != self.name:
            event.lane = self.name_lane(account, work, function)

    def name_lane(self, account: str, work: QueueKind, function: str) -> str:
        return name_lane(account, work, function, self.name)

    def adopt(self, event: Event, now: float) -> None:
        """Makes a held event this gateway's.

        Its age begins now, since it was held on purpose. An account without settings becomes the default one.
        """
        _, account, work, function = split_lane(event.lane)
        if not self._has_account(account):
            account = event.account = DEFAULT_ACCOUNT
        event.lane = self.name_lane(account, work, function)
        if work is QueueKind.RUN:
            event.received_at = now
            event.due_at = min(event.due_at, now)

    def sum_held(self, waiting: Iterable[LaneBacklog]) -> list[Held]:
        """Returns the held events by origin, the one with most events first."""
        sums: dict[str, Held] = {}
        for row in waiting:
            if not self.is_ours(row.lane):
                name = describe_origin(row.lane)
                had = sums.get(name, Held(name, 0, row.received_at))
                sums[name] = Held(name, had.events + row.events, min(had.received_at, row.received_at))
        return sorted(sums.values(), key=lambda held: (-held.events, held.origin))


def describe_backend(url: str, region: str) -> str:
    """Returns the origin that events keep of their backend: scheme, host and port, and the Region of their ARNs."""
    if url == "demo":
        return "demo"
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port} in {region}"


def describe_origin(lane: str) -> str:
    return split_lane(lane).origin or UNKNOWN
