"""Claims events of the store for this gateway, and reports their outcomes.

The key of a claimed event is the event's number and the token of the claim, `<session>:<number>`. The store accepts a
report only for the present claim, so a gateway that was taken for dead changes nothing when it wakes up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ...store.script import Script
from ..base import ClaimedEvents, StoreError
from ..event import Event, UnreadableEvent, decode_event
from .enqueue import Enqueuer, describe
from .membership import Membership, StreamTotals
from .script import CLAIM_DUE, CLAIM_ONE, READ
from .work import ClaimWork

log = logging.getLogger("invoke_gateway")

_MOST_TRIES = 5
_PAUSE_SECONDS = 0.5  # before a retry of what must be done


class Claims:
    """Holds the claims of this gateway. `next_number` names claims."""

    def __init__(
        self,
        work: ClaimWork,
        enqueuer: Enqueuer,
        membership: Membership,
        totals: StreamTotals,
        next_number: Callable[[], int],
    ) -> None:
        self._totals = totals
        self._work = work
        self._enqueuer = enqueuer
        self._membership = membership
        self._next_number = next_number
        self._last_lost = 0

    def note_loss(self) -> None:
        """Records that the server may lack its last changes, or all of them."""
        self._last_lost = self._next_number()

    async def enqueue(self, event: Event) -> None:
        number = self._next_number()
        kept, session = await self._enqueuer.enqueue(event, number)
        event.key = b"%b %b:%d" % (kept, session.encode(), number)

    async def claim_due(self, lane: str, now: float, most: int, most_bytes: int) -> ClaimedEvents:
        reply, token = await self._claim(CLAIM_DUE, lane, repr(now), most, most_bytes)
        events = []
        for key, head, body in zip(reply[1::3], reply[2::3], reply[3::3], strict=True):
            try:
                events.append(decode_event(head, body, b"%b %b" % (key, token.encode())))
            except UnreadableEvent as error:
                # It stays claimed until this gateway ends. Then a gateway of the version that wrote it may claim it.
                log.error("event %s of %s cannot be read, another version wrote it: %s", key.decode(), lane, error)
        return ClaimedEvents(events, None if reply[0] is None else float(reply[0]))

    async def claim_one(self, key: bytes | int) -> Event | None:
        number = split(key)[0]
        for _ in range(_MOST_TRIES):  # it may be moved meanwhile
            found = read_events((await self._work.query(READ, number))[0])
            if not found or found[0][1]:
                return None
            event = found[0][0]
            reply, token = await self._claim(CLAIM_ONE, number, event.lane)
            if reply:
                return decode_event(reply[0], reply[1], b"%b %b" % (number, token.encode()))
        return None

    async def _claim(self, script: Script, *arguments: Any) -> tuple[Any, str]:
        for _ in range(_MOST_TRIES):
            reply, token = await self._work.query(script, *arguments, claims=True)
            if reply != b"FENCED":
                break
            await self._membership.renew()
        if isinstance(reply, bytes):
            raise StoreError(
                "unavailable", "The event store ends this gateway's lease before it can claim: the lease is too short."
            )
        return reply, token

    def owns_claim(self, event: Event) -> bool | None:
        session, _, number = split(event.key)[1].rpartition(b":")
        if session == self._membership.session.encode():
            return True if self._membership.has_lease else None
        # After the store was emptied no other gateway has the event; else others may have claimed it.
        return int(number) <= self._last_lost

    async def ack(self, event: Event) -> None:
        await self._report("ack", event)

    async def requeue(self, event: Event) -> None:
        if await self._report("requeue", event, *describe(event)):
            await self._restore(event)

    async def update(self, event: Event) -> None:
        if await self._report("update", event, *describe(event)):
            await self._restore(event, is_claimed=True)

    async def release(self, events: list[Event]) -> None:
        for event, is_lost in zip(
            events, await asyncio.gather(*(self._report("release", event) for event in events)), strict=True
        ):
            if is_lost:
                await self._restore(event)

    async def _report(self, kind: str, event: Event, *more: Any) -> bool:
        """Reports a change of a claimed event. Returns whether the store has lost the event."""
        number, token = split(event.key)
        letter, is_repeated = await self._work.report(kind, number, token, *more)
        if letter == "n" and kind != "ack":
            # The store may have come back empty, without this session, and then no other gateway has the event.
            await self._renew_at_last()
            letter, _ = await self._work.report(kind, number, token, *more)
        if letter == "g" and int(token.rpartition(b":")[2]) <= self._last_lost:
            return True
        if letter != "y" and not is_repeated:  # else the first attempt may have succeeded without a reply
            self._totals.refused += 1
        return False

    async def _renew_at_last(self) -> None:
        while True:
            try:
                await self._membership.renew()
                return
            except StoreError:
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _restore(self, event: Event, is_claimed: bool = False) -> None:
        while True:
            try:
                await self._enqueue(event, is_claimed)
                return
            except StoreError as fault:
                log.error("an event that the event store has lost cannot be enqueued again yet: %s", fault)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _enqueue(self, event: Event, is_claimed: bool) -> None:
        if is_claimed:
            await self.enqueue(event)
        else:
            event.key, _ = await self._enqueuer.enqueue(event)

    def __repr__(self) -> str:
        return f"<Claims {self._totals}>"


def read_events(reply: list[Any]) -> list[tuple[Event, bool]]:
    """Returns the events of a reply of the scripts `read` and `oldest`, each with whether it is claimed."""
    events = []
    for key, head, body, is_claimed in zip(reply[::4], reply[1::4], reply[2::4], reply[3::4], strict=True):
        try:
            events.append((decode_event(head, body, key), bool(is_claimed)))
        except UnreadableEvent as error:
            log.error("event %s cannot be read, another version wrote it: %s", key.decode(), error)
    return events


def split(key: bytes | int | None) -> tuple[bytes, bytes]:
    """Returns an event's number and the token of its claim."""
    assert isinstance(key, bytes), "the key of an event of this store"
    number, _, token = key.partition(b" ")
    return number, token
