"""What the backend gets is what the client sent, but for what belongs to one connection only; and so back."""

from __future__ import annotations

import asyncio
import re

import pytest

from invoke_gateway.policy.recursion import hash_function
from tests.support.backends import BackendCall, ScriptedBackend, says
from tests.support.clients import Client, Response, call, invoke_path, request, stream_path
from tests.support.gateways import GatewayUnderTest, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")
FORWARDED = {"async": {"mode": "forward"}}  # of an event that is kept, another request comes of it
SETTINGS = {"backend": {"timeout_seconds": 3}, **FORWARDED}

TARGET = invoke_path("checkout")
LINEAGE = f"1:{hash_function('us-east-1', '000000000000', 'checkout').decode()}:0"
MADE = re.compile(rb"X-Amzn-Trace-Id: Root=1-[0-9a-f]{8}-[0-9a-f]{24};Sampled=0;Lineage=%b\r\n" % LINEAGE.encode())
END_TO_END = {
    "authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/lambda/aws4_request, Signature=abc",
    "x-amz-date": "20260101T000000Z",
    "x-amz-client-context": "eyJhIjoxfQ==",
    "x-amz-log-type": "Tail",
    "x-amzn-trace-id": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1",
    "amz-sdk-invocation-id": "0f2c5b1e-2f34-4f5a-9f62-2c6b5e3a9a11",
    "amz-sdk-request": "attempt=2; max=3",
    "user-agent": "Boto3/1.44",
    "accept-encoding": "identity",
    "content-type": "application/json",
    "x-forwarded-for": "203.0.113.7",
    "via": "1.1 example",
    "date": "Thu, 01 Jan 2026 00:00:00 GMT",
    "cookie": "a=b; c=d",
}


async def send_raw(gateway: GatewayUnderTest, head_lines: list[bytes], body: bytes = b"{}") -> Response:
    async with Client(gateway.listen) as client:
        await client.send(b"\r\n".join([*head_lines, b"Content-Length: %d" % len(body), b"", b""]) + body)
        return await client.read_response()


