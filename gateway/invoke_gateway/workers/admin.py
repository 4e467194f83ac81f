"""The admin listener of several workers: what one process shows is here the sum of all; `/workers` shows each."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..admin.app import AdminApp
from ..admin.documents import MOST_REPEATED, BadDocument, answer_error, answer_json, read_body
from ..admin.fault_scripts import FaultEndpoint
from ..admin.in_flight import RENAMED_ROUTES, InFlightEndpoint
from ..admin.queue import QueueEndpoint
from ..admin.readiness import Readiness
from .channel import WorkerGone, WorkerSilent
from .in_flight import WorkerHolders

if TYPE_CHECKING:
    from .supervisor import Supervisor, Worker

_ANSWER_SECONDS = 10.0  # of one that looks for the backend, or takes a hold of many slots
_OF_ONE = ("metrics", "limits", "holds", "readyz", "refusals")


def make_admin(supervisor: Supervisor) -> AdminApp:
    """What the admin listener says of all workers."""

    def is_draining() -> bool:
        return supervisor.is_draining

    group = supervisor.group
    # Settings see to it that there are no fault scripts: the endpoint says so.
    faults = FaultEndpoint(None, find_account=str, is_draining=is_draining)
    return AdminApp(
        collector=group.collector,
        describe_limits=group.describe_limits,
        endpoints=[
            *faults.routes(),
            *QueueEndpoint(group.queue).routes(),
            *WorkersEndpoint(supervisor).routes(),
        ],
        live_stream=group.live_stream,
        refusals=group,
        readiness=Readiness(
            listen=supervisor.listen,
            is_draining=is_draining,
            backend=group.backend,
            shared=group,
            event_trouble=lambda: group.event_trouble,
        ),
        shared=group,
        refresh=group.refresh,
        read_processes=group.read_totals,
        find_trouble=lambda: group.trouble,
    )


class WorkersEndpoint:
    """What only one worker can answer. Holds are taken by the first that serves; their ids say which it was."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._holders = InFlightEndpoint(WorkerHolders(supervisor))

    def routes(self) -> list[Route]:
        return [
            Route("/holds", self.holds, methods=["GET", "POST"]),
            Route("/holds/{id}", self.release, methods=["DELETE"]),
            Route("/in-flight", self._holders.show),
            Route("/in-flight/{gateway}", self.release_gateway, methods=["DELETE"]),
            *RENAMED_ROUTES,
            Route("/workers", self.workers),
            Route("/workers/{number:int}/{what}", self.of_one),
        ]

    async def holds(self, request: Request) -> Response:
        if request.method == "POST":
            try:
                body = await read_body(request, "A hold", "one hold per request")
            except BadDocument as error:
                return answer_error(str(error), error.status)
            return await self._ask_any(request, body)
        await self._supervisor.group.refresh()
        group = self._supervisor.group
        return answer_json({"holds": group.holds} | ({"trouble": group.trouble} if group.trouble else {}))

    async def release(self, request: Request) -> Response:
        id = request.path_params["id"]
        for worker in self._supervisor.serving():
            if id.startswith(f"{worker.place}-"):
                return await self._ask(worker, request, b"")
        return answer_error(
            f"There is no hold {id[:MOST_REPEATED]!r}: it has ended, or never was. GET /holds lists those there are.",
            404,
        )

    async def release_gateway(self, request: Request) -> Response:
        """Any worker can have the store give back what a gateway held."""
        return await self._ask_any(request, b"")

    async def workers(self, request: Request) -> Response:
        """Each worker: its number, its name in the store, its process, for how long it serves, and what it runs."""
        await self._supervisor.group.refresh()
        return answer_json(
            {
                "gateway": self._supervisor.name,
                "replaced": self._supervisor.replaced,
                "workers": [_describe(worker) for worker in self._supervisor.serving()],
            }
        )

    async def of_one(self, request: Request) -> Response:
        """What one worker says of itself under the same path without `/workers/N`."""
        number, what = request.path_params["number"], request.path_params["what"]
        if what not in _OF_ONE:
            return answer_error(f"Ask a worker for one of {', '.join(_OF_ONE)}.", 404)
        for worker in self._supervisor.serving():
            if worker.number == number:
                return await self._ask(worker, request, b"", f"/{what}")
        return answer_error(f"No worker {number} serves now. GET /workers lists those that do.", 404)

    async def _ask_any(self, request: Request, body: bytes) -> Response:
        group = self._supervisor.group
        await group.refresh()  # and with it who does not answer
        for worker in group.hearing():
            try:
                return await self._ask_or_raise(worker, request, body)
            except WorkerSilent as error:  # another one would do it a second time, once this one goes on
                text = f"Worker {worker.number} does not answer ({error}), and may yet do it. Look, then try again."
                return answer_error(text, 503)
            except WorkerGone:
                continue
        return answer_error("No worker answers; those that died are being replaced. Try again in a second.", 503)

    async def _ask(self, worker: Worker, request: Request, body: bytes, path: str | None = None) -> Response:
        try:
            return await self._ask_or_raise(worker, request, body, path)
        except WorkerGone as error:
            return answer_error(f"Worker {worker.number} does not answer: {error}.", 503)

    async def _ask_or_raise(self, worker: Worker, request: Request, body: bytes, path: str | None = None) -> Response:
        asked = (request.method, path or request.url.path, request.url.query, request.headers.raw, body)
        status, headers, answer = await worker.ask("request", asked, seconds=_ANSWER_SECONDS)
        response = Response(answer, status)
        response.raw_headers = [(bytes(name), bytes(value)) for name, value in headers]
        if not any(name == b"content-length" for name, _ in response.raw_headers):
            response.raw_headers.append((b"content-length", str(len(answer)).encode()))
        return response


def _describe(worker: Worker) -> dict[str, object]:
    account_counters = [slots for name, (slots, _) in worker.now.get("levels", {}).items() if name.endswith("/account")]
    return {
        "worker": worker.number,
        "gateway": worker.name,
        "pid": worker.process.pid,
        "serving_seconds": round(monotonic() - worker.started_at, 3),
        "silent_seconds": round(monotonic() - worker.heard_at, 3) if worker.is_silent else None,
        "in_flight": sum(account_counters),
    }
