"""Counts the execution environments of functions that isolate tenants: one for each call, and those that are idle.

An environment is a slot of the function's counter of environments. It is kept for a while after its call, for the next
call of the same tenant. So shared counters share the ceiling, and free the environments of a gateway that has died.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from ..exchange import Holder, Slot
from ..policy.concurrency import WARM_SECONDS, Claim, Lane, LimitReached, Plan
from .base import Counters


class _Idle(NamedTuple):
    """Holds an environment without a call, and the timer of its end."""

    slot: Slot
    timer: asyncio.TimerHandle


class IsolatedSlot:
    """Is the slot of a call together with its environment."""

    def __init__(self, slot: Slot, on_end: Callable[[], None]) -> None:
        self._slot = slot
        self._on_end: Callable[[], None] | None = on_end

    @property
    def lane(self) -> Lane:
        return self._slot.lane

    @property
    def holder(self) -> Holder | None:
        return self._slot.holder

    @holder.setter
    def holder(self, holder: Holder | None) -> None:
        self._slot.holder = holder

    def release(self, *, was_call: bool = True) -> None:
        self._slot.release(was_call=was_call)
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end()


class TenantEnvironments:
    """Admits calls of functions that isolate tenants.

    idle_seconds: time for which an environment without a call stays
    """

    def __init__(self, counters: Counters, *, idle_seconds: float = WARM_SECONDS) -> None:
        self._counters = counters
        self._idle_seconds = idle_seconds
        self._idle: dict[tuple[str, bytes], list[_Idle]] = {}
        self._is_closed = False

    async def acquire(self, plan: Plan, environments: Claim, tenant: bytes) -> Slot | LimitReached:
        """Takes an environment of the tenant, an idle one if there is one, and a lane of the plan; or nothing."""
        key = (environments.counter, tenant)
        environment = self._pop(key)
        if environment is None:
            lane = Lane("environment", (environments,))
            made = await self._counters.acquire(Plan(plan.account, plan.label, environments.counter, (lane,), ()))
            if isinstance(made, LimitReached):
                return made
            environment, is_new = made, True
        else:
            is_new = False
        slot: Slot | LimitReached | None = None
        try:
            slot = await self._counters.acquire(plan)
        finally:
            if slot is None or isinstance(slot, LimitReached):
                if is_new:
                    environment.release(was_call=False)
                else:
                    self._keep(key, environment)
        if isinstance(slot, LimitReached):
            return slot
        return IsolatedSlot(slot, lambda: self._keep(key, environment))

    def _pop(self, key: tuple[str, bytes]) -> Slot | None:
        """Returns the idle environment that was used last, which is no longer idle."""
        idle = self._idle.get(key)
        if idle is None:
            return None
        slot, timer = idle.pop()
        timer.cancel()
        if not idle:
            del self._idle[key]
        return slot

    def _keep(self, key: tuple[str, bytes], slot: Slot) -> None:
        if self._is_closed:
            slot.release()
            return
        timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._end, key)
        self._idle.setdefault(key, []).append(_Idle(slot, timer))

    def _end(self, key: tuple[str, bytes]) -> None:
        """Ends the environment that has been idle for the longest time."""
        idle = self._idle[key]
        idle.pop(0).slot.release()
        if not idle:
            del self._idle[key]

    def close(self) -> None:
        """Ends all idle environments, and each other one with its call."""
        self._is_closed = True
        for idle in self._idle.values():
            for slot, timer in idle:
                timer.cancel()
                slot.release()
        self._idle.clear()

    def __repr__(self) -> str:
        return f"<TenantEnvironments {sum(map(len, self._idle.values()))} idle>"
