"""Checks what an operator does with single events, wherever the event is."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from invoke_gateway.backend_errors import BackendUnreachable
from invoke_gateway.policy.events.event_rules import EventRules, EventTargets
from invoke_gateway.queue.event import Event
from invoke_gateway.queue.operator_actions import ActionResult, EventFilter, EventStatus, OperatorActions, name_of
from invoke_gateway.queue.outcomes.history import DROPPED
from invoke_gateway.queue.scheduling.lanes import QueueKind, name_lane
from tests.queue.test_dispatcher import DLQ, ERROR, OK, World
from tests.support.dispatching import settle

ID = "12345678-abcd-4000-8000-1234567890%02x"


def control_of(world: World) -> OperatorActions:
    return OperatorActions(world.dispatcher, now=world.clock)


async def send(world: World, number: int, function: str = "f") -> Event:
    event = world.make(function)
    event.request_id = ID % number
    await world.dispatcher.accept(event)
    await settle()
    return event


async def act(world: World, what: str, number: int, **more: object) -> tuple[int, int]:
    """To how many it was done, and how many were left alone."""
    acted: ActionResult = await control_of(world).apply(what, ID % number, **more)  # type: ignore[arg-type]  # the tests' own words
    await settle()
    return len(acted.done), len(acted.running)


def ran(world: World) -> list[str]:
    return [request_id for _, _, request_id in world.runs]


async def see(world: World, number: int) -> EventStatus:
    (seen,) = await control_of(world).find(ID % number, 10)
    return seen


async def test_an_event_is_seen_where_it_is() -> None:
    """Run now, claimed and ready, in the store, waiting for its second run."""
    async with World(concurrent=1) as world:
        world.answers["fails"] = [ERROR]
        await send(world, 0, "fails")
        world.held.add("f")
        for number in range(1, 261):
            await send(world, number % 256 if number < 256 else 255, "f")
        assert (await see(world, 0))[1:] == ("retrying", False)
        assert (await see(world, 1))[1:] == ("running", True)
        assert (await see(world, 2))[1:] == ("waiting", False)
        assert len(await control_of(world).find(ID % 255, 10)) == 6
        assert await control_of(world).find(ID[:-4] + "ffff", 10) == []


async def test_a_retry_that_waits_for_its_time_is_run_now() -> None:
    async with World() as world:
        world.answers["f"] = [ERROR]
        await send(world, 1)
        assert await act(world, "retry", 1) == (1, 0)
        assert world.when() == [0, 0]
        assert world.store.events == {}


async def test_a_lane_that_waits_for_a_backend_that_is_away_tries_again_when_an_event_of_it_is_retried() -> None:
    async with World() as world:
        world.answers["f"] = [BackendUnreachable("refused")] * 50
        for number in (1, 2):
            await send(world, number)
        await world.clock.advance(8)
        runs = len(world.runs)
        world.answers["f"] = []
        assert await act(world, "retry", 2) == (1, 0)
        assert ran(world)[runs] == ID % 2, "it is the next"
        assert world.clock.now == 1_000_008
        assert world.store.events == {}


async def test_what_is_run_now_is_neither_run_again_nor_dropped() -> None:
    async with World(concurrent=1) as world:
        world.held.add("f")
        await send(world, 1)
        assert await act(world, "retry", 1) == (0, 1)
        assert await act(world, "drop", 1) == (0, 1)
        await world.let_go("f")
        assert len(world.runs) == 1
        assert world.conditions == {}
        assert await act(world, "drop", 1) == (0, 0), "it has ended"


async def test_a_dropped_event_is_gone_for_good_whether_claimed_or_in_the_store_and_nobody_is_told() -> None:
    rules = EventRules(targets=EventTargets(dead_letter_queue=DLQ, on_failure=DLQ))
    async with World(concurrent=1, rules=rules) as world:
        world.answers["fails"] = [ERROR]
        await send(world, 0, "fails")
        world.held.add("f")
        for number in (1, 2, 3):
            await send(world, number)
        assert await act(world, "drop", 0) == (1, 0), "it is in the store"
        assert await act(world, "drop", 2) == (1, 0), "it is claimed"
        assert world.conditions == {DROPPED: 2}
        await world.let_go("f", 1)
        await world.let_go("f", 1)
        await world.clock.advance(1_000)
        assert ran(world) == [ID % 0, ID % 1, ID % 3]
        assert world.told == []
        assert (world.store.events, world.store.claimed) == ({}, set())


async def test_the_bytes_of_events_that_were_dropped_are_free_again() -> None:
    async with World(concurrent=1) as world:
        world.held.add("f")
        for number in range(5):
            await send(world, number)
        for number in range(1, 5):
            await act(world, "drop", number)
        assert world.dispatcher.prefetch.bytes == 0
        await world.let_go("f")


async def make_undelivered(world: World) -> None:
    world.answers["f"] = [ERROR]
    world.failing.add(DLQ)
    await send(world, 1)
    await world.clock.advance(100)
    seen = await see(world, 1)
    assert (seen.state, seen.event.outcome.tries) == ("undelivered", 3)  # type: ignore[union-attr]  # it has ended


async def test_an_undelivered_event_is_delivered_anew_with_all_its_tries_and_not_run() -> None:
    async with World(rules=EventRules(0, targets=EventTargets(dead_letter_queue=DLQ))) as world:
        await make_undelivered(world)
        assert await act(world, "retry", 1) == (1, 0)
        seen = await see(world, 1)
        assert seen.event.lane == name_lane("a", QueueKind.DELIVER, "f")
        assert seen.event.outcome is not None
        assert (seen.state, seen.event.outcome.tries) == ("delivering", 1)
        world.failing.clear()
        assert await act(world, "retry", 1) == (1, 0), "its next try is now"
        assert [target for _, target, _ in world.told] == [DLQ]
        assert len(world.runs) == 1
        assert world.store.events == {}


async def test_an_undelivered_event_that_is_dropped_was_counted_when_it_ended() -> None:
    async with World(rules=EventRules(0, targets=EventTargets(dead_letter_queue=DLQ))) as world:
        await make_undelivered(world)
        assert await act(world, "drop", 1) == (1, 0)
        assert world.conditions == {"RetriesExhausted": 1}
        assert world.store.events == {}


async def test_all_events_of_one_request_id_are_meant() -> None:
    async with World(concurrent=1) as world:
        world.held.add("f")
        for _ in range(4):
            await send(world, 7)
        assert await act(world, "drop", 7) == (3, 1)
        await world.let_go("f")
        assert world.store.events == {}


async def test_several_processes_share_the_work_without_doing_it_twice() -> None:
    """Each first acts on what it has ready; then one of them on the rest."""
    async with World(concurrent=1) as world:
        world.held.add("f")
        for _ in range(300):
            await send(world, 7)
        control = control_of(world)
        ready = await control.apply("retry", ID % 7, only_ready=True)
        assert (len(ready.done), len(ready.running)) == (256, 44)
        rest = await control.apply("retry", ID % 7, skip=ready.done)
        assert (len(rest.done), len(rest.running)) == (43, 1)
        assert len(world.store.events) == 300
        await world.let_go("f")


async def test_the_oldest_events_are_listed_by_function_account_and_state() -> None:
    async with World(concurrent=1, rules=EventRules(0, targets=EventTargets(dead_letter_queue=DLQ))) as world:
        await make_undelivered(world)
        world.held.add("g")
        for number in (2, 3, 4):
            world.clock.now += 1
            await send(world, number, "g")

        async def listed(**wanted: object) -> list[str]:
            found, _ = await control_of(world).oldest(EventFilter(**wanted))  # type: ignore[arg-type]  # the tests' own words
            return [seen.event.request_id for seen in found]

        assert await listed() == [ID % 1, ID % 2, ID % 3, ID % 4]
        assert await listed(function="g") == [ID % 2, ID % 3, ID % 4]
        assert await listed(function="g", state="waiting") == [ID % 3, ID % 4]
        assert await listed(state="running") == [ID % 2]
        assert await listed(state="undelivered") == [ID % 1]
        assert await listed(account="b") == []
        found, has_more = await control_of(world).oldest(EventFilter(most=2))
        assert ([seen.event.request_id for seen in found], has_more) == ([ID % 1, ID % 2], True)
        await world.let_go("g")


@pytest.mark.parametrize("seed", range(25))
async def test_whatever_is_done_at_any_moment_each_event_is_run_or_dropped_and_not_run_once_it_was_dropped(
    seed: int,
) -> None:
    """With acts and ends in any order, some of them at the same time; and nothing stays claimed or in memory."""
    dice = Random(seed)
    rules = EventRules(1, targets=EventTargets(dead_letter_queue=DLQ))
    async with World(concurrent=2, rules=rules) as world:
        control = control_of(world)
        world.held |= {"f", "g"}
        world.failing.add(DLQ)
        dropped: list[str] = []

        async def do_something() -> None:
            number, kind = dice.randrange(30), dice.choice(["retry", "drop", "drop"])
            acted = await control.apply(kind, ID % number)  # type: ignore[arg-type]  # one of the two
            if kind == "drop":
                dropped.extend([ID % number] * len(acted.done))

        for number in range(30):
            function = dice.choice("fgh")
            world.answers.setdefault(function, []).append(dice.choice([ERROR, OK, BackendUnreachable("refused")]))
            await send(world, number, function)
        ran_before: dict[str, int] = {}
        for _ in range(40):
            await asyncio.gather(*(do_something() for _ in range(dice.randrange(4))))
            for name in dropped:
                runs = ran(world).count(name)
                assert ran_before.setdefault(name, runs) == runs
            gates = [gate for name in ("f", "g") for gate in world.gates.get(name, []) if not gate.done()]
            if gates and dice.random() < 0.5:
                gates[0].set_result(None)
            if dice.random() < 0.3:
                await world.clock.advance(dice.choice([0.5, 5, 70]))
            await settle()
        world.held.clear()
        world.failing.clear()
        for _ in range(30):
            for gate in [gate for gates in world.gates.values() for gate in gates if not gate.done()]:
                gate.set_result(None)
            await world.clock.advance(100)
            for row in await world.store.backlog():
                for seen in (await control.oldest(EventFilter(function=row.lane.split("/", 2)[2], most=100)))[0]:
                    await control.apply("retry", seen.event.request_id)
        assert len(dropped) == len(set(dropped)), "nothing was dropped twice"
        assert {ID % number for number in range(30)} == {*ran(world), *dropped}
        assert (world.store.events, world.store.claimed) == ({}, set())
        assert world.dispatcher.prefetch.bytes == 0


def test_a_claimed_event_of_a_redis_has_the_name_of_the_same_event_unclaimed() -> None:
    event = Event("r", "a", "f", "arn", b"/", b"", [], b"", 0.0, 0.0, "a/function/f", key=b"12 s:3")
    assert name_of(event) == "12"
    event.key = 12
    assert name_of(event) == "12"
