"""The operations listener: metrics, health, readiness, the live limits and holds. It is a server of its own, so nothing
of it can be reached through the Invoke listener."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from ..faults import BackendFault
from ..policy.concurrency import Full
from ..telemetry.exposition import choose_format, render
from ..telemetry.metrics import GatewayCollector
from .holds import BadHold, Holds, describe_no_room, read_wanted

_LONGEST_NUMBER = 9  # digits; more rows than there can be functions

# Bytes of a request's body; the longest hold that makes sense has a few hundred.
_MOST_BYTES = 64 * 1024

# How much of an id that is none is repeated to whoever sent it.
_MOST_REPEATED = 64


class Operations:
    """`describe_limits` returns the document of `/limits`, `probe` raises a `BackendFault` if the backend is away."""

    def __init__(
        self,
        *,
        collector: GatewayCollector,
        describe_limits: Callable[[int], dict[str, object]],
        holds: Holds,
        probe: Callable[[], Awaitable[None]],
        is_draining: Callable[[], bool],
    ) -> None:
        self._collector = collector
        self._describe_limits = describe_limits
        self._holds = holds
        self._probe = probe
        self._is_draining = is_draining
        self.app = Starlette(
            routes=[
                Route("/metrics", self.metrics),
                Route("/healthz", self.healthz),
                Route("/readyz", self.readyz),
                Route("/limits", self.limits),
                Route("/holds", self.holds, methods=["GET", "POST"]),
                Route("/holds/{id}", self.release, methods=["DELETE"]),
            ]
        )

    async def metrics(self, request: Request) -> Response:
        is_openmetrics, content_type = choose_format(request.headers.get("accept", ""))
        pieces = render(self._collector.families(), is_openmetrics=is_openmetrics)
        return StreamingResponse(_in_turns(pieces), headers={"content-type": content_type})

    async def healthz(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        if self._is_draining():
            return _json({"ready": False, "why": "The gateway is draining."}, status=503)
        try:
            await self._probe()
        except BackendFault as fault:
            return _json({"ready": False, "why": str(fault)}, status=503)
        return _json({"ready": True})

    async def limits(self, request: Request) -> Response:
        functions = request.query_params.get("functions", "1000")
        if not (functions.isascii() and functions.isdigit() and len(functions) <= _LONGEST_NUMBER):
            return _json({"error": f"functions={functions} is not a number. Say how many rows you want."}, status=400)
        return _json(self._describe_limits(int(functions)))

    async def holds(self, request: Request) -> Response:
        if request.method == "POST":
            return await self._hold(request)
        return _json({"holds": self._holds.describe_all()})

    async def _hold(self, request: Request) -> Response:
        # A browser lets pages of any origin post forms and plain text, but asks first before it sends JSON. Nobody
        # here gives it leave.
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            return _error("A hold is asked for in JSON. Send it with Content-Type: application/json.", 415)
        try:
            body = await _read_body(request)
            wanted = read_wanted(body) if body is not None else None
        except ClientDisconnect:
            return _error("The body ended early. Send all of it.", 400)  # which nobody will read
        except BadHold as error:
            return _error(str(error), 400)
        if wanted is None:
            return _error(f"The body is longer than {_MOST_BYTES} bytes. Send one hold per request.", 413)
        if self._is_draining():
            return _error("The gateway is draining. Hold slots of the one that takes its place.", 503)
        hold = await self._holds.take(wanted)
        if isinstance(hold, Full):
            return _json(describe_no_room(wanted, hold), 409)
        return _json(self._holds.describe(hold), 201, {"location": f"/holds/{hold.id}"})

    async def release(self, request: Request) -> Response:
        id = request.path_params["id"]
        if self._holds.release(id):
            return Response(status_code=204)
        shown = id[:_MOST_REPEATED]
        return _error(f"There is no hold {shown!r}: it has ended, or never was. GET /holds lists those there are.", 404)


async def _read_body(request: Request) -> bytes | None:
    """The whole body; `None` where it is too long."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_BYTES:
            return None
    return body


async def _in_turns(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces one by one; requests are served between two of them."""
    for piece in pieces:
        yield piece
        await asyncio.sleep(0)


def _json(document: dict[str, object], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = msgspec.json.encode(document)
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def _error(text: str, status: int) -> Response:
    return _json({"error": text}, status)
