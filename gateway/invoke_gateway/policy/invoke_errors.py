"""Lists every exception of the invoke family in AWS's service model, by name, for fault scripts.

Status, fault and the message member's case are the model's; a test compares them. If AWS's own text is known, it is
given to the letter. The other texts say that the error is injected, so that no reader searches for another cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from ..refusals import ErrorAnswer, Kind, Refusal
from .concurrency import Plan

_INJECTED = "This {code} was injected by a fault script of Invoke Gateway."
TOO_MANY_REQUESTS = "TooManyRequestsException"

# Of each status and message member, the exceptions that have them. From 500 on the fault is the service's.
_NAMES: dict[tuple[int, str], tuple[str, ...]] = {
    (400, "message"): (
        "InvalidParameterValueException",
        "InvalidRequestContentException",
        "ModeNotSupportedException",
    ),
    (400, "Message"): (
        "NoPublishedVersionException",
        "RecursiveInvocationException",
        "SnapStartException",
    ),
    (402, "Message"): ("ServiceQuotaExceededException",),
    (403, "Message"): ("EFSMountFailureException", "S3FilesMountFailureException"),
    (404, "Message"): ("ResourceNotFoundException",),
    (408, "Message"): (
        "EFSMountConnectivityException",
        "EFSMountTimeoutException",
        "S3FilesMountConnectivityException",
        "S3FilesMountTimeoutException",
        "SnapStartTimeoutException",
    ),
    (409, "message"): (
        "CodeArtifactUserDeletedException",
        "CodeArtifactUserFailedException",
        "CodeArtifactUserPendingException",
        "ResourceConflictException",
        "RuntimeAliasDeletedException",
        "RuntimeVersionDeletedException",
    ),
    (409, "Message"): (
        "DurableExecutionAlreadyStartedException",
        "SnapStartNotReadyException",
        "SnapStartRegenerationFailureException",
    ),
    (410, "Message"): ("EFSIOException",),
    (413, "message"): ("RequestTooLargeException", "SerializedRequestEntityTooLargeException"),
    (415, "message"): ("UnsupportedMediaTypeException",),
    (429, "message"): (TOO_MANY_REQUESTS,),
    (500, "Message"): ("ServiceException",),
    (502, "message"): ("ResourceNotReadyException",),
    (502, "Message"): (
        "EC2AccessDeniedException",
        "EC2ThrottledException",
        "EC2UnexpectedException",
        "ENILimitReachedException",
        "ENINotReadyException",
        "InvalidRuntimeException",
        "InvalidSecurityGroupIDException",
        "InvalidSubnetIDException",
        "InvalidZipFileException",
        "KMSAccessDeniedException",
        "KMSDisabledException",
        "KMSInvalidStateException",
        "KMSNotFoundException",
        "SubnetIPAddressLimitReachedException",
    ),
}

_TEXTS = {
    "InvalidParameterValueException": Refusal.QUALIFIER_CONFLICT.message,
    "InvalidRequestContentException": Refusal.INVALID_JSON.message.format(text="unexpected end of input"),
    "RequestTooLargeException": Refusal.REQUEST_TOO_LARGE.message.format(limit=6_291_456),
    "ResourceNotFoundException": "Function not found: {arn}",
}

_EXTRA = {"EC2UnexpectedException": (("EC2ErrorCode", "InternalError"),)}

# The one that no limit of the gateway gives: it takes no snapshots.
_SNAPSHOTS = "ConcurrentSnapshotCreateLimitExceeded"


# Other names of a throttle: Throttled, Throttling, ThrottlingException, RateLimitExceeded, RateExceeded, RequestLimit…
_THROTTLE_WORDS = ("throttl", "rate", "requestlimit", "limitexceeded")
_SHORTEST_PART = 3  # letters of a part of a name: KMS, EFS, ENI
_MOST_SUGGESTED = 3


class InjectedError(ErrorAnswer):
    """Describes an error that a fault script gives. It never counts as a throttle of the gateway."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(*kind)
        self.is_injected = True
        self.is_throttle = False

    def __repr__(self) -> str:
        return f"<InjectedError {self.code} {self.reason or ''}>"


def _list_throttles() -> Iterator[Kind]:
    for refusal in Refusal:
        if refusal.is_throttle:
            yield refusal.value
    yield Refusal.CONCURRENCY.value._replace(reason=_SNAPSHOTS)
    yield Refusal.CONCURRENCY.value._replace(reason=None)  # the function's own, which `choose_error` finds


def _list_kinds() -> Iterator[Kind]:
    yield from _list_throttles()
    for (status, member), names in _NAMES.items():
        fault = "Service" if status >= 500 else "User"
        for name in names:
            if name != TOO_MANY_REQUESTS:
                text = _TEXTS.get(name) or _INJECTED.format(code=name)
                yield Kind(status, name, text, member, fault, extra=_EXTRA.get(name, ()))


_ERRORS = {(kind.code, kind.reason): InjectedError(kind) for kind in _list_kinds()}

ERROR_NAMES = tuple(sorted({code for code, _ in _ERRORS}))
THROTTLE_REASONS = tuple(reason for _, reason in _ERRORS if reason is not None)


def takes_reason(name: str) -> bool:
    """Returns whether the exception `name` has a `Reason`."""
    return name == TOO_MANY_REQUESTS


def find_error(name: str, reason: str | None = None) -> InjectedError | None:
    """Returns the exception `name`, with `reason` if it takes one; None if there is no such exception."""
    return _ERRORS.get((name, reason))


def choose_error(error: InjectedError, plan: Plan) -> InjectedError:
    """Returns the error that a call with this plan gets: a throttle without a `Reason` gets that of the function's own
    limit of concurrency, reserved or unreserved."""
    if error.reason is not None or error.code != TOO_MANY_REQUESTS:
        return error
    return _ERRORS[TOO_MANY_REQUESTS, plan.lanes[-1].claims[0].refusal.reason]


def suggest_errors(name: str) -> list[str]:
    """Returns the exceptions that a wrong name most likely means; empty where no name is close."""
    wanted = _shorten(name)
    if wanted.startswith(_THROTTLE_WORDS) or wanted == "429":
        return [TOO_MANY_REQUESTS]
    by_short = {_shorten(known): known for known in ERROR_NAMES}
    parts = [known for short, known in by_short.items() if len(wanted) >= _SHORTEST_PART and wanted in short]
    close = [by_short[short] for short in get_close_matches(wanted, by_short, n=_MOST_SUGGESTED, cutoff=0.7)]
    return list(dict.fromkeys([*close, *parts]))[:_MOST_SUGGESTED]


def suggest_reasons(reason: str) -> list[str]:
    """Returns the `Reason` that a wrong one most likely means; empty where none is close."""
    by_short = {known.lower(): known for known in THROTTLE_REASONS}
    return [by_short[short] for short in get_close_matches(reason.lower(), by_short, n=1, cutoff=0.7)]


def _shorten(name: str) -> str:
    """Returns a name of an exception without case, separators and its last word."""
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    for ending in ("exception", "error"):
        plain = plain.removesuffix(ending)
    return plain
