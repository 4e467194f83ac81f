"""What is known of one request while it travels through the chain: one typed object, filled stage by stage."""

from __future__ import annotations

import re
from random import getrandbits
from typing import TYPE_CHECKING, Any

from .invocation import ANONYMOUS, Caller, Invocation
from .refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from .policy.concurrency import Plan

_UUID = re.compile(rb"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")


def new_request_id() -> str:
    """A random UUID, version 4, lower-case and hyphenated as AWS writes it."""
    digits = f"{getrandbits(128):032x}"
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def _nothing() -> None:
    pass


class Exchange:
    """One request and what became of it. Times are seconds of the gateway's monotonic clock."""

    __slots__ = (
        "_request_id",
        "admission_seconds",
        "backend_seconds",
        "body",
        "body_is_read",
        "caller",
        "client_is_gone",
        "decision",
        "duration_seconds",
        "fault",
        "function_error",
        "headers",
        "invocation",
        "is_dispatched",
        "plan",
        "received_at",
        "refusal",
        "refusal_values",
        "release_body",
        "retry_seconds",
        "slot",
        "status",
    )

    def __init__(self, received_at: float) -> None:
        self.received_at = received_at
        self.headers: dict[bytes, bytes] = {}
        self.invocation: Invocation | None = None
        self.caller: Caller = ANONYMOUS
        self.plan: Plan | None = None
        self.body = b""
        self.body_is_read = False
        self.client_is_gone = False
        self.release_body: Callable[[], None] = _nothing
        self.refusal: Refusal | None = None
        self.refusal_values: dict[str, object] = {}
        self.decision: str | None = None
        self.retry_seconds: float | None = None
        self.slot: Any = None
        self.is_dispatched = False
        self.fault: str | None = None
        self.status = 0
        self.function_error = False
        self.admission_seconds: float | None = None
        self.backend_seconds: float | None = None
        self.duration_seconds: float | None = None
        self._request_id: str | None = None

    @property
    def request_id(self) -> str:
        """The client's own `x-amzn-RequestId` where it is a UUID, else a new one; made only when asked for."""
        if self._request_id is None:
            given = self.headers.get(b"x-amzn-requestid")
            is_valid = given is not None and _UUID.fullmatch(given) is not None
            self._request_id = given.decode() if given is not None and is_valid else new_request_id()
        return self._request_id

    def refuse(self, refusal: Refusal, **values: object) -> None:
        """Note that the request is not served; the `answer` stage says so to the client."""
        self.refusal = refusal
        self.refusal_values = values

    def __repr__(self) -> str:
        name = self.invocation.function.name if self.invocation else "-"
        outcome = self.refusal.name if self.refusal else self.fault or self.status
        return f"<Exchange {name} {outcome}>"
