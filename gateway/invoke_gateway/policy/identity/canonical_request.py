"""Makes the text that Signature Version 4 signs, and signs it.

Who signs a request and who verifies it make the same text of the same bytes, so both use this file. The rules are
those of every service but S3: the path is escaped once more than it is on the wire, after its dots and empty segments
are resolved. The query is decoded and escaped again, because clients escape it in different ways.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from hmac import digest
from typing import Any
from urllib.parse import quote, unquote_to_bytes

ALGORITHM = b"AWS4-HMAC-SHA256"
PRESIGNED_SIGNATURE = b"X-Amz-Signature"
"""Names the one parameter of a presigned request that its signature does not cover."""

EMPTY_HASH = sha256(b"").hexdigest().encode()

Pads = tuple[Any, Any]

_INNER, _OUTER = bytes(byte ^ 0x36 for byte in range(256)), bytes(byte ^ 0x5C for byte in range(256))
_BLOCK = 64  # bytes
_KNOWN_PATHS = 4096  # paths whose canonical form is kept: a gateway's calls have few
_LONGEST_KNOWN = 1024  # bytes; clients could fill the memory with longer ones
_UNRESERVED = "-._~"


def canonical_path(path: bytes) -> bytes:
    """Returns a path, as it is on the wire, in its canonical form: `arn%3Aaws` becomes `arn%253Aaws`."""
    return _canonical_path(path) if len(path) <= _LONGEST_KNOWN else _canonical_path.__wrapped__(path)


@lru_cache(_KNOWN_PATHS)
def _canonical_path(path: bytes) -> bytes:
    if b"//" in path or b"/." in path:
        path = _resolve(path)
    return quote(path or b"/", safe="/" + _UNRESERVED).encode()


def _resolve(path: bytes) -> bytes:
    """Returns a path without dots and empty segments (RFC 3986, 5.2.4)."""
    segments: list[bytes] = []
    parts = path.split(b"/")
    for part in parts:
        if part == b"..":
            del segments[-1:]
        elif part not in (b"", b"."):
            segments.append(part)
    end = b"/" if segments and parts[-1] in (b"", b".", b"..") else b""
    return b"/" + b"/".join(segments) + end


def canonical_query(query: bytes) -> bytes:
    """Returns a query, as it is on the wire, in its canonical form. The signature of a presigned request is left
    out."""
    if not query:
        return b""
    pairs = []
    for part in query.split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            pairs.append((_escape(name), _escape(value)))
    pairs.sort()
    return b"&".join(b"%b=%b" % pair for pair in pairs if pair[0] != PRESIGNED_SIGNATURE)


def _escape(text: bytes) -> bytes:
    return quote(unquote_to_bytes(text), safe=_UNRESERVED).encode()


def canonical_value(value: bytes) -> bytes:
    """Returns the value of a header with single blanks, and none at its ends."""
    return b" ".join(value.split())


def canonical_request(
    method: bytes, path: bytes, query: bytes, headers: Iterable[tuple[bytes, bytes]], payload_hash: bytes
) -> tuple[bytes, bytes]:
    """Returns the canonical form of a request, and the names of its signed headers in one text.

    path, query: as they are on the wire
    headers: the signed headers in the order of their names, which are in lower case and differ from one another; values
        in their canonical form
    payload_hash: SHA-256 of the body in hex digits
    """
    lines = []
    names = []
    for name, value in headers:
        lines.append(b"%b:%b\n" % (name, value))
        names.append(name)
    signed = b";".join(names)
    parts = (method, canonical_path(path), canonical_query(query), b"".join(lines), signed, payload_hash)
    return b"\n".join(parts), signed


def make_scope(day: str, region: str, service: str) -> bytes:
    """Returns the scope of a signature.

    day: the date of the signature, as in 20260131
    """
    return f"{day}/{region}/{service}/aws4_request".encode()


def derive_key(secret: str, day: str, region: str, service: str) -> bytes:
    """Returns the key that signs requests of one day, Region and service."""
    key = b"AWS4" + secret.encode()
    for part in (day, region, service, "aws4_request"):
        key = digest(key, part.encode(), "sha256")
    return key


def make_pads(key: bytes) -> Pads:
    """Returns the two hashes with which every HMAC by a key begins (RFC 2104). hmac.digest looks up the hash function
    each time, which takes as long as all the rest of a signature's hashing."""
    padded = key.ljust(_BLOCK, b"\0")
    return sha256(padded.translate(_INNER)), sha256(padded.translate(_OUTER))


def make_signature(pads: Pads, date: bytes, scope: bytes, canonical: bytes) -> bytes:
    """Returns the signature of a canonical request in hex digits.

    pads: the key, as `make_pads` has it
    date: the time of the signature, as in 20260131T235959Z
    """
    inner, outer = pads[0].copy(), pads[1].copy()
    inner.update(b"\n".join((ALGORITHM, date, scope, sha256(canonical).hexdigest().encode())))
    outer.update(inner.digest())
    digits: str = outer.hexdigest()
    return digits.encode()
