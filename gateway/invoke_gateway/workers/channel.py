"""What the supervisor asks a worker: over a socket pair that only the two have, so that each notices at once when the
other ends. A frame is its length in four bytes and a MessagePack array: `[id, question, argument]` there, and back
`[id, answer, error]`."""

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

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.decode


class WorkerGone(Exception):
    """The worker has ended, or does not answer."""


class WorkerSilent(WorkerGone):
    """Reports a worker that did not answer in time; the worker may still carry out the request."""


class Channel:
    """One end of the socket pair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Channel:
        return cls(*await asyncio.open_unix_connection(sock=end))

    async def read(self) -> Any:
        """The next frame; None when the other end is gone."""
        try:
            size = int.from_bytes(await self._reader.readexactly(4), "big")
            return _decode(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, OSError):
            return None

    def write(self, *frame: object) -> None:
        body = _encode(frame)
        self._writer.writelines((len(body).to_bytes(4, "big"), body))

    async def close(self) -> None:
        """Send what was written, and close."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class Asking:
    """The supervisor's side."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._ids = count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._is_gone = self._is_closing = False
        self._hearing = asyncio.create_task(self._hear(), name="answers of a worker")

    async def ask(self, question: str, argument: object = None, *, seconds: float | None = None) -> Any:
        """The worker's answer, for which it has so many seconds. Raises `WorkerGone`."""
        if self._is_gone:
            raise WorkerGone("it has ended")
        id = next(self._ids)
        answer = self._waiting[id] = asyncio.get_running_loop().create_future()
        self._channel.write(id, question, argument)
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise WorkerSilent(f"no answer to {question} within {seconds:g} s") from None
        finally:
            self._waiting.pop(id, None)

    async def close(self) -> None:
        self._is_closing = True
        self._hearing.cancel()
        await asyncio.wait([self._hearing])
        if not self._hearing.cancelled():
            self._hearing.exception()  # logged when it happened
        self._give_up()
        await self._channel.close()

    async def _hear(self) -> None:
        try:
            while (frame := await self._channel.read()) is not None:
                self._take_in(*frame)
        except BaseException as error:
            if not self._is_closing:
                log.error("the channel to a worker has failed, and the worker is replaced", exc_info=error)
            raise
        finally:
            self._give_up()

    def _take_in(self, id: int, result: Any, error: str | None) -> None:
        answer = self._waiting.get(id)
        if answer is None or answer.done():
            return
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(WorkerGone(error))

    def _give_up(self) -> None:
        self._is_gone = True
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(WorkerGone("it has ended"))


async def answer_all(channel: Channel, answer: Callable[[str, Any], Awaitable[Any]]) -> None:
    """The worker's side: answer what is asked, each question by itself, until the supervisor is gone."""
    under_way: set[asyncio.Task[None]] = set()

    async def answer_one(id: int, question: str, argument: Any) -> None:
        try:
            result, error = await answer(question, argument), None
        except Exception as failure:  # whoever asked must not wait for ever
            log.exception("the supervisor's question %r failed", question)
            result, error = None, f"{type(failure).__name__}: {failure}"
        channel.write(id, result, error)

    while (frame := await channel.read()) is not None:
        task = asyncio.create_task(answer_one(*frame))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    for task in under_way:
        task.cancel()
