"""Sends requests to the store, one after the other on one connection, each within a time bound."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from redis.exceptions import ResponseError

from ...store.availability import Availability
from ...store.errors import StoreUnavailable, describe_failure
from ...store.resp import Command
from ..base import CannotOpen, StoreError
from .address import EventStoreAddress
from .store_errors import read_refusal

_PAUSE_SECONDS = 0.25  # without requests after a failed one


def describe_unavailable(availability: Availability) -> str:
    return f"The event store at {availability.where} is unavailable: {availability.unavailable_reason}"


class RequestChannel:
    """Sends requests on one connection. `name` is for logs; `on_open` receives each new connection's server process."""

    def __init__(
        self,
        name: str,
        address: EventStoreAddress,
        availability: Availability,
        timeout_seconds: float,
        on_open: Callable[[str], None],
    ) -> None:
        self.name = name
        self.timeout_seconds = timeout_seconds
        self._address = address
        self._link = address.connect()
        self._availability = availability
        self._on_open = on_open
        self._is_free = asyncio.Lock()
        self._unavailable_until = 0.0
        self._why = ""

    @property
    def why_unavailable(self) -> str | None:
        """Returns why a request would be useless now; None where it would not."""
        if self._unavailable_until > asyncio.get_running_loop().time():
            return self._availability.unavailable_reason or self._why
        return None

    @property
    def run(self) -> str:
        """Returns the server process of the connection."""
        return self._link.run_id

    async def open(self) -> None:
        """Connects. Raises `CannotOpen` where a later try cannot succeed; other failures are only recorded."""
        try:
            async with self._is_free, asyncio.timeout(self.timeout_seconds):
                await self._connect()
        except (StoreUnavailable, TimeoutError) as error:
            self._note_unavailable(error)

    async def exchange(self, build: Callable[[], list[Command]], seconds: float | None = None) -> list[Any]:
        """Sends commands and returns their replies.

        An idle connection may have been closed: then the commands of a second `build` are sent, so repetition must be
        harmless. Raises `StoreError` where there is no reply.
        """
        try:
            async with self._is_free, asyncio.timeout(seconds or self.timeout_seconds):
                replies = await self._exchange(build)
        except (StoreUnavailable, CannotOpen, TimeoutError) as error:
            raise self._note_unavailable(error) from error
        self._availability.record_success()
        self._unavailable_until = 0.0
        return replies

    async def _exchange(self, build: Callable[[], list[Command]]) -> list[Any]:
        if self._link.is_open:
            try:
                return await self._call(build())
            except StoreUnavailable:
                pass  # an idle connection may end without a sign
        await self._connect()
        return await self._call(build())

    async def _call(self, commands: list[Command]) -> list[Any]:
        replies = await self._link.call(commands)
        for reply in replies:
            if isinstance(reply, ResponseError) and read_refusal(reply).kind == "unavailable":
                await self._link.close()  # another server, or a later request, may reply otherwise
                raise StoreUnavailable(str(read_refusal(reply))) from reply
        return replies

    async def _connect(self) -> None:
        await self._link.close()
        await self._address.open(self._link)
        self._availability.warn(self._link.warning)
        self._on_open(self._link.run_id)

    def _note_unavailable(self, error: Exception) -> StoreError:
        why = describe_failure(error, self.timeout_seconds).rstrip(".")
        self._availability.record_failure(why)
        self._why = why
        self._unavailable_until = asyncio.get_running_loop().time() + _PAUSE_SECONDS
        return StoreError("unavailable", describe_unavailable(self._availability))

    async def close(self) -> None:
        await self._link.close(self.timeout_seconds)

    def __repr__(self) -> str:
        return f"<RequestChannel {self.name} {self._link!r}>"
