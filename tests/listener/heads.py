"""Requests as bytes, for tests of heads on both listeners."""

from __future__ import annotations

import json

from tests.support.backends import BackendCall
from tests.support.sockets import (
    Wire,
    chunked,
    refusal_of,
)

PATH = "/2015-03-31/functions/{}/invocations"
PASSED = "/2018-10-31/layers"  # ListLayers: no invocation, and no answer that the gateway reads
CHUNKED = "Transfer-Encoding: chunked"
HOLD = json.dumps({"function": "held", "slots": 1, "seconds": 0.01}).encode()
H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
WEBSOCKET = ("Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
SETTINGS = {"keep_alive_seconds": 5}
"""Settings of the gateway of a module."""


def lines(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def get(*headers: str, version: str = "HTTP/1.1", target: str = "/healthz") -> bytes:
    return lines(f"GET {target} {version}", *headers)


def everything(port: int, data: bytes) -> tuple[bytes, bytes]:
    """Head and body of all that comes until the connection ends."""
    with Wire(port) as wire:
        head, _, body = wire.send(data).rest().partition(b"\r\n\r\n")
    return head.lower(), body


def refused(port: int, data: bytes) -> tuple[int, str]:
    """Status and text of the one answer, behind which the connection ends."""
    with Wire(port) as wire:
        (answer,) = wire.send(data).answers()
    assert answer.header("connection") == "close"
    assert answer.header("date")
    if "error" in answer.json:
        return answer.status, answer.json["error"]
    status, code, text = refusal_of(answer)
    assert code == "InvalidRequestContentException"
    return status, text


def names_of(call: BackendCall) -> set[bytes]:
    return {name.lower() for name, _ in call.headers}


async def answer_in_chunks(call: BackendCall) -> None:
    await call.read_body()
    call.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"first,", b"second"))
    call.end()


VERSIONS = {
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2.0"),
    "HTTP/2.0": (get("Host: g", version="HTTP/2.0"), "HTTP/2.0"),
    "HTTP/3.0": (get("Host: g", version="HTTP/3.0"), "HTTP/3.0"),
    "HTTP/0.9": (get("Host: g", version="HTTP/0.9"), "HTTP/0.9"),
    "a request of HTTP/0.9": (b"GET /healthz\r\n\r\n", "HTTP/0.9"),
    "an invocation of HTTP/0.9": (b"POST /2015-03-31/functions/echo/invocations\r\n\r\n", "HTTP/0.9"),
}

BAD_HOSTS = {
    "none": ((), "it has no Host"),
    "two": (("Host: a", "Host: b"), "it has more than one Host"),
    "the same twice": (("Host: a", "host: a"), "it has more than one Host"),
    "a space in it": (("Host: a b",), "its Host is no host with or without a port"),
    "two in a list": (("Host: a, b",), "its Host is no host with or without a port"),
    "a path": (("Host: a/b",), "its Host is no host with or without a port"),
    "a query": (("Host: a?b",), "its Host is no host with or without a port"),
    "a fragment": (("Host: a#b",), "its Host is no host with or without a port"),
    "a backslash": (("Host: a\\b",), "its Host is no host with or without a port"),
    "a user": (("Host: me@a",), "its Host is no host with or without a port"),
    "a URL": (("Host: http://a",), "its Host is no host with or without a port"),
    "no number as its port": (("Host: a:b",), "its Host is no host with or without a port"),
    "two ports": (("Host: a:1:2",), "its Host is no host with or without a port"),
    "a signed port": (("Host: a:+1",), "its Host is no host with or without a port"),
    "IPv6 without brackets": (("Host: ::1",), "its Host is no host with or without a port"),
    "half a bracket": (("Host: [::1",), "its Host is no host with or without a port"),
    "brackets around no address": (("Host: [::1::2]",), "its Host is no host with or without a port"),
    "brackets around a name": (("Host: [abc]",), "its Host is no host with or without a port"),
    "half an escape": (("Host: a%2",), "its Host is no host with or without a port"),
    "angle brackets": (("Host: <a>",), "its Host is no host with or without a port"),
    "a letter beyond ASCII": (("Host: \xe9",), "its Host is no host with or without a port"),
    "a tab inside": (("Host: a\tb",), "its Host is no host with or without a port"),
}
