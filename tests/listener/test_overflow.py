"""Connections above the ceiling."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from invoke_gateway.listener import rejection
from tests.support.sockets import (
    Wire,
    gateway,
    invoke,
    refusal_of,
)

from .framing import SETTINGS as SETTINGS


def test_a_connection_above_the_ceiling_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with both hints when to come back; the connections below it go on, and when one ends there is room again."""
    with gateway(max_connections=3) as served, ExitStack() as stack:
        kept = [stack.enter_context(Wire(served.port)) for _ in range(3)]
        assert [wire.send(invoke()).answer().status for wire in kept] == [200, 200, 200]
        for data in (invoke(), invoke(body=b"x" * 100_000), b"GET /x HTTP/1.1\r\nHost: g\r\n\r\n"):
            with Wire(served.port) as wire:
                (answer,) = wire.send(data).answers()
            assert refusal_of(answer) == (
                503,
                "ServiceException",
                "The gateway has 3 open connections, which is max_connections. Retry later, or raise max_connections.",
            )
            assert (answer.header("retry-after"), answer.header("x-amz-retry-after")) == ("1", "1000")
        assert len(served.forwarded()) == 3
        assert kept[0].send(invoke()).answer().status == 200
        kept[0].close()
        served.until(lambda: len(served.connections) == 2, "there is room")
        assert served.send(invoke()).status == 200


def test_a_flood_of_connections_above_the_ceiling_is_only_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Telling them all would take as much as serving them."""
    monkeypatch.setattr(rejection, "_ANSWERED_EXCESS", 2)
    with gateway(max_connections=1) as served, ExitStack() as stack:
        wires = [stack.enter_context(Wire(served.port)) for _ in range(10)]
        assert wires[0].send(invoke()).answer().status == 200
        served.until(lambda: len(served.connections) == 3, "the rest is cut")
        assert all(wire.has_ended() for wire in wires[3:])
        assert wires[0].send(invoke()).answer().status == 200
