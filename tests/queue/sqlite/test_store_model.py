"""Any order of calls, and of closing and opening, against a model that is a dictionary."""

from __future__ import annotations

import asyncio
import tempfile
from copy import copy
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from invoke_gateway.queue.base import LaneBacklog
from invoke_gateway.queue.event import NO_PAYLOAD, Event
from invoke_gateway.queue.sqlite.store import SqliteStore

LANES = st.sampled_from(["a", "b", "c"])
TIMES = st.integers(0, 5).map(float)


class Model(RuleBasedStateMachine):
    """`kept` is what the file should have, in the order of coming; `held` are the claimed events as their holder has
    them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.kept: dict[int, Event] = {}
        self.held: dict[int, Event] = {}
        self.count = 0
        self.open()

    def open(self) -> None:
        async def start() -> list[LaneBacklog]:
            self.store = SqliteStore(Path(self.folder.name) / "queue.db")
            return await self.store.open(lambda *_: None)

        assert self.runner.run(start()) == self.expected_waiting()

    def free(self, lane: str) -> list[Event]:
        events = [one for key, one in self.kept.items() if one.lane == lane and key not in self.held]
        return sorted(events, key=lambda one: one.due_at)  # stable: then as they came

    def expected_waiting(self) -> list[LaneBacklog]:
        return [
            LaneBacklog(
                lane,
                len(free),
                sum(one.runs > 0 for one in free),
                min(one.due_at for one in free),
                min(one.received_at for one in free),
            )
            for lane in ("a", "b", "c")
            if (free := self.free(lane))
        ]

    def one_held(self, index: int) -> Event:
        return self.held[sorted(self.held)[index % len(self.held)]]

    @rule(lane=LANES, due_at=TIMES, is_claimed=st.booleans(), size=st.sampled_from([1, 10, 9_000]))
    def put(self, lane: str, due_at: float, is_claimed: bool, size: int) -> None:
        self.count += 1
        name = f"r{self.count % 4}"
        event = Event(
            name, "default", "f", "arn", b"/", b"", [], b"x" * size or NO_PAYLOAD, float(self.count), due_at, lane
        )
        self.runner.run(self.store.enqueue_claimed(event) if is_claimed else self.store.enqueue(event))
        assert isinstance(event.key, int)
        self.kept[event.key] = copy(event)
        if is_claimed:
            self.held[event.key] = event

    @rule(lane=LANES, now=TIMES, most=st.integers(1, 4))
    def fetch(self, lane: str, now: float, most: int) -> None:
        free = self.free(lane)
        expected = [one for one in free if one.due_at <= now][:most]
        fetched = self.runner.run(self.store.claim_due(lane, now, most, 1 << 30))
        assert fetched.events == expected
        assert fetched.next_due_at == (free[len(expected)].due_at if len(free) > len(expected) else None)
        self.held.update({one.key: one for one in fetched.events})

    @precondition(lambda self: self.held)
    @rule(index=st.integers(0, 100))
    def finish(self, index: int) -> None:
        event = self.one_held(index)
        self.runner.run(self.store.ack(event))
        del self.held[event.key], self.kept[event.key]

    @precondition(lambda self: self.held)
    @rule(index=st.integers(0, 100), lane=LANES, due_at=TIMES, runs=st.integers(0, 2), is_free=st.booleans())
    def write(self, index: int, lane: str, due_at: float, runs: int, is_free: bool) -> None:
        event = self.one_held(index)
        event.lane, event.due_at, event.runs = lane, due_at, runs
        self.runner.run(self.store.requeue(event) if is_free else self.store.update(event))
        self.kept[event.key] = copy(event)
        if is_free:
            del self.held[event.key]

    @precondition(lambda self: self.held)
    @rule(index=st.integers(0, 100), lane=LANES)
    def give_back(self, index: int, lane: str) -> None:
        event = self.one_held(index)
        event.lane, event.due_at = lane, 3.0  # which is not what is written
        self.runner.run(self.store.release([event]))
        del self.held[event.key]

    @precondition(lambda self: self.kept)
    @rule(index=st.integers(0, 100))
    def take(self, index: int) -> None:
        key = sorted(self.kept)[index % len(self.kept)]
        taken = self.runner.run(self.store.claim_one(key))
        assert taken == (None if key in self.held else self.kept[key])
        if taken is not None:
            self.held[key] = taken

    @rule(number=st.integers(0, 3), most=st.integers(1, 3))
    def find(self, number: int, most: int) -> None:
        found = self.runner.run(self.store.find(f"r{number}", most))
        expected = {key: key in self.held for key, one in self.kept.items() if one.request_id == f"r{number}"}
        assert len(found) == min(most, len(expected))
        assert all(one == self.kept[one.key] and is_claimed == expected[one.key] for one, is_claimed in found)

    @rule(lane=LANES, most=st.integers(1, 3))
    def oldest(self, lane: str, most: int) -> None:
        mine = sorted((one for one in self.kept.values() if one.lane == lane), key=lambda one: one.due_at)[:most]
        assert self.runner.run(self.store.oldest(lane, most)) == [(one, one.key in self.held) for one in mine]

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.store.close())
        self.held.clear()
        self.open()

    @invariant()
    def what_waits_is_what_nobody_claims(self) -> None:
        assert self.runner.run(self.store.backlog()) == self.expected_waiting()

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()
        self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=15, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
