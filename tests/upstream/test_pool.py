"""How connections to the backend are opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from invoke_gateway.backend_errors import BackendUnreachable
from invoke_gateway.buffers import Buffers
from invoke_gateway.upstream.connection import BackendConnection
from invoke_gateway.upstream.pool import Pool
from tests.support.processes import free_port


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the client closes
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


class Opening:
    """Opens a connection outside of a task, in callbacks of the event loop."""

    def __init__(self, pool: Pool) -> None:
        self._connect = pool.connect()
        self.tasks: set[asyncio.Task[None] | None] = set()
        self.result: asyncio.Future[BackendConnection] = asyncio.get_running_loop().create_future()

    def step(self, _: object = None) -> None:
        self.tasks.add(asyncio.current_task())
        try:
            waits_for = self._connect.send(None)
        except StopIteration as end:
            self.result.set_result(end.value)
        except BackendUnreachable as error:
            self.result.set_exception(error)
        else:
            assert isinstance(waits_for, asyncio.Future)
            waits_for.add_done_callback(self.step)


async def test_a_call_that_has_no_task_opens_a_connection(port: int) -> None:
    pool = Pool("127.0.0.1", port, buffers=Buffers(1))
    opening = Opening(pool)
    asyncio.get_running_loop().call_soon(opening.step)
    connection = await asyncio.wait_for(opening.result, 60)
    assert (opening.tasks, pool.busy) == ({None}, 1)
    pool.put_back(connection)
    await pool.close()


async def test_a_call_that_has_no_task_gets_the_error_of_its_connection() -> None:
    pool = Pool("127.0.0.1", free_port(), buffers=Buffers(1))
    opening = Opening(pool)
    asyncio.get_running_loop().call_soon(opening.step)
    with pytest.raises(BackendUnreachable):
        await asyncio.wait_for(opening.result, 60)
    assert pool.busy == 0
    await pool.close()
