"""Stores the events of many gateways on one Redis or Valkey.

Every event is an entry of a stream, and each lane has it in a sorted set by its due time. Consumer groups are not used:
they deliver in the order of arrival, and cannot return a released or requeued event to its place. So scripts keep the
claims (scripts/prelude.lua has the layout), and each change of an event is one script.

`enqueue` is as durable as the server. Set `appendonly yes`. With `appendfsync always` an event is on the disk when
`enqueue` returns. With `everysec` a server that loses its power loses up to a second of events. With
`?wait_replicas=1&wait_ms=500` in the URL `enqueue` waits for so many replicas, and fails where they are late. After a
lost reply or late replicas the store may have an event whose client received an error: at least once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from itertools import count

from ...background import BackgroundTasks
from ...store.availability import Availability
from ..base import CannotOpen, ClaimedEvents, LaneBacklog, StoreError
from ..event import Event
from .address import EventStoreAddress
from .claims import Claims, read_events
from .enqueue import Enqueuer, PendingEnqueue
from .membership import Membership, StreamTotals, read_lanes
from .request_channel import RequestChannel, describe_unavailable
from .script import BACKLOG, OLDEST, READ, SEARCH
from .work import ClaimWork

log = logging.getLogger("invoke_gateway")

_SEARCHED_BYTES = 1 << 20  # about, by one script, which blocks the server
_MOST_SEARCHED = 1000


class StreamStore:
    """Stores the events of many gateways in one server.

    url: redis://, rediss://, redis+sentinel:// or unix://.
    gateway: a name for the server's log, which need not be unique.
    lease_seconds: a gateway that does not renew its lease for this time loses its claims to the others.
    timeout_seconds: the bound on each request.
    maximum_events: the bound on the events of all gateways.
    prefix: all keys begin with `{prefix}:`.
    """

    def __init__(
        self,
        url: str,
        *,
        gateway: str,
        lease_seconds: float = 10,
        timeout_seconds: float = 2,
        maximum_events: int = 10_000_000,
        prefix: str = "invoke-gateway:events",
        tasks: BackgroundTasks | None = None,
    ) -> None:
        self._tasks = tasks or BackgroundTasks()
        self.totals = StreamTotals()
        self._availability = _make_availability(url)
        self._url = url
        self._gateway = gateway
        self._lease_seconds = lease_seconds
        self._timeout_seconds = timeout_seconds
        self._maximum_events = maximum_events
        self._base = f"{{{prefix}}}"
        self._numbers = count(1)
        self._run = ""
        self._channels: list[RequestChannel] = []

    @property
    def problem(self) -> str | None:
        """Returns that the server is unavailable, or that it had no room for the last event."""
        if self._availability.unavailable_reason is not None:
            return describe_unavailable(self._availability)
        return self._enqueuer.problem if self._channels else None

    async def open(self, note_enqueued: Callable[[str, int, float], None]) -> list[LaneBacklog]:
        """Opens the store.

        Where the server is unavailable, it returns an empty backlog within the time-out, logs that, and reports the
        backlog by `note_enqueued` once the server replies. Raises `CannotOpen` where a later try cannot succeed either:
        a bad URL, a refused password, a replica, or a version that is too old.
        """
        address = EventStoreAddress(self._url, self._timeout_seconds)
        self._availability = _make_availability(address.where)
        self._note_enqueued = note_enqueued
        work, enqueue, notify = self._channels = [
            RequestChannel(name, address, self._availability, self._timeout_seconds, self._note_run)
            for name in ("work", "enqueue", "notifications")
        ]
        self._work_channel = work
        self._work = ClaimWork(work, self._base, session=self._session, next_number=self._next_number)
        self._membership = Membership(
            self._work,
            notify,
            self._base,
            self._gateway,
            self._lease_seconds,
            self.totals,
            note_enqueued=note_enqueued,
            resync=self._resync,
            on_store_lost=self._claims_lost,
        )
        self._enqueuer = Enqueuer(
            enqueue,
            self._base,
            self._maximum_events,
            (address.replicas, address.replicas_ms),
            session=self._session,
            renew=self._membership.renew,
            cancel_enqueue=self._cancel_enqueue,
        )
        self._claims = Claims(self._work, self._enqueuer, self._membership, self.totals, self._next_number)
        waiting: list[LaneBacklog] | None = None
        await work.open()
        self._work.start(self._tasks)
        self._enqueuer.start(self._tasks)
        try:
            if work.why_unavailable is None:
                await self._membership.renew()
                waiting = await self.backlog()
        except StoreError as fault:
            if fault.kind != "unavailable":
                await self._end()
                raise CannotOpen(f"The event store at {address.where} cannot be used: {fault}") from fault
        self._membership.start(self._tasks, is_synced=waiting is not None)
        return waiting or []

    async def close(self) -> None:
        """Writes pending changes and releases all claims, as far as the server replies in time. Else the lease's end
        does that."""
        await self._membership.close()
        await self._enqueuer.close()
        unwritten = await self._work.close()
        if unwritten:
            log.error(
                "the outcomes of %d events could not be written to the event store: they will run again", unwritten
            )
        try:
            if self._work_channel.why_unavailable is None:
                await self._membership.leave(self._work_channel, self._base)
        except StoreError as fault:
            log.warning("the claimed events wait until the lease of this gateway ends: %s", fault)
        await self._end()

    async def _end(self) -> None:
        await self._enqueuer.close()
        await self._work.close()
        for channel in self._channels:
            await channel.close()

    # New events.

    async def enqueue(self, event: Event) -> None:
        event.key, _ = await self._enqueuer.enqueue(event)

    async def enqueue_claimed(self, event: Event) -> None:
        await self._claims.enqueue(event)

    async def claim_due(self, lane: str, now: float, most: int, most_bytes: int) -> ClaimedEvents:
        return await self._claims.claim_due(lane, now, most, most_bytes)

    async def claim_one(self, key: bytes | int) -> Event | None:
        return await self._claims.claim_one(key)

    def owns_claim(self, event: Event) -> bool | None:
        return self._claims.owns_claim(event)

    async def ack(self, event: Event) -> None:
        await self._claims.ack(event)

    async def requeue(self, event: Event) -> None:
        await self._claims.requeue(event)

    async def update(self, event: Event) -> None:
        await self._claims.update(event)

    async def release(self, events: list[Event]) -> None:
        await self._claims.release(events)

    # Queries.

    async def backlog(self) -> list[LaneBacklog]:
        lanes: dict[str, LaneBacklog] = {}
        cursor: bytes | int = 0
        while True:
            reply, _ = await self._work.query(BACKLOG, cursor)
            lanes |= {row[0]: LaneBacklog(*row) for row in read_lanes(reply)}
            cursor = reply[0]
            if cursor == b"0":
                return list(lanes.values())

    async def find(self, request_id: str, most: int) -> list[tuple[Event, bool]]:
        """Returns the events of a request id. It reads all events in pieces, a second for some hundred thousand."""
        found: list[tuple[Event, bool]] = []
        after: bytes | int = 0
        up_to: bytes | int = 0
        pieces = 50
        while len(found) < most:
            (last, up_to, size, *keys), _ = await self._work.query(SEARCH, after, up_to, pieces, request_id)
            if keys:
                events = read_events((await self._work.query(READ, *keys))[0])
                found += [row for row in events if row[0].request_id == request_id]
            if last is None:
                break
            after = last
            pieces = max(1, min(_MOST_SEARCHED, pieces * 2, pieces * _SEARCHED_BYTES // max(1, size)))
        return found[:most]

    async def oldest(self, lane: str, most: int) -> list[tuple[Event, bool]]:
        return read_events((await self._work.query(OLDEST, lane, most))[0])

    # Changes of the server.

    def _session(self) -> str:
        return self._membership.session

    def _next_number(self) -> int:
        return next(self._numbers)

    def _cancel_enqueue(self, batch: int, puts: list[PendingEnqueue]) -> None:
        """Releases events for which no request waits any more.

        A batch that was given up may be stored now or later: a report makes the store refuse it. Stored events are
        unclaimed, and `note_enqueued` is called for them.
        """
        if batch:
            self._work.report_soon("cancel_enqueue", batch)
        for put in puts:
            report = partial(self._note_enqueued, put.event.lane, 0 if batch else 1, put.event.due_at)
            if put.claim:
                self._work.report_soon("release_claims", put.claim, then=report)
            elif batch:
                self._work.report_soon("release_claims", 0, then=report)  # of no claim: called once the server replies
            else:
                report()

    def _note_run(self, run: str) -> None:
        """Records the server process of a connection. A new process may lack the last changes of the one before."""
        if self._run and run != self._run:
            self._claims_lost()
        self._run = run

    def _claims_lost(self) -> None:
        self._claims.note_loss()

    async def _resync(self, is_first: bool) -> None:
        """Reports the backlog after missed notifications, as no events, since some of them were counted before."""
        for lane in await self.backlog():
            self._note_enqueued(lane.lane, lane.events if is_first else 0, lane.due_at)

    def __repr__(self) -> str:
        return f"<StreamStore {self._gateway} {self._channels}>"


def _make_availability(where: str) -> Availability:
    return Availability("Event store", where, "New events are refused until it replies.")
