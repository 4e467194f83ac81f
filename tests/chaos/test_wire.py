"""Tests the connection of a client."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from invoke_gateway.chaos.wire import HostPort, WireConnection


async def test_a_write_to_a_closed_connection_is_a_reset_on_every_event_loop() -> None:
    def write(data: bytes) -> None:
        raise RuntimeError("the handler is closed")  # as uvloop does

    connection: Any = WireConnection(HostPort("127.0.0.1", 1))
    connection.writer = SimpleNamespace(write=write)
    with pytest.raises(ConnectionResetError):
        await connection.send(b"late")
