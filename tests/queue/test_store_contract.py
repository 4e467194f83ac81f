"""What every store of events must do, whatever it is made of.

What only networks and servers do is in the tests of redis/.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from itertools import count
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from invoke_gateway.queue.base import LaneBacklog, Store, StoreError
from invoke_gateway.queue.event import Event, FunctionAnswer, Outcome
from tests.support.event_places import LANE, NOW, FilePlace, Heard, Place, StreamPlace, hear_nothing, make_event
from tests.support.stores import KINDS, running_store
from tests.support.stores import Store as Server

STORES = ("sqlite", *KINDS)
MANY = 1 << 30  # bytes
_numbers = count()


class Places:
    """Of each kind as many as tests want; a server is started once."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._running: dict[str, Server] = {}

    def make(self, kind: str) -> Place:
        if kind == "sqlite":
            return FilePlace(self._folder / f"{next(_numbers)}.db")
        if kind not in self._running:
            self._running[kind] = self._stack.enter_context(running_store(kind))
        return StreamPlace(self._running[kind], f"contract-{os.getpid()}-{next(_numbers)}")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with ExitStack() as stack:
        yield Places(stack, tmp_path_factory.mktemp("queue"))


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest, places: Places) -> Place:
    return places.make(request.param)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    made = place.make()
    assert made.problem is None
    assert await made.open(hear_nothing) == []
    assert made.problem is None
    yield made
    await made.close()
    place.check()


async def fetch(
    store: Store, lane: str = LANE, now: float = NOW, most: int = 100, most_bytes: int = MANY
) -> list[Event]:
    return (await store.claim_due(lane, now, most, most_bytes)).events


def ids(events: list[Event]) -> list[str]:
    return [event.request_id for event in events]


def same(one: Event, other: Event) -> bool:
    """All but the key, which names the claim too where the store wants it."""
    one_key, one.key = one.key, None
    other_key, other.key = other.key, None
    try:
        return one == other
    finally:
        one.key, other.key = one_key, other_key


async def test_what_is_put_is_fetched_as_it_was_and_only_once(store: Store) -> None:
    put = make_event("r", body=bytes(range(256)), query=b"a=%ff", due_at=NOW + 1 / 3, received_at=NOW - 1 / 7)
    await store.enqueue(put)
    assert put.key is not None
    fetched = await store.claim_due(LANE, NOW + 1, 10, MANY)
    assert fetched.next_due_at is None
    assert len(fetched.events) == 1
    assert same(fetched.events[0], put)
    assert await fetch(store, now=NOW + 1) == []


async def test_events_of_a_lane_come_by_the_time_they_are_due_and_then_as_they_came(store: Store) -> None:
    for number, due_at in enumerate((5, 3, 3, 0, 5, 3, 9)):
        await store.enqueue(make_event(str(number), due_at=NOW + due_at))
    await store.enqueue(make_event("other", lane="a/function/g", due_at=NOW))
    first = await store.claim_due(LANE, NOW + 5, 3, MANY)
    assert (ids(first.events), first.next_due_at) == (["3", "1", "2"], NOW + 3)
    second = await store.claim_due(LANE, NOW + 5, 10, MANY)
    assert (ids(second.events), second.next_due_at) == (["5", "0", "4"], NOW + 9)
    third = await store.claim_due(LANE, NOW + 8.999, 10, MANY)
    assert (third.events, third.next_due_at) == ([], NOW + 9)
    assert ids(await fetch(store, "a/function/g")) == ["other"]


async def test_hundreds_of_events_that_came_at_one_time_keep_their_order(store: Store) -> None:
    wanted = [str(number) for number in range(300)]
    await asyncio.gather(*(store.enqueue(make_event(name)) for name in wanted))
    got: list[str] = []
    while more := await fetch(store, most=37):
        got += ids(more)
    assert got == wanted


async def test_what_stays_in_a_lane_is_told_also_where_it_is_due_already(store: Store) -> None:
    await store.enqueue(make_event("1", due_at=NOW - 2))
    await store.enqueue(make_event("2", due_at=NOW - 1))
    assert (await store.claim_due(LANE, NOW, 1, MANY)).next_due_at == NOW - 1


@pytest.mark.parametrize("first", ["as it came", "again"])
async def test_the_next_that_is_due_is_told_whether_it_came_just_now_or_waits_again(store: Store, first: str) -> None:
    fresh, again = (NOW + 1, NOW + 2) if first == "as it came" else (NOW + 2, NOW + 1)
    await store.enqueue(make_event("1", due_at=fresh, received_at=fresh))
    await store.enqueue(make_event("2", due_at=again, received_at=NOW - 9, runs=1))
    assert (await store.claim_due(LANE, NOW, 1, MANY)).next_due_at == NOW + 1
    assert await store.backlog() == [LaneBacklog(LANE, 2, 1, NOW + 1, NOW - 9)]


