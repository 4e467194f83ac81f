"""Delivers to another function: an asynchronous invocation of it, through the gateway's own queue."""

from __future__ import annotations

from typing import Protocol

from ..invocation import Function
from ..policy.events.destination_url import FunctionTarget
from ..queue.base import DeliveryFailed, StoreError
from ..queue.event import Event
from .message import Message


class Invoke(Protocol):
    async def __call__(self, function: Function, payload: bytes, *, account: str, cause: Event) -> None:
        """Accepts an `Event` invocation that the end of `cause` brings about, and returns once it is stored.

        Raises `StoreError` or `DeliveryFailed`.
        """


class FunctionTargets:
    """Delivers to functions. `region` is the gateway's; functions of other Regions are unreachable."""

    def __init__(self, invoke: Invoke, region: str) -> None:
        self._invoke = invoke
        self._region = region

    async def deliver(self, target: FunctionTarget, message: Message) -> None:
        """Invokes the function with the record, or with a dead letter's body. Raises `DeliveryFailed`."""
        if target.region not in (None, self._region):
            raise DeliveryFailed(f"it is in {target.region}, and this gateway in {self._region}; correct the ARN")
        function = Function(target.name, target.qualifier, target.account, target.region, target.partition)
        account = target.account or message.event.account
        try:
            await self._invoke(function, message.body, account=account, cause=message.event)
        except StoreError as fault:
            raise DeliveryFailed(f"the queue of asynchronous invocations did not accept it: {fault}") from fault

    async def close(self) -> None:
        """Does nothing: nothing is open."""
