"""Connects the supervisor with a worker: remote calls over a socket pair.

Each end notices immediately when the other ends. A frame is its length in four bytes and a MessagePack array: a request
is `[id, method, argument]`, its reply `[id, result, error]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import msgspec

log = logging.getLogger("invoke_gateway")

NO_WORKER = "No worker replies; dead workers are being replaced. Try again in a second."

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.decode


class WorkerGone(Exception):
    """Raised where the worker has ended, or does not reply."""


class WorkerTimeout(WorkerGone):
    """Raised where a worker did not reply in time; the worker may still carry out the request."""


class Channel:
    """Reads and writes frames at one end of the socket pair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Channel:
        return cls(*await asyncio.open_unix_connection(sock=end))

    async def read(self) -> Any:
        """Returns the next frame; None when the other end is gone."""
        try:
            size = int.from_bytes(await self._reader.readexactly(4), "big")
            return _decode(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, OSError):
            return None

    def write(self, *frame: object) -> None:
        body = _encode(frame)
        self._writer.writelines((len(body).to_bytes(4, "big"), body))

    async def close(self) -> None:
        """Sends what was written, and closes."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class RpcClient:
    """Calls a worker, from the supervisor."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._ids = count()
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._is_gone = self._is_closing = False
        self._reader = asyncio.create_task(self._read_replies(), name="replies of a worker")

    async def call(self, method: str, argument: object = None, *, seconds: float | None = None) -> Any:
        """Returns the worker's result, within so many seconds. Raises `WorkerGone`."""
        if self._is_gone:
            raise WorkerGone("it has ended")
        id = next(self._ids)
        reply = self._pending[id] = asyncio.get_running_loop().create_future()
        self._channel.write(id, method, argument)
        try:
            async with asyncio.timeout(seconds):
                return await reply
        except TimeoutError:
            raise WorkerTimeout(f"no reply to {method} within {seconds:g} s") from None
        finally:
            self._pending.pop(id, None)

    async def close(self) -> None:
        self._is_closing = True
        self._reader.cancel()
        await asyncio.wait([self._reader])
        if not self._reader.cancelled():
            self._reader.exception()  # logged when it happened
        self._fail_pending()
        await self._channel.close()

    async def _read_replies(self) -> None:
        try:
            while (frame := await self._channel.read()) is not None:
                self._apply_reply(*frame)
        except BaseException as error:
            if not self._is_closing:
                log.error("the channel to a worker has failed, and the worker is replaced", exc_info=error)
            raise
        finally:
            self._fail_pending()

    def _apply_reply(self, id: int, result: Any, error: str | None) -> None:
        reply = self._pending.get(id)
        if reply is None or reply.done():
            return
        if error is None:
            reply.set_result(result)
        else:
            reply.set_exception(WorkerGone(error))

    def _fail_pending(self) -> None:
        self._is_gone = True
        for reply in self._pending.values():
            if not reply.done():
                reply.set_exception(WorkerGone("it has ended"))


async def serve_calls(channel: Channel, handle: Callable[[str, Any], Awaitable[Any]]) -> None:
    """Handles the supervisor's calls in the worker, each in a task of its own, until the supervisor is gone."""
    running: set[asyncio.Task[None]] = set()

    async def serve_one(id: int, method: str, argument: Any) -> None:
        try:
            result, error = await handle(method, argument), None
        except Exception as failure:  # every call gets a reply
            log.exception("the supervisor's call %r failed", method)
            result, error = None, f"{type(failure).__name__}: {failure}"
        channel.write(id, result, error)

    while (frame := await channel.read()) is not None:
        task = asyncio.create_task(serve_one(*frame))
        running.add(task)
        task.add_done_callback(running.discard)
    for task in running:
        task.cancel()
