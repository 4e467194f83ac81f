"""Many gateways' events on one Redis or Valkey.

Every event is an entry of a stream, and each lane has it in a sorted set by the time at which it is due. Consumer
groups are not used: they hand out in the order of coming, and cannot put back in its place what was given back or
postponed. So claims are kept by our scripts (scripts/prelude.lua has the layout), each change of an event in one
script.

What `put` promises is as good as the store's own promise. Set `appendonly yes`; with `appendfsync always` an event is
on the disk when `put` returns, with `everysec` a store that loses its power, or is killed together with its machine,
loses up to a second of events. `?wait_replicas=1&wait_ms=500` in the URL has `put` wait until so many replicas have
it as well, and fail where they have not in time. If the reply to a `put` is lost, or replicas are late, the store may
have the event although its client was told an error: at least once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import count
from typing import Any

from .base import CannotOpen, Fetched, StoreFault, Waiting
from .event import Event, UnreadableEvent, decode_event
from .stream_line import Line, Standing
from .stream_link import StreamUrl
from .stream_presence import Presence, read_lanes
from .stream_puts import Puts, describe
from .stream_script import FETCH, OLDEST, READ, SEARCH, TAKE, WAITING
from .stream_work import Work

log = logging.getLogger("gateway")

_SEARCHED_BYTES = 1 << 20  # about, by one script: the store does nothing else meanwhile
_MOST_SEARCHED = 1000
_PAUSE_SECONDS = 0.5  # before an event that a store has lost is put again, where that failed


class StreamStore:
    """`url` is redis://, rediss:// or unix://; `gateway` a name for the log of the store, which need not be unique. A
    gateway that is not heard for `lease_seconds` loses its claims to the others. Each question is answered, or fails,
    within `timeout_seconds`. `maximum_events` counts those of all gateways. All keys begin with `{prefix}:`. A
    claimed event's key names the claim too. `refused` counts what was said of claims that the store had given to
    others by then."""

    def __init__(
        self,
        url: str,
        *,
        gateway: str,
        lease_seconds: float = 10,
        timeout_seconds: float = 2,
        maximum_events: int = 10_000_000,
        prefix: str = "invoke-gateway:events",
    ) -> None:
        self.refused = 0
        self._url = url
        self._gateway = gateway
        self._lease_seconds = lease_seconds
        self._timeout_seconds = timeout_seconds
        self._maximum_events = maximum_events
        self._base = f"{{{prefix}}}"
        self._numbers = count(1)
        self._last_number = 0
        self._last_lost = 0
        self._run = ""
        self._lines: list[Line] = []

    @property
    def why_away(self) -> str | None:
        """Why the store does not answer; None while it does."""
        return self._standing.why_away

    @property
    def taken_over(self) -> int:
        """How many events that dead gateways had claimed this one has made wait again."""
        return self._presence.taken_over

    @property
    def lost_leases(self) -> int:
        """How often this gateway was taken for dead."""
        return self._presence.lost_leases

    async def open(self, hear: Callable[[str, int, float], None]) -> list[Waiting]:
        """As `Store.open`. Where the store does not answer it returns within the time-out with nothing, says so in
        the log, and `hear` is told what waits when it does. Raises `CannotOpen` where it cannot ever answer: a URL
        that is not understood, a password that is refused, a replica, a version that is too old."""
        url = StreamUrl(self._url, self._timeout_seconds)
        self._standing = Standing(url.where)
        self._hear = hear
        work, puts, news = self._lines = [
            Line(name, url, self._standing, self._timeout_seconds, self._note_run) for name in ("work", "puts", "news")
        ]
        self._work_line = work
        self._work = Work(work, self._base, session=self._session, next_number=self._next_number)
        self._presence = Presence(
            self._work,
            news,
            self._base,
            self._gateway,
            self._lease_seconds,
            hear=hear,
            resync=self._resync,
            emptied=self._note_loss,
        )
        self._puts = Puts(
            puts,
            self._base,
            self._maximum_events,
            (url.replicas, url.replicas_ms),
            session=self._session,
            renew=self._presence.renew,
            forgo=self._forgo,
        )
        waiting: list[Waiting] | None = None
        await work.open()
        self._work.start()
        self._puts.start()
        try:
            if work.why_away is None:
                await self._presence.renew()
                waiting = await self.waiting()
        except StoreFault as fault:
            if fault.kind != "away":
                await self._end()
                raise CannotOpen(f"the queue's store at {url.where} cannot be used: {fault}") from fault
        self._presence.start(is_synced=waiting is not None)
        return waiting or []

    async def close(self) -> None:
        """Write what is still to be written and give back what is claimed, as far as the store answers within its
        time-out: else the lease does that."""
        await self._presence.close()
        await self._puts.close()
        unsaid = await self._work.close()
        if unsaid:
            log.error("what became of %d events could not be written to the queue's store: they will run again", unsaid)
        try:
            if self._work_line.why_away is None:
                await self._presence.leave(self._work_line, self._base)
        except StoreFault as fault:
            log.warning("the events that were claimed wait until the lease of this gateway has ended: %s", fault)
        await self._end()

    async def _end(self) -> None:
        await self._puts.close()
        await self._work.close()
        for line in self._lines:
            await line.close()

    # New events.

    async def put(self, event: Event) -> None:
        event.key, _ = await self._puts.put(event)

    async def put_claimed(self, event: Event) -> None:
        number = self._next_number()
        kept, session = await self._puts.put(event, number)
        event.key = b"%b %b:%d" % (kept, session.encode(), number)

    # Claims.

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
        number = _split(key)[0]
        while True:
            found = self._read_events((await self._work.ask(READ, number))[0])
            if not found or found[0][1]:
                return None
            event = found[0][0]
            reply, token = await self._claim(TAKE, number, event.lane)
            if reply:
                return decode_event(reply[0], reply[1], b"%b %b" % (number, token.encode()))

    async def _claim(self, script: Any, *arguments: Any) -> tuple[Any, str]:
        for _ in range(3):
            reply, token = await self._work.ask(script, *arguments, claims=True)
            if reply != b"FENCED":
                break
            await self._presence.renew()
        if isinstance(reply, bytes):
            raise StoreFault("away", "the queue's store does not let this gateway claim: its lease is too short")
        return reply, token

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
        number, token = _split(event.key)
        letter = await self._work.settle(kind, number, token, *more)
        if letter == "n" and kind != "finish":
            # Perhaps nobody else has it, and the store came back empty: then it knows this session no more.
            await self._renew_at_last()
            letter = await self._work.settle(kind, number, token, *more)
        if letter == "g" and int(token.rpartition(b":")[2]) <= self._last_lost:
            return True
        if letter != "y":
            self.refused += 1
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
                await (self.put_claimed(event) if is_claimed else self.put(event))
                return
            except StoreFault as fault:
                log.error("an event that the queue's store has lost cannot be put again yet: %s", fault)
            await asyncio.sleep(_PAUSE_SECONDS)

    # Questions.

    async def waiting(self) -> list[Waiting]:
        lanes: dict[str, Waiting] = {}
        cursor: bytes | int = 0
        while True:
            reply, _ = await self._work.ask(WAITING, cursor)
            lanes |= {row[0]: Waiting(*row) for row in read_lanes(reply)}
            cursor = reply[0]
            if cursor == b"0":
                return list(lanes.values())

    async def find(self, request_id: str, most: int) -> list[tuple[Event, bool]]:
        """As `Store.find`. It looks through all events, a second for some hundred thousand, a piece at a time."""
        found: list[tuple[Event, bool]] = []
        after: bytes | int = 0
        up_to: bytes | int = 0
        pieces = 50
        while len(found) < most:
            (last, up_to, size, *keys), _ = await self._work.ask(SEARCH, after, up_to, pieces, request_id)
            if keys:
                events = self._read_events((await self._work.ask(READ, *keys))[0])
                found += [row for row in events if row[0].request_id == request_id]
            if last is None:
                break
            after = last
            pieces = max(1, min(_MOST_SEARCHED, pieces * 2, pieces * _SEARCHED_BYTES // max(1, size)))
        return found[:most]

    async def oldest(self, lane: str, most: int) -> list[tuple[Event, bool]]:
        return self._read_events((await self._work.ask(OLDEST, lane, most))[0])

    def _read_events(self, reply: list[Any]) -> list[tuple[Event, bool]]:
        events = []
        for key, head, body, is_claimed in zip(reply[::4], reply[1::4], reply[2::4], reply[3::4], strict=True):
            try:
                events.append((decode_event(head, body, key), bool(is_claimed)))
            except UnreadableEvent as error:
                log.error("event %s cannot be read, another version wrote it: %s", key.decode(), error)
        return events

    # What happens to the store.

    def _session(self) -> str:
        return self._presence.session

    def _next_number(self) -> int:
        self._last_number = next(self._numbers)
        return self._last_number

    def _forgo(self, batch: int, claims: list[int]) -> None:
        """A batch of puts was given up: it may have come, or may come yet."""
        if batch:
            self._work.settle_soon("forgo", batch)
        for number in claims:
            self._work.settle_soon("disown", number)

    def _note_run(self, run: str) -> None:
        """A connection leads to this server process. Another one may lack the last of what its predecessor knew."""
        if self._run and run != self._run:
            self._note_loss()
        self._run = run

    def _note_loss(self) -> None:
        self._last_lost = self._last_number

    async def _resync(self, is_first: bool) -> None:
        """News were missed: tell what waits. How much of it was told before is not known; so it is told as no
        events."""
        for lane in await self.waiting():
            self._hear(lane.lane, lane.events if is_first else 0, lane.due_at)

    def __repr__(self) -> str:
        return f"<StreamStore {self._gateway} {self._lines}>"


def _split(key: bytes | int | None) -> tuple[bytes, bytes]:
    """An event's number and the token of its claim."""
    assert isinstance(key, bytes), "the key of an event of this store"
    number, _, token = key.partition(b" ")
    return number, token
