"""Changes a state step by step: one change at a time, each durable and in force before the next."""

from __future__ import annotations

import asyncio

from ..policy.control.errors import ControlRefusal
from ..policy.control.state import ControlState
from .base import Change, ControlStoreError, PutInForce

_NOTHING_SET = ControlState()


async def do_nothing(state: ControlState) -> None:
    """Puts nothing in force."""


class MemoryControlStore:
    """Keeps the state in this process. It is lost at the end.

    where: the place of the store, as people may see it
    state: what is set at the beginning
    """

    def __init__(self, where: str = "memory", state: ControlState = _NOTHING_SET) -> None:
        self.where = where
        self.put_in_force: PutInForce = do_nothing
        self._state = state
        self._changing = asyncio.Lock()
        self._changes: set[asyncio.Task[ControlState | ControlRefusal]] = set()

    @property
    def state(self) -> ControlState:
        return self._state

    async def start(self) -> None:
        """Begins with nothing set."""

    async def refresh(self) -> None:
        """Reads nothing: no other process writes it."""

    async def change(self, make: Change) -> ControlState | ControlRefusal:
        """Changes the state. A change that was begun is finished, also where its request is cancelled."""
        change = asyncio.create_task(self._change(make), name="change of the control state")
        self._changes.add(change)
        change.add_done_callback(self._changes.discard)
        return await asyncio.shield(change)

    async def _change(self, make: Change) -> ControlState | ControlRefusal:
        async with self._changing:
            made = make(self._state)
            if isinstance(made, ControlRefusal) or made is self._state:
                return made
            await self._store(made)
            self._state = made
            await self.put_in_force(made)
            return made

    async def _store(self, state: ControlState) -> None:
        """Makes the state durable. Raises `ControlStoreError`."""

    async def close(self) -> None:
        """Finishes the changes under way."""
        if self._changes:
            await asyncio.wait(self._changes)


class NoControlStore(MemoryControlStore):
    """Refuses every change, because there is no place for the state.

    reason: the cause and the action
    """

    def __init__(self, reason: str) -> None:
        super().__init__("nowhere")
        self._reason = reason

    async def _store(self, state: ControlState) -> None:
        raise ControlStoreError(self._reason)
