"""Defines an asynchronous invocation: its request and its progress, and how both become bytes."""

from __future__ import annotations

import msgspec

from ..policy.events.event_rules import Condition, Kind

Headers = list[tuple[bytes, bytes]]

NO_PAYLOAD = b"{}"
"""The event of an invocation without a payload, as AWS records it, for functions and targets."""


class FunctionAnswer(msgspec.Struct, frozen=True):
    """Holds the last answer of the function.

    function_error: None after a success.
    payload: its JSON text.
    """

    status: int
    payload: bytes = b""
    function_error: str | None = None
    executed_version: str | None = None


class Outcome(msgspec.Struct):
    """Holds the end of an event.

    error_code, error_message: as in a dead-letter message.
    answer: None where the function never answered.
    pending: the kinds of targets that have not received the outcome.
    tries: the failed deliveries.
    problem: the reason of the last failed delivery.
    """

    condition: Condition
    ended_at: float
    error_code: int
    error_message: str
    answer: FunctionAnswer | None
    pending: tuple[Kind, ...] = ()
    tries: int = 0
    problem: str = msgspec.field(default="", name="trouble")  # its name where events are kept

    @property
    def is_success(self) -> bool:
        return self.condition == "Success"


class Event(msgspec.Struct):
    """Holds an asynchronous invocation. Times are seconds since the epoch.

    lane: its function's lane, or once it has ended the lane of that function's deliveries.
    path, query, headers: of the synchronous invocation that runs it.
    runs: the failed runs of its function.
    requeues: how often it was put back unrun or after a system error.
    answer: the function's last answer, after a failed run.
    key: the store's name for the event. `request_id` is the client's and need not be unique.
    """

    request_id: str
    account: str
    function: str
    arn: str
    path: bytes
    query: bytes
    headers: Headers
    body: bytes
    received_at: float
    due_at: float
    lane: str
    runs: int = 0
    requeues: int = 0
    answer: FunctionAnswer | None = None
    outcome: Outcome | None = None
    key: bytes | int | None = None

    @property
    def qualifier(self) -> str:
        """Returns the version or alias that was invoked, `$LATEST` if the caller named none."""
        return self.arn.rpartition(":")[2]

    @property
    def size(self) -> int:
        """Returns its approximate size in memory (bytes)."""
        answer = self.outcome.answer if self.outcome is not None else self.answer
        return 1_024 + len(self.body) + (len(answer.payload) if answer is not None else 0)


class _Head(msgspec.Struct, array_like=True, omit_defaults=True):
    """Holds all of an event but its body, which is stored beside it as it came."""

    request_id: str
    account: str
    function: str
    arn: str
    path: bytes
    query: bytes
    headers: Headers
    received_at: float
    due_at: float
    lane: str
    runs: int = 0
    requeues: int = 0
    answer: FunctionAnswer | None = None
    outcome: Outcome | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Head).decode


class UnreadableEvent(Exception):
    """Reports stored bytes that are no event of this version."""


def encode_head(event: Event) -> bytes:
    """Returns all of an event but its body and its key."""
    return _encode(
        _Head(
            event.request_id,
            event.account,
            event.function,
            event.arn,
            event.path,
            event.query,
            event.headers,
            event.received_at,
            event.due_at,
            event.lane,
            event.runs,
            event.requeues,
            event.answer,
            event.outcome,
        )
    )


def decode_event(head: bytes, body: bytes, key: bytes | int) -> Event:
    """Returns the event of an encoded head. Raises `UnreadableEvent`."""
    try:
        h = _decode(head)
    except msgspec.DecodeError as error:
        raise UnreadableEvent(str(error)) from error
    return Event(
        h.request_id, h.account, h.function, h.arn, h.path, h.query, h.headers, body or NO_PAYLOAD, h.received_at,
        h.due_at, h.lane, h.runs, h.requeues, h.answer, h.outcome, key,
    )  # fmt: skip
