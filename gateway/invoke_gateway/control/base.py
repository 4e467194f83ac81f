"""Defines the protocols of the control plane: its store, and its operations as the chain calls them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol

from ..invocation import Caller
from ..policy.control.errors import ControlRefusal
from ..policy.control.paths import ControlTarget
from ..policy.control.state import ControlState

Change = Callable[[ControlState], ControlState | ControlRefusal]
"""Makes the next state of the present one, the same one where nothing changes, or refuses. A store may call it again
with a newer state, so it has no side effects."""

PutInForce = Callable[[ControlState], Awaitable[None]]


class ControlStoreError(Exception):
    """Reports that a change is not stored. The text has the cause and the action."""


class CannotOpenControl(Exception):
    """Reports a store that keeps the gateway from starting. The text has the cause and the action."""


class OwnedByAnotherGateway(CannotOpenControl):
    """Reports a file that a running process owns."""


class ControlStore(Protocol):
    """Keeps what the operations have set.

    state: the newest state that this process has read or written
    where: the place of the store, as people may see it
    put_in_force: called with each new state, also one that another gateway wrote
    """

    put_in_force: PutInForce

    @property
    def state(self) -> ControlState: ...

    @property
    def where(self) -> str: ...

    async def start(self) -> None:
        """Reads the state. Raises `CannotOpenControl`."""

    async def refresh(self) -> None:
        """Reads what other gateways have written, and puts it in force. Without a reply the last state stays."""

    async def change(self, make: Change) -> ControlState | ControlRefusal:
        """Changes the state. Returns after the new state is durable and in force here, or returns the refusal of
        `make`. Raises `ControlStoreError`."""

    async def close(self) -> None:
        """Ends the use of the store."""


class ControlRequest(NamedTuple):
    """Holds a request for an operation. `headers` are the client's, names in lower case."""

    target: ControlTarget
    caller: Caller
    headers: Mapping[bytes, bytes]
    body: bytes = b""


class ControlAnswer(NamedTuple):
    """Holds the answer of an operation; an empty body has no content type.

    code: the `x-amzn-ErrorType` of an error
    """

    status: int
    body: bytes = b""
    code: str | None = None


class BackendReply(NamedTuple):
    """Holds a whole response of the backend."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class ControlOperations(Protocol):
    """Serves the operations."""

    async def answer(self, request: ControlRequest) -> ControlAnswer:
        """Serves one operation of the gateway's own."""

    async def read_reply(self, request: ControlRequest, reply: BackendReply) -> BackendReply:
        """Follows an operation that the backend has answered, and returns the response for the client."""
