"""Lists every refusal in one table, and renders them in one function.

Lambda spells the message member differently from error to error, and a client fills its typed fields only by the exact
case. `Type` is missing from some errors. If AWS has published a text, the refusal has this text to the letter.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """Describes the shape of one error: HTTP status, `x-amzn-ErrorType`, text, and the members of its body.

    extra: members that only this error has
    is_compact: AWS writes the body without blanks
    """

    status: int
    code: str
    message: str
    member: str = "message"
    type: str | None = "User"
    reason: str | None = None
    extra: tuple[tuple[str, str], ...] = ()
    is_compact: bool = False


_CONCURRENCY_TEXT = "Rate Exceeded."
_RATE_TEXT = "Rate exceeded"
_TOO_LARGE = "Request must be smaller than {limit} bytes for the InvokeFunction operation"
_EVENT_TOO_LARGE = "{size} byte payload is too large for the Event invocation type (limit {limit} bytes)"


def _throttle(reason: str, message: str) -> Kind:
    return Kind(429, "TooManyRequestsException", message, reason=reason)


def _unverified(code: str, message: str) -> Kind:
    return Kind(403, code, message, type=None, is_compact=True)


class Rendered(NamedTuple):
    """Holds a refusal as bytes: status, the headers of every instance of it but its length, body."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def _render(refusal: ErrorAnswer, message: str) -> Rendered:
    members = {"Reason": refusal.reason, "Type": refusal.type, refusal.member: message, **dict(refusal.extra)}
    given = {name: text for name, text in members.items() if text is not None}
    body = json.dumps(given, separators=(",", ":") if refusal.is_compact else None).encode()
    headers = (
        (b"content-type", b"application/json"),
        (b"x-amzn-errortype", refusal.code.encode()),
    )
    return Rendered(refusal.status, headers, body)


class ErrorAnswer:
    """Holds an error response: the attributes of its `Kind`, and the facts that follow from them. (On a member of an
    enumeration `value` is a function call, and a look-up in its class takes ten times as long.)"""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        member: str = "message",
        type_: str | None = "User",
        reason: str | None = None,
        extra: tuple[tuple[str, str], ...] = (),
        is_compact: bool = False,
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.member = member
        self.type = type_
        self.reason = reason
        self.extra = extra
        self.is_compact = is_compact
        self.is_injected = False
        self.is_throttle = status == 429
        # Whether waiting may help, so that a pause is suggested: throttles and 5xx that are not the client's mistake.
        self.is_retryable = self.is_throttle or (status >= 500 and type_ != "User")
        # Refusing must stay cheaper than forwarding: a text without a placeholder is rendered once, here.
        self.rendered = None if "{" in message else _render(self, message)


