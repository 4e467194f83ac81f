"""The gateways that keep events: started, struck, and told to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import msgspec

from ..store import find_free_port
from ..target import LOOPBACK, PAUSE, START_SECONDS, Died, GatewayProcess, Silent, ask
from ..wire import HostPort
from .backend import BackendPort
from .event import GatewayInstance
from .script import DRAIN_SECONDS

END_SECONDS = DRAIN_SECONDS + 10.0  # within which a gateway that is told to end must have ended


class EventNode:
    """One place for a gateway: its ports and settings stay when another takes it."""

    def __init__(
        self, number: int, port: BackendPort, settings: dict[str, Any], folder: Path, serve: Sequence[str]
    ) -> None:
        self.port = port
        self.is_up = False
        self.invoke = HostPort(LOOPBACK, find_free_port())
        self.admin = HostPort(LOOPBACK, find_free_port())
        self._name = f"gateway {number + 1}"
        self._settings = {**settings, "listen": str(self.invoke), "admin": str(self.admin)}
        self._folder = folder
        self._serve = serve
        self._process: GatewayProcess | None = None
        self._lives = 0

    def __repr__(self) -> str:
        return f"<Member {self.port.gateway.name} {'up' if self.is_up else 'down'}>"

    async def start(self) -> None:
        """A new life; returns when it is ready. Raises `Died`."""
        self._lives += 1
        await self.port.assign(GatewayInstance(self._name if self._lives == 1 else f"{self._name}, life {self._lives}"))
        self._process = GatewayProcess(self._settings, self._folder, self._serve)
        await self._process.wait_for_listeners()
        deadline = monotonic() + START_SECONDS
        while not await self._is_ready():
            self._process.check()
            if monotonic() > deadline:
                raise Died(f"{self._name} is not ready after {START_SECONDS:g} s (GET /readyz)")
            await asyncio.sleep(PAUSE)
        self.is_up = True

    async def _is_ready(self) -> bool:
        try:
            answer = await ask(self.admin, "/readyz")
        except (OSError, ValueError):
            return False
        return answer is not None and answer.status == 200

    def check(self) -> None:
        """Raises `Died` where it ended and nobody told it to."""
        if self.is_up and self._process is not None:
            self._process.check()

    async def count_events(self) -> int:
        """How many events the queue holds, as this gateway says. Raises `Silent`."""
        try:
            answer = await ask(self.admin, "/queue")
            if answer is not None and answer.status == 200:
                return msgspec.json.decode(answer.body, type=_Queue).events
        except (OSError, ValueError) as error:
            raise Silent(f"http://{self.admin}/queue does not tell how many events are kept ({error})") from None
        raise Silent(f"http://{self.admin}/queue does not tell how many events are kept: {answer}")

    def kill(self) -> None:
        self.is_up = False
        self.port.gateway.is_affected = True
        if self._process is not None:
            self._process.kill()

    def send(self, number: signal.Signals) -> None:
        self.port.gateway.is_affected = True
        if self._process is not None:
            self._process.send(number)

    async def end(self) -> str | None:
        """Tell it to end. What is wrong with how it did."""
        self.is_up = False
        self.port.gateway.is_affected = True
        if self._process is None:
            return None
        status = await asyncio.to_thread(self._process.end, END_SECONDS)
        self._process.kill()
        name = self.port.gateway.name
        if status is None:
            return f"{name} goes on {END_SECONDS:g} s after SIGTERM (drain_seconds: {DRAIN_SECONDS})"
        return f"{name} ended with status {status} after SIGTERM" if status else None

    async def stop(self) -> None:
        if self._process is not None:
            self._process.send(signal.SIGCONT)
            await asyncio.to_thread(self._process.stop)


class _Queue(msgspec.Struct):
    events: int


class EventCluster:
    """All of them; they share a queue."""

    def __init__(self, nodes: Sequence[EventNode]) -> None:
        self.nodes = nodes

    def choose(self, rng: Random) -> EventNode | None:
        """One that is up."""
        up = [node for node in self.nodes if node.is_up]
        return rng.choice(up) if up else None

    def check(self) -> None:
        for node in self.nodes:
            node.check()

    async def count_events(self) -> int:
        """0 only where none is left: each of them knows what it has claimed itself. Raises `Silent`, or `Died`."""
        self.check()
        return max(await asyncio.gather(*(node.count_events() for node in self.nodes)))
