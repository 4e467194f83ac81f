"""Requests as bytes, for tests of where a request ends and of time-outs."""

from __future__ import annotations

import random

from tests.support.sockets import (
    Gateway,
    Wire,
    chunked,
    invoke,
    refusal_of,
)

READ_TIMEOUT = 1.0  # seconds
HEAD = "POST /2015-03-31/functions/{}/invocations HTTP/1.1\r\nHost: gateway\r\n"
CHUNKED = "Transfer-Encoding: chunked"
PASSED = "/2018-10-31/layers/l/versions"  # PublishLayerVersion: no invocation, handed on as it comes
SMUGGLED = invoke("smuggled")
LARGEST_EVENT = b'"' + b"x" * (6_291_456 - 2) + b'"'
EXPECT = "Expect: 100-continue"
LIMITS = {"requests_per_second": "off", "functions": {"closed": {"reserved_concurrent_executions": 0}}}
SETTINGS = {"read_timeout_seconds": READ_TIMEOUT, "accounts": {"default": LIMITS}}
"""Settings of the gateway of a module."""


def head(*lines: str, function: str = "echo") -> bytes:
    return "\r\n".join([HEAD.format(function) + lines[0], *lines[1:], "", ""]).encode("latin-1")


def assert_rejected(served: Gateway, data: bytes, status: int = 400) -> str:
    """`data` gets one refusal in Lambda's shape, the connection is closed, nothing is forwarded. Returns the text."""
    with Wire(served.port) as wire:
        (answer,) = wire.send(data).answers()
    assert answer.header("connection") == "close"
    refused, code, text = refusal_of(answer)
    assert (refused, code) == (status, "InvalidRequestContentException")
    assert served.forwarded() == []
    return text


