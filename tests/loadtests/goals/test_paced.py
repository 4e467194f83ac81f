"""The client of a constant rate sends each call when it is due, and counts its time from then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from loadtests.bench import backend, calls
from loadtests.bench.goals.paced import Pace, Paced, Run, connect, drive, share_of
from loadtests.bench.processes import free_port

CALLS = 50


class Sleepy(backend.Call):
    """Answers a call after some seconds."""

    seconds = 0.2

    def answer(self) -> None:
        asyncio.get_running_loop().call_later(self.seconds, super().answer)


class Rude(backend.Call):
    """Answers the first call of a connection, and ends the connection instead of answering the second one."""

    answers = 1

    def answer(self) -> None:
        if self.answers:
            self.answers -= 1
            super().answer()
        else:
            self._transport.abort()


class Ruder(Rude):
    """Answers no call."""

    answers = 0


class Throttling(backend.Call):
    """Answers each call with 429."""

    def answer(self) -> None:
        self._transport.write(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")


def paced(tmp_path: Path, call: Callable[[backend.Ledger], backend.Call], **changes: float) -> tuple[Paced, int]:
    """Sends 50 calls in half a second to a backend in this process. Returns the figures, and the calls that arrived at
    their constant rate: without the first one of each connection."""

    @asynccontextmanager
    async def serving(ledger: backend.Ledger):  # type: ignore[no-untyped-def]  # the annotation is longer than the function
        server = await asyncio.get_running_loop().create_server(lambda: call(ledger), "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def run() -> tuple[Paced, int]:
        ledger = backend.Ledger()
        async with serving(ledger) as port:
            request = tmp_path / "request"
            request.write_bytes(calls.invocation("echo", port))
            connections = int(changes.get("connections", 10))
            found = await drive(Pace(port, str(request), rate=100, seconds=CALLS / 100, connections=connections))
        return found, ledger.state()["calls"] - connections

    return uvloop.run(run())


def test_each_call_is_sent_once_and_answered(tmp_path: Path) -> None:
    found, arrived = paced(tmp_path, backend.Call)
    # One call is due at the start and one at the end.
    assert found.sent == arrived
    assert CALLS <= found.sent <= CALLS + 1
    assert found.failed == 0
    assert 0 < found.p50_ms <= found.p99_ms
    assert 0 <= found.late_ms <= found.p99_ms


def test_a_call_that_waits_for_a_connection_counts_from_the_moment_at_which_it_was_due(tmp_path: Path) -> None:
    """With one connection, 50 calls of 20 ms take a second, and become due within half of it."""
    Sleepy.seconds = 0.02
    found, _ = paced(tmp_path, Sleepy, connections=1)
    assert found.failed == 0
    assert found.p99_ms > 400, "a client that sends the next call after each response would have seen 20 ms"
    assert found.late_ms > 400


def test_calls_without_an_answer_have_failed(tmp_path: Path) -> None:
    found, arrived = paced(tmp_path, Rude, connections=CALLS + 1)
    assert found.failed == found.sent == arrived


def test_the_first_call_of_a_connection_counts_for_nothing(tmp_path: Path) -> None:
    """Its time would be that in which the proxy accepts the connection."""

    async def run() -> None:
        ledger = backend.Ledger()
        server = await asyncio.get_running_loop().create_server(lambda: backend.Call(ledger), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            (tmp_path / "request").write_bytes(calls.invocation("echo", port))
            run = Run(Pace(port, str(tmp_path / "request"), rate=100, seconds=1))
            line = await connect(run, port)
            assert ledger.state()["calls"] == 1
            assert run.idle == [line]
            found = run.outcome()
            assert (found.sent, found.failed, found.p99_ms, found.late_ms) == (0, 0, 0, 0)
            line.close()

    uvloop.run(run())


@pytest.mark.parametrize("call", [Ruder, Throttling])
def test_a_connection_whose_first_call_fails_is_an_error(tmp_path: Path, call: type[backend.Call]) -> None:
    with pytest.raises(OSError, match="first call of a connection"):
        paced(tmp_path, call)


def test_a_proxy_that_does_not_listen_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "request").write_bytes(b"")
    with pytest.raises(OSError, match="Connect"):
        uvloop.run(drive(Pace(free_port(), str(tmp_path / "request"), rate=100, seconds=0.1, connections=1)))


@pytest.mark.parametrize(("share", "value"), [(0.5, 51), (0.99, 100), (1, 100)])
def test_a_percentile_is_one_of_the_values(share: float, value: float) -> None:
    assert share_of([float(number) for number in range(100, 0, -1)], share) == value
    assert share_of([], share) == 0
