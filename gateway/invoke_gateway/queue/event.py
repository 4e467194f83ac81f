"""One asynchronous invocation: what is kept of its request, and how far it has got."""

from __future__ import annotations

import msgspec

from ..policy.event_rules import Condition, Kind

Headers = list[tuple[bytes, bytes]]

NO_PAYLOAD = b"{}"
"""Stands for the event of an invocation without a payload, as AWS records it, for functions and targets."""


class FunctionAnswer(msgspec.Struct, frozen=True):
    """What the function answered last. `function_error` is None where it succeeded; `payload` is its JSON text."""

    status: int
    payload: bytes = b""
    function_error: str | None = None
    executed_version: str | None = None


class Outcome(msgspec.Struct):
    """How an event ended. `error_code` and `error_message` are what a dead-letter message says; `answer` is None where
    the function never answered. `pending`: whom to tell still; `tries`: how often telling failed; `trouble`: why."""

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
    """Times are seconds since the epoch. `lane` is where it waits: its function's counter, or the deliveries of that
    function once it has ended. `path`, `query` and `headers` are those of the synchronous invocation that runs it;
    `runs` counts how often the function was run and failed, `returns` how often it came back unrun or by a system
    error; `answer` is the function's last, where it has failed. `key` is the store's own name for it, `request_id` is
    the client's and need not be unique."""

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
    def size(self) -> int:
        """Bytes of memory, about."""
        answer = self.outcome.answer if self.outcome is not None else self.answer
        return 1_024 + len(self.body) + (len(answer.payload) if answer is not None else 0)


class _Head(msgspec.Struct, array_like=True, omit_defaults=True):
    """All of an event but its body, which is stored beside it as it came."""

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
    """What the store holds is no event of this version."""


def encode_head(event: Event) -> bytes:
    """All of the event but its body and its key."""
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
    """The event whose head was encoded. Raises `UnreadableEvent`."""
    try:
        h = _decode(head)
    except msgspec.DecodeError as error:
        raise UnreadableEvent(str(error)) from error
    return Event(
        h.request_id, h.account, h.function, h.arn, h.path, h.query, h.headers, body or NO_PAYLOAD, h.received_at,
        h.due_at, h.lane, h.runs, h.requeues, h.answer, h.outcome, key,
    )  # fmt: skip
