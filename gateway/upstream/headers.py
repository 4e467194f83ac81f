"""Which headers travel on, and the head of a request to the backend."""

from __future__ import annotations

from collections.abc import Iterable

from ..policy.target import READ_HEADERS

Headers = list[tuple[bytes, bytes]]

# They belong to one connection (RFC 9110, 7.6.1), or are rebuilt from what was really received.
_NOT_FORWARDED = frozenset(
    {
        b"connection",
        b"content-length",
        b"expect",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# The gateway's own clock stamps every response: a stale Date makes SDKs take any error for clock skew.
_NOT_RETURNED = _NOT_FORWARDED | {b"date"}

_PERSISTENT = frozenset({b"keep-alive", b"close"})

# What the gateway has acted upon goes on, whatever Connection lists: without its invocation type, an event that took
# no slot would run as a call that needs one.
_NOT_DROPPABLE = READ_HEADERS | {b"host"}


def request_head(
    method: bytes,
    target: bytes,
    headers: Iterable[tuple[bytes, bytes]],
    *,
    connection: bytes | None,
    length: int | None,
    has_body: bool = True,
    host: bytes | None = None,
) -> bytes:
    """The head of a forwarded request. Names in `headers` are lower-case.

    `length` is the body's size in bytes, `None` for a chunked one; it is left out where there is no body. `host`
    replaces the client's Host.
    """
    dropped = _NOT_FORWARDED
    if connection is not None and connection.lower() not in _PERSISTENT:
        dropped = dropped | (_listed(connection) - _NOT_DROPPABLE)
    if host is not None:
        dropped = dropped | {b"host"}
    parts = [method, b" ", target, b" HTTP/1.1\r\n"]
    for name, value in headers:
        if name not in dropped:
            parts += (name, b": ", value, b"\r\n")
    if host is not None:
        parts += (b"host: ", host, b"\r\n")
    if length is None:
        parts.append(b"transfer-encoding: chunked\r\n")
    elif has_body:
        parts.append(b"content-length: %d\r\n" % length)
    parts.append(b"\r\n")
    return b"".join(parts)


def response_headers(headers: Headers) -> Headers:
    """The end-to-end headers of a backend's response, names lower-cased, without its length and its date."""
    kept = []
    connection = None
    for name, value in headers:
        name = name.lower()
        if name not in _NOT_RETURNED:
            kept.append((name, value))
        elif name == b"connection":
            connection = value if connection is None else connection + b"," + value
    if connection is not None and connection.lower() not in _PERSISTENT:
        listed = _listed(connection)
        kept = [header for header in kept if header[0] not in listed]
    return kept


def _listed(connection: bytes) -> frozenset[bytes]:
    return frozenset(token.strip().lower() for token in connection.split(b","))
