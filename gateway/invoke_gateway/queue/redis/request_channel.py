"""Exchanges with the store, one after the other on one connection, each within a bound on time; and whether the store
answers, said once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from redis.exceptions import ResponseError

from ..base import CannotOpen, StoreFault
from .link import Command, Link, StoreAway, StreamUrl, read_refusal

log = logging.getLogger("invoke_gateway")

_PAUSE_SECONDS = 0.25  # for which nobody asks again a store that did not answer


class Standing:
    """Whether the store answers. `why_away` for people; None while it does."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.why_away: str | None = None
        self._warned: str | None = None

    def note_away(self, why: str) -> None:
        if self.why_away is None:
            log.error(
                "the queue's store at %s does not answer (%s): events cannot be kept until it does", self.where, why
            )
        self.why_away = why

    def note_back(self) -> None:
        if self.why_away is not None:
            self.why_away = None
            log.info("the queue's store at %s answers again", self.where)

    def warn(self, warning: str | None) -> None:
        if warning is not None and warning != self._warned:
            log.warning("the queue's store at %s: %s", self.where, warning)
        self._warned = warning


class Line:
    """`name` is what it is for. `opened` is told each new connection's server process."""

    def __init__(
        self, name: str, url: StreamUrl, standing: Standing, timeout_seconds: float, opened: Callable[[str], None]
    ) -> None:
        self.name = name
        self.timeout_seconds = timeout_seconds
        self._link = Link(url)
        self._standing = standing
        self._opened = opened
        self._is_free = asyncio.Lock()
        self._away_until = 0.0
        self._why = ""

    @property
    def why_away(self) -> str | None:
        """Why it makes no sense to ask now; None where it does."""
        if self._away_until > asyncio.get_running_loop().time():
            return self._standing.why_away or self._why
        return None

    @property
    def run(self) -> str:
        """The server process to which it leads."""
        return self._link.run

    async def open(self) -> None:
        """Connect. Raises `CannotOpen` where that cannot succeed later either; where it may, it is only noted."""
        try:
            async with self._is_free, asyncio.timeout(self.timeout_seconds):
                await self._connect()
        except (StoreAway, TimeoutError) as error:
            self._note_away(error)

    async def exchange(self, build: Callable[[], list[Command]], seconds: float | None = None) -> list[Any]:
        """One round trip, and a second where the connection turns out to have been closed meanwhile: what `build`
        gives is sent again then, so it must be such as may be said twice. Raises `StoreFault` where there is no
        reply."""
        try:
            async with self._is_free, asyncio.timeout(seconds or self.timeout_seconds):
                replies = await self._exchange(build)
        except (StoreAway, CannotOpen, TimeoutError) as error:
            raise self._note_away(error) from error
        self._standing.note_back()
        self._away_until = 0.0
        return replies

    async def _exchange(self, build: Callable[[], list[Command]]) -> list[Any]:
        if self._link.is_open:
            try:
                return await self._call(build())
            except StoreAway:
                pass  # an idle connection may end without a sign
        await self._connect()
        return await self._call(build())

    async def _call(self, commands: list[Command]) -> list[Any]:
        replies = await self._link.call(commands)
        for reply in replies:
            if isinstance(reply, ResponseError) and read_refusal(reply).kind == "away":
                await self._link.close()  # elsewhere, or later, it will be another answer
                raise StoreAway(str(read_refusal(reply))) from reply
        return replies

    async def _connect(self) -> None:
        await self._link.close()
        await self._link.open()
        self._standing.warn(self._link.warning)
        self._opened(self._link.run)

    def _note_away(self, error: Exception) -> StoreFault:
        why = str(error) or f"no answer within {self.timeout_seconds:g} s"
        self._standing.note_away(why)
        self._why = why
        self._away_until = asyncio.get_running_loop().time() + _PAUSE_SECONDS
        return StoreFault("away", f"the queue's store at {self._standing.where} does not answer: {why}")

    async def close(self) -> None:
        await self._link.close(self.timeout_seconds)

    def __repr__(self) -> str:
        return f"<Line {self.name} {self._link!r}>"
