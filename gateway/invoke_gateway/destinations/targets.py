"""Delivers outcomes to targets of every kind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..policy.events.destination_url import (
    BadDestinationUrl,
    Destination,
    FileTarget,
    FunctionTarget,
    HttpTarget,
    SqsTarget,
    StreamTarget,
    parse_destination_url,
)
from ..policy.events.event_rules import Kind
from ..queue.base import DeliveryFailed
from ..queue.event import Event
from .file import JsonLineFiles
from .function import FunctionTargets, Invoke
from .http import Endpoints
from .message import Message, make_message
from .sqs import Queues

if TYPE_CHECKING:
    from .stream import Streams


class Destinations:
    """Delivers, as `queue.base.Deliver` defines. What it opens stays open until `close`.

    region: the gateway's.
    invoke: accepts an asynchronous invocation.
    timeout_seconds: the bound on one delivery to any target.
    """

    def __init__(self, *, region: str, invoke: Invoke, timeout_seconds: float = 10) -> None:
        self._timeout = timeout_seconds
        self._parsed: dict[str, Destination] = {}
        self._queues = Queues(region, timeout_seconds)
        self._endpoints = Endpoints()
        self._files = JsonLineFiles(timeout_seconds * 0.8)  # shorter, so that the error names the lock
        self._streams: Streams | None = None  # made for the first stream, since it imports redis-py
        self._functions = FunctionTargets(invoke, region)

    async def __call__(self, kind: Kind, target: str, event: Event) -> None:
        parsed = self._parse(target)
        try:
            async with asyncio.timeout(self._timeout):
                await self._deliver(parsed, make_message(kind, event))
        except TimeoutError as error:
            raise DeliveryFailed(f"{parsed.shown}: no answer within {self._timeout:g} s; check that it runs") from error
        except DeliveryFailed as failure:
            raise DeliveryFailed(f"{parsed.shown}: {failure}") from failure.__cause__

    async def close(self) -> None:
        """Closes everything, once no delivery is under way."""
        for kind in (self._queues, self._endpoints, self._files, self._streams, self._functions):
            if kind is not None:
                await kind.close()

    def _parse(self, target: str) -> Destination:
        parsed = self._parsed.get(target)
        if parsed is None:
            try:
                parsed = self._parsed[target] = parse_destination_url(target)
            except BadDestinationUrl as bad:
                raise DeliveryFailed(f"the target {bad}; {bad.cure}") from bad
        return parsed

    async def _deliver(self, target: Destination, message: Message) -> None:
        match target:
            case SqsTarget():
                await self._queues.deliver(target, message)
            case HttpTarget():
                await self._endpoints.deliver(target, message)
            case FileTarget():
                await self._files.deliver(target, message)
            case StreamTarget():
                if self._streams is None:
                    from .stream import Streams

                    self._streams = Streams()
                await self._streams.deliver(target, message)
            case FunctionTarget():
                await self._functions.deliver(target, message)
