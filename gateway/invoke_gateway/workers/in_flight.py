"""Lists the calls that hold slots in several workers. Each worker reports its own on request."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from ..admin.in_flight import InFlightQuery, NotReleased
from ..counters.holders import Report
from .channel import NO_WORKER, WorkerGone

if TYPE_CHECKING:
    from ..app.gateway import Gateway
    from .aggregate import Aggregate
    from .handle import WorkerHandle, Workers

_OWN_SECONDS = 1.0
_ALL_SECONDS = 5.0  # of a worker that reads the store as well

Holders = tuple[list[dict[str, Any]], str | None]


async def report_holders(gateway: Gateway, argument: tuple[list[Any], bool]) -> Holders:
    """Reports a worker's own calls; where `is_all` is set, after the store's reports of all gateways."""
    values, is_all = argument
    query = InFlightQuery(*values)
    source = gateway.admin.holder_source
    found, trouble = await source.report(query) if is_all else (source.report_here(query), None)
    return [msgspec.to_builtins(report) for report in found], trouble


class WorkerHolders:
    """Reports the holders of all workers. An unresponsive one is shown as it last was in the store."""

    def __init__(self, workers: Workers, aggregate: Aggregate) -> None:
        self._workers = workers
        self._aggregate = aggregate

    async def report(self, query: InFlightQuery) -> tuple[list[Report], str | None]:
        await self._aggregate.refresh()  # which also finds the unresponsive workers
        responsive = self._workers.responsive()
        results = await asyncio.gather(
            self._read_all(query, responsive), *(self._read_one(worker, query) for worker in responsive[1:])
        )
        # The store's lists are older than the workers' own, and the later report counts.
        found = [report for reports, _ in results for report in reports]
        troubles = dict.fromkeys(trouble for trouble in (results[0][1], self._aggregate.trouble) if trouble)
        return found, " ".join(troubles) or None

    async def release(self, gateway: str, account: str | None, *, force: bool) -> list[Report]:
        raise NotReleased("Only a worker can release slots.", 500)

    async def _read_all(self, query: InFlightQuery, workers: list[WorkerHandle]) -> tuple[list[Report], str | None]:
        """Returns the store's reports and the own calls of the first worker that replies."""
        for worker in workers:
            with suppress(WorkerGone):
                return _read(await worker.call("holders", [query, True], seconds=_ALL_SECONDS))
        return [], NO_WORKER

    async def _read_one(self, worker: WorkerHandle, query: InFlightQuery) -> tuple[list[Report], str | None]:
        try:
            return _read(await worker.call("holders", [query, False], seconds=_OWN_SECONDS))
        except WorkerGone:
            return [], None


def _read(holders: Holders) -> tuple[list[Report], str | None]:
    reports, trouble = holders
    return msgspec.convert(reports, list[Report]), trouble
