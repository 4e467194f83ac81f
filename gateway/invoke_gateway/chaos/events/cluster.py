"""Starts the gateways that share a queue, and ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from ..node import Node
from ..store import find_free_port
from ..target import LOOPBACK, Silent, get
from .backend import BackendPort
from .script import DRAIN_SECONDS

END_SECONDS = DRAIN_SECONDS + 10.0  # within which a gateway must have ended after SIGTERM


class EventNode(Node):
    """A node whose ports stay the same when its gateway is started again."""

    def __init__(
        self, number: int, port: BackendPort, settings: dict[str, Any], folder: Path, serve: Sequence[str]
    ) -> None:
        addresses = {name: f"{LOOPBACK}:{find_free_port()}" for name in ("listen", "admin")}
        super().__init__(number, settings | addresses, folder, serve)
        self.port = port
        self._starts = 0

    async def start(self) -> None:
        self._starts += 1
        if self._starts > 1:
            self.name = f"gateway {self.number + 1}, life {self._starts}"
        await super().start()

    async def prepare(self) -> None:
        await self.port.assign(self.gateway)

    async def count_events(self) -> int:
        """Returns how many events the queue holds, by this gateway's count. Raises `Silent`."""
        try:
            answer = await get(self.admin, "/queue")
            if answer is not None and answer.status == 200:
                return msgspec.json.decode(answer.body, type=_Queue).events
        except (OSError, ValueError) as error:
            raise Silent(f"http://{self.admin}/queue does not return the number of events ({error})") from None
        raise Silent(f"http://{self.admin}/queue does not return the number of events: {answer}")

    async def end(self) -> str | None:
        """Sends SIGTERM. Returns what is wrong with how the gateway ended."""
        self.is_up = False
        self.gateway.is_affected = True
        if self.process is None:
            return None
        status = await asyncio.to_thread(self.process.end, END_SECONDS)
        self.process.kill()
        if status is None:
            return f"{self.name} still runs {END_SECONDS:g} s after SIGTERM (drain_seconds: {DRAIN_SECONDS})"
        return f"{self.name} ended with status {status} after SIGTERM" if status else None


class _Queue(msgspec.Struct):
    events: int


class EventCluster:
    """All nodes; they share a queue."""

    def __init__(self, nodes: Sequence[EventNode]) -> None:
        self.nodes = nodes

    def choose(self, rng: Random) -> EventNode | None:
        """Returns a node that is up."""
        up = [node for node in self.nodes if node.is_up]
        return rng.choice(up) if up else None

    def check(self) -> None:
        for node in self.nodes:
            node.check()

    async def count_events(self) -> int:
        """Returns 0 only where no event is left: each node counts what it has claimed itself. Raises `Silent`, or
        `Died`."""
        self.check()
        return max(await asyncio.gather(*(node.count_events() for node in self.nodes)))
