"""Verifies the signature of a request (Signature Version 4) by AWS's rules for Lambda.

Everything but the hash of the body is checked by `open_request`, before the body is read. `SignedRequest.check` then
compares the signature, given that hash. A request that is replayed within its five minutes is accepted, as on AWS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from hashlib import sha256
from hmac import compare_digest
from typing import NamedTuple

from ...refusals import Refusal
from .access_keys import AccessKey, AccessKeys
from .authorization import (
    SignatureClaim,
    SignatureProblem,
    count_amz,
    incomplete,
    invalid,
    names_signature,
    read_header,
    read_query,
    shorten,
)
from .canonical_request import (
    EMPTY_HASH,
    Pads,
    canonical_path,
    canonical_query,
    canonical_value,
    derive_key,
    make_pads,
    make_signature,
)

WINDOW_SECONDS = 300.0
"""Holds the difference between the clocks of client and gateway that is accepted (AWS's for Lambda)."""

_HASH_LENGTH = 64
DATE_LENGTH = 16
"""Holds the length of a date in characters. A longer text is no date, and is not kept."""
_DATE = re.compile(rb"[0-9]{8}T[0-9]{6}Z")
MISMATCH = SignatureProblem("mismatch", Refusal.SIGNATURE_MISMATCH)
_MISSING = SignatureProblem("missing", Refusal.MISSING_AUTHENTICATION)
_TWO = SignatureProblem("two_signatures", Refusal.TWO_CREDENTIALS)
_UNKNOWN_KEY = SignatureProblem("unknown_key", Refusal.UNKNOWN_ACCESS_KEY)
_WRONG_TOKEN = SignatureProblem("session_token", Refusal.UNKNOWN_ACCESS_KEY)
_EXPIRED_TOKEN = SignatureProblem("expired_token", Refusal.EXPIRED_TOKEN)
_WRONG_HASH = SignatureProblem(
    "payload", Refusal.INVALID_SIGNATURE, "The provided 'x-amz-content-sha256' header does not match what was computed."
)
# Headers of which a second copy could be the one that was signed.
_SINGLE = (b"authorization", b"date", b"host", b"x-amz-content-sha256", b"x-amz-date", b"x-amz-security-token")

_new = tuple.__new__  # a named tuple's own constructor takes twice the time


@lru_cache(512)
def _signing_pads(secret: str, day: bytes, region: str) -> Pads:
    """Returns the signing key of a day, as `make_pads` has it."""
    return make_pads(derive_key(secret, day.decode(), region, "lambda"))


class SignedRequest(NamedTuple):
    """Holds a request whose signature is valid, if its body has the right hash.

    pads: the signing key, as `_signing_pads` has it
    start: the canonical request up to the hash
    declared: the hash that the client declares; None: the hash is computed
    """

    key: AccessKey
    pads: Pads
    date: bytes
    scope: bytes
    start: bytes
    signature: bytes
    declared: bytes | None

    def check(self, payload_hash: bytes) -> SignatureProblem | None:
        """Returns what is wrong with a request whose body has this hash (hex digits)."""
        _, pads, date, scope, start, signature, declared = self
        if declared is not None and not compare_digest(declared, payload_hash):
            return _WRONG_HASH
        made = make_signature(pads, date, scope, start + payload_hash)
        return None if compare_digest(made, signature) else MISMATCH

    def check_declared(self) -> SignatureProblem | None:
        """Returns what is wrong with a request before its body is read, as far as its client declares the hash."""
        return None if self.declared is None else self.check(self.declared)

    def __repr__(self) -> str:
        return f"<SignedRequest {self.key!r} {self.date.decode()}>"


class RequestParts(NamedTuple):
    """Holds the head of a request. Path and query are as they were sent; names of headers are in lower case.

    headers: by name; of several with one name, the last
    lines: the headers in order
    """

    method: str
    path: bytes
    query: bytes
    headers: Mapping[bytes, bytes]
    lines: Sequence[tuple[bytes, bytes]]


def hash_payload(body: bytes) -> bytes:
    """Returns the hash of a body as the canonical request has it."""
    return sha256(body).hexdigest().encode() if body else EMPTY_HASH


def open_request(
    request: RequestParts, keys: AccessKeys, *, region: str, now: float
) -> SignedRequest | SignatureProblem:
    """Checks all of a signature but the hash of the body.

    region: the Region that the signature must be scoped to
    now: seconds since the epoch
    """
    method, path, query, headers, lines = request
    authorization = headers.get(b"authorization")
    is_repeated = len(headers) != len(lines)
    if is_repeated and (repeated := _find_repeated(lines)) is not None:
        return incomplete(f"The request has more than one '{repeated.decode()}' header.")
    valid_seconds = 0
    if authorization is not None:
        if query and names_signature(query):
            return _TWO
        claim, signature = read_header(authorization, region)
        if isinstance(claim, SignatureProblem):
            return claim
        date = headers.get(b"x-amz-date")  # it must be signed, as every x-amz-* header
        if date is None:
            dated = _find_date(claim, headers)
            if isinstance(dated, SignatureProblem):
                return dated
            date = dated
        token = headers.get(b"x-amz-security-token", b"")
    elif query and names_signature(query):
        presigned = read_query(query, region)
        if isinstance(presigned, SignatureProblem):
            return presigned
        claim, signature, date, valid_seconds, token = presigned
    else:
        return _MISSING
    # Each check is a call only where it may find something: calls cost more than these comparisons.
    at = parse_date(date) if len(date) == DATE_LENGTH else None
    if at is None or not -WINDOW_SECONDS <= at - now <= WINDOW_SECONDS or claim.day != date[:8]:
        wrong = _check_time(claim, date, at, now, valid_seconds)
        if wrong is not None:
            return wrong
    key = keys.get(claim.access_key_id)
    if key is None:
        return _UNKNOWN_KEY
    if token or key.session_token is not None or key.expires_at is not None:
        wrong = check_token(key, token, now)
        if wrong is not None:
            return wrong
    declared = headers.get(b"x-amz-content-sha256")
    if (declared is not None and len(declared) != _HASH_LENGTH) or b"content-encoding" in headers:
        wrong = _check_payload(declared, headers)
        if wrong is not None:
            return wrong
    target = (method.encode(), canonical_path(path), canonical_query(query) if query else b"")
    start = _write_start(claim, target, headers, lines if is_repeated else None)
    if isinstance(start, SignatureProblem):
        return start
    pads = _signing_pads(key.secret, claim.day, region)
    return _new(SignedRequest, (key, pads, date, claim.scope, start, signature, declared))


def _find_repeated(lines: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    names = [name for name, _ in lines]
    return next((name for name in _SINGLE if names.count(name) > 1), None)


def _find_date(claim: SignatureClaim, headers: Mapping[bytes, bytes]) -> bytes | SignatureProblem:
    """Returns the time of a signature from the Date header, where there is no X-Amz-Date."""
    date = headers.get(b"date")
    if date is None:
        return incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if b"date" not in claim.names:
        return invalid("signed_headers", "'Date' must be a 'SignedHeader' in the AWS Authorization.")
    if _DATE.fullmatch(date) is not None:
        return date
    try:
        return _format(parsedate_to_datetime(date.decode("ascii")).timestamp()).encode()
    except (ValueError, OverflowError):
        return date  # which is refused for its form


@lru_cache(256)
def parse_date(date: bytes) -> float | None:
    """Returns a time such as 20260131T235959Z in seconds since the epoch; None where it is none."""
    if _DATE.fullmatch(date) is None:
        return None
    try:
        return datetime.strptime(date.decode(), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _format(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


def _check_time(
    claim: SignatureClaim, date: bytes, at: float | None, now: float, valid_seconds: int
) -> SignatureProblem | None:
    """Returns what is wrong with the time of a signature.

    at: the same as `date`, in seconds since the epoch
    valid_seconds: the seconds for which a presigned request is valid; 0: it is not presigned
    """
    if at is None:
        got = f"Date must be in ISO-8601 'basic format'. Got '{shorten(date)}'."
        return incomplete(f"{got} See http://en.wikipedia.org/wiki/ISO_8601")
    if date[:8] != claim.day:
        what = "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP"
        return invalid("scope", f"{what}: '{claim.day.decode()}' != '{date[:8].decode()}', from '{date.decode()}'.")
    if at > now + WINDOW_SECONDS:
        limit = f"{_format(now + WINDOW_SECONDS)} ({_format(now)} + 5 min.)"
        return invalid("not_yet_current", f"Signature not yet current: {date.decode()} is still later than {limit}")
    if at < now - (valid_seconds or WINDOW_SECONDS):
        span = f"{valid_seconds} sec." if valid_seconds else "5 min."
        limit = f"{_format(now - (valid_seconds or WINDOW_SECONDS))} ({_format(now)} - {span})"
        return invalid("expired", f"Signature expired: {date.decode()} is now earlier than {limit}")
    return None


def check_token(key: AccessKey, token: bytes, now: float) -> SignatureProblem | None:
    """Returns what is wrong with the session of a key, or with the token of a request."""
    if key.expires_at is not None and key.expires_at <= now:
        return _EXPIRED_TOKEN
    return None if compare_digest(key.session_token or b"", token) else _WRONG_TOKEN


def _check_payload(declared: bytes | None, headers: Mapping[bytes, bytes]) -> SignatureProblem | None:
    """Returns why the payload is not accepted by what the head says of it."""
    if b"aws-chunked" in headers.get(b"content-encoding", b"").lower() or (declared or b"").startswith(b"STREAMING-"):
        return invalid("payload", "Chunked signatures (aws-chunked, STREAMING-…) are S3's. Sign the whole payload.")
    if declared == b"UNSIGNED-PAYLOAD":
        return invalid("payload", "UNSIGNED-PAYLOAD is S3's. Sign the payload.")
    if declared is not None and len(declared) != _HASH_LENGTH:  # another text is no hash of any body
        return invalid("payload", "The 'x-amz-content-sha256' header must be the SHA-256 of the payload in hex digits.")
    return None


def _write_start(
    claim: SignatureClaim,
    target: tuple[bytes, bytes, bytes],
    headers: Mapping[bytes, bytes],
    lines: Sequence[tuple[bytes, bytes]] | None,
) -> bytes | SignatureProblem:
    """Returns the canonical request up to the hash. All x-amz-* headers that were sent must be signed.

    target: method, path and query in their canonical form
    lines: the headers in order; None: no header is repeated
    """
    try:
        values = claim.pick(headers)
    except KeyError:
        absent = next(name for name in claim.names if name not in headers)
        text = f"'{shorten(absent)}' is named as a SignedHeader, but it does not exist in the HTTP request."
        return SignatureProblem("signed_headers", Refusal.INCOMPLETE_SIGNATURE, text)
    # All that are signed were sent, so equal numbers mean that all that were sent are signed.
    if count_amz(headers) != claim.amz_names:
        unsigned = next((name for name in headers if name.startswith(b"x-amz-") and name not in claim.names), None)
        if unsigned is not None:
            text = f"There were headers present in the request which were not signed: {shorten(unsigned)}."
            return invalid("signed_headers", text)
    if lines is not None:
        values = tuple(
            [b",".join(canonical_value(value) for name, value in lines if name == one) for one in claim.names]
        )
    else:
        together = b" ".join(values)
        if canonical_value(together) != together:  # then one of them is not canonical, or empty
            values = tuple(map(canonical_value, values))
    return claim.template % (target + values)
