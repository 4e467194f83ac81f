"""Turns a parsed request head into the form that the application reads: target, Host, lists, version (RFC 9112).

Nearly every request needs none of this: `protocol` finds those with a few look-ups. It calls `normalize` for the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

from ..refusals import Refusal

Headers = list[tuple[bytes, bytes]]

# Headers that are lists, of which the gateway acts on the whole: several lines are one (RFC 9110, 5.3).
_LISTS = frozenset(
    {
        b"connection",
        b"expect",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

# A name or an IPv4 address as a URI writes it (RFC 3986, 3.2.2), or what may be an IPv6 address; and a port.
_HOST = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?]*)([^?]*)(?:\?(.*))?", re.DOTALL)


class Unacceptable(Exception):
    """Ends the parsing from inside a parser callback."""

    def __init__(self, refusal: Refusal, **values: object) -> None:
        self.refusal = refusal
        self.values = values


class RequestHead(NamedTuple):
    """Holds a request's head: its target in origin form and taken apart, headers in order and by name.

    is_as_sent: the headers are those that came
    """

    path: bytes
    query: bytes
    headers: Headers
    by_name: dict[bytes, bytes]
    is_as_sent: bool


def malformed(text: str) -> Unacceptable:
    return Unacceptable(Refusal.MALFORMED, text=text)


def normalize(method: bytes, url: bytes, version: str, headers: Headers, by_name: dict[bytes, bytes]) -> RequestHead:
    """Returns the head of any request of HTTP/1. Raises `Unacceptable`."""
    path, query, authority = split_target(method, url)
    settled = headers
    if len(by_name) != len(headers):
        settled = _join_lists(headers)
    settled = _settle_host(settled, version, authority)
    if b"expect" in by_name:
        settled = _settle_expectation(settled, version)
    if settled is not headers:
        by_name = dict(settled)
    _check_coding(version, by_name.get(b"transfer-encoding"))
    return RequestHead(path, query, settled, by_name, settled is headers)


def split_target(method: bytes, url: bytes) -> tuple[bytes, bytes, bytes | None]:
    """Returns path, query and authority of a request's target; the authority is None if only Host has one. Raises
    `Unacceptable`."""
    if b"#" in url:  # some drop what follows, some make it part of the path
        raise malformed("its target has a fragment (#)")
    if url.startswith(b"/"):
        path, _, query = url.partition(b"?")
        return path, query, None
    if url == b"*" and method == b"OPTIONS":
        return url, b"", None
    found = _ABSOLUTE.fullmatch(url)
    if found is None:
        raise malformed("its target is neither a path nor an http URL")
    authority: bytes = found[1]
    if not authority or b"@" in authority or not _is_host(authority):  # RFC 9110, 4.2.1 and 4.2.4
        raise malformed("its target's authority is no host with or without a port")
    asked: bytes | None = found[3]
    path = found[2] or (b"*" if method == b"OPTIONS" and asked is None else b"/")
    return path, asked or b"", authority


def without_upgrade(method: bytes, url: bytes, version: str, headers: Headers) -> bytes:
    """Returns the head of a request as bytes, but for its wish to go on in another protocol, which a server may ignore
    (RFC 9110, 7.8)."""
    lines = [b"%b %b HTTP/%b" % (method, url, version.encode())]
    for name, value in headers:
        if name == b"upgrade":
            continue
        if name == b"connection":
            value = b",".join(token for token in value.split(b",") if token.strip().lower() != b"upgrade")
        lines.append(b"%b: %b" % (name, value))
    return b"\r\n".join([*lines, b"", b""])


def _join_lists(headers: Headers) -> Headers:
    """Returns the headers, with one line for each list that came in several; the same object where none did."""
    joined: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name in _LISTS:
            joined.setdefault(name, []).append(value)
    if all(len(values) == 1 for values in joined.values()):
        return headers
    result = []
    for name, value in headers:
        values = joined.pop(name, None) if name in _LISTS else [value]
        if values is not None:
            result.append((name, b", ".join(values)))
    return result


def _settle_host(headers: Headers, version: str, authority: bytes | None) -> Headers:
    """Returns the headers with one valid Host, or none where the client need not name one."""
    hosts = [value.strip(b" \t") for name, value in headers if name == b"host"]  # the parser leaves tabs at the end
    if len(hosts) > 1:
        raise malformed("it has more than one Host")
    if not hosts and version != "1.0":
        raise malformed("it has no Host")
    if hosts and not _is_host(hosts[0]):
        raise malformed("its Host is no host with or without a port")
    if authority is not None:  # which is what counts (RFC 9112, 3.2.2)
        return [(b"host", authority), *(header for header in headers if header[0] != b"host")]
    if hosts and not hosts[0]:  # as good as none
        return [header for header in headers if header[0] != b"host"]
    if hosts and (b"host", hosts[0]) not in headers:
        return [(name, hosts[0] if name == b"host" else value) for name, value in headers]
    return headers


def _check_coding(version: str, coding: bytes | None) -> None:
    if coding is None:
        return
    if version == "1.0":  # RFC 9112, 6.1: its framing is faulty
        raise malformed("HTTP/1.0 has no Transfer-Encoding")
    if coding.strip().lower() != b"chunked":  # the coded bytes would be taken for the body
        raise malformed("the only Transfer-Encoding accepted is chunked")


def _settle_expectation(headers: Headers, version: str) -> Headers:
    """Returns the headers, with an Expect only where a client waits to send its body."""
    by_name = dict(headers)
    expected = [token.strip().lower() for token in by_name[b"expect"].split(b",")]
    if version != "1.0" and any(token and token != b"100-continue" for token in expected):
        raise Unacceptable(Refusal.UNKNOWN_EXPECTATION)
    if version != "1.0" and _has_body(by_name) and any(expected):
        return [(name, b"100-continue" if name == b"expect" else value) for name, value in headers]
    return [header for header in headers if header[0] != b"expect"]


def _has_body(by_name: Mapping[bytes, bytes]) -> bool:
    return b"transfer-encoding" in by_name or by_name.get(b"content-length", b"").strip(b" \t0") != b""


def _is_host(value: bytes) -> bool:
    found = _HOST.fullmatch(value)
    if found is None:
        return False
    if found[1] is not None:
        try:
            IPv6Address(found[1].decode("ascii"))
        except AddressValueError:
            return False
    return True
