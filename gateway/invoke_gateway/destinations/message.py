"""Defines the content of a delivery, before each kind of target encodes it."""

from __future__ import annotations

from typing import NamedTuple

from ..policy.events.event_rules import Kind
from ..queue.event import Event
from ..queue.outcomes.destination_records import Attributes, delivery_id, make_attributes, make_record


class Message(NamedTuple):
    """Holds a message.

    id: repeated deliveries of the same outcome share it.
    body: the record of a destination, or the event of a dead-letter message.
    attributes: of a dead-letter message; None for a record.
    """

    kind: Kind
    event: Event
    id: str
    body: bytes
    attributes: Attributes | None


def make_message(kind: Kind, event: Event) -> Message:
    identity = delivery_id(kind, event)
    if kind == "dead_letter_queue":
        return Message(kind, event, identity, event.body, make_attributes(event))
    return Message(kind, event, identity, make_record(event), None)
