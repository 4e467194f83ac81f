"""Keeps the limits in force of all workers, as the supervisor shows them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from math import inf
from time import time

import msgspec

from ..app.limits import NOTHING_SET, find_next_allocation, make_limits
from ..policy.control.state import ControlState, overlay
from ..settings import Settings
from .channel import WorkerGone
from .handle import WorkerHandle

log = logging.getLogger("invoke_gateway")


class LimitsInForce:
    """Makes the table of the settings, and of what control operations and the backend have set.

    clock: returns seconds since the epoch
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time) -> None:
        self._settings = settings
        self._clock = clock
        self._allocation_seconds = settings.provisioned.allocation_seconds  # which a reload does not change
        self._control = NOTHING_SET, NOTHING_SET
        self._outside: dict[str, int] = {}
        self._version = 0
        self._next_allocation = inf
        self.table = make_limits(settings, labelled=settings.metric_functions)

    async def adopt(self, settings: Settings) -> None:
        """Puts new settings in force."""
        self._settings = settings
        await self._replace()

    async def refresh(self, workers: Iterable[WorkerHandle], seconds: float) -> None:
        """Reads what control operations have set, and what the backend has, from a worker that knows of newer changes.
        Without any, more provisioned concurrency may be allocated by now.

        seconds: the time for the worker's reply
        """
        newest = max(workers, key=_control_version, default=None)
        outside = self._outside if newest is None else newest.snapshot.get("outside", self._outside)
        if newest is None or _control_version(newest) <= self._version:
            if self._clock() >= self._next_allocation or outside != self._outside:
                self._outside = outside
                await self._replace()
            return
        self._outside = outside
        try:
            encoded = await newest.call("control", seconds=seconds)
        except WorkerGone as error:
            log.debug("%s: %s", newest, error)
            return
        self._control = msgspec.msgpack.decode(encoded, type=tuple[ControlState, ControlState])
        self._version = sum(state.version for state in self._control)
        await self._replace()

    async def _replace(self) -> None:
        now = self._clock()
        allocated_until = now - self._allocation_seconds
        self.table = await asyncio.to_thread(
            make_limits,
            self._settings,
            *self._control,
            labelled=self._settings.metric_functions,
            allocated_until=allocated_until,
            outside=self._outside,
        )
        left = find_next_allocation(overlay(*self._control), allocated_until)
        self._next_allocation = inf if left is None else now + left


def _control_version(worker: WorkerHandle) -> int:
    version: int = worker.snapshot.get("control_version", 0)
    return version
