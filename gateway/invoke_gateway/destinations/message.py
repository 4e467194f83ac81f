"""What a target is told of an event, before each kind of target says it in its own way."""

from __future__ import annotations

from typing import NamedTuple

from ..policy.event_rules import Kind
from ..queue.event import Event
from ..queue.records import Attributes, delivery_id, make_attributes, make_record


class Message(NamedTuple):
    """`body` is the record of a destination; of a dead-letter message it is the event's own, and only such a message
    has `attributes`. `id` is the same when the same is told again."""

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