SMUGGLING = {
    "length, then chunked": head("Content-Length: 2", CHUNKED) + b"0\r\n\r\n",
    "chunked, then length": head(CHUNKED, "Content-Length: 5") + b"0\r\n\r\n",
    "two lengths that differ": head("Content-Length: 2", "Content-Length: 0") + b"{}",
    "the same length twice": head("Content-Length: 2", "Content-Length: 2") + b"{}",
    "a list of lengths": head("Content-Length: 2, 2") + b"{}",
    "a list of lengths that differ": head("Content-Length: 2, 0") + b"{}",
    "a signed length": head("Content-Length: +2") + b"{}",
    "a negative length": head("Content-Length: -1") + b"{}",
    "a hexadecimal length": head("Content-Length: 0x2") + b"{}",
    "a length with a space inside": head("Content-Length: 1 0") + b"{}        ",
    "an empty length": head("Content-Length:") + b"{}",
    "a length beyond 64 bits": head("Content-Length: 18446744073709551616") + b"{}",
    "bare line feeds": head("Content-Length: 2").replace(b"\r\n", b"\n") + b"{}",
    "a bare line feed after one header": head("X: y\nContent-Length: 2") + b"{}",
    "a bare carriage return in a value": head("X: a\rContent-Length: 0", "Content-Length: 2") + b"{}",
    "a bare carriage return at a line's end": head("X: a\rY: b", "Content-Length: 2") + b"{}",
    "a folded header": head("X: a", " b", "Content-Length: 2") + b"{}",
    "a folded length": head("Content-Length:", " 2") + b"{}",
    "a space before the colon": head("Content-Length : 2") + b"{}",
    "a space before the first header": head(" Content-Length: 2") + b"{}",
    "a header without a colon": head("Content-Length") + b"{}",
    "a header without a name": head(": chunked", "Content-Length: 2") + b"{}",
    "another coding": head("Transfer-Encoding: gzip") + b"0\r\n\r\n",
    "another coding under chunked": head("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "identity after chunked": head("Transfer-Encoding: chunked, identity") + b"0\r\n\r\n",
    "identity with a length": head("Transfer-Encoding: identity", "Content-Length: 2") + b"{}",
    "something like chunked": head("Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "chunked with something before it": head("Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n",
    "chunked in quotes": head('Transfer-Encoding: "chunked"') + b"0\r\n\r\n",
    "chunked in two headers": head(CHUNKED, CHUNKED) + b"0\r\n\r\n",
    "chunked twice in one header": head("Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n",
    "chunked beside another header of codings": head(CHUNKED, "Transfer-Encoding: identity") + b"0\r\n\r\n",
    "a chunk of more than 64 bits": head(CHUNKED) + b"1" + b"0" * 16 + b"\r\n{}\r\n0\r\n\r\n",
    "a chunk whose size is a line of zeros and more": head(CHUNKED) + b"0" * 200 + b"x\r\n{}\r\n0\r\n\r\n",
    "a chunk's size with a prefix": head(CHUNKED) + b"0x2\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": head(CHUNKED) + b"-2\r\n{}\r\n0\r\n\r\n",
    "a signed chunk": head(CHUNKED) + b"+2\r\n{}\r\n0\r\n\r\n",
    "a chunk with a space before its size": head(CHUNKED) + b" 2\r\n{}\r\n0\r\n\r\n",
    "a chunk with a bare line feed after its size": head(CHUNKED) + b"2\n{}\r\n0\r\n\r\n",
    "a chunk with a bare line feed after its data": head(CHUNKED) + b"2\r\n{}\n0\r\n\r\n",
    "a chunk that is longer than it says": head(CHUNKED) + b"1\r\n{}\r\n0\r\n\r\n",
    "a chunk extension with a bare line feed": head(CHUNKED) + b"2;a\nb\r\n{}\r\n0\r\n\r\n",
    "a length in a trailer": head(CHUNKED) + chunked(b"{}", last=b"0\r\nContent-Length: 5\r\n\r\n"),
    "a coding in a trailer": head(CHUNKED) + chunked(b"{}", last=b"0\r\nTransfer-Encoding: gzip\r\n\r\n"),
    "no chunk size at all": head(CHUNKED) + b"\r\n{}\r\n0\r\n\r\n",
}

NOT_HTTP = {
    "NUL in a value": head("X: a\0b", "Content-Length: 2") + b"{}",
    "a control byte in a value": head("X: a\x01b", "Content-Length: 2") + b"{}",
    "DEL in a value": head("X: a\x7fb", "Content-Length: 2") + b"{}",
    "NUL in a name": head("X\0Y: a", "Content-Length: 2") + b"{}",
    "NUL in the path": invoke(path="/2015-03-31/functions/echo\0/invocations"),
    "a byte above ASCII in the path": invoke(path="/2015-03-31/functions/\xe9/invocations"),
    "a space in the path": invoke(path="/2015-03-31/functions/e cho/invocations"),
    "a TLS hello": bytes.fromhex("16030100c8010000c40303") + bytes(190),
    "a lower-case method": invoke(method="post"),
    "an unknown method": invoke(method="FORGET"),
    "a fragment in the target": invoke(path="/2015-03-31/functions/echo/invocations#x"),
    "a fragment in the query": invoke(path="/2015-03-31/functions/echo/invocations?a#x"),
    "a target that is another server's": invoke(path="ftp://backend/2015-03-31/functions/echo/invocations"),
    "an asterisk that is no target of its method": invoke(path="*"),
    "an asterisk and more": invoke(path="*/2015-03-31/functions/echo/invocations"),
    "an authority alone": b"GET backend:80 HTTP/1.1\r\nHost: backend\r\n\r\n",
    "a tab before the target": invoke(method="POST\t"),
    "a tab before the version": invoke().replace(b" HTTP/1.1", b"\tHTTP/1.1"),
    "a space behind the version": invoke().replace(b" HTTP/1.1", b" HTTP/1.1 "),
    "a version in lower case": invoke().replace(b"HTTP/1.1", b"http/1.1"),
    "no method": invoke(method=""),
    "nothing but spaces": b" " * 100,
    "random bytes": random.Random(1).randbytes(300),
}

ENDLESS = {
    "one header of a megabyte": head("X: " + "x" * 1_000_000, "Content-Length: 2") + b"{}",
    "ten thousand headers": head(*("X-Header: y" for _ in range(10_000)), "Content-Length: 2") + b"{}",
    "a hundred and twenty-nine small headers": head(*["A: b"] * 127, "Content-Length: 2") + b"{}",
    "a head just above the bound": head("X: " + "x" * 65_536, "Content-Length: 2") + b"{}",
    "a URL without end": b"POST /" + b"x" * 1_000_000,
    "a name without end": HEAD.encode() + b"x" * 1_000_000,
    "a method without end": b"POST" * 100_000,
    "trailers without end": head(CHUNKED) + b"2\r\n{}\r\n0\r\n" + b"X-Trailer: y\r\n" * 100_000,
    "a chunk extension without end": head(CHUNKED) + b"2;" + b"x" * 1_000_000,
}
