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
    canonical_request,
    canonical_value,
    derive_key,
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


def keep_own_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
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

    host: the Host header of each request
    """

    __slots__ = ("_credential", "_day", "_host", "_key", "_region", "_scope", "_service", "_token", "credentials")

    def __init__(self, credentials: SigningCredentials, *, host: bytes, region: str, service: str = "lambda") -> None:
        self.credentials = credentials
        self._host = host
        self._region = region
        self._service = service
        self._token = credentials.token.encode() if credentials.token is not None else None
        self._day = b""
        self._key = self._scope = self._credential = b""

    def sign(
        self,
        method: bytes,
        path: bytes,
        query: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        payload_hash: bytes,
        date: bytes,
    ) -> list[tuple[bytes, bytes]]:
        """Returns the headers that are added to a request.

        headers: the request's headers, as `keep_own_headers` returns them
        payload_hash: SHA-256 of the body in hex digits
        date: the time of the signature, as in 20260131T235959Z
        """
        day = date[:8]
        if day != self._day:
            self._use_day(day)
        added = [(b"x-amz-date", date)]
        if self._token is not None:
            added.append((b"x-amz-security-token", self._token))
        signed = [(b"host", self._host), *added]
        signed += [(name, canonical_value(value)) for name, value in headers if name in INVOKE_HEADERS]
        signed.sort(key=_by_name)
        if len({name for name, _ in signed}) != len(signed):
            signed = _join_repeated(signed)
        canonical, names = canonical_request(method, path, query, signed, payload_hash)
        signature = make_signature(self._key, date, self._scope, canonical)
        value = b"%b Credential=%b, SignedHeaders=%b, Signature=%b" % (ALGORITHM, self._credential, names, signature)
        added.append((b"authorization", value))
        return added

    def _use_day(self, day: bytes) -> None:
        written = day.decode()
        self._key = derive_key(self.credentials.secret, written, self._region, self._service)
        self._scope = make_scope(written, self._region, self._service)
        self._credential = b"%b/%b" % (self.credentials.access_key_id.encode(), self._scope)
        self._day = day

    def __repr__(self) -> str:
        return f"<RequestSigner {self._host.decode()} {self._region} {self.credentials!r}>"


def _by_name(header: tuple[bytes, bytes]) -> bytes:
    return header[0]


def _join_repeated(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Returns headers of one name as one list (RFC 9110, 5.3)."""
    joined: dict[bytes, bytes] = {}
    for name, value in headers:
        joined[name] = b"%b,%b" % (joined[name], value) if name in joined else value
    return list(joined.items())
