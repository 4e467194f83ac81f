"""Keeps the state of one connection's flow: whether reading, or writing, is paused.

It differs from uvicorn's in its memory. Nearly no connection ever waits, so a future is made when one does.
"""

from __future__ import annotations

import asyncio


class FlowControl:
    """Pauses reading, and waits while the transport's buffer is too full to write."""

    __slots__ = ("_loop", "_transport", "_writable", "read_paused", "write_paused")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._writable: asyncio.Future[None] | None = None
        self.read_paused = False
        self.write_paused = False

    async def drain(self) -> None:
        """Waits until writing is no longer paused."""
        while self.write_paused:
            if self._writable is None:
                self._writable = self._loop.create_future()
            await asyncio.shield(self._writable)  # others may wait, too

    def pause_reading(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        writable, self._writable = self._writable, None
        if writable is not None:
            writable.set_result(None)

    def __repr__(self) -> str:
        return f"<FlowControl read_paused={self.read_paused} write_paused={self.write_paused}>"