async def test_a_fetch_stops_at_so_many_bytes_but_not_before_one_event(store: Store) -> None:
    for number in range(5):
        await store.enqueue(make_event(str(number), body=b"x" * 100_000))
    assert ids(await fetch(store, most_bytes=1)) == ["0"]
    assert ids(await fetch(store, most_bytes=250_000)) in (["1", "2"], ["1", "2", "3"])  # about so many


async def test_a_finished_event_is_gone(store: Store) -> None:
    await store.enqueue(make_event())
    (event,) = await fetch(store)
    event.runs = 1
    await store.update(event)
    await store.ack(event)
    assert await store.backlog() == []
    assert await store.find("r", 10) == []
    assert await store.oldest(LANE, 10) == []


async def test_a_postponed_event_waits_as_it_is_now_where_it_says(store: Store) -> None:
    await store.enqueue(make_event())
    (event,) = await fetch(store)
    event.runs, event.due_at, event.lane = 1, NOW + 60.1, "a/delivery/f"
    event.outcome = Outcome(
        "Success", NOW, 200, "", FunctionAnswer(200, b"\x00\xff", None, "7"), ("on_success",), 2, "why"
    )
    await store.requeue(event)
    assert await fetch(store, now=NOW + 1000) == []
    assert await fetch(store, "a/delivery/f", NOW + 60) == []
    assert await store.backlog() == [LaneBacklog("a/delivery/f", 1, 1, NOW + 60.1, NOW)]
    (again,) = await fetch(store, "a/delivery/f", NOW + 60.1)
    assert same(again, event)
    assert again.body == b'{"of": "r"}'


async def test_an_event_that_is_due_never_waits_and_may_be_taken(store: Store) -> None:
    await store.enqueue(make_event("never", due_at=inf))
    assert (await store.claim_due(LANE, NOW * 2, 10, MANY)).next_due_at == inf
    assert await store.backlog() == [LaneBacklog(LANE, 1, 0, inf, NOW)]
    ((seen, is_claimed),) = await store.oldest(LANE, 10)
    assert not is_claimed
    assert seen.key is not None
    taken = await store.claim_one(seen.key)
    assert taken is not None
    assert same(taken, seen)
    assert await store.claim_one(seen.key) is None
    taken.due_at = NOW
    await store.requeue(taken)
    assert ids(await fetch(store)) == ["never"]


async def test_what_is_given_back_has_its_place_again_and_is_as_it_was(store: Store) -> None:
    for number in range(3):
        await store.enqueue(make_event(str(number), due_at=NOW + number))
    first, second = await fetch(store, now=NOW + 1)
    first.runs = 7
    first.lane = "elsewhere"
    await store.release([second, first])
    again = await fetch(store, now=NOW + 9)
    assert ids(again) == ["0", "1", "2"]
    assert (again[0].runs, again[0].lane) == (0, LANE)


async def test_what_was_rewritten_stays_claimed_and_is_given_back_as_it_was_rewritten(store: Store) -> None:
    await store.enqueue(make_event())
    (event,) = await fetch(store)
    event.runs, event.lane, event.due_at = 3, "a/delivery/f", NOW - 1
    await store.update(event)
    assert await store.backlog() == []
    await store.release([event])
    assert await store.backlog() == [LaneBacklog("a/delivery/f", 1, 1, NOW - 1, NOW)]
    (again,) = await fetch(store, "a/delivery/f")
    assert again.runs == 3


async def test_an_event_that_was_put_claimed_is_nobody_elses(store: Store) -> None:
    event = make_event()
    await store.enqueue_claimed(event)
    assert event.key is not None
    assert await fetch(store) == []
    assert await store.backlog() == []
    assert await store.claim_one(event.key) is None
    event.due_at = NOW + 1
    await store.requeue(event)
    assert ids(await fetch(store, now=NOW + 1)) == ["r"]


