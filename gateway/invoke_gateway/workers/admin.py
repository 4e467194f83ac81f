"""Serves the admin listener of several workers: the sums of all, and each worker under `/workers`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..admin.access import AdminAccess
from ..admin.app import AdminApp
from ..admin.control import CONTROL_BODY, MOST_CONTROL_BYTES
from ..admin.fault_scripts import OFF_FOR_WORKERS, FaultEndpoint
from ..admin.in_flight import RENAMED_ROUTES, InFlightEndpoint
from ..admin.json_documents import MOST_REPEATED, answer_error, answer_json, read_body
from ..admin.queue import QueueEndpoint
from ..admin.readiness import Readiness
from ..admin.status import StatusEndpoint
from ..settings import Address
from ..store.store_name import name_store
from .aggregate import Aggregate
from .channel import NO_WORKER, WorkerGone, WorkerTimeout
from .handle import WorkerHandle, Workers
from .in_flight import WorkerHolders

_REPLY_SECONDS = 10.0  # of a worker that checks the backend, or takes a hold of many slots
_PATHS_OF_ONE = ("metrics", "limits", "holds", "readyz", "refusals")


def make_admin(workers: Workers, aggregate: Aggregate, listen: Address, access: AdminAccess) -> AdminApp:
    """Makes the application of the admin listener.

    listen: the address of the Invoke API
    access: decides which requests reach the application
    """

    def is_draining() -> bool:
        return workers.is_draining

    # The settings refuse fault scripts with several workers, so the endpoint has none.
    faults = FaultEndpoint(None, find_account=str, is_draining=is_draining, why_off=OFF_FOR_WORKERS)
    readiness = Readiness(
        listen=listen,
        is_draining=is_draining,
        backend=aggregate.backend,
        shared=aggregate,
        event_trouble=lambda: aggregate.event_trouble,
        settings_error=lambda: workers.reload_state.error,
        credentials=aggregate.credentials,
    )
    status = StatusEndpoint(
        aggregate.live_view,
        readiness,
        reload_state=workers.reload_state,
        counters_store=name_store(workers.settings.counters),
        shared=aggregate,
        buffers=aggregate.buffered,
        queue=aggregate.queue,
        refresh=aggregate.refresh,
    )
    return AdminApp(
        metrics=aggregate.metrics,
        describe_limits=aggregate.describe_limits,
        endpoints=[
            *status.routes(),
            *faults.routes(),
            *QueueEndpoint(aggregate.queue).routes(),
            *WorkersEndpoint(workers, aggregate).routes(),
        ],
        live_stream=aggregate.live_stream,
        refusals=aggregate,
        readiness=readiness,
        shared=aggregate,
        refresh=aggregate.refresh,
        read_processes=aggregate.read_totals,
        find_trouble=lambda: aggregate.trouble,
        access=access,
    )


class WorkersEndpoint:
    """Sends requests that one worker must answer to that worker. The id of a hold names its worker."""

    def __init__(self, workers: Workers, aggregate: Aggregate) -> None:
        self._workers = workers
        self._aggregate = aggregate
        self._holders = InFlightEndpoint(WorkerHolders(workers, aggregate))

    def routes(self) -> list[Route]:
        return [
            Route("/holds", self.holds, methods=["GET", "POST"]),
            Route("/holds/{id}", self.release, methods=["DELETE"]),
            Route("/in-flight", self._holders.show),
            Route("/in-flight/{gateway}", self.release_gateway, methods=["DELETE"]),
            *RENAMED_ROUTES,
            Route("/control", self.control, methods=["GET", "POST", "DELETE"]),
            Route("/permissions", self.permissions),
            Route("/workers", self.workers),
            Route("/workers/{number:int}/{what}", self.of_one),
        ]

    async def holds(self, request: Request) -> Response:
        if request.method == "POST":
            return await self._send_any(request, await read_body(request, "A hold", "one hold per request"))
        aggregate = self._aggregate
        await aggregate.refresh()
        return answer_json({"holds": aggregate.holds} | ({"trouble": aggregate.trouble} if aggregate.trouble else {}))

    async def release(self, request: Request) -> Response:
        id = request.path_params["id"]
        for worker in self._workers.serving():
            if id.startswith(f"{worker.suffix}-"):
                return await self._send(worker, request, b"")
        return answer_error(
            f"There is no hold {id[:MOST_REPEATED]!r}: it has ended, or never existed. GET /holds lists all holds.",
            404,
        )

    async def release_gateway(self, request: Request) -> Response:
        """Releases the slots of a dead gateway; any worker can do so."""
        return await self._send_any(request, b"")

    async def control(self, request: Request) -> Response:
        """Shows, sets or drops what control operations have set, which all workers share."""
        is_post = request.method == "POST"
        body = await read_body(request, *CONTROL_BODY, most_bytes=MOST_CONTROL_BYTES) if is_post else b""
        return await self._send_any(request, body)

    async def permissions(self, request: Request) -> Response:
        """Decides about a caller. All workers have the same policies."""
        return await self._send_any(request, b"")

    async def workers(self, request: Request) -> Response:
        """Lists the workers: number, name in the store, process, seconds of service, calls in flight."""
        await self._aggregate.refresh()
        return answer_json(
            {
                "gateway": self._workers.name,
                "replaced": self._workers.replaced,
                "workers": self._workers.describe(),
            }
        )

    async def of_one(self, request: Request) -> Response:
        """Returns what one worker answers under the same path without `/workers/N`."""
        number, what = request.path_params["number"], request.path_params["what"]
        if what not in _PATHS_OF_ONE:
            return answer_error(f"A worker has only the paths {', '.join(_PATHS_OF_ONE)}.", 404)
        for worker in self._workers.serving():
            if worker.number == number:
                return await self._send(worker, request, b"", f"/{what}")
        return answer_error(f"No worker {number} serves now. GET /workers lists those that do.", 404)

    async def _send_any(self, request: Request, body: bytes) -> Response:
        await self._workers.refresh()  # which also finds the unresponsive workers
        for worker in self._workers.responsive():
            try:
                return await self._forward(worker, request, body)
            except WorkerTimeout as error:  # another worker would do it a second time
                text = f"Worker {worker.number} did not reply ({error}), and may still do it. Check, then try again."
                return answer_error(text, 503)
            except WorkerGone:
                continue
        return answer_error(NO_WORKER, 503)

    async def _send(self, worker: WorkerHandle, request: Request, body: bytes, path: str | None = None) -> Response:
        try:
            return await self._forward(worker, request, body, path)
        except WorkerGone as error:
            return answer_error(f"Worker {worker.number} did not reply: {error}.", 503)

    async def _forward(self, worker: WorkerHandle, request: Request, body: bytes, path: str | None = None) -> Response:
        argument = (request.method, path or request.url.path, request.url.query, request.headers.raw, body)
        status, headers, answer = await worker.call("request", argument, seconds=_REPLY_SECONDS)
        response = Response(answer, status)
        response.raw_headers = [(bytes(name), bytes(value)) for name, value in headers]
        if not any(name == b"content-length" for name, _ in response.raw_headers):
            response.raw_headers.append((b"content-length", str(len(answer)).encode()))
        return response
