"""Classifies the end of a run, an answer of the backend or a fault, by its meaning for the event."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from typing import Literal, NamedTuple

import msgspec

from ...backend_errors import (
    BackendConnectTimeout,
    BackendError,
    BackendFirstByteTimeout,
    BackendIdleTimeout,
    BackendTimeout,
    BackendUnreachable,
    BackendUntrusted,
    IdentityRefused,
    NoCredentials,
)
from ...policy.concurrency import Claim, LimitReached, Plan, list_limited_counters
from ...policy.events.function_errors import UNNAMED, FunctionErrors
from ...policy.events.retryable_responses import RunVerdict, find_error_code, judge_answer
from ...policy.payloads.content_coding import CannotDecode, DecodedTooLarge, read_payload, wrap
from ...policy.payloads.json_members import find_string
from ...policy.payloads.payload import make_too_large_error
from ..event import FunctionAnswer

_NOT_REACHED = (BackendUnreachable, BackendConnectTimeout, BackendUntrusted, NoCredentials)
_FOR_OPERATORS = (BackendUntrusted, NoCredentials)
_TOO_LONG = (BackendTimeout, BackendFirstByteTimeout, BackendIdleTimeout)

# How backends spell the text of an error: AWS in two ways, runtimes, FastAPI, and others.
_MESSAGES = (b"message", b"Message", b"errorMessage", b"detail", b"error")
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_MOST_TEXT = 4096  # characters of a text that is kept, or bytes of one that is no JSON; a dead letter has room for less


class RunResult(NamedTuple):
    """Holds the outcome of a run.

      ok             the function succeeded
      error          it ran and failed, or took too long
      returned       the backend was throttled or failed: this event is retried later
      misconfigured  the same, until an operator follows `remedy`
      refused        no slot, at `counters` where they are limits of slots: its lane waits
      unreachable    neither the backend nor the counters reply: its lane waits, until `remedy` where there is one
      rejected       the backend will never run it

    answer: the function's.
    code, message: as in a dead-letter message.
    """

    kind: Literal["ok", "error", "returned", "misconfigured", "refused", "unreachable", "rejected"]
    answer: FunctionAnswer | None = None
    code: int = 200
    message: str = ""
    counters: tuple[str, ...] = ()
    remedy: str | None = None


def judge_full(full: LimitReached, plan: Plan) -> RunResult:
    """Returns the result of a run that found no slot."""
    if not isinstance(full.claim, Claim):  # the shared counters are unavailable
        return RunResult("unreachable", code=500, message=full.claim.refusal.message)
    counters = (full.claim.counter,) if len(plan.lanes) == 1 else list_limited_counters(plan)
    named = tuple(counter or plan.function_counter for counter in counters)
    return RunResult("refused", code=429, message="Rate Exceeded.", counters=named)


def judge_fault(fault: BackendError) -> RunResult:
    """Returns the result of a run that the backend did not answer."""
    if isinstance(fault, IdentityRefused):
        return RunResult("misconfigured", code=403, message=str(fault), remedy=str(fault))
    if isinstance(fault, _NOT_REACHED):
        remedy = str(fault) if isinstance(fault, _FOR_OPERATORS) else None  # time mends the others
        return RunResult("unreachable", code=500, message=str(fault), remedy=remedy)
    if isinstance(fault, _TOO_LONG):  # it ran for too long, which Lambda counts as the function's error
        payload = msgspec.json.encode({"errorType": "Sandbox.Timedout", "errorMessage": str(fault)})
        return RunResult("error", FunctionAnswer(200, payload, UNNAMED), message=str(fault))
    return RunResult("returned", code=500, message=str(fault))


def judge_response(
    status: int, headers: Mapping[bytes, bytes], body: bytes, function_errors: FunctionErrors, limit: int
) -> RunResult:
    """Returns the result of a response.

    headers: by lower-case name.
    limit: the bound on a decoded payload (bytes).
    """
    is_success = 200 <= status < 300
    version = _text(headers.get(b"x-amz-executed-version"))
    problem = ""
    try:
        payload = read_payload(headers, body, limit)
    except CannotDecode as reason:
        payload, problem = wrap(body), f"The answer's content encoding cannot be read: {reason}."
    except DecodedTooLarge:
        if is_success:
            return RunResult("error", FunctionAnswer(200, make_too_large_error(limit), UNNAMED, version))
        payload = b""
    error = function_errors.find(status, headers, payload)
    if error is not None:
        # Lambda answers 200 for every function error.
        answer = FunctionAnswer(status if is_success else 200, error.payload, error.name, version)
        return RunResult("error", answer, message=problem or _read_text(error.payload))
    if is_success:
        return RunResult("ok", FunctionAnswer(status, payload, None, version))
    return _judge_refusal(status, headers, payload)


def _judge_refusal(status: int, headers: Mapping[bytes, bytes], payload: bytes) -> RunResult:
    code = find_error_code(headers, payload)
    rule = judge_answer(status, code, location=_text(headers.get(b"location")))
    message = find_string(payload, _MESSAGES) or _read_text(payload) or f"The backend answered {status}."
    message = message[:_MOST_TEXT]
    match rule.verdict:
        case RunVerdict.THROTTLED:
            return RunResult("returned", code=429, message=message)
        case RunVerdict.AGAIN:
            return RunResult("returned", code=status, message=message)
        case RunVerdict.MISCONFIGURED:
            remedy = f"the backend answered {status}{f' {code}' if code else ''}. {rule.reason}"
            return RunResult("misconfigured", code=status, message=message, remedy=remedy)
        case RunVerdict.NEVER:
            return RunResult("rejected", code=status, message=message)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _read_text(payload: bytes) -> str:
    """Returns the text of an error that is no object: one line, of a page its title, and nothing of what is no text."""
    try:
        text = payload[:_MOST_TEXT].decode()
    except UnicodeDecodeError as error:
        if error.end < min(len(payload), _MOST_TEXT) - 4:  # else a character was cut
            return ""
        text = payload[: error.start].decode()
    if text.startswith(('"', "{", "[")):
        return ""
    if text.lstrip().startswith("<"):
        title = _TITLE.search(text)
        text = unescape(title[1]) if title else ""
    return " ".join(text.split())
