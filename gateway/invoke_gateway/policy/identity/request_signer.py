"""Signs the gateway's own requests to a backend that verifies signatures.

Only what must be signed is: the host, the date, the session token, and the headers of Lambda's Invoke API that are
sent. A proxy on the way may change any other header. Of a client's own `x-amz-*` headers and parameters only those of
the Invoke API go on. All others would reach AWS with the gateway's authority.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from .canonical_request import (
    ALGORITHM,
    Pads,
    canonical_request,
    canonical_value,
    derive_key,
    make_pads,
    make_scope,
    make_signature,
)

INVOKE_HEADERS = frozenset(
    {
        b"x-amz-client-context",
        b"x-amz-durable-execution-name",
        b"x-amz-invocation-type",
        b"x-amz-log-type",
        b"x-amz-tenant-id",
    }
)
"""Lists the headers that the model of Lambda's API has in requests; a test compares."""

_NAMESPACE = b"x-amz-"
_NEVER_SENT = frozenset({b"authorization", b"host"})


class SigningCredentials(NamedTuple):
    """Holds the credentials that sign.

    token: the session token of temporary credentials
    expires_at: seconds since the epoch; None: they do not expire
    """

    access_key_id: str
    secret: str
    token: str | None = None
    expires_at: float | None = None

    def __repr__(self) -> str:
        """Shows no secret."""
        return f"<SigningCredentials {self.access_key_id[:4]}… expires_at={self.expires_at}>"


Headers = list[tuple[bytes, bytes]]
_Request = tuple[bytes, bytes, bytes, tuple[tuple[bytes, bytes], ...]]
_Parts = tuple[bytes, bytes, bytes]

_DATE = b"\0"  # stands for the date; no header and no canonical path has it
_MOST_KNOWN = 4096  # requests of different kinds whose parts are kept
_LONGEST_KNOWN = 2048  # bytes of a canonical request; a longer one has a client context, which differs each time


def keep_own_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Returns the headers of a client that are sent on, without its signature. Names are in lower case."""
    return [
        header
        for header in headers
        if header[0] not in _NEVER_SENT and (not header[0].startswith(_NAMESPACE) or header[0] in INVOKE_HEADERS)
    ]


def drop_signature(query: bytes) -> bytes:
    """Returns a query without the parameters of a presigned request. All others stay as they are."""
    if b"-" not in query and b"%" not in query:
        return query
    return b"&".join(part for part in query.split(b"&") if not _is_of_signature(part))


def _is_of_signature(part: bytes) -> bool:
    return unquote_to_bytes(part.partition(b"=")[0]).strip().lower().startswith(_NAMESPACE)


class RequestSigner:
    """Signs requests for one host, Region and service by one set of credentials.

    A gateway sends the same few requests again and again. So what a request has in common with the last one of its kind
    is kept: the canonical request but for the date and the hash of the body.

    host: the Host header of each request
    """

    __slots__ = (
        "_credential",
        "_day",
        "_host",
        "_known",
        "_pads",
        "_region",
        "_scope",
        "_service",
        "_token",
        "credentials",
    )

    def __init__(self, credentials: SigningCredentials, *, host: bytes, region: str, service: str = "lambda") -> None:
        self.credentials = credentials
        self._host = host
        self._region = region
        self._service = service
        self._token = credentials.token.encode() if credentials.token is not None else None
        self._day = b""
        self._pads: Pads | None = None
        self._scope = self._credential = b""
        self._known: dict[_Request, _Parts] = {}

    def sign(
        self, method: bytes, path: bytes, query: bytes, headers: Headers, payload_hash: bytes, date: bytes
    ) -> Headers:
        """Returns the headers that are added to a request.

        headers: the request's headers, as `keep_own_headers` returns them
        payload_hash: SHA-256 of the body in hex digits
        date: the time of the signature, as in 20260131T235959Z
        """
        if date[:8] != self._day:
            self._use_day(date[:8])
        assert self._pads is not None  # the day has set them
        request = (method, path, query, tuple([header for header in headers if header[0] in INVOKE_HEADERS]))
        before, after, start = self._known.get(request) or self._prepare(request)
        signature = make_signature(self._pads, date, self._scope, b"".join((before, date, after, payload_hash)))
        added = [(b"x-amz-date", date), (b"authorization", start + signature)]
        if self._token is not None:
            added.append((b"x-amz-security-token", self._token))
        return added

    def _prepare(self, request: _Request) -> _Parts:
        """Returns the parts of a canonical request before and behind its date, and the start of its Authorization."""
        method, path, query, headers = request
        signed = {b"host": self._host, b"x-amz-date": _DATE}
        if self._token is not None:
            signed[b"x-amz-security-token"] = self._token
        for name, value in headers:  # lines of one name are one list (RFC 9110, 5.3)
            value = canonical_value(value)
            signed[name] = b"%b,%b" % (signed[name], value) if name in signed else value
        canonical, names = canonical_request(method, path, query, sorted(signed.items()), b"")
        before, _, after = canonical.partition(_DATE)
        parts = before, after, b"%b Credential=%b, SignedHeaders=%b, Signature=" % (ALGORITHM, self._credential, names)
        if len(canonical) <= _LONGEST_KNOWN:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[request] = parts
        return parts

    def _use_day(self, day: bytes) -> None:
        written = day.decode()
        self._pads = make_pads(derive_key(self.credentials.secret, written, self._region, self._service))
        self._scope = make_scope(written, self._region, self._service)
        self._credential = b"%b/%b" % (self.credentials.access_key_id.encode(), self._scope)
        self._day = day
        self._known.clear()

    def __repr__(self) -> str:
        return f"<RequestSigner {self._host.decode()} {self._region} {self.credentials!r}>"
