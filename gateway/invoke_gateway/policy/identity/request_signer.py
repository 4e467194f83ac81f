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


Header = tuple[bytes, bytes]
Headers = list[Header]
_Request = tuple[bytes, bytes, bytes, tuple[Header, ...]]
_Parts = tuple[bytes, bytes, bytes]

DATE_GAP = b"\0"
"""Stands for the date in a text; no header and no canonical path has it."""

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
        "_known",
        "_pads",
        "_region",
        "_scope",
        "_service",
        "_token",
        "credentials",
        "host",
    )

    def __init__(self, credentials: SigningCredentials, *, host: bytes, region: str, service: str = "lambda") -> None:
        self.credentials = credentials
        self.host = host
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
        return self.list_added(date, start + signature)

    def list_added(self, date: bytes, authorization: bytes) -> Headers:
        """Returns the headers that are added to a request."""
        added = [(b"x-amz-date", date), (b"authorization", authorization)]
        if self._token is not None:
            added.append((b"x-amz-security-token", self._token))
        return added

    def use_date(self, date: bytes) -> Pads:
        """Returns the two hashes with which every signature of a date begins, behind whose first one the hash of the
        canonical request follows."""
        if date[:8] != self._day:
            self._use_day(date[:8])
        assert self._pads is not None  # the day has set them
        inner = self._pads[0].copy()
        inner.update(b"%b\n%b\n%b\n" % (ALGORITHM, date, self._scope))
        return inner, self._pads[1]

    def start_authorization(self, names: bytes) -> bytes:
        """Returns an Authorization header of the present day up to the signature.

        names: of the signed headers, in one text
        """
        return b"%b Credential=%b, SignedHeaders=%b, Signature=" % (ALGORITHM, self._credential, names)

    def write_canonical(
        self, method: bytes, path: bytes, query: bytes, headers: Iterable[Header]
    ) -> tuple[bytes, bytes]:
        """Returns the canonical request up to the hash, with `DATE_GAP` for the date, and the names of the signed
        headers in one text.

        headers: those of the client that are signed
        """
        signed = {b"host": self.host, b"x-amz-date": DATE_GAP}
        if self._token is not None:
            signed[b"x-amz-security-token"] = self._token
        for name, value in headers:  # lines of one name are one list (RFC 9110, 5.3)
            value = canonical_value(value)
            signed[name] = b"%b,%b" % (signed[name], value) if name in signed else value
        return canonical_request(method, path, query, sorted(signed.items()), b"")

    def _prepare(self, request: _Request) -> _Parts:
        """Returns the parts of a canonical request before and behind its date, and the start of its Authorization."""
        method, path, query, headers = request
        canonical, names = self.write_canonical(method, path, query, headers)
        before, _, after = canonical.partition(DATE_GAP)
        parts = before, after, self.start_authorization(names)
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
        return f"<RequestSigner {self.host.decode()} {self._region} {self.credentials!r}>"
