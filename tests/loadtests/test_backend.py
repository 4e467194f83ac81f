"""The backend of the benchmark gives the answers that a function's name asks for."""

from __future__ import annotations

import asyncio

import pytest

from loadtests.bench import backend, calls
from loadtests.bench.paths import BODIES, LARGE, PIECES, SHAPES, STREAMED


class WatchedCall(backend.Call):
    """Sets an event when its connection has ended."""

    def __init__(self, ledger: backend.Ledger, ended: asyncio.Event) -> None:
        super().__init__(ledger)
        self._ended = ended

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._ended.set()


async def exchange(request: bytes, ending: bytes | int) -> tuple[bytes, backend.Ledger]:
    """Sends one request to a backend in this process. `ending`: the end of the response, or the length of its body."""
    ledger, ended = backend.Ledger(), asyncio.Event()
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: WatchedCall(ledger, ended), "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(ending) if isinstance(ending, int) else await read_until(reader, ending)
        writer.close()
        await writer.wait_closed()
        await ended.wait()
    return head + body, ledger


async def read_until(reader: asyncio.StreamReader, ending: bytes) -> bytes:
    """Reads any number of bytes: `readuntil` has a limit of 64 KiB."""
    read = b""
    while not read.endswith(ending):
        piece = await reader.read(65536)
        assert piece, "the connection ended before the response"
        read += piece
    return read


@pytest.mark.parametrize("path", BODIES)
def test_a_path_with_large_bodies_gets_the_response_of_its_shape(path: str) -> None:
    shape = SHAPES[path]
    request = shape.request(1)
    assert len(request.partition(b"\r\n\r\n")[2]) == shape.request_bytes
    ending: bytes | int = backend.STREAM_END if shape.is_streamed else shape.response_bytes
    response, ledger = asyncio.run(exchange(request, ending))
    assert len(response) > shape.response_bytes
    assert ledger.state() == {"calls": 1, "distinct": 1, "running": 0, "most_at_once": 1}
    assert list(ledger.bodies) == [b""], "the body is not kept"


def test_a_stream_comes_in_pieces_and_nginx_must_not_collect_them() -> None:
    response, _ = asyncio.run(exchange(SHAPES[STREAMED].request(1), backend.STREAM_END))
    head, _, body = response.partition(b"\r\n\r\n")
    assert b"X-Accel-Buffering: no" in head
    size = SHAPES[STREAMED].response_bytes // PIECES
    chunk = b"%x\r\n%b\r\n" % (size, b"s" * size)
    assert body == chunk * PIECES + backend.STREAM_END


def test_a_response_of_6_mib_is_one_json_document() -> None:
    response, _ = asyncio.run(exchange(SHAPES[LARGE].request(1), SHAPES[LARGE].response_bytes))
    assert response.endswith(calls.document(SHAPES[LARGE].response_bytes).encode())


def test_another_function_still_gets_its_own_body() -> None:
    response, ledger = asyncio.run(exchange(calls.invocation("echo", 1, '{"order": 17}'), len('{"order": 17}')))
    assert response.endswith(b'\r\n\r\n{"order": 17}')
    assert list(ledger.bodies) == [b'{"order": 17}']
