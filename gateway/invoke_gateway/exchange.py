"""Holds all facts of one request on its way through the chain: one typed object, filled stage by stage."""

from __future__ import annotations

import re
from itertools import count
from random import getrandbits
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, cast

from .invocation import ANONYMOUS, Invocation
from .policy.requests.caller import parse_caller
from .refusals import ErrorAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .policy.concurrency import Lane, LimitReached, Plan

_UUID = re.compile(rb"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")


# A new UUID's first 48 bits walk through all their values from a random start, by a step that makes neighbours look
# different; the other 74 are random for the process. That is as unique as 122 random bits, for a third of the time.
_WALK = count(getrandbits(48), 0x9E37_79B9_7F4B)
_REST = f"4{getrandbits(12):03x}-{getrandbits(14) | 0x8000:04x}-{getrandbits(48):012x}"


def new_request_id() -> str:
    """Returns a new UUID, version 4, lower-case and hyphenated as AWS writes it."""
    walked = (next(_WALK) & 0xFFFF_FFFF_FFFF).to_bytes(6)
    return f"{walked.hex('-', -4)}-{_REST}"


# Characters of a request id that are shown; a backend may have answered with any text as its id.
MOST_SHOWN = 64

_NO_VALUES: Mapping[str, object] = MappingProxyType({})


class Holder(Protocol):
    """Names the call or the hold that has a slot."""

    def describe_holder(self) -> dict[str, object]:
        """Returns `request_id` and `caller` of a call, or `hold` and its number of `slots`."""


class Slot(Protocol):
    """Represents a taken lane. Its owner releases it when the backend has finished. A released slot keeps nothing
    alive.

    holder: the call or the hold that has the slot, set by its owner
    """

    holder: Holder | None

    @property
    def lane(self) -> Lane:
        """Returns the lane that was taken, also after the release."""

    def release(self, *, was_call: bool = True) -> None:
        """Releases all counters of the lane. May be called twice, never raises, never waits.

        was_call: the slot was a call's, so its duration counts in the estimate of durations
        """


class Exchange:
    """Holds one request and its outcome. Times are seconds of the gateway's monotonic clock.

    content_length: the length that the client announced (bytes)
    buffered: the part of the buffers that the body occupies (bytes)
    client_is_gone: the client left before its request had arrived
    response_is_lost: the client left before the response was sent whole
    is_recursive: an event that closes a loop; it is accepted and never run
    may_have_lineage: the trace header was not searched, or may have a lineage
    error_kind: the kind of the backend error, or `internal`
    """

    __slots__ = (
        "_request_id",
        "admission_seconds",
        "backend_seconds",
        "body",
        "body_is_read",
        "buffered",
        "caller",
        "client_is_gone",
        "content_length",
        "duration_seconds",
        "error_kind",
        "full",
        "function_error",
        "has_continued",
        "headers",
        "invocation",
        "is_dispatched",
        "is_recursive",
        "may_have_lineage",
        "plan",
        "received_at",
        "refusal",
        "refusal_values",
        "response_is_lost",
        "slot",
        "status",
    )

    def __init__(self, received_at: float) -> None:
        self.received_at = received_at
        self.headers: dict[bytes, bytes] = {}
        self.content_length: int | None = None
        self.invocation: Invocation | None = None
        self.caller = ANONYMOUS
        self.plan: Plan | None = None
        self.body: bytes | bytearray = b""
        self.body_is_read = False
        self.has_continued = False
        self.client_is_gone = False
        self.response_is_lost = False
        self.refusal: ErrorAnswer | None = None
        self.refusal_values: Mapping[str, object] = _NO_VALUES
        self.full: LimitReached | None = None
        self.slot: Slot | None = None
        self.buffered = 0
        self.is_dispatched = False
        self.is_recursive = False
        self.may_have_lineage = True
        self.error_kind: str | None = None
        self.status = 0
        self.function_error = False
        self.admission_seconds: float | None = None
        self.backend_seconds: float | None = None
        self.duration_seconds: float | None = None
        self._request_id: str | None = None

    @property
    def request_id(self) -> str:
        """Returns the client's own `x-amzn-RequestId` if it is a UUID, else a new one, made at the first use."""
        if self._request_id is None:
            given = self.headers.get(b"x-amzn-requestid")
            if given is not None and _UUID.fullmatch(given) is not None:
                self._request_id = given.decode()
            else:
                self._request_id = new_request_id()
        return self._request_id

    @request_id.setter
    def request_id(self, value: str) -> None:
        self._request_id = value

    def refuse(self, refusal: ErrorAnswer, **values: object) -> None:
        """Records the refusal of the request; the stage `error_response` sends it."""
        self.refusal = refusal
        self.refusal_values = values

    def forget_headers(self) -> dict[bytes, bytes]:
        """Drops the headers that are not read after the request has been sent: 2.4 kB of memory per call in flight.
        Returns the others, which are read by the methods below, the totals and the access log."""
        headers = self.headers
        kept = {
            b"authorization": headers.get(b"authorization"),
            b"x-amzn-requestid": headers.get(b"x-amzn-requestid"),
            b"amz-sdk-request": headers.get(b"amz-sdk-request"),
        }
        self.headers = cast("dict[bytes, bytes]", kept)  # None is as good as missing for `get`
        return self.headers

    def describe_holder(self) -> dict[str, object]:
        caller = self.caller
        if caller is ANONYMOUS:  # not needed until now
            caller = parse_caller(self.headers.get(b"authorization"), {}) or ANONYMOUS
        return {"request_id": self.request_id[:MOST_SHOWN], "caller": caller.access_key_id}

    def __repr__(self) -> str:
        name = self.invocation.function.name if self.invocation else "-"
        outcome = self.refusal.code if self.refusal else self.error_kind or self.status
        return f"<Exchange {name} {outcome}>"
