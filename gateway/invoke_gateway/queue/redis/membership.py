"""Keeps this gateway's membership of an event store: its lease, the claims of dead gateways, and notifications.

A session that does not renew its lease in time loses its claims, and its name is never used again. The store refuses
that session's reports when the gateway wakes up, and the gateway goes on under another name.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from secrets import token_hex
from time import monotonic
from typing import Any
from urllib.parse import quote

from redis.exceptions import ResponseError

from ...background import BackgroundTask, BackgroundTasks
from ...store.resp import Command
from ..base import StoreError
from .request_channel import RequestChannel
from .script import LEAVE, RENEW
from .store_errors import read_refusal
from .work import ClaimWork

log = logging.getLogger("invoke_gateway")

NoteEnqueued = Callable[[str, int, float], None]

_MOST_TAKEN_OVER = 500  # in one script, which blocks the server
_MOST_NOTIFICATIONS = 500


class StreamTotals:
    """Counts since the start.

    refused: reports on claims that others had by then.
    taken_over: events that dead gateways had claimed.
    lost_leases: how often this gateway was taken for dead.
    """

    def __init__(self) -> None:
        self.refused = 0
        self.taken_over = 0
        self.lost_leases = 0

    def __repr__(self) -> str:
        return f"refused={self.refused} taken_over={self.taken_over} lost_leases={self.lost_leases}"


class Membership:
    """Renews the lease and receives notifications.

    resync: awaited after missed notifications, with whether these are the first.
    on_store_lost: called when the store has lost everything.
    is_synced: whether the backlog is known, and from now on notifications are passed on.
    """

    def __init__(
        self,
        work: ClaimWork,
        notifications: RequestChannel,
        base: str,
        gateway: str,
        lease_seconds: float,
        totals: StreamTotals,
        *,
        note_enqueued: NoteEnqueued,
        resync: Callable[[bool], Awaitable[None]],
        on_store_lost: Callable[[], None],
    ) -> None:
        self._gateway = quote(gateway, safe="")
        self.session = self._name_session()
        self._totals = totals
        self._work = work
        self._notifications = notifications
        self._notifications_key = f"{base}:news"
        self._lease_seconds = lease_seconds
        self._note_enqueued = note_enqueued
        self._resync = resync
        self._on_store_lost = on_store_lost
        self._store_id = b""
        self._renewed_at = float("-inf")
        self._last_notification = 0
        self.is_synced = False
        self._was_synced = False
        self._is_registered = asyncio.Event()
        self._is_renewing = asyncio.Lock()
        self._tasks: list[BackgroundTask] = []

    @property
    def has_lease(self) -> bool:
        """Returns whether the lease surely lasts: after a standstill of the process it does not."""
        return monotonic() - self._renewed_at < self._lease_seconds

    @property
    def is_registered(self) -> bool:
        """Returns whether the store has registered this gateway."""
        return self._is_registered.is_set()

    def start(self, tasks: BackgroundTasks, *, is_synced: bool) -> None:
        self.is_synced = self._was_synced = is_synced
        self._tasks = [
            tasks.start(self._keep_lease, "lease of the events"),
            tasks.start(self._keep_reading, "notifications of events"),
        ]

    async def close(self) -> None:
        """Ends the background tasks, and lets the lease end."""
        for task in self._tasks:
            await task.close()
        await self._notifications.close()

    async def leave(self, line: RequestChannel, base: str) -> None:
        """Releases every claim and ends the session. Raises `StoreError`."""
        while True:
            commands: list[Command] = [("EVALSHA", LEAVE.sha, 1, base, self.session, _MOST_TAKEN_OVER)]
            (more,) = await line.exchange(lambda: commands)  # noqa: B023 (it is called before the next round)
            if isinstance(more, ResponseError):
                raise read_refusal(more)
            if not more:
                return

    async def renew(self) -> None:
        """Renews the lease, under a new name where the gateway was taken for dead. Raises `StoreError`."""
        async with self._is_renewing:
            while await self._renew():
                pass

    async def _renew(self) -> bool:
        """Returns whether there are more claims to take over."""
        lease = max(1, int(self._lease_seconds * 1000))
        sent_at = monotonic()
        reply, _ = await self._work.query(RENEW, lease, self._store_id, token_hex(8), _MOST_TAKEN_OVER)
        if reply == b"FENCED":
            log.warning(
                "gateway %s did not renew its lease at the event store within %g s: other gateways run the events "
                "that it had claimed, some perhaps for the second time",
                self._gateway,
                self._lease_seconds,
            )
            self._totals.lost_leases += 1
            self.session = self._name_session()
            self._store_id = b""
            return True
        self._renewed_at = sent_at
        store_id, last_notification, more, *lanes = reply
        known, self._store_id = self._store_id, store_id
        for lane, events, due_at in zip(lanes[::3], lanes[1::3], lanes[2::3], strict=True):
            self._totals.taken_over += events
            log.warning(
                "%d events of %s were claimed by a gateway that has died, and wait again", events, lane.decode()
            )
            self._note_others(lane, events, due_at)
        if not self._is_registered.is_set():
            self._last_notification = int(last_notification)
            self._is_registered.set()
        elif known and known != store_id:
            log.error("the event store has lost all events: it was emptied, or started without its files")
            self._last_notification = int(last_notification)
            self._on_store_lost()
            self.is_synced = False
        return bool(more == b"1")

    async def _keep_lease(self) -> None:
        third = self._lease_seconds / 3
        soon = min(0.5, third)
        pause = third if self.is_synced else soon
        while True:
            await asyncio.sleep(pause)
            pause = soon
            try:
                await self.renew()
                if not self.is_synced:
                    await self._synchronize()
                pause = third
            except StoreError as fault:
                if fault.kind != "unavailable":
                    log.error("the lease of the events cannot be renewed: %s", fault)
            except Exception:  # a bug must not end the lease
                log.exception("the lease of the events was not renewed")

    async def _keep_reading(self) -> None:
        await self._is_registered.wait()
        block = max(1, int(self._lease_seconds * 1000 / 3))
        while True:
            last, store_id = self._last_notification, self._store_id
            try:
                (reply,) = await self._notifications.exchange(
                    lambda: [
                        (
                            "XREAD",
                            "COUNT",
                            _MOST_NOTIFICATIONS,
                            "BLOCK",
                            block,
                            "STREAMS",
                            self._notifications_key,
                            f"{self._last_notification}-0",
                        )
                    ],
                    block / 1000 + self._notifications.timeout_seconds,
                )
                if isinstance(reply, ResponseError):
                    raise read_refusal(reply)
                if reply and (last, store_id) == (
                    self._last_notification,
                    self._store_id,
                ):  # else the store was emptied meanwhile
                    await self._read(reply[0][1])
            except StoreError:
                await asyncio.sleep(min(0.5, self._lease_seconds / 10))
            except Exception:  # a bug must not end the task
                log.exception("notifications of events could not be read")
                await asyncio.sleep(min(0.5, self._lease_seconds / 10))

    async def _read(self, entries: list[tuple[bytes, list[bytes]]]) -> None:
        has_gap = int(entries[0][0].partition(b"-")[0]) > self._last_notification + 1
        for number, fields in entries:
            self._last_notification = int(number.partition(b"-")[0])
            _, session, _, lane, _, events, _, due_at = fields
            if session.decode() != self.session:
                self._note_others(lane, int(events), due_at)
        if has_gap:  # the store keeps only the last notifications
            await self._resync(False)

    async def _synchronize(self) -> None:
        """Reports the backlog of a store that was unavailable at first, or came back empty."""
        self.is_synced = True  # events that arrive meanwhile are reported too
        try:
            await self._resync(not self._was_synced)
        except BaseException:
            self.is_synced = False
            raise
        self._was_synced = True

    def _note_others(self, lane: bytes, events: int, due_at: bytes) -> None:
        if self.is_synced:
            self._note_enqueued(lane.decode(), events, float(due_at))

    def _name_session(self) -> str:
        return f"{self._gateway}/{token_hex(6)}"

    def __repr__(self) -> str:
        return f"<Membership {self.session}{'' if self.is_registered else ' unknown to the store'}>"


def read_lanes(reply: list[Any]) -> list[tuple[str, int, int, float, float]]:
    """Returns the rows of a reply of the script `waiting`."""
    return [
        (reply[i].decode(), int(reply[i + 1]), int(reply[i + 2]), float(reply[i + 3]), float(reply[i + 4]))
        for i in range(1, len(reply), 5)
    ]
