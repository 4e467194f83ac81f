"""Declares what a request and its response need of their connection."""

from __future__ import annotations

import asyncio

from ..write_batcher import WriteBatcher
from .flow_control import FlowControl


class ClientConnection(asyncio.Protocol):
    """Carries requests and responses, one after the other: the base of `InvokeProtocol`. (A compiled module finds the
    attributes of a class by their places, and those of a `Protocol` by their names.)"""

    __slots__ = ("flow", "loop", "transport", "write_batcher")

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    flow: FlowControl
    write_batcher: WriteBatcher

    def default_headers(self) -> bytes:
        """Returns the headers of every response, as bytes."""
        raise NotImplementedError  # `InvokeProtocol` has it

    def read_into(self, cycle: object, view: memoryview) -> None:
        """Reads the rest of the body of `cycle`, a request of this connection, into `view`, if it can."""
        raise NotImplementedError  # `InvokeProtocol` has it

    def write(self, data: bytes) -> None:
        """Writes immediately, behind the content of the batcher."""
        raise NotImplementedError  # `InvokeProtocol` has it

    def write_together(self, *pieces: bytes) -> None:
        """Writes the pieces immediately, without making one of them."""
        raise NotImplementedError  # `InvokeProtocol` has it

    def close(self) -> None:
        """Closes once everything is written."""
        raise NotImplementedError  # `InvokeProtocol` has it

    def reset(self) -> None:
        """Cuts the connection, so that the client sees no orderly end."""
        raise NotImplementedError  # `InvokeProtocol` has it

    def end_response(self) -> None:
        """Goes on to the next request."""
        raise NotImplementedError  # `InvokeProtocol` has it
