"""The trace header of what goes to the backend, whichever way the request takes there."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.policy.recursion import extend, hash_function, may_have_lineage
from invoke_gateway.upstream.lineage_header import LineageHeader
from tests.support.backends import ScriptedBackend, chunk
from tests.support.clients import Client, call, invoke_path, request
from tests.support.gateways import GatewayUnderTest, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

COUNTER = "000000000000/function/checkout"
CHECKOUT = hash_function("us-east-1", "000000000000", "checkout")
MADE = re.compile(rb"Root=1-([0-9a-f]{8})-([0-9a-f]{24});Sampled=0;Lineage=1:%b:0" % CHECKOUT)
TRACE = f"root=1-a;Unknown;Lineage=3:{CHECKOUT.decode()}:9"
EXTENDED = b"root=1-a;Unknown;Lineage=4:%b:9" % CHECKOUT


class Clock:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


def begin(traces: LineageHeader, counter: str = COUNTER) -> bytes:
    """A new trace header."""
    ((name, value),) = traces.add([], counter)
    assert name == b"x-amzn-trace-id"
    return value


def make_traces(seconds: float = 1_700_000_000.5) -> tuple[LineageHeader, Clock]:
    clock = Clock(seconds)
    return LineageHeader("us-east-1", now=clock), clock


async def test_a_root_has_the_second_that_it_was_made_in() -> None:
    """Also after the clock was set back."""
    traces, clock = make_traces()
    for seconds in (1_700_000_000.5, 1_700_000_000.9, 1_700_000_001.0, 1_700_000_007.2, 1_600_000_000.0):
        clock.seconds = seconds
        found = MADE.fullmatch(begin(traces))
        assert found
        assert int(found[1], 16) == int(seconds)


async def test_no_two_roots_are_alike() -> None:
    made = [make_traces()[0] for _ in range(10)]
    roots = {begin(traces).partition(b";")[0] for traces in made for _ in range(1000)}
    assert len(roots) == 10_000


async def test_accounts_and_functions_are_told_apart() -> None:
    traces, _ = make_traces()
    begun = {begin(traces, f"{account}/function/{name}")[-12:] for account in ("1", "2") for name in ("a", "b")}
    assert len(begun) == 4


@pytest.mark.parametrize("name", ["X-Amzn-Trace-Id:", "x-amzn-trace-id: ", "X-AMZN-TRACE-ID:\t  "])
@pytest.mark.parametrize("end", ["\r\n", " \r\n", "\n"])
async def test_only_the_lineage_of_a_request_is_another_byte(name: str, end: str) -> None:
    """Whatever its body looks like, or headers before it with the same value."""
    before = f"POST /x HTTP/1.1\r\nX-Amzn-Trace-Id-2: {TRACE}\r\nX-Copy: {TRACE}\r\n".encode()
    after = f"{end}Content-Length: 1\r\n\r\n\nX-Amzn-Trace-Id: {TRACE}".encode()
    message = before + (name + TRACE).encode() + after
    written = make_traces()[0].write(message, TRACE.encode(), COUNTER, True)
    assert written == before + name.encode() + EXTENDED + after


async def test_a_request_whose_header_is_not_found_in_its_bytes_is_not_written_to() -> None:
    """Its head is put together anew, from what the parser has understood."""
    traces, _ = make_traces()
    for head in (b"X-Amzn-Trace-Id:\r\n Root=1-a\r\n", b"X-Amzn-Trace-Id : Root=1-a\r\n", b"X-Other: Root=1-a\r\n"):
        message = b"POST /x HTTP/1.1\r\n" + head + b"\r\n"
        assert traces.write(message, b"Root=1-a", COUNTER, True) is None


@given(st.text("RL=1-a;:|", max_size=30))
async def test_bytes_and_headers_say_the_same(trace: str) -> None:
    traces, _ = make_traces()
    headers = [(b"x-a", b"1"), (b"x-amzn-trace-id", trace.encode())]
    added = traces.add(headers, COUNTER)
    message = b"POST /x HTTP/1.1\r\nX-Amzn-Trace-Id:%b\r\n\r\n" % trace.encode()
    written = traces.write(message, trace.encode(), COUNTER, may_have_lineage(trace.encode()))
    assert written == b"POST /x HTTP/1.1\r\nX-Amzn-Trace-Id:%b\r\n\r\n" % added[1][1]


async def test_headers_are_extended_from_the_same_base_each_time() -> None:
    """What runs again, runs with the header that it came with: the list that was given stays as it is."""
    traces, _ = make_traces()
    for headers in ([(b"x-a", b"1"), (b"x-amzn-trace-id", TRACE.encode()), (b"x-b", b"2")], [(b"x-a", b"1")]):
        before = list(headers)
        first, second = (traces.add(headers, COUNTER) for _ in range(2))
        assert headers == before
        assert [name for name, _ in first] == [name for name, _ in second]
    assert traces.add([(b"x-amzn-trace-id", TRACE.encode())], COUNTER) == [(b"x-amzn-trace-id", EXTENDED)]
    assert extend(TRACE.encode(), CHECKOUT) == EXTENDED


@pytest.mark.parametrize("trace", [None, TRACE])
@pytest.mark.parametrize("way", ["whole", "cut", "chunked", "close"])
async def test_every_invocation_arrives_with_its_lineage_once(
    gateway: GatewayUnderTest, backend: ScriptedBackend, way: str, trace: str | None
) -> None:
    headers = {"X-Amzn-Trace-Id": trace} if trace else {}
    if way == "close":
        headers["Connection"] = "close, X-Amzn-Trace-Id"
    async with Client(gateway.listen) as client:
        if way == "chunked":
            headers["Transfer-Encoding"] = "chunked"
            await client.send(request(invoke_path("checkout"), None, headers) + chunk(b"{}") + chunk(b""))
        elif way == "cut":
            whole = request(invoke_path("checkout"), b"{}", headers)
            await client.send(whole[:40])
            await asyncio.sleep(0.01)
            await client.send(whole[40:])
        else:
            await client.send(request(invoke_path("checkout"), b"{}", headers))
        assert (await client.read_response()).status == 200
    arrived = backend.requests[0].header(b"x-amzn-trace-id") or b""
    assert arrived == EXTENDED if trace else MADE.fullmatch(arrived)
    assert backend.requests[0].body == b"{}"


@pytest.mark.parametrize("trace", [None, TRACE])
@pytest.mark.parametrize("settings", [{"function_path": "function"}, {"host_header": "backend"}])
async def test_it_is_the_invoked_function_that_counts_whatever_the_backend_is_asked_for(
    backend: ScriptedBackend, settings: dict[str, str], trace: str | None
) -> None:
    async with serving(backend.url, backend={"url": backend.url, **settings}) as other:
        headers = {"X-Amzn-Trace-Id": trace} if trace else {}
        assert (await call(other.listen, invoke_path("checkout"), b"{}", headers)).status == 200
    arrived = backend.requests[0].header(b"x-amzn-trace-id") or b""
    assert arrived == EXTENDED if trace else MADE.fullmatch(arrived)


async def test_a_value_that_begins_later_than_the_last_one_is_found() -> None:
    """The place of the last value is tried first."""
    traces, _ = make_traces()
    for blanks in (b" ", b"  ", b" \t ", b" "):
        head = b"POST / HTTP/1.1\r\nX-Amzn-Trace-Id:%bRoot=1-a\r\n\r\n" % blanks
        written = traces.write(head, b"Root=1-a", COUNTER, may_have_lineage=False)
        assert written == head.replace(b"Root=1-a", extend(b"Root=1-a", CHECKOUT))
