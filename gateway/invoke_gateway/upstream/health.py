"""Checks whether the backend accepts connections: by the calls, or without calls by a connection now and then.

Readiness does not depend on the backend. While the backend is down, a gateway still keeps events and refuses calls in
the form that clients expect.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from time import monotonic
from typing import Protocol

from ..backend_errors import BackendError

log = logging.getLogger("invoke_gateway")

_UP_SECONDS = 5.0
_DOWN_SECONDS = 1.0
_CHECK_SECONDS = 30.0  # longest check, if backend.connect_timeout_seconds is longer


class Connecting(Protocol):
    """Shows whether the backend is up, by a pool of connections. Times are the event loop's, in seconds."""

    @property
    def answered_at(self) -> float:
        """Returns the time when the backend last opened a connection, or ended a response on one that is idle now."""

    failed_at: float

    async def probe(self) -> None:
        """Raises a `BackendError` where no connection can be opened."""


class BackendState:
    """Holds the last known state of the backend, and logs changes.

    is_up: None before the first check
    why: the reason why the backend is down
    is_logged: False in workers, whose supervisor logs for all of them
    """

    def __init__(self, origin: str, *, is_logged: bool = True) -> None:
        self.is_logged = is_logged
        self.is_up: bool | None = None
        self.why: str | None = None
        self._origin = origin
        self._down_since = 0.0

    def record_up(self) -> None:
        if self.is_up is False and self.is_logged:
            seconds = monotonic() - self._down_since
            extra = {"fields": {"kind": "backend_up", "url": self._origin, "seconds": round(seconds, 3)}}
            log.info("backend %s is up again, after %.1f s", self._origin, seconds, extra=extra)
        self.is_up, self.why = True, None

    def record_down(self, why: str) -> None:
        if self.is_up is not False:
            self._down_since = monotonic()
            if self.is_up and self.is_logged:
                extra = {"fields": {"kind": "backend_down", "url": self._origin, "reason": why}}
                text = "backend %s is down: %s Synchronous calls get 500 until it is up."
                log.warning(text, self._origin, why, extra=extra)
        self.is_up, self.why = False, why

    def describe(self) -> dict[str, object]:
        """Returns the backend's part of /readyz."""
        if self.is_up is not False:
            return {"backend": "unknown" if self.is_up is None else "up"}
        return {"backend": "down", "backend_error": self.why}

    def __repr__(self) -> str:
        return f"<BackendState {self._origin} {self.describe()}>"


class BackendWatch:
    """Keeps a state up to date. The backend is checked every `up_seconds` while it is up, every `down_seconds` while it
    is down."""

    def __init__(
        self,
        state: BackendState,
        pool: Connecting,
        *,
        up_seconds: float = _UP_SECONDS,
        down_seconds: float = _DOWN_SECONDS,
    ) -> None:
        self.state = state
        self._up_seconds = up_seconds
        self._down_seconds = down_seconds
        self._pool = pool
        self._checked_at = 0.0
        self._has_failed = asyncio.Event()
        self._check: asyncio.Task[None] | None = None

    def record_failure(self) -> None:
        """Requests a check soon, because a call got no connection."""
        self._has_failed.set()

    async def settle(self, seconds: float) -> None:
        """Checks the backend if it never was checked, and waits for the outcome at most `seconds`."""
        if self.state.is_up is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.check()

    async def check(self) -> None:
        """Tries a connection. Callers at the same time share one."""
        if self._check is None or self._check.done():
            self._check = asyncio.create_task(self._try(), name="look for the backend")
        await asyncio.shield(self._check)

    async def keep_checking(self) -> None:
        """Checks the backend repeatedly, as long as the gateway runs."""
        loop = asyncio.get_running_loop()
        self._checked_at = loop.time()
        try:
            while True:
                await self._pause()
                seen = self._pool.answered_at
                if seen > max(self._checked_at, self._pool.failed_at):
                    self._checked_at = loop.time()
                    self.state.record_up()
                else:
                    await self.check()
        finally:
            if self._check is not None:
                self._check.cancel()

    async def _pause(self) -> None:
        await asyncio.sleep(self._down_seconds)
        if self.state.is_up is not False:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._up_seconds - self._down_seconds):
                    await self._has_failed.wait()
        self._has_failed.clear()

    async def _try(self) -> None:
        self._checked_at = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await self._pool.probe()
        except BackendError as error:
            self.state.record_down(str(error))
        except TimeoutError:
            self.state.record_down(f"The backend did not accept a connection within {_CHECK_SECONDS:g} s.")
        else:
            self.state.record_up()
