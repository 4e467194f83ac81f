"""Makes destination records and dead-letter messages of ended events, in AWS's own shapes.

Sources: recordings of AWS's destination records and dead-letter messages, and Lambda's developer guide on records of
asynchronous invocations. Payloads go into a record as their bytes, so that numbers keep their digits and objects the
order of their keys.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from ...policy.events.event_rules import Kind
from ...policy.payloads.json_members import find_string
from ...policy.payloads.json_text import find_json_error
from ..event import Event, Outcome

MOST_ERROR_MESSAGE_BYTES = 1024
FUNCTION_ERROR = 200  # the status with which a function error is answered, so a dead-letter message's ErrorCode of one

# Code points that are no characters of XML 1.0, so SQS refuses them; and surrogates, which UTF-8 cannot encode.
# (The set of all others would take `re` ten times as long to compile, at each start.)
NO_CHARACTER = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# Control characters without white space: a text has none.
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
    """Returns the record for a destination: one JSON object. The event must have its `outcome`.

    approximateInvokeCount is the number of runs: the failed ones (`event.runs`), and one more after a success.
    Throttles and system errors are no runs. An event that met a reservation of 0 has 0 and no response, as recorded,
    even if it ran before. Where the backend did not name the version that ran, executedVersion is `$LATEST`.
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
    """Returns the attributes of a dead-letter message, whose body is the event's own: texts are Strings, the number a
    Number.

    ErrorMessage is the function's own `errorMessage` after a function error that has one, else the outcome's text. It
    has at most 1024 bytes of UTF-8, is never empty, and has only characters that SQS takes.
    """
    outcome = _outcome_of(event)
    message = outcome.error_message
    if outcome.error_code == FUNCTION_ERROR and outcome.answer is not None:
        message = find_string(outcome.answer.payload, (b"errorMessage",)) or message
    shown = _truncate(NO_CHARACTER.sub("\ufffd", message or outcome.condition), MOST_ERROR_MESSAGE_BYTES)
    return {"RequestID": event.request_id, "ErrorCode": outcome.error_code, "ErrorMessage": shown}


def delivery_id(kind: Kind, event: Event) -> str:
    """Returns an id that repeated deliveries of the same outcome share.

    It includes the time of arrival, because clients choose request ids, and two events may have the same one.
    """
    return f"{event.request_id}-{kind}-{int(event.received_at * 1_000_000):x}"


def qualify(arn: str) -> str:
    """Returns the function's ARN with its qualifier, `$LATEST` where it has none."""
    return arn if arn.count(":") >= _ARN_PARTS else f"{arn}:$LATEST"


def _outcome_of(event: Event) -> Outcome:
    if event.outcome is None:
        raise ValueError(f"the event {event.request_id} has not ended")
    return event.outcome


def _truncate(text: str, most_bytes: int) -> str:
    """Returns as many whole characters as fit into so many bytes of UTF-8."""
    return text.encode()[:most_bytes].decode(errors="ignore")


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _embed(payload: bytes, empty: bytes) -> msgspec.Raw:
    """Returns the payload as part of a JSON text.

    A payload that is no JSON, which only a backend can cause, becomes a string: its text, or base64 of what is no text.
    """
    if not payload.strip():
        return msgspec.Raw(empty)
    if find_json_error(payload) is None:
        return msgspec.Raw(payload)
    try:
        return msgspec.Raw(_encode(payload.decode()))
    except UnicodeDecodeError:
        is_text = len(payload.translate(None, _IN_NO_TEXT)) == len(payload)
        # msgspec encodes bytes as base64.
        return msgspec.Raw(_encode(payload.decode(errors="replace") if is_text else payload))