async def test_events_are_found_by_their_request_id_which_need_not_be_unique(store: Store) -> None:
    for name in ("a", "b", "a", "c", "a"):
        await store.enqueue(make_event(name))
    (claimed, *_) = await fetch(store, most=1)
    found = await store.find("a", 10)
    assert sorted(is_claimed for _, is_claimed in found) == [False, False, True]
    assert {event.request_id for event, _ in found} == {"a"}
    assert len(await store.find("a", 2)) == 2
    assert await store.find("nobody", 10) == []
    claimed.runs = 2
    await store.update(claimed)
    assert [event.runs for event, is_claimed in await store.find("a", 10) if is_claimed] == [2]


async def test_the_first_of_a_lane_are_shown_with_those_that_are_claimed(store: Store) -> None:
    for number in range(4):
        await store.enqueue(make_event(str(number), due_at=NOW + number))
    await fetch(store, now=NOW + 1)
    shown = await store.oldest(LANE, 3)
    assert [(event.request_id, is_claimed) for event, is_claimed in shown] == [("0", True), ("1", True), ("2", False)]


async def test_what_waits_is_told_of_each_lane(store: Store) -> None:
    await store.enqueue(make_event("1", due_at=NOW + 5, received_at=NOW))
    await store.enqueue(make_event("2", due_at=NOW + 1, received_at=NOW + 1))
    await store.enqueue(make_event("3", due_at=NOW + 2, received_at=NOW - 9, runs=1))
    await store.enqueue(make_event("4", lane="a/function/g", due_at=NOW + 3, received_at=NOW + 3))
    assert sorted(await store.backlog()) == [
        LaneBacklog(LANE, 3, 1, NOW + 1, NOW - 9),
        LaneBacklog("a/function/g", 1, 0, NOW + 3, NOW + 3),
    ]


async def test_hundreds_of_lanes_are_one_as_good_as_the_other(store: Store) -> None:
    lanes = [f"a/function/ü {number}" for number in range(500)]
    await asyncio.gather(*(store.enqueue(make_event(lane, lane)) for lane in lanes))
    assert {row.lane: row.events for row in await store.backlog()} == dict.fromkeys(lanes, 1)
    fetched = await asyncio.gather(*(fetch(store, lane) for lane in lanes))
    assert [ids(events) for events in fetched] == [[lane] for lane in lanes]
    await asyncio.gather(*(store.ack(event) for events in fetched for event in events))
    assert await store.backlog() == []


async def test_the_queue_has_a_bound_and_says_what_to_do(place: Place) -> None:
    store = place.make(maximum_events=3)
    await store.open(hear_nothing)
    results = await asyncio.gather(*(store.enqueue(make_event(str(n))) for n in range(5)), return_exceptions=True)
    faults = [result for result in results if isinstance(result, StoreError)]
    assert [fault.kind for fault in faults] == ["bound", "bound"]
    assert "maximum_events" in str(faults[0])
    events = await fetch(store)
    assert len(events) == 3
    with pytest.raises(StoreError, match="maximum_events"):
        await store.enqueue_claimed(make_event("claimed ones count too"))
    await store.ack(events[0])
    await store.enqueue(make_event("there is room"))
    await store.close()


async def test_a_clean_end_gives_back_and_the_next_start_has_everything(place: Place) -> None:
    store = place.make()
    await store.open(hear_nothing)
    for number in range(4):
        await store.enqueue(make_event(str(number)))
    _, second, third, _ = await fetch(store)
    await store.ack(second)
    third.runs, third.due_at = 1, NOW + 60
    await store.requeue(third)
    await store.close()
    place.check()
    store = place.make()
    assert await store.open(hear_nothing) == [LaneBacklog(LANE, 3, 1, NOW, NOW)]
    assert ids(await fetch(store, now=NOW + 60)) == ["0", "3", "2"]
    await store.close()


async def test_an_end_waits_until_what_became_of_events_is_written(place: Place) -> None:
    store = place.make()
    await store.open(hear_nothing)
    for number in range(600):
        await store.enqueue(make_event(str(number)))
    events = await fetch(store, most=600)
    settling = [asyncio.create_task(store.ack(event)) for event in events[:550]]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*settling)
    store = place.make()
    assert await store.open(hear_nothing) == [LaneBacklog(LANE, 50, 0, NOW, NOW)]
    await store.close()
    place.check()


