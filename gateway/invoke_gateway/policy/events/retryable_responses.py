"""Decides whether an event whose run got an error response is run again.

The error's name decides if there is one, else the status. AWS tries again after a 429 and after every status from 500
on, until the event is too old (developer guide, error handling for asynchronous invocation). This table does the same,
also if only an operator can repair the function: a 502 KMSDisabledException is a system error. AWS documents no other
status. For each of them one question decides here: can the same event, sent again, get another response?
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from ..payloads.json_members import read_members, read_string


class RunVerdict(Enum):
    THROTTLED = "throttled"
    """Puts the event back into the queue, as after a throttle."""
    AGAIN = "again"
    """Puts the event back into the queue, as after a system error."""
    MISCONFIGURED = "misconfigured"
    """Puts the event back too. The gateway is degraded until its set-up, or that of the backend, is changed."""
    NEVER = "never"
    """Ends the event."""


class AnswerRule(NamedTuple):
    """Classifies an answer; `reason` explains it, with the remedy for a misconfigured function."""

    verdict: RunVerdict
    reason: str


def _throttled(reason: str) -> AnswerRule:
    return AnswerRule(RunVerdict.THROTTLED, reason)


def _again(reason: str) -> AnswerRule:
    return AnswerRule(RunVerdict.AGAIN, reason)


def _misconfigured(remedy: str) -> AnswerRule:
    return AnswerRule(RunVerdict.MISCONFIGURED, remedy)


def _never(reason: str) -> AnswerRule:
    return AnswerRule(RunVerdict.NEVER, reason)


OF_EXCEPTIONS: Mapping[str, AnswerRule] = {
    # The event itself: its bytes, its headers and its path are the same at every try.
    "InvalidParameterValueException": _never("The parameters are part of the event."),
    "InvalidRequestContentException": _never("The payload is the same at every try."),
    "RequestTooLargeException": _never("The payload has the same size at every try."),
    "SerializedRequestEntityTooLargeException": _never("The payload has the same size at every try."),
    "UnsupportedMediaTypeException": _never("The content type is part of the event."),
    "RecursiveInvocationException": _never("The chain of calls is part of the event, and has not become shorter."),
    "DurableExecutionAlreadyStartedException": _never(
        "An execution of this name has started, and the name is part of the event: it is never free again."
    ),
    # The function does not exist, or not as the event needs it. AWS refuses such an event on arrival.
    "ResourceNotFoundException": _never("There is no such function, version or alias; AWS accepts no event for it."),
    "NoPublishedVersionException": _never("There is no version to run; AWS accepts no event for the function."),
    "ModeNotSupportedException": _never("The function is not made for this way of invoking it."),
    # Only an update of the function would help, and none is announced.
    "RuntimeAliasDeletedException": _never("The runtime's alias is deleted; only an update of the function mends it."),
    "RuntimeVersionDeletedException": _never("The runtime is deleted; only an update of the function mends it."),
    "CodeArtifactUserFailedException": _never("Provisioning has failed; only an update of the function mends it."),
    # Limits: calls end, and quotas are raised.
    "TooManyRequestsException": _throttled("The limit has room again when other calls have ended."),
    "ServiceQuotaExceededException": _again("The quota has room again when what uses it has ended, or it is raised."),
    # The function is being prepared or changed.
    "ResourceConflictException": _again("Another operation is in progress, and ends."),
    "CodeArtifactUserPendingException": _again("It is being provisioned; the model says to try again."),
    "CodeArtifactUserDeletedException": _again("A new one is provisioned; the model says to wait for it."),
    "SnapStartNotReadyException": _again("The function is being initialised; it can be invoked when it is active."),
    "SnapStartRegenerationFailureException": _again("Lambda regenerates the snapshot again; the model says to wait."),
    "SnapStartTimeoutException": _again("The snapshot was not restored in time; the next restore may be quicker."),
    "SnapStartException": _again("A hook failed while the snapshot was restored; the function has not seen the event."),
    "ResourceNotReadyException": _again("The VPC connection is being established again."),
    # Networks and file systems.
    "EFSMountConnectivityException": _again("The network may be back."),
    "EFSMountTimeoutException": _again("The file system may be quicker."),
    "EFSIOException": _again("A file system that failed once may work again."),
    "S3FilesMountConnectivityException": _again("The network may be back."),
    "S3FilesMountTimeoutException": _again("The access point may be quicker."),
    "EFSMountFailureException": _misconfigured(
        "Correct the function's file system: its access point, its permissions, its network."
    ),
    "S3FilesMountFailureException": _misconfigured(
        "Correct the function's S3 Files access point: its policy, its permissions, its network."
    ),
    # System errors of Lambda, which AWS tries again whatever the cause.
    "ServiceException": _again("The service failed; AWS tries again."),
    "EC2AccessDeniedException": _again("A 502, which AWS tries again: permissions may be granted meanwhile."),
    "EC2ThrottledException": _again("A 502, which AWS tries again: the throttle passes."),
    "EC2UnexpectedException": _again("A 502, which AWS tries again."),
    "ENILimitReachedException": _again("A 502, which AWS tries again: interfaces are freed."),
    "ENINotReadyException": _again("A 502, which AWS tries again: the model says to wait a few moments."),
    "InvalidRuntimeException": _again("A 502, which AWS tries again: the function may be updated meanwhile."),
    "InvalidSecurityGroupIDException": _again("A 502, which AWS tries again: it may be corrected meanwhile."),
    "InvalidSubnetIDException": _again("A 502, which AWS tries again: it may be corrected meanwhile."),
    "InvalidZipFileException": _again("A 502, which AWS tries again: the function may be updated meanwhile."),
    "KMSAccessDeniedException": _again("A 502, which AWS tries again: permissions may be granted meanwhile."),
    "KMSDisabledException": _again("A 502, which AWS tries again: the key may be enabled meanwhile."),
    "KMSInvalidStateException": _again("A 502, which AWS tries again: the key's state may change."),
    "KMSNotFoundException": _again("A 502, which AWS tries again: the function's key may be changed."),
    "SubnetIPAddressLimitReachedException": _again("A 502, which AWS tries again: addresses are freed."),
}
"""Every exception that the model lists for Invoke; a test compares."""

_UNSIGNED = (
    "The backend checks signatures, and a run cannot be signed by the client: set backend.sign, switch the check off"
    " there, or set async.mode to forward."
)
_NOT_ALLOWED = "Allow the caller to invoke the function (lambda:InvokeFunction), or set async.mode to forward."

OF_OTHER_ERRORS: Mapping[str, AnswerRule] = {
    # What AWS and emulators answer besides the model.
    "RequestEntityTooLargeException": _never("The payload has the same size at every try."),
    "ValidationException": _never("The parameters are part of the event."),
    "SerializationException": _never("The payload is the same at every try."),
    "ThrottlingException": _throttled("The throttle passes."),
    "Throttling": _throttled("The throttle passes."),
    "RequestLimitExceeded": _throttled("The throttle passes."),
    "InternalFailure": _again("The service failed; AWS tries again."),
    "ServiceUnavailable": _again("The service failed; AWS tries again."),
    "ServiceUnavailableException": _again("The service failed; AWS tries again."),
    # Who may call. Some of them come with 400.
    "AccessDenied": _misconfigured(_NOT_ALLOWED),
    "AccessDeniedException": _misconfigured(_NOT_ALLOWED),
    "NotAuthorized": _misconfigured(_NOT_ALLOWED),
    "UnauthorizedOperation": _misconfigured(_NOT_ALLOWED),
    "OptInRequired": _misconfigured(_NOT_ALLOWED),
    "SubscriptionRequiredException": _misconfigured(_NOT_ALLOWED),
    "ExpiredToken": _misconfigured(_UNSIGNED),
    "ExpiredTokenException": _misconfigured(_UNSIGNED),
    "IncompleteSignature": _misconfigured(_UNSIGNED),
    "IncompleteSignatureException": _misconfigured(_UNSIGNED),
    "InvalidClientTokenId": _misconfigured(_UNSIGNED),
    "InvalidSignatureException": _misconfigured(_UNSIGNED),
    "MissingAuthenticationToken": _misconfigured(_UNSIGNED),
    "MissingAuthenticationTokenException": _misconfigured(_UNSIGNED),
    "RequestExpired": _misconfigured(_UNSIGNED),
    "RequestTimeTooSkewed": _misconfigured(_UNSIGNED),
    "SignatureDoesNotMatch": _misconfigured(_UNSIGNED),
    "UnrecognizedClientException": _misconfigured(_UNSIGNED),
}
"""Errors that are not in the model, and that backends are seen to answer."""

_NOT_HERE = "Check that backend.url leads to a backend that speaks Lambda's Invoke API."

_OF_STATUSES: Mapping[int, AnswerRule] = {
    401: _misconfigured(_UNSIGNED),
    402: _again("A quota, as the model has it: it has room again, or it is raised."),
    403: _misconfigured(f"{_UNSIGNED} Or allow the caller to invoke the function."),
    404: _never("There is no such function; AWS accepts no event for it."),
    405: _misconfigured(_NOT_HERE),
    407: _misconfigured("A proxy before the backend wants credentials: let backend.url lead past it."),
    408: _again("The backend was too slow."),
    409: _again("Another operation is in progress, and ends."),
    421: _misconfigured(
        "The backend does not serve this host: check backend.url, or set backend.host_header to backend."
    ),
    423: _again("What is locked is unlocked again."),
    425: _again("It was too early."),
    426: _misconfigured(_NOT_HERE),
    429: _throttled("The limit has room again when other calls have ended."),
    501: _misconfigured(_NOT_HERE),
    505: _misconfigured(_NOT_HERE),
    511: _misconfigured("A network before the backend wants a login: let backend.url lead past it."),
}


def judge_answer(status: int, code: str | None, *, location: str | None = None) -> AnswerRule:
    """Returns the rule for an answer that is no success. `code` is the error's name, `location` where a redirect
    leads."""
    if code is not None:
        rule = OF_EXCEPTIONS.get(code) or OF_OTHER_ERRORS.get(code)
        if rule is not None:
            return rule
    if status < 400:
        leads = f" It leads to {location}." if location else ""
        return _misconfigured(f"The backend redirects, and redirects are not followed: correct backend.url.{leads}")
    rule = _OF_STATUSES.get(status)
    if rule is not None and not (status == 501 and code is not None):  # with a name it is the API's, as of SAM's
        return rule
    if status >= 500:
        return _again("A system error, which AWS tries again.")
    return _never("The backend refuses this event, and the next try would be the same.")


def find_error_code(headers: Mapping[bytes, bytes], body: bytes) -> str | None:
    """Returns the error's name, found as SDKs find it: `x-amzn-ErrorType`, else a member of the body; without what some
    write around it. None where there is none."""
    header = headers.get(b"x-amzn-errortype")
    code = header.decode("latin-1") if header else None
    if code is None and (members := read_members(body)) is not None:
        named = (read_string(members.get(name)) for name in (b"code", b"Code", b"__type"))
        code = next((name for name in named if name), None)
    if code is None:
        return None
    return code.partition(":")[0].rpartition("#")[2].strip() or None
