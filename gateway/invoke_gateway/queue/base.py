"""Defines the protocol of an event store. A file and a Redis implement the same promises.

- `enqueue` returns once the event is durable; where it raises, nothing is stored.
- An event that `claim_due` or `claim_one` returned is *claimed*. No other claim returns it until `requeue` or
  `release`, or until its owner has died. `ack` removes it.
- The events of a lane are claimed by `due_at`, then in the order of their arrival.

A store has no functions, retries or outcomes: a lane is a name, and an event is bytes with a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

from ..policy.events.event_rules import Kind
from ..policy.os_text import printable
from .event import Event

StoreErrorKind = Literal["full", "bound", "locked", "damaged", "replaced", "unavailable", "failed"]


class StoreError(Exception):
    """Reports that the store could not do it and stored nothing. `kind` is for metrics; the text has the action."""

    def __init__(self, kind: StoreErrorKind, text: str) -> None:
        super().__init__(printable(text))
        self.kind = kind


class CannotOpen(Exception):
    """Reports that the store cannot be used at all; the text has the action."""

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))


class LaneBacklog(NamedTuple):
    """Counts the unclaimed events of a lane.

    events: all unclaimed ones.
    retrying: those that have run before.
    due_at: the earliest `due_at` (seconds since the epoch).
    received_at: the earliest `received_at`.
    """

    lane: str
    events: int
    retrying: int
    due_at: float
    received_at: float


class ClaimedEvents(NamedTuple):
    """Holds claimed events.

    next_due_at: of the earliest event that stays in the lane, due or not; None for an empty lane.
    """

    events: list[Event]
    next_due_at: float | None


class Store(Protocol):
    @property
    def problem(self) -> str | None:
        """Returns why no event can be stored at present, with the action; None where events can be stored."""

    async def open(self, note_enqueued: Callable[[str, int, float], None]) -> list[LaneBacklog]:
        """Opens the store and returns its backlog.

        note_enqueued: called on the event loop as `note_enqueued(lane, events, due_at)`, for events that another
            gateway has enqueued, and for events that a dead gateway had claimed.

        Raises `CannotOpen`.
        """

    async def enqueue(self, event: Event) -> None:
        """Stores a new event durably, sets its `key`, and leaves it unclaimed. Raises `StoreError`."""

    async def enqueue_claimed(self, event: Event) -> None:
        """Stores a new event durably and claims it for this process. Raises `StoreError`."""

    async def claim_due(self, lane: str, now: float, most: int, most_bytes: int) -> ClaimedEvents:
        """Claims due events of a lane: at most `most` of them, of about `most_bytes`, and at least one.

        Raises `StoreError`.
        """

    def owns_claim(self, event: Event) -> bool | None:
        """Returns whether this process still owns the claim of an event.

        It does not once other gateways have taken this one for dead. None means that the store must reply first.
        """

    async def ack(self, event: Event) -> None:
        """Removes a claimed event. Never fails: it is retried, and returns once it is done."""

    async def requeue(self, event: Event) -> None:
        """Writes a claimed event back into its `lane` at its `due_at`, unclaimed. Never fails, as `ack`."""

    async def update(self, event: Event) -> None:
        """Writes a claimed event as it is now; the event stays claimed. Never fails, as `ack`."""

    async def release(self, events: list[Event]) -> None:
        """Gives up the claims of events, which stay as they were when they were claimed. Never fails."""

    async def backlog(self) -> list[LaneBacklog]:
        """Returns the backlog of every lane that is not empty, of all gateways. Raises `StoreError`."""

    async def find(self, request_id: str, most: int) -> list[tuple[Event, bool]]:
        """Returns the events of a request id, each with whether it is claimed. Raises `StoreError`."""

    async def claim_one(self, key: bytes | int) -> Event | None:
        """Claims one event, due or not; None where it is claimed or gone. Raises `StoreError`."""

    async def oldest(self, lane: str, most: int) -> list[tuple[Event, bool]]:
        """Returns the first events of a lane, claimed or not, each with whether it is claimed. Raises `StoreError`."""

    async def close(self) -> None:
        """Releases all claims, writes all pending changes, and closes the store."""


class DeliveryFailed(Exception):
    """Reports that a target did not take a message, with the cause and the action. The delivery is retried."""


class Deliver(Protocol):
    async def __call__(self, kind: Kind, target: str, event: Event) -> None:
        """Delivers the outcome of an event to `target`, a URL of the settings.

        After a crash the same outcome may be delivered twice. Raises `DeliveryFailed`.
        """
