"""What the dispatcher asks of a store of events. A file and a Redis are two ways to keep the same promise:

- `put` returns only when the event survives what the store is there to survive, and raises with nothing kept.
- An event that `fetch` has handed out is *claimed*: nobody is handed it again until `postpone` or `give_back`, or until
  its claimer is dead. `finish` ends it for good.
- Within a lane, events are handed out by `due_at`, then in the order of their coming.

A store knows nothing of functions, retries or outcomes: a lane is a name, and an event bytes with a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

from ..policy.event_rules import Kind
from ..policy.os_text import printable
from .event import Event

StoreErrorKind = Literal["full", "bound", "locked", "damaged", "replaced", "away", "failed"]


class StoreError(Exception):
    """The store could not do it, and nothing of it is kept. `kind` is for metrics; the text says what helps."""

    def __init__(self, kind: StoreErrorKind, text: str) -> None:
        super().__init__(printable(text))
        self.kind = kind


class CannotOpen(Exception):
    """The store cannot be used at all; the text says what helps."""

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))


class LaneBacklog(NamedTuple):
    """What waits in a lane, unclaimed: how many events, how many of them had a run before, the earliest `due_at`, and
    the earliest `received_at`."""

    lane: str
    events: int
    retrying: int
    due_at: float
    received_at: float


class ClaimedEvents(NamedTuple):
    """Claimed events. `next_due_at`: of the earliest one that stays in the lane, also where that is now; None where
    none does."""

    events: list[Event]
    next_due_at: float | None


class Store(Protocol):
    @property
    def problem(self) -> str | None:
        """Why no event can be kept just now, and what helps; None where they can."""

    async def open(self, note_enqueued: Callable[[str, int, float], None]) -> list[LaneBacklog]:
        """Begin; what waits. From now on `hear(lane, events, due_at)` is called, on the event loop, when events come
        into a lane by others than this object: those of other gateways, and the claims of dead ones. Raises
        `CannotOpen`."""

    async def enqueue(self, event: Event) -> None:
        """Keep a new event, durably; sets its `key`, and it is claimed by nobody. Raises `StoreError`."""

    async def enqueue_claimed(self, event: Event) -> None:
        """The same, but claimed by this process from the start. Raises `StoreError`."""

    async def claim_due(self, lane: str, now: float, most: int, most_bytes: int) -> ClaimedEvents:
        """Claim up to `most` events of the lane that are due, of about so many bytes, one at least. Raises
        `StoreError`."""

    def owns_claim(self, event: Event) -> bool | None:
        """Whether a claimed event is still this process's to begin with: it is not where others have taken this one for
        dead. None: that is not known before the store has been heard again."""

    async def ack(self, event: Event) -> None:
        """A claimed event has ended for good. Does not fail: it is tried again until it is done; returns then."""

    async def requeue(self, event: Event) -> None:
        """Write a claimed event back as it is now, into its `lane` at its `due_at`; nobody claims it then. Does not
        fail, as `finish`."""

    async def update(self, event: Event) -> None:
        """Write a claimed event as it is now; it stays claimed. Does not fail, as `finish`."""

    async def release(self, events: list[Event]) -> None:
        """Claim these no longer; they are as they were when they were fetched. Does not fail."""

    async def backlog(self) -> list[LaneBacklog]:
        """What waits in every lane that has something, of all gateways. Raises `StoreError`."""

    async def find(self, request_id: str, most: int) -> list[tuple[Event, bool]]:
        """Events with this request id, and of each whether somebody has claimed it. Raises `StoreError`."""

    async def claim_one(self, key: bytes | int) -> Event | None:
        """Claim one event, due or not; None where it is claimed or gone. Raises `StoreError`."""

    async def oldest(self, lane: str, most: int) -> list[tuple[Event, bool]]:
        """The first events of a lane, claimed ones too; of each whether it is claimed. Raises `StoreError`."""

    async def close(self) -> None:
        """Give back what is claimed, write what is still to be written, and end."""


class DeliveryFailed(Exception):
    """A target did not take a message; the text says why, with what helps. It is tried again."""


class Deliver(Protocol):
    async def __call__(self, kind: Kind, target: str, event: Event) -> None:
        """Tell `target`, a URL of the settings, what became of an event, which has its `outcome`. May be done twice for
        the same event and kind, after a crash. Raises `DeliveryFailed`."""
