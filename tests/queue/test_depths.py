"""Checks that events are counted exactly, by label, and without delaying a request."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.policy.events.event_rules import EventRules, EventTargets
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits, Limits
from invoke_gateway.queue.base import ClaimedEvents, LaneBacklog, StoreError
from invoke_gateway.queue.depths import (
    Depth,
    Depths,
    QueueGauges,
    QueueMonitor,
    add_depths,
    count_claimed,
    count_stored,
    fold_names,
)
from invoke_gateway.queue.scheduling.lanes import FunctionQueue
from tests.queue.test_dispatcher import DLQ, ERROR, World
from tests.support.dispatching import settle

LIMITS = Limits(AccountLimits("a", 10, {"known": FunctionLimits(), "beyond": FunctionLimits()}, labelled=1))


def make_looker(world: World, clock: Any = lambda: 0.0) -> QueueMonitor:
    levels = QueueGauges("here", now=world.clock)
    return QueueMonitor(world.dispatcher, limits=lambda: world.limits, gauges=levels, clock=clock)


def whole(looker: QueueMonitor) -> Depths:
    depths: Depths = {}
    add_depths(depths, looker.stored)
    add_depths(depths, looker.here)
    return {key: depth for key, depth in depths.items() if depth.events}


def test_a_lanes_name_says_in_which_state_its_events_are() -> None:
    depths = count_stored(
        [
            LaneBacklog("a/function/f", 10, 3, 7.0, 1.0),
            LaneBacklog("a/delivery/f", 4, 4, 8.0, 0.5),
            LaneBacklog("a/undelivered/f", 2, 2, 9e9, 0.1),
            LaneBacklog("b/function/f", 1, 0, 5.0, 5.0),
        ]
    )
    assert depths == {
        ("a", "f"): Depth(7, 3, 0, 4, 2, received_at=1.0, due_at=7.0),
        ("b", "f"): Depth(1, received_at=5.0, due_at=5.0),
    }


async def test_every_event_is_counted_once_wherever_it_is() -> None:
    """Run, claimed, in the store, waiting for its second run."""
    async with World(concurrent=2) as world:
        world.answers["fails"] = [ERROR]
        await world.send("fails")
        world.held.add("f")
        await world.send("f", times=300)
        looker = make_looker(world)
        await looker.refresh(at_most_every=0)
        assert len(world.store.events) == 301
        counted = whole(looker)
        assert counted[("a", "f")].running == 2
        assert counted[("a", "f")].waiting == 298
        assert (counted[("a", "fails")].retrying, counted[("a", "fails")].due_at) == (1, world.clock.now + 60)
        assert list(looker.gauges.oldest()) == [(("a",), 0.0)]
        world.clock.now += 9
        assert list(looker.gauges.oldest()) == [(("a",), 9.0)]
        await world.let_go("f", 2)
        await looker.close()


def test_an_event_that_asks_for_its_slot_still_waits() -> None:
    lane = FunctionQueue("a/function/f")
    lane.running, lane.unadmitted = 5, 2
    depths: Depths = {}
    count_claimed(depths, lane)
    assert depths == {("a", "f"): Depth(waiting=2, running=3)}


async def test_what_could_not_be_delivered_is_told_until_somebody_sees_to_it() -> None:
    async with World(rules=EventRules(0, targets=EventTargets(dead_letter_queue=DLQ))) as world:
        world.answers["f"] = [ERROR]
        world.failing.add(DLQ)
        await world.send("f")
        looker = make_looker(world)
        await looker.refresh(at_most_every=0)
        assert whole(looker) == {("a", "f"): Depth(delivering=1, due_at=world.clock.now + 1)}
        await world.clock.advance(30)
        await looker.refresh(at_most_every=0)
        assert whole(looker) == {("a", "f"): Depth(undelivered=1)}
        assert list(looker.gauges.oldest()) == [(("a",), 0.0)], "it will not be run"


async def test_an_event_whose_end_is_being_written_down_is_still_there() -> None:
    """Else whoever waits until there are none would look for what came of it too early."""
    async with World() as world:
        written = asyncio.get_running_loop().create_future()
        finish = world.store.ack

        async def finish_late(event: Any) -> None:
            await written
            await finish(event)

        world.store.ack = finish_late  # type: ignore[method-assign]  # a slow disk
        await world.send("f")
        looker = make_looker(world)
        await looker.refresh(at_most_every=0)
        assert whole(looker)[("a", "f")].running == 1
        assert world.counters.counts() == {}, "its slot is another's already"
        written.set_result(None)
        await settle()
        await looker.refresh(at_most_every=0)
        assert whole(looker) == {}


async def test_an_event_that_goes_back_while_the_queue_is_looked_at_is_not_overlooked() -> None:
    async with World() as world:
        world.held.add("f")
        world.answers["f"] = [ERROR]
        await world.send("f")
        waiting = world.store.backlog

        async def wait_while_it_goes_back() -> list[LaneBacklog]:
            seen = await waiting()
            if world.gates["f"]:
                await world.let_go("f")
            return seen

        world.store.backlog = wait_while_it_goes_back  # type: ignore[method-assign]  # at the worst moment
        looker = make_looker(world)
        await looker.refresh(at_most_every=0)
        assert whole(looker)[("a", "f")].retrying == 1


async def test_an_event_that_is_retried_again_and_again_beside_the_counts_is_not_overlooked() -> None:
    async with World() as world:
        world.held.add("f")
        world.answers["f"] = [ERROR, ERROR]
        await world.send("f")
        waiting, counts = world.store.backlog, 0

        async def wait_while_it_runs_and_goes_back() -> list[LaneBacklog]:
            nonlocal counts
            counts += 1
            await world.clock.advance(1000)  # its next run begins
            seen = await waiting()
            if world.gates["f"]:
                await world.let_go("f")
            return seen

        world.store.backlog = wait_while_it_runs_and_goes_back  # type: ignore[method-assign]  # at the worst moment
        world.answers["f"] = [ERROR]
        looker = make_looker(world)
        await looker.refresh(at_most_every=0)
        assert whole(looker) == {}, "its second run has ended it"
        assert counts == 3, "the last one saw no task"


async def test_an_event_that_is_being_claimed_is_not_overlooked() -> None:
    async with World() as world:
        world.answers["f"] = [ERROR]
        await world.send("f")
        claim, gate, counts = world.store.claim_due, asyncio.Event(), 0

        async def claim_and_wait(*given: Any) -> ClaimedEvents:
            claimed = await claim(*given)
            await gate.wait()
            return claimed

        waiting = world.store.backlog

        async def ask() -> list[LaneBacklog]:
            nonlocal counts
            counts += 1
            if counts == 4:
                world.held.add("f")
                gate.set()
                await settle()
            return await waiting()

        world.store.claim_due = claim_and_wait  # type: ignore[method-assign]  # its answer comes late
        world.store.backlog = ask  # type: ignore[method-assign]  # to be counted
        await world.clock.advance(1000)
        looker = make_looker(world)
        await looker.refresh(at_most_every=0)
        assert (counts, whole(looker)[("a", "f")].running) == (4, 1)
        await world.let_go("f")


async def test_the_store_is_asked_at_most_once_in_five_seconds_and_by_one_at_a_time() -> None:
    async with World() as world:
        world.answers["f"] = [ERROR]
        await world.send("f")  # it waits for its second run: an empty queue is looked at twice
        asked, now = 0, 100.0
        waiting = world.store.backlog
        gate = asyncio.get_running_loop().create_future()

        async def ask() -> list[LaneBacklog]:
            nonlocal asked
            asked += 1
            await gate
            return await waiting()

        world.store.backlog = ask  # type: ignore[method-assign]  # to be counted
        looker = make_looker(world, lambda: now)
        looks = [asyncio.create_task(looker.refresh(at_most_every=5)) for _ in range(3)]
        await settle()
        assert asked == 1
        gate.set_result(None)
        await asyncio.gather(*looks)
        await looker.refresh(at_most_every=5)
        assert asked == 1
        now += 5
        await looker.refresh(at_most_every=5)
        assert asked == 2


async def test_a_store_that_is_slow_keeps_nobody_waiting_and_the_last_look_stays() -> None:
    async with World() as world:
        looker = make_looker(world)
        await looker.refresh(at_most_every=0)
        known = looker.stored
        world.store.backlog = asyncio.get_running_loop().create_future().__await__  # type: ignore[assignment]  # for ever
        await looker.refresh(at_most_every=0, patience=0)
        assert looker.stored is known
        await looker.close()


async def test_a_store_that_cannot_be_read_is_trouble_and_the_last_look_stays() -> None:
    async with World(concurrent=1) as world:
        world.held.add("f")
        await world.send("f", times=300)
        looker = make_looker(world)
        await looker.refresh(at_most_every=0)
        known = looker.stored
        assert known[("a", "f")].waiting

        async def fail() -> list[LaneBacklog]:
            raise StoreError("unavailable", "It is away. Start it.")

        waiting, world.store.backlog = world.store.backlog, fail  # type: ignore[method-assign]  # to fail
        await looker.refresh(at_most_every=0)
        assert (looker.problem, looker.stored) == ("It is away. Start it.", known)
        world.store.backlog = waiting  # type: ignore[method-assign]  # and to work again
        await looker.refresh(at_most_every=0)
        assert looker.problem is None
        world.store.problem = "The disk is full."
        assert looker.problem == "The disk is full."
        await world.let_go("f")


NAMES = st.text(min_size=1, max_size=8) | st.sampled_from(["known", "beyond", "other"])


@given(st.dictionaries(st.tuples(st.sampled_from(["a", "b", "9" * 12]), NAMES), st.integers(0, 9)))
def test_nothing_that_a_client_sends_becomes_a_label_and_no_event_is_lost_in_the_fold(sent: dict[Any, int]) -> None:
    depths = {key: Depth(waiting=count, received_at=1.0) for key, count in sent.items()}
    folded = fold_names(depths, LIMITS)
    assert set(folded) <= {("a", "known"), ("a", "other")}
    assert sum(depth.waiting for depth in folded.values()) == sum(sent.values())
    known = sum(count for (_, name), count in sent.items() if name == "known")
    assert folded.get(("a", "known"), Depth()).waiting == known


def test_a_label_that_was_told_of_stays_when_its_events_are_gone() -> None:
    levels = QueueGauges("here", now=lambda: 10.0)
    levels.replace({("a", "f"): Depth(waiting=3, received_at=4.0)})
    assert dict(levels.oldest()) == {("a",): 6.0}
    levels.replace({})
    assert (("a", "f", "waiting"), 0) in list(levels.rows())
    assert dict(levels.oldest()) == {("a",): 0.0}
    assert Depth().received_at == inf