async def test_end_to_end_headers_arrive_untouched_and_in_order(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    """But for the trace header's lineage, which has one invocation more."""
    assert (await call(gateway.listen, TARGET, b"{}", END_TO_END)).status == 200
    arrived = [(name.decode(), value.decode()) for name, value in backend.requests[0].headers]
    assert arrived == [
        ("Host", "lambda.us-east-1.amazonaws.com"),
        *{**END_TO_END, "x-amzn-trace-id": f"{END_TO_END['x-amzn-trace-id']};Lineage={LINEAGE}"}.items(),
        ("Content-Length", "2"),
    ]


ODD = (
    b"POST /2015-03-31/functions/checkout/invocations?a=&%7e HTTP/1.1\r\n"
    b"hOST:here\r\nX-B:  spaced  \r\nx-a: \r\nContent-Length:  7\r\nX-a: 2\r\n\r\n"
    b'{"a":1}'
)


async def test_a_request_that_comes_in_one_piece_goes_on_as_the_same_bytes_with_a_trace_header(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    """The line is put behind the first; nothing else is another byte."""
    async with Client(gateway.listen) as client:
        await client.send(ODD)
        assert (await client.read_response()).status == 200
    (arrived,) = backend.requests
    first, line, rest = (arrived.head + arrived.body).partition(b"\r\n")
    found = MADE.match(rest)
    assert found
    assert first + line + rest[found.end() :] == ODD


async def test_a_request_that_comes_in_two_pieces_says_the_same_wherever_it_is_cut(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    expected = [(b"host", b"here"), (b"x-b", b"spaced"), (b"x-a", b""), (b"x-a", b"2"), (b"content-length", b"7")]
    async with Client(gateway.listen) as client:
        for cut in range(1, len(ODD)):
            await client.send(ODD[:cut])
            await asyncio.sleep(0.001)
            await client.send(ODD[cut:])
            assert (await client.read_response()).status == 200
    assert len(backend.requests) == len(ODD) - 1
    for arrived in backend.requests:
        assert arrived.body == b'{"a":1}'
        headers = [(name.lower(), value) for name, value in arrived.headers]
        (trace,) = [header for header in headers if header[0] == b"x-amzn-trace-id"]
        assert MADE.fullmatch(b"X-Amzn-Trace-Id: %b\r\n" % trace[1])
        headers.remove(trace)
        assert sorted(headers) == sorted(expected)


FIRST = b"POST %b HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n" % TARGET.encode()
SECOND = b"POST /2015-03-31/functions/hidden/invocations HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    "alone",
    [
        FIRST + b"Connection: close\r\n\r\n{}",
        FIRST.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n{}",
        b"\r\n\r\n" + FIRST.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n{}",
    ],
)
async def test_what_follows_the_last_request_of_a_connection_does_not_go_on_with_it(
    gateway: GatewayUnderTest, backend: ScriptedBackend, alone: bytes
) -> None:
    """It would be a call that nobody has counted."""
    async with Client(gateway.listen) as client:
        await client.send(alone + SECOND)
        assert (await client.read_response()).status == 200
    await call(gateway.listen, TARGET, b'"next"')
    assert [(arrived.function, arrived.body) for arrived in backend.requests] == [
        ("checkout", b"{}"),
        ("checkout", b'"next"'),
    ]


async def test_a_piece_that_looks_like_a_request_is_none(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    body = b'{"log": "POST /2015-03-31/functions/hidden/invocations HTTP/1.1"}'
    whole = request(TARGET, body)
    cut = whole.index(b"POST /", 1)
    async with Client(gateway.listen) as client:
        await client.send(whole[:cut])
        await asyncio.sleep(0.05)
        await client.send(whole[cut:])
        assert (await client.read_response()).status == 200
    (arrived,) = backend.requests
    assert (arrived.function, arrived.body) == ("checkout", body)


@pytest.mark.parametrize("between", [b"", b"\r\n", b"\r\n\r\n"])
async def test_requests_that_come_together_go_on_one_by_one(
    gateway: GatewayUnderTest, backend: ScriptedBackend, between: bytes
) -> None:
    running = []

    async def script(arrived: BackendCall) -> None:
        running.append(gateway.app.counters.in_use("000000000000/account"))
        arrived.answer()

    backend.script = script
    async with Client(gateway.listen) as client:
        await client.send(between.join([FIRST + b"\r\n{}", SECOND, FIRST + b"\r\n[]", b""]))
        for _ in range(3):
            assert (await client.read_response()).status == 200
        await client.send(SECOND + between)
        assert (await client.read_response()).status == 200
    assert [(arrived.function, arrived.body) for arrived in backend.requests] == [
        ("checkout", b"{}"),
        ("hidden", b"{}"),
        ("checkout", b"[]"),
        ("hidden", b"{}"),
    ]
    assert running == [1, 1, 1, 1]


async def test_hop_by_hop_headers_stay_behind(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    hop_by_hop = {
        "Connection": "keep-alive, X-Mine",
        "Keep-Alive": "timeout=5",
        "Proxy-Connection": "keep-alive",
        "Proxy-Authorization": "Basic eDp5",
        "TE": "trailers",
        "Trailer": "X-Sum",
        "X-Mine": "for the next hop only",
        "X-Other": "stays",
    }
    await call(gateway.listen, TARGET, b"{}", hop_by_hop)
    assert [name for name, _ in backend.requests[0].headers] == [
        b"x-amzn-trace-id",
        b"host",
        b"x-other",
        b"content-length",
    ]


@pytest.mark.parametrize("connection", ["X-One, x-two", "x-ONE,X-TWO,close", "close ,x-one , x-two", ", x-one,,x-two"])
async def test_headers_that_connection_lists_stay_behind(
    gateway: GatewayUnderTest, backend: ScriptedBackend, connection: str
) -> None:
    await call(gateway.listen, TARGET, b"{}", {"Connection": connection, "X-One": "1", "x-two": "2", "X-Three": "3"})
    names = {name for name, _ in backend.requests[0].headers}
    assert not names & {b"x-one", b"x-two"}
    assert b"x-three" in names


@pytest.mark.parametrize(
    "name",
    [
        "X-Amz-Invocation-Type",
        "Authorization",
        "Host",
        "X-Amz-Log-Type",
        "X-Amz-Client-Context",
        "X-Amzn-RequestId",
        "X-Amzn-Trace-Id",
    ],
)
async def test_connection_cannot_take_away_what_the_gateway_has_acted_on(
    gateway: GatewayUnderTest, backend: ScriptedBackend, name: str
) -> None:
    """Or a call would be counted as one thing here and run as another there."""
    values = {
        "X-Amz-Invocation-Type": "DryRun",
        "Authorization": END_TO_END["authorization"],
        "X-Amz-Log-Type": "Tail",
        "X-Amz-Client-Context": "e30=",
        "X-Amzn-RequestId": "11111111-2222-4333-8444-555555555555",
        "X-Amzn-Trace-Id": "Lineage=unreadable",
    }
    await call(gateway.listen, TARGET, b"{}", {"Connection": f"close, {name}", **values})
    (arrived,) = backend.requests
    expected = {"Host": "lambda.us-east-1.amazonaws.com", **values}[name]
    assert arrived.header(name.lower().encode()) == expected.encode()


async def test_repeated_headers_arrive_as_often_as_they_were_sent(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    lines = [f"POST {TARGET} HTTP/1.1".encode(), b"Host: here", b"X-A: 1", b"X-B: 2", b"X-A: 3"]
    await send_raw(gateway, lines)
    assert backend.requests[0].headers[2:-1] == [(b"X-A", b"1"), (b"X-B", b"2"), (b"X-A", b"3")]


async def test_bytes_beyond_ascii_in_a_header_arrive_as_they_were_sent(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    value = bytes(range(0xA0, 0x100)) + "für 漢字".encode()
    await send_raw(gateway, [f"POST {TARGET} HTTP/1.1".encode(), b"Host: here", b"X-A: " + value])
    assert backend.requests[0].header(b"x-a") == value


async def test_the_length_is_that_of_the_body_that_was_read(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    """A chunked invocation has been read whole by the time it is forwarded."""
    async with Client(gateway.listen) as client:
        await client.send(request(TARGET, None, {"Transfer-Encoding": "chunked", "Trailer": "X-Sum"}))
        await client.send(b'3;a=b\r\n{"a\r\n4\r\n": 1\r\n1\r\n}\r\n0\r\nX-Sum: 1\r\n\r\n')
        assert (await client.read_response()).status == 200
    (arrived,) = backend.requests
    assert arrived.body == b'{"a": 1}'
    assert arrived.header(b"content-length") == b"8"
    assert arrived.header(b"transfer-encoding") is None
    assert arrived.header(b"x-sum") is None


async def test_an_empty_invocation_has_a_length_of_0(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    await call(gateway.listen, TARGET, b"")
    assert (backend.requests[0].header(b"content-length"), backend.requests[0].body) == (b"0", b"")


async def test_a_request_without_a_body_gets_no_length(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    await call(gateway.listen, "/2015-03-31/functions", None, method="GET")
    assert [name for name, _ in backend.requests[0].headers] == [b"host"]


@pytest.mark.parametrize(
    "target",
    [
        "/2015-03-31/functions/checkout/invocations",
        "/2015-03-31/functions/checkout/invocations?Qualifier=%24LATEST",
        "/2015-03-31/functions/checkout/invocations?Qualifier=$LATEST",
        "/2015-03-31/functions/checkout/invocations?a=b&&=c&d&e=%zz&f=%C3%BC+g%20h",
        "/2015-03-31/functions/checkout/invocations?x=/../?y=//",
        "/2015-03-31/functions/checkout%3Alive/invocations",
        "/2015-03-31/functions/check%6Fut/invocations",
        "/2015-03-31/functions/arn%3aaws%3Alambda%3Aus-east-1%3A111122223333%3Afunction%3Acheckout/invocations",
        "/2015-03-31/functions/arn:aws:lambda:us-east-1:111122223333:function:checkout:$LATEST/invocations",
        "//2015-03-31//functions/checkout/invocations",
        "/2015-03-31/functions/./checkout/invocations/",
        "/2014-11-13/functions/checkout/invoke-async/",
        "/2021-11-15/functions/checkout/response-streaming-invocations?Qualifier=3",
        "/2015-03-31/functions/a%2Fb/configuration?x=%2F",
        "/%E4%BD%A0%00;v=1,2/~!*'()@&=+$,",
        "/",
    ],
)
async def test_the_target_arrives_byte_for_byte(
    gateway: GatewayUnderTest, backend: ScriptedBackend, target: str
) -> None:
    assert (await call(gateway.listen, target)).status == 200
    (arrived,) = backend.requests
    assert (arrived.method, arrived.target, arrived.version) == (b"POST", target.encode(), b"HTTP/1.1")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
async def test_the_method_arrives_as_it_was_sent(
    gateway: GatewayUnderTest, backend: ScriptedBackend, method: str
) -> None:
    assert (await call(gateway.listen, "/2015-03-31/functions/checkout", b"x", method=method)).status == 200
    assert backend.requests[0].method == method.encode()


async def test_the_host_is_the_clients_or_the_backends_by_setting() -> None:
    async with ScriptedBackend() as backend:
        for setting, expected in (("preserve", "lambda.us-east-1.amazonaws.com"), ("backend", None)):
            async with serving(backend.url, backend={"url": backend.url, "host_header": setting}) as gateway:
                await call(gateway.listen, TARGET)
                await call(gateway.listen, "/elsewhere", None, {"Connection": "Host"}, method="GET")
            for arrived in backend.requests:
                assert arrived.header(b"host") == (expected or f"127.0.0.1:{backend.port}").encode()
            backend.forget()


async def test_function_path_replaces_the_name_in_the_path_of_an_invocation() -> None:
    arn = "arn%3Aaws%3Alambda%3Aus-east-1%3A111122223333%3Afunction%3Acheckout"
    expected = {
        "/2015-03-31/functions/checkout/invocations": "/2015-03-31/functions/function/invocations",
        "/2015-03-31/functions/checkout:3/invocations?x=1": "/2015-03-31/functions/function/invocations?x=1",
        f"/2015-03-31/functions/{arn}/invocations": "/2015-03-31/functions/function/invocations",
        "/2014-11-13/functions/checkout/invoke-async/": "/2014-11-13/functions/function/invoke-async",
        stream_path("checkout"): stream_path("function"),
        "/2015-03-31/Functions/checkout/Invocations?x=1": "/2015-03-31/functions/function/invocations?x=1",
        "/;x/2015-03-31/functions/checkout/invocations;x": "/2015-03-31/functions/function/invocations",
        "/2015-03-31/functions/other/../checkout/invocations": "/2015-03-31/functions/function/invocations",
        "/2014-11-13/functions/checkout/%49nvoke-async": "/2014-11-13/functions/function/invoke-async",
        "/2015-03-31/functions/checkout/configuration": "/2015-03-31/functions/checkout/configuration",
        "/2015-03-31/functions": "/2015-03-31/functions",
    }
    async with (
        ScriptedBackend() as backend,
        serving(backend.url, backend={"function_path": "function"}, **FORWARDED) as gateway,
    ):
        for target in expected:
            assert (await call(gateway.listen, target)).status == 200
        assert [arrived.target.decode() for arrived in backend.requests] == list(expected.values())


async def test_a_response_loses_what_belonged_to_the_connection_only(
    gateway: GatewayUnderTest, backend: ScriptedBackend
) -> None:
    backend.script = says(
        b"HTTP/1.1 200 OK\r\n"
        b"Connection: X-Mine\r\n"
        b"Connection: keep-alive, x-also-mine\r\n"
        b"Keep-Alive: timeout=5\r\n"
        b"Proxy-Authenticate: Basic\r\n"
        b"Trailer: X-Sum\r\n"
        b"Upgrade: h2c\r\n"
        b"X-Mine: 1\r\n"
        b"X-Also-Mine: 1\r\n"
        b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
        b"X-Amz-Executed-Version: $LATEST\r\n"
        b"Set-Cookie: a=1\r\n"
        b"Set-Cookie: b=2\r\n"
        b"X-Odd: \xfc\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    )
    answer = await call(gateway.listen, TARGET)
    assert [header for header in answer.headers if header[0] not in ("date", "x-amzn-requestid")] == [
        ("x-amz-executed-version", "$LATEST"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("x-odd", "\xfc"),
        ("content-length", "2"),
    ]
    assert "1970" not in (answer.header("date") or ""), "a stale Date makes SDKs believe in clock skew"


async def test_expect_is_answered_here_and_stays_behind(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    async with Client(gateway.listen) as client:
        await client.send(request("/upload", None, {"Content-Length": "5", "Expect": "100-continue"}))
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"hello")
        assert (await client.read_response()).status == 200
    assert backend.requests[0].header(b"expect") is None
    assert backend.requests[0].body == b"hello"


async def test_dry_run_and_event_arrive_as_such(gateway: GatewayUnderTest, backend: ScriptedBackend) -> None:
    async def script(call: BackendCall) -> None:
        call.answer({b"Event": 202, b"DryRun": 204}[call.header(b"x-amz-invocation-type") or b""], b"")

    backend.script = script
    for kind, status in (("Event", 202), ("DryRun", 204)):
        assert (await call(gateway.listen, TARGET, b"{}", {"X-Amz-Invocation-Type": kind})).status == status
