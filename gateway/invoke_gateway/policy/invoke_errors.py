"""Every exception that AWS's service model lists for the invoke family, by name, so that a fault script can give it.

Status, fault and the message member's case are the model's; a test compares them. Where AWS's own text is known it is
given to the letter. The others say that they were asked for, so that nobody looks for a cause that is not there.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..refusals import ErrorAnswer, Kind, Refusal

_INJECTED = "This {code} was injected by a fault script of Invoke Gateway."
_THROTTLE = "TooManyRequestsException"

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
    (429, "message"): (_THROTTLE,),
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


class InjectedError(ErrorAnswer):
    """An error that a fault script gives. It is no throttle of the gateway's, whatever it says, and counts as none."""

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


def _list_kinds() -> Iterator[Kind]:
    yield from _list_throttles()
    for (status, member), names in _NAMES.items():
        fault = "Service" if status >= 500 else "User"
        for name in names:
            if name != _THROTTLE:
                text = _TEXTS.get(name) or _INJECTED.format(code=name)
                yield Kind(status, name, text, member, fault, extra=_EXTRA.get(name, ()))


_ERRORS = {(kind.code, kind.reason): InjectedError(kind) for kind in _list_kinds()}

ERROR_NAMES = tuple(sorted({code for code, _ in _ERRORS}))
THROTTLE_REASONS = tuple(reason for _, reason in _ERRORS if reason is not None)


def takes_reason(name: str) -> bool:
    """Whether the exception `name` comes with a `Reason`."""
    return name == _THROTTLE


def find_error(name: str, reason: str | None = None) -> InjectedError | None:
    """The exception `name`, with `reason` where it `takes_reason`; `None` where there is no such thing."""
    return _ERRORS.get((name, reason))
