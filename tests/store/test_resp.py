"""Commands are encoded and replies parsed as Redis defines it, however the bytes are divided, and whatever they are."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    InvalidResponse,
    MovedError,
    NoScriptError,
    RedisError,
    ResponseError,
)

from invoke_gateway.store.resp import MOST_LENGTH, MOST_LEVELS, MOST_LINE_BYTES, ReplyParser, encode_commands

TEXTS = st.binary(max_size=20).map(lambda line: line.replace(b"\r", b"").replace(b"\n", b""))
REPLIES = st.recursive(
    st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=40), TEXTS.map(lambda text: (text,))),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


def encode(reply: Any) -> bytes:
    """Returns what a server sends. A tuple stands for a status."""
    match reply:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % reply
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case (text,) if isinstance(reply, tuple):
            return b"+%b\r\n" % text
        case _:
            return b"*%d\r\n" % len(reply) + b"".join(map(encode, reply))


def plain(reply: Any) -> Any:
    if isinstance(reply, tuple):
        return reply[0]
    return [plain(one) for one in reply] if isinstance(reply, list) else reply


@given(replies=st.lists(REPLIES, max_size=5), cuts=st.lists(st.integers(0, 400), max_size=8))
def test_replies_are_parsed_however_their_bytes_are_divided(replies: list[Any], cuts: list[int]) -> None:
    data = b"".join(map(encode, replies))
    parser = ReplyParser()
    ends = [*sorted(min(cut, len(data)) for cut in cuts), len(data)]
    found: list[Any] = []
    for start, end in zip([0, *ends], ends, strict=False):
        found += parser.feed(data[start:end])
    assert found == [plain(reply) for reply in replies]


def test_each_byte_of_a_large_reply_is_read_once() -> None:
    data = encode([b"x" * 2_000_000, [b"y"] * 20_000])
    parser = ReplyParser()
    found = [reply for start in range(0, len(data), 1000) for reply in parser.feed(data[start : start + 1000])]
    assert found == [[b"x" * 2_000_000, [b"y"] * 20_000]]


@pytest.mark.parametrize(
    ("line", "kind", "text"),
    [
        (b"-MOVED 3999 127.0.0.1:6381", MovedError, "3999 127.0.0.1:6381"),
        (b"-ASK 3999 127.0.0.1:6381", AskError, "3999 127.0.0.1:6381"),
        (b"-NOSCRIPT No matching script.", NoScriptError, "No matching script."),
        (b"-WRONGPASS invalid", AuthenticationError, "invalid"),
        (b"-LOADING in memory", BusyLoadingError, "in memory"),
        (b"-ERR max number of clients reached", ConnectionError, "max number of clients reached"),
        (b"-ERR unknown command", ResponseError, "unknown command"),
        (b"-BUSY a script runs", ResponseError, "BUSY a script runs"),
        (b"-", ResponseError, ""),
        (b"-\xff\xfe", ResponseError, "\ufffd\ufffd"),
    ],
)
def test_an_error_has_redis_pys_class(line: bytes, kind: type[RedisError], text: str) -> None:
    (error,) = ReplyParser().feed(line + b"\r\n")
    assert type(error) is kind
    assert str(error) == text
    ([nested],) = ReplyParser().feed(b"*1\r\n" + line + b"\r\n")
    assert type(nested) is kind


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\r\n",
        b"!5\r\nerror\r\n",
        b"$-2\r\n",
        b"*-2\r\n",
        b"$1e3\r\n",
        b"$\r\n",
        b": 1\r\n",
        b":1_0\r\n",
        b":\xd9\xa1\r\n",
        b":" + b"9" * 5000 + b"\r\n",
        b"$%d\r\n" % (MOST_LENGTH + 1),
        b"*%d\r\n" % (MOST_LENGTH + 1),
        b"$2\r\nabcd\r\n",
        b"*1\r\n" * (MOST_LEVELS + 1),
        b"+" + b"x" * (MOST_LINE_BYTES + 1),
    ],
)
def test_what_is_no_reply_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidResponse, match="Protocol Error"):
        ReplyParser().feed(data)
    with pytest.raises(InvalidResponse):
        feed_bytes(data)


@given(data=st.binary(max_size=60))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    with suppress(InvalidResponse):
        feed_bytes(data)


def feed_bytes(data: bytes) -> None:
    parser = ReplyParser()
    for start in range(len(data)):
        parser.feed(data[start : start + 1])


def test_commands_are_arrays_of_strings() -> None:
    assert encode_commands([("SET", b"\x00\r\n", 17), ("PING",)]) == (
        b"*3\r\n$3\r\nSET\r\n$3\r\n\x00\r\n\r\n$2\r\n17\r\n*1\r\n$4\r\nPING\r\n"
    )
    assert encode_commands([("ECHO", "é")]) == b"*2\r\n$4\r\nECHO\r\n$2\r\n\xc3\xa9\r\n"
    assert encode_commands([]) == b""
