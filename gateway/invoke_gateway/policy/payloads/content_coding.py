"""Undoes the codings of a response for a record: the content coding, the character set, the byte order mark.

A record is one JSON text in UTF-8, so a payload that is put into it must be that too. Decoding is bounded: a response
of a few kilobytes may stand for gigabytes.
"""

from __future__ import annotations

import base64
import codecs
import re
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, Protocol

from .json_text import find_json_error

_ZSTD: Any
try:
    _ZSTD = import_module("compression.zstd")  # from Python 3.14 on, where it was built with the library
except ImportError:
    _ZSTD = None
_ERRORS = (zlib.error,) if _ZSTD is None else (zlib.error, _ZSTD.ZstdError)

_MOST_CODINGS = 4  # one upon the other; no real answer has more
_MOST_MEMBERS = 64  # of a body: each costs a copy of what stands behind it
_GZIP, _ZLIB, _RAW = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS
_GZIP_START, _ZSTD_START = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_CHARSET = re.compile(rb";\s*charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE)
# Python's names of sets that text is sent in. Others are none, such as `base64`, which Python has for a codec too.
_CHARSETS = frozenset({"iso8859-1", "iso8859-15", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le",
                       "utf-32-be", "shift_jis", "euc_jp", "euc_kr", "gb2312", "gbk", "gb18030", "big5"})  # fmt: skip
_MARKS = (  # the longer ones first: UTF-32's begins as UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


class CannotDecode(Exception):
    """Reports a body that does not fit its coding, or a coding that is not supported; the text has the reason."""


class DecodedTooLarge(Exception):
    """Reports a body that is larger than allowed, once decoded."""


def read_payload(headers: Mapping[bytes, bytes], body: bytes, limit: int) -> bytes:
    """Returns the payload that was sent, as UTF-8 where it is text. Names of headers are lower-case.

    Raises `CannotDecode` where its coding cannot be undone, and `DecodedTooLarge` above `limit` bytes.
    """
    coding = headers.get(b"content-encoding")
    if coding is not None and body:
        try:
            body = decode(coding, body, limit)
        except CannotDecode:
            if find_json_error(body) is not None:  # else a proxy has decoded it and left the header
                raise
    return to_utf8(headers.get(b"content-type", b""), body)


def wrap(body: bytes) -> bytes:
    """Returns a JSON string of these bytes in base64: what cannot be decoded is at least not taken for text."""
    return b'"%b"' % base64.b64encode(body)


def decode(coding: bytes, body: bytes, limit: int) -> bytes:
    """Undoes the codings that a Content-Encoding lists, the last one first (RFC 9110, 8.4). Raises `CannotDecode`, and
    `DecodedTooLarge` above `limit` bytes."""
    names = [name for part in coding.lower().split(b",") if (name := part.strip()) not in (b"", b"identity")]
    if len(names) > _MOST_CODINGS:
        raise CannotDecode(f"it is coded {len(names)} times")
    for name in reversed(names):
        body = _undo(name, body, limit)
    return body


def to_utf8(content_type: bytes, body: bytes) -> bytes:
    """Returns a text in UTF-8 without a byte order mark; whatever cannot be read as its character set says stays as it
    is."""
    marked = next((name for mark, name in _MARKS if body.startswith(mark)), None)
    charset = marked or _find_charset(content_type, body)
    if charset is not None:
        try:
            return body.decode(charset).encode()
        except UnicodeError:
            return body
    if 0 in body[:4]:
        # A JSON text begins with a character of ASCII, so zeros in front show how wide its characters are (RFC 4627).
        for charset in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
            with suppress(UnicodeError):
                decoded = body.decode(charset).encode()
                if find_json_error(decoded) is None:
                    return decoded
    return body


def _find_charset(content_type: bytes, body: bytes) -> str | None:
    """Returns the character set that the content type names, where it matters and is one."""
    named = _CHARSET.search(content_type)
    if named is None or body.isascii():
        return None
    try:
        name = codecs.lookup(named[1].decode("ascii")).name
    except (LookupError, UnicodeError):
        return None
    return name if name in _CHARSETS else None


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def _undo(name: bytes, body: bytes, limit: int) -> bytes:
    if name in (b"gzip", b"x-gzip"):
        return _decode_members(lambda: zlib.decompressobj(_GZIP), _GZIP_START, body, limit)
    if name == b"deflate":
        # By its standard zlib's format; some send it bare.
        try:
            return _decompress(zlib.decompressobj(_ZLIB), body, limit)[0]
        except CannotDecode:
            return _decompress(zlib.decompressobj(_RAW), body, limit)[0]
    if name == b"zstd" and _ZSTD is not None:
        return _decode_members(_ZSTD.ZstdDecompressor, _ZSTD_START, body, limit)
    raise CannotDecode(f"nothing here decodes {name.decode('latin-1')}")


def _decode_members(make: Callable[[], _Decompressor], start: bytes, body: bytes, limit: int) -> bytes:
    """Decodes a body of one or more members (gzip) or frames (zstd). What stands behind the last one is padding."""
    pieces = []
    for _ in range(_MOST_MEMBERS):
        piece, rest = _decompress(make(), body, limit)
        pieces.append(piece)
        limit -= len(piece)
        if not rest.startswith(start):
            return b"".join(pieces)
        body = rest
    raise CannotDecode(f"it has more than {_MOST_MEMBERS} members")


def _decompress(decompressor: _Decompressor, body: bytes, limit: int) -> tuple[bytes, bytes]:
    """Returns the decoded bytes, and the bytes behind the end of the coded ones."""
    try:
        decoded = decompressor.decompress(body, limit + 1)
    except _ERRORS as error:
        raise CannotDecode(str(error)) from error
    if len(decoded) > limit:
        raise DecodedTooLarge
    if not decompressor.eof:
        raise CannotDecode("it is cut off")
    return decoded, decompressor.unused_data
