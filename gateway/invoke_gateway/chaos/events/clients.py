"""Sends events, and records their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from random import Random

from ..calls import GatewayInstance
from ..judging.violations import Violation
from ..target import Died
from ..wire import HttpAnswer as Response
from ..wire import WireConnection, encode_head
from .cluster import EventCluster, EventNode
from .event import EventAnswer, SentEvent
from .history import EventHistory, encode_event
from .script import Intent

PAUSE = 0.02  # seconds before the next try where no gateway takes a connection
MOST_TRIES = 3_000  # in a row, which is a minute without a gateway
MOST_WRONG = 200  # answers, which is enough to see that events are not what they are taken for


def encode_event_head(event: SentEvent, length: int) -> bytes:
    function = event.intent.function
    path = f"/2015-03-31/functions/{function.name}/invocations"
    return encode_head(path, function.account, "X-Amz-Invocation-Type: Event", f"Content-Length: {length}")


class Pace:
    """Keeps events for what is still to come: while a gateway is stopped for seconds, the others would do them all."""

    def __init__(self, events: int) -> None:
        self._events = events
        self._begun = 0
        self._limit = events
        self._is_free = asyncio.Event()

    def spare(self, left: int) -> None:
        """Limits the events from now on to the share of this one of the faults that are left."""
        self._is_free.clear()
        self._limit = self._begun + (self._events - self._begun) // (left + 1)

    def hurry(self) -> None:
        self._limit = self._events
        self._is_free.set()

    async def take_turn(self) -> None:
        while self._begun >= self._limit < self._events:
            await self._is_free.wait()
        self._begun += 1


class EventClient:
    """One client with one connection at a time, kept alive."""

    def __init__(self, cluster: EventCluster, history: EventHistory, pace: Pace, rng: Random) -> None:
        self._cluster = cluster
        self._pace = pace
        self._history = history
        self._rng = rng
        self._connection: WireConnection | None = None
        self._gateway: GatewayInstance
        self._node: EventNode

    async def run(self, intents: Iterator[Intent]) -> None:
        """Sends one event after the other of those that all clients share, each until a gateway has answered 202."""
        try:
            for intent in intents:
                await self._pace.take_turn()
                tries = 0
                while not await self._hand_over(intent):
                    tries += 1
                    if tries > MOST_TRIES:
                        raise Died(f"no gateway accepts an event of {intent.function.name}, {tries} times in a row")
        finally:
            await self._hang_up()

    async def _hand_over(self, intent: Intent) -> bool:
        connection = await self._connect()
        if connection is None:
            await asyncio.sleep(PAUSE)
            return False
        event = self._history.create(intent)
        body = encode_event(event)
        event.answer = EventAnswer.UNKNOWN
        try:
            await connection.send(encode_event_head(event, len(body)) + body)
            response = await connection.read_answer()
        except OSError:
            response = None
        except ValueError as error:
            self._history.violations.add(Violation.UNEXPECTED, f"{event} got what is not HTTP: {error}")
            response = None
        if response is not None and response.is_whole:
            return await self._check(event, response)
        await self._hang_up()
        if not self._gateway.is_affected:
            self._history.violations.add(
                Violation.UNANSWERED, f"{event} through {self._gateway.name}, which no fault had hit"
            )
        return False

    async def _check(self, event: SentEvent, response: Response) -> bool:
        if response.status == 202:
            if response.body or not response.headers.get("x-amzn-requestid"):
                text = f"202 with the body {response.body[:80]!r} and the headers {dict(response.headers)}"
                self._history.violations.add(Violation.UNEXPECTED, text)
            self._history.accept(event)
            return True
        is_excused = self._gateway.is_affected and response.status >= 500
        # Where a queue is shared, the event may be stored although the reply of the store came too late.
        is_unknown = is_excused and len(self._cluster.nodes) > 1
        event.answer = EventAnswer.UNKNOWN if is_unknown else EventAnswer.REFUSED
        if not is_excused:
            text = f"{event} got {response.status} {response.body[:200]!r}"
            self._history.violations.add(Violation.UNEXPECTED, text)
            if self._history.violations.counts[Violation.UNEXPECTED] > MOST_WRONG:
                raise Died(f"events are not answered 202 here: {text}")
        await self._hang_up()
        await asyncio.sleep(PAUSE)
        return False

    async def _connect(self) -> WireConnection | None:
        """Returns the open connection while its gateway is up, else one to a gateway that is up."""
        if self._connection is not None and self._node.is_up and not self._connection.has_ended:
            return self._connection
        await self._hang_up()
        node = self._cluster.choose(self._rng)
        if node is None:
            return None
        connection = WireConnection(node.invoke)
        gateway = node.gateway
        try:
            await connection.__aenter__()
        except OSError:
            return None
        self._connection, self._node, self._gateway = connection, node, gateway
        return connection

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.__aexit__(None, None, None)


async def hand_over_all(
    cluster: EventCluster, history: EventHistory, pace: Pace, intents: Iterator[Intent], rng: Sequence[Random]
) -> None:
    """Returns when every intent has been accepted. Each client has random numbers of its own. Raises `Died` where
    no gateway accepts."""
    async with asyncio.TaskGroup() as group:
        for own in rng:
            group.create_task(EventClient(cluster, history, pace, own).run(intents))
