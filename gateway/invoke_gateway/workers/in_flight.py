"""Lists the calls that hold slots in several workers. Each worker reports its own when a client requests the list."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from ..admin.in_flight import InFlightQuery, NotReleased
from ..counters.holders import Report
from .channel import WorkerGone

if TYPE_CHECKING:
    from ..app.gateway import Gateway
    from .supervisor import Supervisor, Worker

_OWN_SECONDS = 1.0
_ALL_SECONDS = 5.0  # of one that asks the store as well

Answer = tuple[list[dict[str, Any]], str | None]


async def answer_holders(gateway: Gateway, asked: tuple[list[Any], bool]) -> Answer:
    """Return, in a worker, its own calls; where `is_all` is set, after those that the store has of all gateways."""
    values, is_all = asked
    query = InFlightQuery(*values)
    source = gateway.admin.holder_source
    found, trouble = await source.report(query) if is_all else (source.report_here(query), None)
    return [msgspec.to_builtins(report) for report in found], trouble


class WorkerHolders:
    """Sums the workers in the supervisor. A silent worker is shown with the calls that it last listed in the store."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def report(self, query: InFlightQuery) -> tuple[list[Report], str | None]:
        group = self._supervisor.group
        await group.refresh()  # and with it who does not answer
        hearing = group.hearing()
        answers = await asyncio.gather(
            self._ask_all(query, hearing), *(self._ask_one(worker, query) for worker in hearing[1:])
        )
        # The store's lists are older than what the workers hold now, and the later report counts.
        found = [report for reports, _ in answers for report in reports]
        troubles = dict.fromkeys(trouble for trouble in (answers[0][1], group.trouble) if trouble)
        return found, " ".join(troubles) or None

    async def release(self, gateway: str, account: str | None, *, force: bool) -> list[Report]:
        raise NotReleased("A worker does this.", 500)

    async def _ask_all(self, query: InFlightQuery, hearing: list[Worker]) -> tuple[list[Report], str | None]:
        """Return the contents of the store and the first answering worker's own calls, as that worker reports them."""
        for worker in hearing:
            with suppress(WorkerGone):
                return _read(await worker.ask("holders", [query, True], seconds=_ALL_SECONDS))
        return [], "No worker answers; those that died are being replaced. Try again in a second."

    async def _ask_one(self, worker: Worker, query: InFlightQuery) -> tuple[list[Report], str | None]:
        try:
            return _read(await worker.ask("holders", [query, False], seconds=_OWN_SECONDS))
        except WorkerGone:
            return [], None


def _read(answer: Answer) -> tuple[list[Report], str | None]:
    reports, trouble = answer
    return msgspec.convert(reports, list[Report]), trouble
