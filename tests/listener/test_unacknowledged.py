"""A client that takes a response slowly is seen to take it, also while the kernel asks for no more."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from functools import partial

import pytest

from invoke_gateway.listener.unacknowledged import count_unacknowledged
from tests.support.gateways import eventually
from tests.support.processes import LOOPBACK

KERNEL_BUFFER = 4_000_000
RESPONSE = 8_000_000
PIECE = 100_000


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client with a small buffer, and the server's end."""
    with socket.create_server((LOOPBACK, 0)) as listening, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listening.getsockname())
        server, _ = listening.accept()
        with server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
            client.setblocking(False)
            server.setblocking(False)
            yield client, server


def has_less(transport: asyncio.Transport, than: int) -> bool:
    return count_unacknowledged(transport) < than


async def take(client: socket.socket, size: int) -> None:
    while size:
        size -= len(await asyncio.get_running_loop().sock_recv(client, size))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is left in a socket's buffer")
async def test_each_piece_that_a_client_takes_is_a_step(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=server)
    try:
        transport.write(bytes(RESPONSE))
        left = count_unacknowledged(transport)
        assert left > transport.get_write_buffer_size() > 0
        for _ in range(3):
            await take(client, PIECE)
            await eventually(partial(has_less, transport, left), "the kernel's buffer stands still")
            left = count_unacknowledged(transport)
    finally:
        transport.abort()


async def test_an_ended_connection_has_nothing_left(pair: tuple[socket.socket, socket.socket]) -> None:
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=pair[1])
    transport.abort()
    await asyncio.sleep(0)
    assert count_unacknowledged(transport) == 0
