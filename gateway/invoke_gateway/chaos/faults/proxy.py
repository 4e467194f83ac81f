"""Relays TCP between one gateway and the store, and does to the traffic what networks do, without root.

TCP delivers in order or not at all, so nothing is lost from the middle. Traffic is late, or stalls (and may come after
all), or is dropped from some moment until the connection ends, or ends in one direction or in both.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import Enum
from random import Random

from ..wire import HostPort, TaskServer, reset

PIECE = 65_536


class Flow(Enum):
    """The state of one direction."""

    PASS = "passes"
    STALL = "holds"  # and delivers when it passes again
    DROP = "swallows"


class FaultProxy(TaskServer):
    """The proxy of one gateway. `delay`: the least and the most seconds that each piece of either direction is
    late. The two directions are of every connection, also of new ones. `clear` undoes every change."""

    def __init__(self, store: HostPort, rng: Random) -> None:
        super().__init__()
        self.store = store
        self.endpoint: HostPort
        self.delay = (0.0, 0.0)
        self.refuses = False
        self._rng = rng
        self._flows = {"to store": Flow.PASS, "to gateway": Flow.PASS}
        self._moves = {name: asyncio.Event() for name in self._flows}
        for event in self._moves.values():
            event.set()
        self._finished: set[asyncio.StreamWriter] = set()  # to these nothing more can be written
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()

    def __repr__(self) -> str:
        return f"<FaultProxy {self._flows} delay={self.delay} refuses={self.refuses} connections={len(self._pairs)}>"

    async def start(self) -> HostPort:
        """Listens on a free port of loopback, and returns the address."""
        self.endpoint = await self.serve("127.0.0.1", 0, self._relay)
        return self.endpoint

    def set_flows(self, to_store: Flow, to_gateway: Flow) -> None:
        for name, flow in (("to store", to_store), ("to gateway", to_gateway)):
            self._flows[name] = flow
            if flow is Flow.STALL:
                self._moves[name].clear()
            else:
                self._moves[name].set()

    def clear(self) -> None:
        """Passes traffic again at once, and delivers what was stalled. A connection with dropped traffic must be
        reset before that, or the rest would be taken for what is missing."""
        self.refuses = False
        self.delay = (0.0, 0.0)
        self.set_flows(Flow.PASS, Flow.PASS)

    def reset(self) -> None:
        """Ends all connections, both sides, with a reset. Stalled traffic is lost."""
        for pair in list(self._pairs):
            for writer in pair:
                reset(writer)

    def half_close(self, *, towards_store: bool) -> None:
        """Closes one direction of each connection; the other stays open."""
        for gateway, store in self._pairs:
            writer = store if towards_store else gateway
            self._finish(writer)

    def _finish(self, writer: asyncio.StreamWriter) -> None:
        if not writer.is_closing() and writer not in self._finished:
            self._finished.add(writer)
            with suppress(OSError):
                writer.write_eof()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            reset(writer)
            return
        try:
            store_reader, store_writer = await asyncio.open_connection(*self.store)
        except OSError:
            reset(writer)
            return
        pair = (writer, store_writer)
        self._pairs.add(pair)
        try:
            await asyncio.gather(
                self._pump("to store", reader, store_writer), self._pump("to gateway", store_reader, writer)
            )
        except (OSError, RuntimeError):  # uvloop raises the latter for a write after a reset
            for end in pair:
                reset(end)
        finally:
            self._pairs.discard(pair)
            self._finished -= {*pair}
            for end in pair:
                end.close()

    async def _pump(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            piece = await reader.read(PIECE)
            await self._moves[name].wait()
            if self._flows[name] is Flow.DROP:
                if not piece:
                    return
                continue
            if self.delay[1]:
                await asyncio.sleep(self._rng.uniform(*self.delay))
            if not piece:
                self._finish(writer)
                return
            if writer not in self._finished:
                writer.write(piece)
                await writer.drain()
