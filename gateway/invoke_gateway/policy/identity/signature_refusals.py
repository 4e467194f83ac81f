"""Recognizes responses by which a backend refuses the gateway's own identity.

Where the gateway signs, a client's own signature never reaches the backend. So each such response is about the
gateway: its credentials, its clock, or what its role may do. It names the gateway's account, so no client gets it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from ..events.retryable_responses import OF_EXCEPTIONS, find_error_code

_SIGNATURE = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_PERMISSION = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "NotAuthorized",
        "OptInRequired",
        "SubscriptionRequiredException",
        "UnauthorizedOperation",
    }
)
_IN_XML = re.compile(rb"<Code>\s*([A-Za-z.]{1,100})\s*</Code>")
_TEXT = re.compile(rb'"[mM]essage"\s*:\s*"((?:[^"\\]|\\.){1,2000})|<Message>\s*([^<]{1,2000})')
_CLOCKS = re.compile(
    r"Signature (?:expired|not yet current): (\d{8}T\d{6}Z) is .{1,60}\((\d{8}T\d{6}Z) [+-] \d+ min\.?\)"
)


class IdentityRefusal(NamedTuple):
    """Holds what a backend answered about the gateway's own identity.

    code: the name of the error; empty where there is none
    text: its message, which may name the gateway's account
    is_signature: about the signature, and not about permissions
    skew_seconds: the backend's clock minus the gateway's, where the text has both
    """

    status: int
    code: str
    text: str
    is_signature: bool
    skew_seconds: float | None = None


def find_identity_refusal(status: int, headers: Mapping[bytes, bytes], body: bytes) -> IdentityRefusal | None:
    """Returns the refusal in a response; None where the response is about something else.

    headers: by lower-case name
    """
    if not 400 <= status < 500:
        return None
    code = find_error_code(headers, body)
    if code is None and (found := _IN_XML.search(body)) is not None:
        code = found[1].decode()
    is_signature = code in _SIGNATURE
    if not is_signature and code not in _PERMISSION and (status not in (401, 403) or code in OF_EXCEPTIONS):
        return None  # a 403 may also be about the function's file system
    text = _read_text(body)
    return IdentityRefusal(status, code or "", text, is_signature or status == 401, _find_skew(text))


def _read_text(body: bytes) -> str:
    found = _TEXT.search(body)
    text = (found[1] or found[2]) if found is not None else body[:200]
    return " ".join(text.decode("utf-8", "replace").replace('\\"', '"').split())


def _find_skew(text: str) -> float | None:
    found = _CLOCKS.search(text)
    if found is None:
        return None
    signed, backend = (datetime.strptime(each, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) for each in found.groups())
    return (backend - signed).total_seconds()
