"""The operations listener: metrics, health, readiness and the live limits. It is a server of its own, so nothing of
it can be reached through the Invoke listener."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ..faults import BackendFault

_LONGEST_NUMBER = 9  # digits; more rows than there can be functions


class Operations:
    """`describe_limits` returns the document of `/limits`, `probe` raises a `BackendFault` if the backend is away."""

    def __init__(
        self,
        *,
        collector: Collector,
        describe_limits: Callable[[int], dict[str, object]],
        probe: Callable[[], Awaitable[None]],
        is_draining: Callable[[], bool],
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(collector)
        self._describe_limits = describe_limits
        self._probe = probe
        self._is_draining = is_draining
        self.app = Starlette(
            routes=[
                Route("/metrics", self.metrics),
                Route("/healthz", self.healthz),
                Route("/readyz", self.readyz),
                Route("/limits", self.limits),
            ]
        )

    async def metrics(self, request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._registry), media_type=None, headers={"content-type": content_type})

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


def _json(document: dict[str, object], status: int = 200) -> Response:
    return Response(msgspec.json.encode(document), status_code=status, media_type="application/json")