async def test_a_crash_loses_nothing_and_what_was_claimed_waits_again_with_all_that_was_written(place: Place) -> None:
    store = place.make()
    await store.open(hear_nothing)
    for number in range(3):
        await store.enqueue(make_event(str(number), due_at=NOW + number, received_at=NOW))
    await store.enqueue_claimed(make_event("claimed", due_at=NOW + 3))
    first, second = await fetch(store, now=NOW + 1)
    first.runs, first.lane = 2, "a/delivery/f"
    first.outcome = Outcome("RetriesExhausted", NOW, 200, "no", None, ("dead_letter_queue",))
    await store.update(first)
    await store.ack(second)
    await place.crash(store)
    store = place.make()
    await store.open(hear_nothing)
    assert sorted(await place.bury(store)) == [
        LaneBacklog("a/delivery/f", 1, 1, NOW, NOW),
        LaneBacklog(LANE, 2, 0, NOW + 2, NOW),
    ]
    (again,) = await fetch(store, "a/delivery/f")
    assert same(again, first)
    assert ids(await fetch(store, now=NOW + 9)) == ["2", "claimed"]
    await store.close()
    place.check()


async def test_a_put_whose_client_hung_up_leaves_no_claim_behind(store: Store) -> None:
    putting = asyncio.create_task(store.enqueue_claimed(make_event()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    putting.cancel()
    with suppress(asyncio.CancelledError):
        await putting
    await store.enqueue(make_event("2"))
    for _ in range(3):
        await store.backlog()  # what is to be said of the claim goes with it at the latest
    assert ids(await fetch(store)) in (["r", "2"], ["2"])


async def test_what_a_gateway_puts_the_others_hear_and_may_fetch(place: Place) -> None:
    if not place.can_share:
        pytest.skip("one process owns this store")
    heard, own = Heard(), Heard()
    one, two = place.make(), place.make()
    await one.open(own)
    await two.open(heard)
    await one.enqueue(make_event("1", due_at=NOW + 5))
    await one.enqueue_claimed(make_event("2"))
    await asyncio.wait_for(until(lambda: heard.calls), 60)
    assert heard.calls == [(LANE, 1, NOW + 5)]
    (event,) = await fetch(two, now=NOW + 5)
    assert await fetch(one, now=NOW + 5) == []
    event.due_at = NOW + 7
    await two.requeue(event)
    await asyncio.wait_for(until(lambda: own.calls), 60)
    assert own.calls == [(LANE, 1, NOW + 7)]
    await one.close()
    await asyncio.wait_for(until(lambda: len(heard.calls) == 2), 60)
    assert heard.calls[1] == (LANE, 1, NOW)  # what it had claimed
    assert ids(await fetch(two, now=NOW + 9)) == ["2", "1"]
    await two.close()


async def until(condition: Any) -> None:
    while not condition():  # noqa: ASYNC110 (a store tells nobody but by what is looked at)
        await asyncio.sleep(0.005)


# Any order of all of it


LANES = ("a/function/f", "a/function/g", "a/delivery/f")
DUE = st.integers(0, 4).map(lambda n: NOW + n / 3)


class Course(RuleBasedStateMachine):
    """One or two gateways do what gateways do; a list of rows knows what must come of it."""

    place: Place
    fetched = Bundle("fetched")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.rows: dict[str, dict[str, Any]] = {}
        self.stores: list[Store] = []
        self.names = count()

    def run(self, awaitable: Any) -> Any:
        return self.runner.run(asyncio.wait_for(awaitable, 60))

    @initialize()
    def begin(self) -> None:
        for _ in range(2 if self.place.can_share else 1):
            self.stores.append(self._open())

    def _open(self) -> Store:
        store = self.place.make()
        self.run(store.open(hear_nothing))
        return store

    def _pick(self, gateway: int) -> int:
        return gateway % len(self.stores)

    @rule(target=fetched, gateway=st.integers(0, 1), lane=st.sampled_from(LANES), due_at=DUE, runs=st.integers(0, 1))
    def put_claimed(self, gateway: int, lane: str, due_at: float, runs: int) -> Any:
        return self._put(gateway, lane, due_at, runs, is_claimed=True)

    @rule(gateway=st.integers(0, 1), lane=st.sampled_from(LANES), due_at=DUE, runs=st.integers(0, 1))
    def put(self, gateway: int, lane: str, due_at: float, runs: int) -> None:
        self._put(gateway, lane, due_at, runs, is_claimed=False)

    def _put(self, gateway: int, lane: str, due_at: float, runs: int, *, is_claimed: bool) -> Any:
        index = self._pick(gateway)
        name = f"{next(self.names):04d}"
        received_at = due_at if int(due_at * 3) % 2 else NOW - 1
        event = make_event(name, lane=lane, due_at=due_at, runs=runs, received_at=received_at)
        store = self.stores[index]
        self.run(store.enqueue_claimed(event) if is_claimed else store.enqueue(event))
        by = store if is_claimed else None
        self.rows[name] = {"lane": lane, "due": due_at, "received": received_at, "runs": runs, "by": by}
        return store, event

    @rule(target=fetched, gateway=st.integers(0, 1), lane=st.sampled_from(LANES), now=DUE)
    def fetch_one(self, gateway: int, lane: str, now: float) -> Any:
        store = self.stores[self._pick(gateway)]
        due = self._waiting(lane)
        wanted = [name for name in due if self.rows[name]["due"] <= now][:1]
        fetched = self.run(store.claim_due(lane, now, 1, MANY))
        assert ids(fetched.events) == wanted
        left = [self.rows[name]["due"] for name in due if name not in wanted]
        assert fetched.next_due_at == (left[0] if left else None)
        for event in fetched.events:
            row = self.rows[event.request_id]
            assert (event.lane, event.due_at, event.received_at, event.runs) == (
                lane,
                row["due"],
                row["received"],
                row["runs"],
            )
            row["by"] = store
        return store, fetched.events[0] if fetched.events else None

    def _waiting(self, lane: str) -> list[str]:
        names = [name for name, row in self.rows.items() if row["lane"] == lane and row["by"] is None]
        return sorted(names, key=lambda name: (self.rows[name]["due"], name))

    def _is_claimed_by(self, store: Store, event: Event | None) -> bool:
        return event is not None and store in self.stores and event.request_id in self.rows

    @rule(claim=consumes(fetched))
    def finish(self, claim: Any) -> None:
        store, event = claim
        if self._is_claimed_by(store, event):
            self.run(store.ack(event))
            del self.rows[event.request_id]

    @rule(claim=consumes(fetched), lane=st.sampled_from(LANES), due_at=DUE, runs=st.integers(0, 1))
    def postpone(self, claim: Any, lane: str, due_at: float, runs: int) -> None:
        store, event = claim
        if self._is_claimed_by(store, event):
            event.lane, event.due_at, event.runs = lane, due_at, event.runs + runs
            self.run(store.requeue(event))
            self.rows[event.request_id].update(lane=lane, due=due_at, runs=event.runs, by=None)

    @rule(target=fetched, claim=consumes(fetched), lane=st.sampled_from(LANES), due_at=DUE, runs=st.integers(0, 1))
    def rewrite(self, claim: Any, lane: str, due_at: float, runs: int) -> Any:
        store, event = claim
        if self._is_claimed_by(store, event):
            event.lane, event.due_at, event.runs = lane, due_at, event.runs + runs
            self.run(store.update(event))
            self.rows[event.request_id].update(lane=lane, due=due_at, runs=event.runs)
        return store, event

    @rule(claim=consumes(fetched))
    def give_back(self, claim: Any) -> None:
        store, event = claim
        if self._is_claimed_by(store, event):
            self.run(store.release([event]))
            self.rows[event.request_id]["by"] = None

    @rule(gateway=st.integers(0, 1))
    def end_and_start_again(self, gateway: int) -> None:
        index = self._pick(gateway)
        self.run(self.stores[index].close())
        self._forget(self.stores[index])
        self.stores[index] = self._open()

    @rule(gateway=st.integers(0, 1))
    def crash(self, gateway: int) -> None:
        index = self._pick(gateway)
        self.run(self.place.crash(self.stores[index]))
        self._forget(self.stores[index])
        self.stores[index] = self._open()
        self.run(self.place.bury(self.stores[index]))

    def _forget(self, store: Store) -> None:
        for row in self.rows.values():
            if row["by"] is store:
                row["by"] = None

    @precondition(lambda self: self.stores)
    @invariant()
    def what_waits_is_what_the_model_says(self) -> None:
        wanted = []
        for lane in LANES:
            rows = [self.rows[name] for name in self._waiting(lane)]
            if rows:
                retrying = sum(row["runs"] > 0 for row in rows)
                wanted.append(
                    LaneBacklog(lane, len(rows), retrying, rows[0]["due"], min(row["received"] for row in rows))
                )
        for store in self.stores:
            assert sorted(self.run(store.backlog())) == sorted(wanted)

    def teardown(self) -> None:
        for store in self.stores:
            self.run(store.close())
        self.runner.close()
        self.place.check()


@pytest.mark.parametrize("kind", STORES)
def test_every_course_of_things_ends_as_a_plain_list_says(kind: str, places: Places) -> None:
    class OnThis(Course):
        def __init__(self) -> None:
            super().__init__()
            self.place = places.make(kind)

    run_state_machine_as_test(OnThis, settings=settings(max_examples=25, stateful_step_count=30, deadline=None))
