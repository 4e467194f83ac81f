"""Holds the workers of one gateway, as their supervisor knows them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from secrets import token_hex
from time import monotonic
from typing import Any

from ..background import BackgroundTasks
from ..policy.counter_names import account_counted_by
from ..settings import Settings
from ..telemetry.reload_state import ReloadState
from .channel import RpcClient, WorkerGone

log = logging.getLogger("invoke_gateway")

# A stopped worker must not hold up the others; its last snapshot is used instead.
_REPLY_SECONDS = 1.0
_HANG_SECONDS = 30.0  # after this an unresponsive worker is killed: the kernel still sends it connections


class WorkerHandle:
    """Represents one worker in the supervisor.

    number: its place, from 1
    name: its id in the store of counters
    suffix: the part of the name after the gateway's: `2`, or `2r1` for its first replacement
    """

    def __init__(self, number: int, name: str, process: asyncio.subprocess.Process, client: RpcClient) -> None:
        self.number = number
        self.name = name
        self.suffix = name.partition(".")[2]
        self.process = process
        self.started_at = monotonic()
        self.call = client.call
        self.close = client.close
        self.is_serving = False
        self.is_unresponsive = False
        self.last_reply_at = self.started_at
        self.snapshot: dict[str, Any] = {}
        self.totals: list[bytes] = []
        self.usage: dict[str, Any] = {}

    async def refresh_snapshot(self) -> None:
        try:
            self.snapshot = await self.call("snapshot", seconds=_REPLY_SECONDS)
            self.last_reply_at, self.is_unresponsive = monotonic(), False
        except WorkerGone as error:
            self.is_unresponsive = True
            log.debug("%s: %s", self, error)

    async def refresh_totals(self) -> None:
        try:
            self.totals, self.usage = await self.call("totals", seconds=_REPLY_SECONDS)
        except WorkerGone as error:
            log.debug("%s: %s", self, error)

    async def wait_final_totals(self) -> None:
        """Waits for the worker's end, or the end of its channel; an orderly end brings its final totals."""
        with contextlib.suppress(WorkerGone):
            self.totals = await self.call("final_totals")

    def describe(self) -> dict[str, object]:
        levels = self.snapshot.get("levels", {}).items()
        account_counters = [slots for name, (slots, _) in levels if account_counted_by(name) is not None]
        return {
            "worker": self.number,
            "gateway": self.name,
            "pid": self.process.pid,
            "serving_seconds": round(monotonic() - self.started_at, 3),
            "silent_seconds": round(monotonic() - self.last_reply_at, 3) if self.is_unresponsive else None,
            "in_flight": sum(account_counters),
        }

    def __repr__(self) -> str:
        return f"<WorkerHandle {self.number} {self.name} pid={self.process.pid}>"


class Workers:
    """Holds all workers of one gateway. `name` is the gateway's, `replaced` counts replacements."""

    def __init__(self, settings: Settings, tasks: BackgroundTasks) -> None:
        self.settings = settings
        self.tasks = tasks
        self.degraded = tasks.degraded
        self.degraded |= {"settings_invalid": False, "restart_needed": False}
        self.reload_state = ReloadState()
        self.name = f"g-{token_hex(4)}"
        self.replaced = 0
        self.is_draining = False
        self.by_number: dict[int, WorkerHandle] = {}

    def serving(self) -> list[WorkerHandle]:
        return [worker for worker in list(self.by_number.values()) if worker.is_serving]

    def responsive(self) -> list[WorkerHandle]:
        """Returns the workers that replied to their last snapshot call; no request waits for the others."""
        return [worker for worker in self.serving() if not worker.is_unresponsive]

    async def poll(self) -> None:
        """Refreshes the snapshots of all workers, and kills those that hang; killed ones are replaced."""
        await asyncio.gather(*(worker.refresh_snapshot() for worker in self.serving()))
        for worker in self.serving():
            seconds = monotonic() - worker.last_reply_at
            if worker.is_unresponsive and seconds > _HANG_SECONDS:
                log.error("worker %d has not replied for %.0f s, and is killed", worker.number, seconds)
                worker.process.kill()

    async def refresh(self) -> None:
        """Refreshes the snapshots of the responsive workers; only `poll` waits for the others."""
        await asyncio.gather(*(worker.refresh_snapshot() for worker in self.responsive()))

    async def refresh_totals(self) -> None:
        await asyncio.gather(*(worker.refresh_totals() for worker in self.responsive()))

    def describe(self) -> list[dict[str, object]]:
        """Describes the workers that serve: number, name in the store, process, seconds of service, calls in flight."""
        return [worker.describe() for worker in self.serving()]

    def find_unresponsive(self) -> str | None:
        """Returns a sentence about the unresponsive workers, with the age of their data; None where there are none."""
        unresponsive = [worker for worker in self.serving() if worker.is_unresponsive and worker.snapshot]
        if not unresponsive:
            return None
        numbers = ", ".join(str(worker.number) for worker in unresponsive)
        age = monotonic() - min(worker.last_reply_at for worker in unresponsive)
        return f"Worker {numbers} does not reply; its data is {age:.0f} s old."
