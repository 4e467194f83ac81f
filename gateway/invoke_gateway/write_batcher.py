"""Makes small writes of one cycle of the event loop together.

A write to a socket is a long way through the kernel. In the middle of the work for a request, a write evicts the next
request's data from the processor's caches. It also wakes the peer for each message alone. Made together after the work,
the same writes cost a third less of the whole (measured with 32 connections, `make bench`). A lone request is sent
immediately: the batch ends with the present cycle of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class WriteBatcher:
    """Collects small writes. Call `flush` before a direct write to the same transport, or its close: this keeps the
    order."""

    __slots__ = ("_call_soon", "_pending")

    def __init__(self) -> None:
        self._pending: list[tuple[asyncio.WriteTransport, bytes]] = []
        # Kept from the first write on: asking for the running loop costs a system call before Python 3.12.
        self._call_soon: Callable[[Callable[[], None]], object] | None = None

    def write(self, transport: asyncio.WriteTransport, data: bytes) -> None:
        if not self._pending:
            if self._call_soon is None:
                self._call_soon = asyncio.get_running_loop().call_soon
            self._call_soon(self.flush)
        self._pending.append((transport, data))

    def flush(self) -> None:
        pending, self._pending = self._pending, []
        for transport, data in pending:
            if not transport.is_closing():
                transport.write(data)

    def __repr__(self) -> str:
        return f"<WriteBatcher pending={len(self._pending)}>"
