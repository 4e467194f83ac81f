"""Runs each event as its intent says, and records every run with the gateway that made it.

Each gateway has a port of its own, which identifies it. A function that has begun finishes, even when its gateway is
dead, as on Lambda.
"""

from __future__ import annotations

import asyncio

from ..backend_server import ECHO, BackendServer, GatewayConnection
from ..calls import GatewayInstance
from ..wire import HostPort, WireConnection, reset
from .event import SentEvent
from .history import EventHistory, encode_event
from .script import RunEnding

_JSON = b"Content-Type: application/json\r\n"
_OK = b"HTTP/1.1 200 OK\r\n" + _JSON + b"X-Amz-Executed-Version: $LATEST\r\n"
_FAILED = _OK + b"X-Amz-Function-Error: Unhandled\r\n"
_BROKEN = b"HTTP/1.1 500 Internal Server Error\r\n" + _JSON + b"X-Amzn-ErrorType: ServiceException\r\n"
_THROTTLED = b"HTTP/1.1 429 Too Many Requests\r\n" + _JSON + b"X-Amzn-ErrorType: TooManyRequestsException\r\n"
_ANSWERS = {
    RunEnding.SUCCESS: (_OK, b'{"done":true}'),
    RunEnding.ERROR: (_FAILED, b'{"errorMessage":"as planned","errorType":"Planned"}'),
    RunEnding.BROKEN: (_BROKEN, b'{"Type":"Service","Message":"as planned"}'),
    RunEnding.THROTTLED: (
        _THROTTLED,
        b'{"Type":"User","message":"Rate Exceeded.","Reason":"ConcurrentInvocationLimitExceeded"}',
    ),
}


class BackendPort:
    """The port that one gateway calls. `gateway`: the process that has it now."""

    def __init__(self, gateway: GatewayInstance) -> None:
        self.gateway = gateway
        self.endpoint: HostPort

    @property
    def url(self) -> str:
        return f"http://{self.endpoint}"

    async def assign(self, gateway: GatewayInstance) -> None:
        """Assigns the connections from now on to `gateway`. Connections of its dead predecessor that the kernel still
        queues are accepted first, as connections come in order."""
        async with WireConnection(self.endpoint) as connection:
            await connection.send(ECHO)
            await connection.reader.readexactly(len(ECHO))
        self.gateway = gateway

    def __repr__(self) -> str:
        return f"<BackendPort {self.gateway}>"


class EventBackend(BackendServer[SentEvent]):
    """The backend of all gateways of a seed."""

    history: EventHistory

    async def open(self, port: BackendPort) -> None:
        """Listens for one gateway, and sets the endpoint of `port`."""
        port.endpoint = await self.listen("127.0.0.1", 0, lambda: port.gateway)

    def describe_request(self, sent: SentEvent) -> tuple[str, bytes]:
        return sent.intent.function.name, encode_event(sent)

    async def run(self, sent: SentEvent, connection: GatewayConnection) -> None:
        assert connection.gateway is not None
        run = self.history.begin(sent, connection.gateway)
        try:
            await asyncio.sleep(sent.intent.seconds)
        finally:
            self.history.end(run)
        if run.ending is RunEnding.RESET:
            reset(connection.writer)
        elif not connection.writer.is_closing():
            head, body = _ANSWERS[run.ending]
            connection.writer.write(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
