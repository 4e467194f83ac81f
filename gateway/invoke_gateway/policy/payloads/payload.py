"""Limits the size of requests and responses, and makes the refusal of larger ones."""

from __future__ import annotations

import json
from typing import NamedTuple

from ...invocation import Invocation, InvocationType, Operation
from ...refusals import Refusal

# The service model's text for InvokeAsync still has 256 KB, while Event invocations may have 1 MB.
INVOKE_ASYNC_LIMIT = 262_144


class PayloadQuota(NamedTuple):
    """Holds the greatest size in bytes, and the refusal for one byte more."""

    limit: int
    refusal: Refusal


class PayloadQuotas:
    """Holds the request quotas in bytes by the type of invocation. `as_observed` selects the error code that AWS has
    been seen to send, in place of the modelled one.

    least: the smallest quota; a body up to it is within every one
    """

    def __init__(self, request: int, event_request: int, *, as_observed: bool = False) -> None:
        large, event = (
            (Refusal.REQUEST_ENTITY_TOO_LARGE, Refusal.EVENT_ENTITY_TOO_LARGE)
            if as_observed
            else (Refusal.REQUEST_TOO_LARGE, Refusal.EVENT_TOO_LARGE)
        )
        self._request = PayloadQuota(request, large)
        self._event = PayloadQuota(event_request, event)
        self._invoke_async = PayloadQuota(min(event_request, INVOKE_ASYNC_LIMIT), event)
        self.least = min(request, self._invoke_async.limit)

    def of(self, invocation: Invocation) -> PayloadQuota:
        if invocation.type is not InvocationType.EVENT:
            return self._request
        return self._invoke_async if invocation.operation is Operation.INVOKE_ASYNC else self._event


def make_too_large_error(limit: int) -> bytes:
    """Returns what Lambda makes of a response above its quota: the payload of a function error."""
    error = {
        "errorMessage": f"Response payload size exceeded maximum allowed payload size ({limit} bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }
    return json.dumps(error).encode()
