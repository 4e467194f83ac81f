"""Serves the admin listener: the live page, metrics, health, readiness, limits, holds, the queue and fault scripts.

The admin listener is a server of its own, so none of its paths can be reached through the Invoke listener.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import chain

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ..counters.base import SharedState
from ..queue.base import StoreError
from ..telemetry.exposition import Family, choose_format, render
from ..telemetry.metrics import GatewayMetrics
from ..telemetry.process_metrics import read_process
from .access import AdminAccess
from .json_documents import BadDocument, answer_error, answer_json
from .live.document import Refusals
from .live.page import load_page
from .live.query import BadLiveQuery, read_live_query
from .live.stream import LiveResponse, LiveStream
from .readiness import Readiness

log = logging.getLogger("invoke_gateway")

_LONGEST_NUMBER = 9  # digits; more rows than there can be functions

# For responses that are true now only. Without a header that allows it, no page of another origin can read them.
_FRESH = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


class AdminApp:
    """Routes the requests of the admin listener.

    describe_limits: returns the document of `/limits`
    endpoints: further routes, such as those of holds
    refresh: brings the state of other processes up to date
    find_trouble: returns the reason why responses are incomplete, or None
    read_processes: reads the `process_*` metrics
    access: counts the requests that are refused without the admin token
    """

    def __init__(
        self,
        *,
        metrics: GatewayMetrics,
        describe_limits: Callable[[int], dict[str, object]],
        live_stream: LiveStream,
        refusals: Refusals,
        readiness: Readiness,
        endpoints: Iterable[Route],
        shared: SharedState | None = None,
        refresh: Callable[[], Awaitable[None]] | None = None,
        read_processes: Callable[[], Awaitable[Iterable[Family]]] | None = None,
        find_trouble: Callable[[], str | None] = lambda: None,
        access: AdminAccess | None = None,
    ) -> None:
        self._access = access
        self._find_trouble = find_trouble
        self._shared = shared
        self._metrics = metrics
        self._describe_limits = describe_limits
        self._live_stream = live_stream
        self._refusals = refusals
        self._readiness = readiness
        self._refresh = refresh or _do_nothing
        self._read_processes = read_processes or _read_process
        self.app = Starlette(
            routes=[
                Route("/", self.page),
                Route("/live", self.live),
                Route("/refusals", self.refusals),
                Route("/metrics", self.metrics),
                Route("/healthz", self.healthz),
                Route("/readyz", self.readyz),
                Route("/limits", self.limits),
                *endpoints,
            ],
            exception_handlers={BadDocument: _answer_exception, StoreError: _answer_exception},
        )

    async def page(self, request: Request) -> Response:
        page = load_page()
        return Response(page.html, headers=page.headers)

    async def live(self, request: Request) -> Response:
        try:
            query = read_live_query(request.query_params)
        except BadLiveQuery as error:
            return answer_error(str(error), 400)
        why_not = self._live_stream.why_not()
        if why_not is not None:
            return answer_json({"error": why_not}, 503, {"retry-after": "10"})
        if request.method == "HEAD":
            return Response(media_type="text/event-stream", headers=_FRESH)
        return LiveResponse(self._live_stream, query, _FRESH)

    async def refusals(self, request: Request) -> Response:
        await self._refresh()
        document: dict[str, object] = {"refusals": self._refusals.newest_first()}
        if (trouble := self._find_trouble()) is not None:
            document["trouble"] = trouble
        return answer_json(document, headers=_FRESH)

    async def metrics(self, request: Request) -> Response:
        is_openmetrics, content_type = choose_format(request.headers.get("accept", ""))
        try:
            processes = await self._read_processes()
            ours = () if self._access is None else self._access.families()
            pieces = render(chain(self._metrics.families(), ours, processes), is_openmetrics=is_openmetrics)
            body = await _join(pieces)
        except Exception:  # part of the metrics with status 200 would pass for all of them
            log.exception("the metrics cannot be written")
            return answer_error("The metrics cannot be written. The gateway's log has the error.", 500)
        return Response(body, headers={"content-type": content_type})

    async def healthz(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        await self._refresh()
        document = await self._readiness.describe()
        return answer_json(document, status=200 if document["ready"] else 503)

    async def limits(self, request: Request) -> Response:
        functions = request.query_params.get("functions", "1000")
        if not (functions.isascii() and functions.isdigit() and len(functions) <= _LONGEST_NUMBER):
            return answer_json(
                {"error": f"functions={functions} is not a number. Send the number of rows."}, status=400
            )
        if self._shared is not None:
            await self._shared.read_sums()
        return answer_json(self._describe_limits(int(functions)))


async def _do_nothing() -> None:
    """Refreshes nothing: one process reads its own state."""


async def _answer_exception(request: Request, error: Exception) -> Response:
    return answer_error(str(error), error.status if isinstance(error, BadDocument) else 503)


async def _read_process() -> Iterable[Family]:
    return await asyncio.to_thread(read_process)


async def _join(pieces: Iterator[bytes]) -> bytes:
    """Joins the pieces. Requests are served between two of them."""
    made = []
    for piece in pieces:
        made.append(piece)
        await asyncio.sleep(0)
    return b"".join(made)
