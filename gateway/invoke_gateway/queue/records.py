"""What a destination and a dead-letter queue are told of an event that has ended, in AWS's own shapes.

Sources: recordings of AWS's destination records and dead-letter messages, and Lambda's developer guide on records of
asynchronous invocations. Payloads go into a record as the bytes they are, so that numbers keep their digits and objects
the order of their keys.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from ..policy.event_rules import Kind
from ..policy.json_members import find_string
from ..policy.json_text import find_json_error
from .event import Event, Outcome

MOST_ERROR_MESSAGE_BYTES = 1024
FUNCTION_ERROR = 200  # the status with which a function error is answered, so a dead-letter message's ErrorCode of one

# What XML 1.0 has no character for, and so SQS refuses; also the halves of surrogate pairs, which UTF-8 has none for.
NO_CHARACTER = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Control characters but white space: text has none.
_IN_NO_TEXT = bytes(set(range(0x20)) - set(b"\t\n\f\r"))
_ARN_PARTS = 7  # without a qualifier
_UNTOLD_VERSION = "$LATEST"

Attributes = dict[str, str | int]

_encode = msgspec.json.Encoder().encode


class _Context(msgspec.Struct):
    requestId: str
    functionArn: str
    condition: str
    approximateInvokeCount: int


class _ResponseContext(msgspec.Struct, omit_defaults=True):
    statusCode: int
    executedVersion: str
    functionError: str | None = None


class _Record(msgspec.Struct):
    version: str
    timestamp: str
    requestContext: _Context
    requestPayload: msgspec.Raw
    responseContext: _ResponseContext | msgspec.UnsetType = msgspec.UNSET
    responsePayload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def make_record(event: Event) -> bytes:
    """The record that a destination is given: one JSON object. The event has its `outcome`.

    approximateInvokeCount is how often the function was run: its failed runs (`event.runs`), and one more where the
    last one succeeded, which `runs` does not count. What was throttled, or met a system error, was not run. An event
    that met a reservation of 0 has 0 and nothing of a response, as recorded, also where it was run before the
    reservation became 0. Where the backend did not say which version ran, executedVersion is `$LATEST`.
    """
    outcome = _outcome_of(event)
    was_never_run = outcome.condition == "ZeroReservedConcurrency"
    runs = 0 if was_never_run else event.runs + outcome.is_success
    record = _Record(
        version="1.0",
        timestamp=_timestamp(outcome.ended_at),
        requestContext=_Context(event.request_id, qualify(event.arn), outcome.condition, runs),
        requestPayload=_embed(event.body, empty=b"{}"),
    )
    answer = outcome.answer
    if answer is not None and not was_never_run:
        version = answer.executed_version or _UNTOLD_VERSION
        record.responseContext = _ResponseContext(answer.status, version, answer.function_error)
        record.responsePayload = _embed(answer.payload, empty=b"null")
    return _encode(record)


def make_attributes(event: Event) -> Attributes:
    """The attributes of a dead-letter message, whose body is the event's own: texts are Strings, the number a Number.

    ErrorMessage is the function's own `errorMessage` where the event ended with a function error that has one, else
    the outcome's text; at most 1024 bytes of UTF-8, never empty, and without what SQS takes for no character.
    """
    outcome = _outcome_of(event)
    message = outcome.error_message
    if outcome.error_code == FUNCTION_ERROR and outcome.answer is not None:
        message = find_string(outcome.answer.payload, (b"errorMessage",)) or message
    shown = _truncate(NO_CHARACTER.sub("\ufffd", message or outcome.condition), MOST_ERROR_MESSAGE_BYTES)
    return {"RequestID": event.request_id, "ErrorCode": outcome.error_code, "ErrorMessage": shown}


def delivery_id(kind: Kind, event: Event) -> str:
    """What is the same when the same thing is told again, and only then. The time of its coming is part of it because
    clients choose request ids, and an event must not be taken for another's repetition."""
    return f"{event.request_id}-{kind}-{int(event.received_at * 1_000_000):x}"


def qualify(arn: str) -> str:
    """The function's ARN with its qualifier, `$LATEST` where it has none."""
    return arn if arn.count(":") >= _ARN_PARTS else f"{arn}:$LATEST"


def _outcome_of(event: Event) -> Outcome:
    if event.outcome is None:
        raise ValueError(f"the event {event.request_id} has not ended")
    return event.outcome


def _truncate(text: str, most_bytes: int) -> str:
    """As much of the text as so many bytes of UTF-8 hold, in whole characters."""
    return text.encode()[:most_bytes].decode(errors="ignore")


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _embed(payload: bytes, empty: bytes) -> msgspec.Raw:
    """Return the payload as part of a JSON text; where it is none, which only a backend can cause, as a string of that:
    of the text, or of base64 where it is no text."""
    if not payload.strip():
        return msgspec.Raw(empty)
    if find_json_error(payload) is None:
        return msgspec.Raw(payload)
    try:
        return msgspec.Raw(_encode(payload.decode()))
    except UnicodeDecodeError:
        is_text = len(payload.translate(None, _IN_NO_TEXT)) == len(payload)
        # Of bytes that are no text, msgspec makes base64.
        return msgspec.Raw(_encode(payload.decode(errors="replace") if is_text else payload))