class Refusal(ErrorAnswer, Enum):
    """Lists the reasons why a request is not served. The value is the form on the wire."""

    def __new__(cls, *kind: Any) -> Refusal:
        """Makes a member whose value is its `Kind`. Python 3.11.0 to 3.11.3 would make the value an `ErrorAnswer`: they
        take any mixin with an `__init__` for a data type (python/cpython#103479)."""
        member = object.__new__(cls)
        member._value_ = Kind(*kind)
        return member

    CONCURRENCY = _throttle("ConcurrentInvocationLimitExceeded", _CONCURRENCY_TEXT)
    RESERVED_CONCURRENCY = _throttle("ReservedFunctionConcurrentInvocationLimitExceeded", _CONCURRENCY_TEXT)
    FUNCTION_RATE = _throttle("FunctionInvocationRateLimitExceeded", _RATE_TEXT)
    RESERVED_FUNCTION_RATE = _throttle("ReservedFunctionInvocationRateLimitExceeded", _RATE_TEXT)
    CALLER_RATE = _throttle("CallerRateLimitExceeded", _RATE_TEXT)

    REQUEST_TOO_LARGE = Kind(413, "RequestTooLargeException", _TOO_LARGE)
    EVENT_TOO_LARGE = Kind(413, "RequestTooLargeException", _EVENT_TOO_LARGE)
    REQUEST_ENTITY_TOO_LARGE = Kind(413, "RequestEntityTooLargeException", _TOO_LARGE)
    EVENT_ENTITY_TOO_LARGE = Kind(413, "RequestEntityTooLargeException", _EVENT_TOO_LARGE)

    INVALID_JSON = Kind(
        400,
        "InvalidRequestContentException",
        "Could not parse request body into json: Could not parse payload into json: {text}",
    )
    INVALID_CLIENT_CONTEXT = Kind(
        400,
        "InvalidRequestContentException",
        "Client context must be a valid Base64-encoded JSON object.",
    )
    TWO_CREDENTIALS = Kind(
        403,
        "InvalidSignatureException",
        "The request names two access keys, in its Authorization header or its query. Sign it once.",
        type=None,
    )
    SIGNATURE_MISMATCH = _unverified(
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
        "Key and signing method. Consult the service documentation for details.",
    )
    INVALID_SIGNATURE = _unverified("InvalidSignatureException", "{text}")
    INCOMPLETE_SIGNATURE = _unverified("IncompleteSignatureException", "{text}")
    MISSING_AUTHENTICATION = _unverified("MissingAuthenticationTokenException", "Missing Authentication Token")
    UNKNOWN_ACCESS_KEY = _unverified(
        "UnrecognizedClientException", "The security token included in the request is invalid"
    )
    EXPIRED_TOKEN = _unverified("ExpiredTokenException", "The security token included in the request is expired")
    ACCESS_DENIED = Kind(403, "AccessDeniedException", "{text}", member="Message", type=None)
    UNKNOWN_ORIGIN = Kind(
        403,
        "InvalidRequestContentException",
        "The origin of the page is not in the gateway's cors.allow_origins. Add it there to allow its calls.",
    )
    AMBIGUOUS_REQUEST = Kind(400, "InvalidRequestContentException", "{text}")
    VALIDATION = Kind(400, "ValidationException", "{text}", type=None)
    QUALIFIER_CONFLICT = Kind(
        400,
        "InvalidParameterValueException",
        "The derived qualifier from the function name does not match the specified qualifier.",
    )
    TENANT_MISSING = Kind(
        400,
        "InvalidParameterValueException",
        "The function has tenant isolation. Add a tenant ID (X-Amz-Tenant-Id) to the request.",
    )
    TENANT_UNEXPECTED = Kind(
        400,
        "InvalidParameterValueException",
        "The function has no tenant isolation. Remove the tenant ID (X-Amz-Tenant-Id) from the request.",
    )
    WRONG_REGION = Kind(
        404,
        "ResourceNotFoundException",
        "Functions from '{region}' are not reachable in this region ('{here}')",
        member="Message",
    )

    RECURSIVE = Kind(
        400,
        "RecursiveInvocationException",
        "The gateway stopped this call of {function}, because it closes a loop of functions (Lineage of"
        " X-Amzn-Trace-Id). End the loop, or set the function's recursive_loop to Allow.",
        member="Message",
    )

    MALFORMED = Kind(400, "InvalidRequestContentException", "The request is not valid HTTP/1.1: {text}")
    HEAD_TOO_LARGE = Kind(
        431,
        "InvalidRequestContentException",
        "The request's header section is above {limit} (max_header_bytes, max_headers).",
    )
    UNKNOWN_EXPECTATION = Kind(
        417,
        "InvalidRequestContentException",
        "The Expect header has a value other than 100-continue. Send the request without that value.",
    )
    NOT_IMPLEMENTED = Kind(501, "InvalidRequestContentException", "The gateway does not implement {text}.")
    UNKNOWN_VERSION = Kind(
        505,
        "InvalidRequestContentException",
        "The request's version is {text}; the gateway serves HTTP/1.1 and HTTP/1.0.",
    )
    READ_TIMEOUT = Kind(
        408,
        "RequestTimeoutException",
        "The request did not arrive within the gateway's read_timeout_seconds ({seconds:g}). Send it again.",
    )
    TOO_MANY_CONNECTIONS = Kind(
        503,
        "ServiceException",
        "The gateway has {limit} open connections, which is max_connections. Retry later, or raise max_connections.",
        member="Message",
        type="Service",
    )
    BUFFERS_FULL = Kind(
        503,
        "ServiceException",
        "The gateway's buffers are full: {in_use} of {limit} bytes. Retry later, or raise buffer_bytes.",
        member="Message",
        type="Service",
    )
    COUNTERS_UNAVAILABLE = Kind(
        500,
        "ServiceException",
        "The shared counters are unavailable, so the gateway admits no call. Check the store, and retry.",
        member="Message",
        type="Service",
    )
    COUNTERS_RECOVERING = Kind(
        500,
        "ServiceException",
        "The shared counters are being rebuilt, because their store is new or was restarted. No call is admitted until"
        " every gateway has reported its running calls, at most until {until}. {advice} Retry.",
        member="Message",
        type="Service",
    )
    EVENT_NOT_KEPT = Kind(500, "ServiceException", "The event is not stored. {text}", member="Message", type="Service")
    BACKEND_ERROR = Kind(500, "ServiceException", "{text}", member="Message", type="Service")
    INTERNAL = Kind(
        500,
        "ServiceException",
        "The gateway failed on this request. Its log has the details under this request id.",
        member="Message",
        type="Service",
    )


def render(refusal: ErrorAnswer, **values: object) -> Rendered:
    """Renders the response for `refusal`; `values` fill its text."""
    return refusal.rendered or _render(refusal, refusal.message.format(**values))
