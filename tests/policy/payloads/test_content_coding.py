"""What is made of a coded answer before it is put into a record."""

from __future__ import annotations

import base64
import gzip
import json
import sys
import zlib
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.policy.payloads.content_coding import (
    CannotDecode,
    DecodedTooLarge,
    decode,
    read_payload,
    to_utf8,
    wrap,
)

TEXT = '{"errorMessage":"no such report: café"}'.encode()
BROTLI = bytes.fromhex("0b0a807b226572726f724d657373616765223a2278227d03")  # of {"errorMessage":"x"}
LIMIT = 6_291_556
HAS_ZSTD = sys.version_info >= (3, 14) and find_spec("compression.zstd") is not None


def zipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)  # the same at every run: it is in the names of tests


def raw_deflate(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return coder.compress(data) + coder.flush()


CODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": zipped,
    "x-gzip": zipped,
    "deflate": zlib.compress,
    "identity": bytes,
}


@pytest.mark.parametrize("name", CODERS)
@given(data=st.binary(max_size=200))
def test_what_was_coded_is_decoded(name: str, data: bytes) -> None:
    assert decode(name.encode(), CODERS[name](data), LIMIT) == data
    assert decode(name.upper().encode(), CODERS[name](data), LIMIT) == data


@given(st.lists(st.sampled_from(sorted(CODERS)), max_size=4))
def test_codings_upon_each_other_are_undone_from_the_last(names: list[str]) -> None:
    body = TEXT
    for name in names:
        body = CODERS[name](body)
    assert decode(" ,".join(names).encode(), body, LIMIT) == TEXT


def test_deflate_is_read_bare_too_and_gzip_in_several_members_with_padding() -> None:
    assert decode(b"deflate", raw_deflate(TEXT), LIMIT) == TEXT
    assert decode(b"gzip", zipped(TEXT[:9]) + zipped(TEXT[9:]) + b"\0" * 512, LIMIT) == TEXT


@pytest.mark.skipif(not HAS_ZSTD, reason="the standard library has zstd from Python 3.14 on")
def test_zstd_is_decoded_where_the_standard_library_can() -> None:
    compress: Callable[[bytes], bytes] = import_module("compression.zstd").compress
    assert decode(b"zstd", compress(TEXT), LIMIT) == TEXT
    assert decode(b"zstd", compress(TEXT[:9]) + compress(TEXT[9:]), LIMIT) == TEXT
    with pytest.raises(DecodedTooLarge):
        decode(b"zstd", compress(b"a" * 1001), 1000)
    for body in (compress(TEXT)[:-1], TEXT):
        with pytest.raises(CannotDecode):
            decode(b"zstd", body, LIMIT)


@pytest.mark.skipif(HAS_ZSTD, reason="the standard library has zstd")
def test_zstd_is_not_decoded_before_the_standard_library_can() -> None:
    with pytest.raises(CannotDecode, match="nothing here decodes zstd"):
        decode(b"zstd", b"\x28\xb5\x2f\xfd", LIMIT)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", zipped(TEXT)[:-1]),
        (b"gzip", zipped(TEXT)[:12]),
        (b"gzip", zipped(TEXT)[:-8] + b"\0" * 8),
        (b"gzip", zlib.compress(TEXT)),
        (b"gzip", b"\x1f"),
        (b"deflate", zlib.compress(TEXT)[:-1]),
        (b"deflate", TEXT),
        (b"br", BROTLI),
        (b"compress", b"\x1f\x9d\x90"),
        (b"gzip, br", BROTLI),
        (b"gzip,gzip,gzip,gzip,gzip", TEXT),
        (b"gzip", zipped(b"") * 100_000),
    ],
    ids=[
        "cut",
        "cut in front",
        "wrong sum",
        "zlib",
        "one byte",
        "cut zlib",
        "no zlib",
        "br",
        "compress",
        "br and gzip",
        "too often",
        "too many members",
    ],
)
def test_what_is_not_what_its_coding_says_is_not_decoded(coding: bytes, body: bytes) -> None:
    with pytest.raises(CannotDecode):
        decode(coding, body, LIMIT)
    if body == TEXT:
        return  # see below
    with pytest.raises(CannotDecode):
        read_payload({b"content-encoding": coding}, body, LIMIT)
    assert base64.b64decode(json.loads(wrap(body))) == body


@pytest.mark.parametrize("coder", [zipped, zlib.compress, raw_deflate], ids=["gzip", "zlib", "raw"])
def test_no_answer_is_larger_than_its_quota_once_it_is_decoded(coder: Callable[[bytes], bytes]) -> None:
    coding = b"gzip" if coder is zipped else b"deflate"
    assert len(decode(coding, coder(b"a" * 1000), 1000)) == 1000
    with pytest.raises(DecodedTooLarge):
        decode(coding, coder(b"a" * 1001), 1000)
    with pytest.raises(DecodedTooLarge):
        read_payload({b"content-encoding": coding}, coder(b"\0" * 50_000_000), LIMIT)


def test_several_members_are_bounded_together() -> None:
    with pytest.raises(DecodedTooLarge):
        decode(b"gzip", zipped(b"a" * 600) * 2, 1000)


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"utf-8", b"none", b"gzip, br"])
def test_a_header_that_a_proxy_left_behind_changes_nothing(coding: bytes) -> None:
    assert read_payload({b"content-encoding": coding}, TEXT, LIMIT) == TEXT
    assert read_payload({b"content-encoding": coding}, b"", LIMIT) == b""


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (b"", b"\xef\xbb\xbf" + TEXT),
        (b"application/json; charset=utf-8", b"\xef\xbb\xbf" + TEXT),
        (b"application/json", TEXT.decode().encode("utf-16")),
        (b"application/json", TEXT.decode().encode("utf-32")),
        (b"application/json", TEXT.decode().encode("utf-16-le")),
        (b"application/json", TEXT.decode().encode("utf-16-be")),
        (b"application/json", TEXT.decode().encode("utf-32-be")),
        (b"application/json; Charset=ISO-8859-1", TEXT.decode().encode("latin-1")),
        (b'text/plain; charset="windows-1252"', TEXT.decode().encode("cp1252")),
        (b"application/json; charset=utf-8", TEXT),
        (b"application/json; charset=klingon", TEXT),
        (b"application/json; charset=base64", TEXT),
    ],
)
def test_a_text_becomes_utf_8_without_a_mark(content_type: bytes, body: bytes) -> None:
    assert to_utf8(content_type, body) == TEXT


@given(
    st.binary(max_size=40), st.sampled_from([b"", b"x/y; charset=utf-16", b"x/y; charset=hex", b"x/y; charset=\xff"])
)
def test_bytes_that_are_no_text_stay_as_they_are_or_become_one(body: bytes, content_type: bytes) -> None:
    read = to_utf8(content_type, body)
    assert read == body or read.decode() is not None
