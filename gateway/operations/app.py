"""The operations listener: metrics, health, readiness, the live limits, holds and fault scripts. It is a server of
its own, so nothing of it can be reached through the Invoke listener."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import chain

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from ..faults import BackendFault
from ..policy.concurrency import Full
from ..telemetry.exposition import choose_format, render
from ..telemetry.metrics import GatewayCollector
from ..telemetry.process import read_process
from .documents import MOST_REPEATED, BadDocument, read_body
from .documents import answer_error as _error
from .documents import answer_json as _json
from .fault_scripts import FaultEndpoint
from .holds import Holds, describe_no_room, read_wanted

_LONGEST_NUMBER = 9  # digits; more rows than there can be functions


class Operations:
    """`describe_limits` returns the document of `/limits`, `probe` raises a `BackendFault` if the backend is away."""

    def __init__(
        self,
        *,
        collector: GatewayCollector,
        describe_limits: Callable[[int], dict[str, object]],
        holds: Holds,
        faults: FaultEndpoint,
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
                *faults.routes(),
            ]
        )

    async def metrics(self, request: Request) -> Response:
        is_openmetrics, content_type = choose_format(request.headers.get("accept", ""))
        process = await asyncio.to_thread(read_process)
        pieces = render(chain(self._collector.families(), process), is_openmetrics=is_openmetrics)
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
        try:
            wanted = read_wanted(await read_body(request, "A hold", "one hold per request"))
        except BadDocument as error:
            return _error(str(error), error.status)
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
        shown = id[:MOST_REPEATED]
        return _error(f"There is no hold {shown!r}: it has ended, or never was. GET /holds lists those there are.", 404)


async def _in_turns(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces one by one; requests are served between two of them."""
    for piece in pieces:
        yield piece
        await asyncio.sleep(0)
