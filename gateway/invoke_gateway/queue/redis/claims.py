"""What this gateway has claimed, and what it says became of that.

A claimed event's key is the event's number and the token of the claim, `<session>:<number>`. The store takes what is
said of a claim only while it is that one: who was taken for dead and wakes up changes nothing of what others did
since."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ...store.script import Script
from ..base import Fetched, StoreFault
from ..event import Event, UnreadableEvent, decode_event
from .enqueue import Puts, describe
from .membership import Presence, StreamTotals
from .script import FETCH, READ, TAKE
from .work import Work

log = logging.getLogger("invoke_gateway")

_MOST_TRIES = 5
_PAUSE_SECONDS = 0.5  # before the store is asked again for what must be done


class Claims:
    """`next_number` names claims."""

    def __init__(
        self, work: Work, puts: Puts, presence: Presence, totals: StreamTotals, next_number: Callable[[], int]
    ) -> None:
        self._totals = totals
        self._work = work
        self._puts = puts
        self._presence = presence
        self._next_number = next_number
        self._last_lost = 0

    def note_loss(self) -> None:
        """The store may lack the last of what it was told, or all of it."""
        self._last_lost = self._next_number()

    async def put(self, event: Event) -> None:
        number = self._next_number()
        kept, session = await self._puts.put(event, number)
        event.key = b"%b %b:%d" % (kept, session.encode(), number)

    async def fetch(self, lane: str, now: float, most: int, most_bytes: int) -> Fetched:
        reply, token = await self._claim(FETCH, lane, repr(now), most, most_bytes)
        events = []
        for key, head, body in zip(reply[1::3], reply[2::3], reply[3::3], strict=True):
            try:
                events.append(decode_event(head, body, b"%b %b" % (key, token.encode())))
            except UnreadableEvent as error:
                # It stays claimed until this gateway ends, and then one of the version that wrote it may have it.
                log.error("event %s of %s cannot be read, another version wrote it: %s", key.decode(), lane, error)
        return Fetched(events, None if reply[0] is None else float(reply[0]))

    async def take(self, key: bytes | int) -> Event | None:
        number = split(key)[0]
        for _ in range(_MOST_TRIES):  # somebody may move it meanwhile
            found = read_events((await self._work.ask(READ, number))[0])
            if not found or found[0][1]:
                return None
            event = found[0][0]
            reply, token = await self._claim(TAKE, number, event.lane)
            if reply:
                return decode_event(reply[0], reply[1], b"%b %b" % (number, token.encode()))
        return None

    async def _claim(self, script: Script, *arguments: Any) -> tuple[Any, str]:
        for _ in range(_MOST_TRIES):
            reply, token = await self._work.ask(script, *arguments, claims=True)
            if reply != b"FENCED":
                break
            await self._presence.renew()
        if isinstance(reply, bytes):
            raise StoreFault("away", "the queue's store does not let this gateway claim: its lease is too short")
        return reply, token

    def holds(self, event: Event) -> bool | None:
        session, _, number = split(event.key)[1].rpartition(b":")
        if session == self._presence.session.encode():
            return True if self._presence.is_heard else None
        # Of an emptied store nobody else has it; else others have had time to take it over.
        return int(number) <= self._last_lost

    async def finish(self, event: Event) -> None:
        await self._settle("finish", event)

    async def postpone(self, event: Event) -> None:
        if await self._settle("postpone", event, *describe(event)):
            await self._restore(event)

    async def rewrite(self, event: Event) -> None:
        if await self._settle("rewrite", event, *describe(event)):
            await self._restore(event, is_claimed=True)

    async def give_back(self, events: list[Event]) -> None:
        for event, is_lost in zip(
            events, await asyncio.gather(*(self._settle("give_back", event) for event in events)), strict=True
        ):
            if is_lost:
                await self._restore(event)

    async def _settle(self, kind: str, event: Event, *more: Any) -> bool:
        """Whether the store has lost the event, which is here still."""
        number, token = split(event.key)
        letter, is_repeated = await self._work.settle(kind, number, token, *more)
        if letter == "n" and kind != "finish":
            # Perhaps nobody else has it, and the store came back empty: then it knows this session no more.
            await self._renew_at_last()
            letter, _ = await self._work.settle(kind, number, token, *more)
        if letter == "g" and int(token.rpartition(b":")[2]) <= self._last_lost:
            return True
        if letter != "y" and not is_repeated:  # else it may have been heard, and its reply lost
            self._totals.refused += 1
        return False

    async def _renew_at_last(self) -> None:
        while True:
            try:
                await self._presence.renew()
                return
            except StoreFault:
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _restore(self, event: Event, is_claimed: bool = False) -> None:
        while True:
            try:
                await self._put(event, is_claimed)
                return
            except StoreFault as fault:
                log.error("an event that the queue's store has lost cannot be put again yet: %s", fault)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _put(self, event: Event, is_claimed: bool) -> None:
        if is_claimed:
            await self.put(event)
        else:
            event.key, _ = await self._puts.put(event)

    def __repr__(self) -> str:
        return f"<Claims {self._totals}>"


def read_events(reply: list[Any]) -> list[tuple[Event, bool]]:
    """What the scripts `read` and `oldest` say: events, and of each whether it is claimed."""
    events = []
    for key, head, body, is_claimed in zip(reply[::4], reply[1::4], reply[2::4], reply[3::4], strict=True):
        try:
            events.append((decode_event(head, body, key), bool(is_claimed)))
        except UnreadableEvent as error:
            log.error("event %s cannot be read, another version wrote it: %s", key.decode(), error)
    return events


def split(key: bytes | int | None) -> tuple[bytes, bytes]:
    """An event's number and the token of its claim."""
    assert isinstance(key, bytes), "the key of an event of this store"
    number, _, token = key.partition(b" ")
    return number, token
