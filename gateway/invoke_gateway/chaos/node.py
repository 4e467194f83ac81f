"""Starts, stops and kills one gateway of a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

from .calls import GatewayInstance
from .faults.proxy import FaultProxy
from .target import PAUSE, START_SECONDS, Died, GatewayProcess, get
from .wire import HostPort


class Node:
    """One place of the cluster. `gateway`: the process that has it now."""

    def __init__(self, number: int, settings: dict[str, Any], folder: Path, serve: Sequence[str]) -> None:
        self.number = number
        self.name = f"gateway {number + 1}"
        self.is_up = False
        self.invoke: HostPort
        self.admin: HostPort
        self.gateway = GatewayInstance(self.name)
        self.process: GatewayProcess | None = None
        self._settings = settings
        self._folder = folder
        self._serve = serve
        self._workers: list[int] = []
        self._dead_worker: int | None = None

    def __repr__(self) -> str:
        return f"<Node {self.name} {'up' if self.is_up else 'down'} {self.process}>"

    async def start(self) -> None:
        """Starts a gateway, and returns when it is ready. Raises `Died`."""
        self.gateway = GatewayInstance(self.name)
        await self.prepare()
        self.process = GatewayProcess(self._settings, self._folder, self._serve)
        self.invoke, self.admin = await self.process.wait_for_listeners()
        deadline = monotonic() + START_SECONDS
        while not await self._is_ready():
            self.process.check()
            if monotonic() > deadline:
                raise Died(f"{self.name} is not ready after {START_SECONDS:g} s (GET /readyz)")
            await asyncio.sleep(PAUSE)
        await self.wait_for_workers()
        self.is_up = True

    async def prepare(self) -> None:
        """Does what must be done before the process starts."""

    async def _is_ready(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            answer = await get(self.admin, "/readyz")
            return answer is not None and answer.status == 200
        return False

    async def wait_for_workers(self) -> None:
        """Waits until all workers of the gateway serve. Raises `Died`."""
        wanted = self._settings.get("workers", 1)
        if wanted == 1:
            return
        deadline = monotonic() + START_SECONDS
        while len(self._workers) < wanted:
            answer = await get(self.admin, "/workers")
            workers = json.loads(answer.body)["workers"] if answer is not None and answer.status == 200 else []
            pids = [worker["pid"] for worker in workers]
            if len(pids) == wanted and self._dead_worker not in pids:
                self._workers = pids
            elif monotonic() > deadline:
                raise Died(f"{self.name} has {len(workers)} of {wanted} workers after {START_SECONDS:g} s")
            else:
                await asyncio.sleep(PAUSE)

    def kill(self, now: float) -> None:
        self.is_up = False
        self.gateway.is_affected = True
        self.gateway.killed_at = now
        if self.process is not None:
            self.process.kill()  # before its workers, so that the supervisor does not log their deaths
        self._signal_workers(signal.SIGKILL)
        self._workers = []

    def send(self, number: signal.Signals) -> None:
        self.gateway.is_affected = True
        if self.process is not None:
            self.process.send(number)
        self._signal_workers(number)

    def kill_worker(self, rng: Random) -> None:
        """Kills one worker; `wait_for_workers` waits until another has taken its place."""
        self._dead_worker = rng.choice(self._workers)
        os.kill(self._dead_worker, signal.SIGKILL)
        self._workers = []

    def _signal_workers(self, number: signal.Signals) -> None:
        for pid in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def check(self) -> None:
        """Raises `Died` where the gateway ended without a fault."""
        if self.is_up and self.process is not None:
            self.process.check()

    def stop(self) -> None:
        if self.process is not None:
            self.send(signal.SIGCONT)
            self.process.stop()


class ProxiedNode(Node):
    """A node with a proxy between it and the store."""

    def __init__(
        self, number: int, settings: dict[str, Any], folder: Path, serve: Sequence[str], proxy: FaultProxy
    ) -> None:
        super().__init__(number, settings, folder, serve)
        self.proxy = proxy
