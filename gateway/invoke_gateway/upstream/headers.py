"""Selects the headers that travel on, and writes the head of a request to the backend."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..invocation import Operation
from ..policy.requests.request_target import READ_HEADERS, canonical_path

Headers = list[tuple[bytes, bytes]]

# Headers of one connection (RFC 9110, 7.6.1), or rebuilt from what was really received.
_NOT_FORWARDED = frozenset(
    {
        b"connection",
        b"content-length",
        b"expect",
        b"http2-settings",
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
_REPLACED = _NOT_FORWARDED | {b"host"}
# The gateway's own clock stamps every response: a stale Date makes SDKs take any error for clock skew.
NOT_RETURNED = _NOT_FORWARDED | {b"date"}

# Response headers that are not just passed on: these, and two that the forwarding stage reads.
SINGLED_OUT = NOT_RETURNED | {b"x-amzn-requestid", b"x-amz-function-error"}

_PERSISTENT = frozenset({b"keep-alive", b"close"})

# What the gateway has acted upon goes on, whatever Connection lists: without its invocation type, an event that took
# no slot would run as a call that needs one.
NOT_DROPPABLE = READ_HEADERS | {b"host"}


_NAME_IN_PATH = re.compile(rb"(\A/[0-9-]+/functions/)([^/]+)(/[a-z-]+)/*\Z")


def rename(path: bytes, operation: Operation, name: bytes) -> bytes:
    """Returns the path with the backend's `name` of the function; the canonical path if there is no name in it."""
    renamed, count = _NAME_IN_PATH.subn(rb"\1" + name + rb"\3", path)
    return renamed if count else canonical_path(operation, name.decode("ascii"))


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
    """Returns the head of a forwarded request. Names in `headers` are lower-case.

    length: size of the body (bytes); None: the body is chunked
    has_body: without a body the length is left out
    host: replaces the client's Host
    """
    dropped = _NOT_FORWARDED if host is None else _REPLACED
    if connection is not None and not is_persistence(connection):
        dropped = dropped | (find_listed(connection) - NOT_DROPPABLE)
    lines = [b"%b %b HTTP/1.1" % (method, target)]
    lines += [b": ".join(header) for header in headers if header[0] not in dropped]
    if host is not None:
        lines.append(b"host: " + host)
    if length is None:
        lines.append(b"transfer-encoding: chunked")
    elif has_body:
        lines.append(b"content-length: %d" % length)
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


_OF_THE_CONNECTION = _NOT_FORWARDED - {b"content-length"}


def is_end_to_end(headers: Mapping[bytes, bytes]) -> bool:
    """Returns whether a request can be sent on unchanged: its length is known, and no header is about the client's
    connection."""
    return b"content-length" in headers and _OF_THE_CONNECTION.isdisjoint(headers)


def is_persistence(connection: bytes) -> bool:
    """Returns whether a Connection header only keeps the connection open or closes it, as nearly all do."""
    return connection.lower() in _PERSISTENT


def find_listed(connection: bytes) -> frozenset[bytes]:
    """Returns the headers that a Connection header lists: they are not sent on."""
    return frozenset(token.strip().lower() for token in connection.split(b","))
